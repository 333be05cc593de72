"""vsal report, with the network that comes with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from clips import Tone, make_clip

pytestmark = pytest.mark.timeout(120)


def test_one_clip(vsal: Any, folder: Path) -> None:
    make_clip(folder / "clip.mp4", frames=4, sound=Tone(seconds=0.2))
    result = vsal("report", "clip.mp4", "--size", "64", "--colormap", "viridis", "--opacity", "0.5")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == "clip.report.html\n"
    assert "clip.mp4: 4 frames at" in result.stderr
    assert {path.name for path in folder.iterdir()} == {"clip.mp4", "clip.report.html", "clip.report.html.json"}
    text = Path("clip.report.html").read_text(encoding="utf-8")
    assert '<option value="viridis" selected>' in text
    assert 'max="100" step="1" value="50"' in text
    sidecar = json.loads(Path("clip.report.html.json").read_text(encoding="utf-8"))
    assert sidecar["model"]["weights"] == "tsfp-lite0.safetensors"
    assert sidecar["options"]["size"] == 64


def test_several_of_which_one_fails(vsal: Any, folder: Path) -> None:
    make_clip(folder / "clip.mp4", frames=2)
    (folder / "broken.mp4").write_bytes(b"\0" * 100)
    result = vsal("report", "c*.mp4", "broken.mp4", "-o", "pages", "--size", "64")
    assert result.exit_code == 6
    assert result.stdout == "pages/clip.report.html\npages/index.html\n"
    assert "vsal: error: broken.mp4 is no media file" in result.stderr
    assert "1 of 2 inputs failed" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["missing.mp4"], 3, "missing.mp4 does not exist"),
        (["-"], 2, "stdin has no name"),
        (["clip.mp4", "-o", "page.pdf"], 2, "not as .pdf"),
        (["clip.mp4", "clip.mp4"], 2, "several pages need a folder"),
        (["clip.mp4", "--size", "9"], 2, "--size 9"),
        ([""], 2, "INPUT: the name is empty"),
    ],
)
def test_bad_input(vsal: Any, folder: Path, arguments: list[str], code: int, words: str) -> None:
    make_clip(folder / "clip.mp4", frames=2)
    result = vsal("report", *arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    assert {path.name for path in folder.iterdir()} == {"clip.mp4"}
