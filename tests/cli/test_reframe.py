"""vsal reframe, with the network that comes with it: what it writes, and what it says where."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from clips import Tone, make_clip
from fakes import video_facts

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def clip(folder: Path) -> Path:
    make_clip(folder / "clip.mp4", frames=6, size=(96, 54), sound=Tone(seconds=0.24))
    return Path("clip.mp4")


def test_without_options_it_crops_to_9_16_and_prints_the_path(vsal: Any, clip: Path, folder: Path) -> None:
    result = vsal("reframe", clip)
    assert result.exit_code == 0, result.stderr
    assert result.stdout == "clip.9x16.mp4\n"
    assert "clip.mp4: 6 frames, 30x54 pixels of each, 1 shot" in result.stderr
    assert "tsfp-lite0" in result.stderr
    assert {path.name for path in folder.iterdir()} == {"clip.mp4", "clip.9x16.mp4", "clip.9x16.mp4.json"}
    before, after = video_facts(clip), video_facts(Path("clip.9x16.mp4"))
    assert (after.times, after.size, after.sound) == (before.times, (30, 54), before.sound)


def test_the_path_goes_to_stdout_alone(vsal: Any, clip: Path, folder: Path) -> None:
    result = vsal("reframe", clip, "--aspect", "1:1", "--path", "-", "-o", "out.mkv", "-q")
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    assert [frame["width"] for frame in json.loads(result.stdout)["path"]] == [54] * 6
    assert {path.name for path in folder.iterdir()} == {"clip.mp4", "out.mkv", "out.mkv.json"}


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--aspect", "tall"], 2, "--aspect tall"),
        (["--path", "path.mp4"], 2, "must end in"),
        (["--weights", "missing.pt"], 4, "missing.pt"),
        (["--height", "7"], 2, "even number"),
    ],
)
def test_errors_are_one_sentence(
    vsal: Any, clip: Path, folder: Path, arguments: list[str], code: int, said: str
) -> None:
    result = vsal("reframe", clip, *arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
    assert {path.name for path in folder.iterdir()} == {"clip.mp4"}


def test_stdin_is_refused(vsal: Any) -> None:
    result = vsal("reframe", "-")
    assert result.exit_code == 2
    assert "stdin can be read once" in result.stderr
