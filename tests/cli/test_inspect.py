"""vsal inspect: for people and as JSON, of files and of stdin."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from clips import Tone, make_clip
from fakes import program

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def clip(folder: Path) -> Path:
    make_clip(folder / "clip.mp4", frames=6, sound=Tone(seconds=0.24))
    return Path("clip.mp4")


def test_for_people(vsal: Any, clip: Path) -> None:
    result = vsal("inspect", clip)
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0] == "clip.mp4"
    assert "  frames    6" in lines
    assert any(line.startswith(" 1*      audio  aac") for line in lines)
    assert "\x1b" not in result.stdout


def test_one_object_a_file_and_a_bad_one_does_not_cost_the_others(vsal: Any, clip: Path) -> None:
    Path("bad.mp4").write_text("nothing")
    result = vsal("inspect", clip, "bad.mp4", clip, "--json")
    assert result.exit_code == 6
    assert [json.loads(line)["frames"] for line in result.stdout.splitlines()] == [6, 6]
    assert "bad.mp4 is a text file" in result.stderr
    assert vsal("inspect", "bad.mp4").exit_code == 3


def test_a_wrong_network_is_refused_before_anything_is_read(vsal: Any) -> None:
    result = vsal("inspect", "missing.mp4", "--measure", "unisal")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--measure unisal: must be one of tsfp, tased, tsfp-s3d" in result.stderr


@pytest.mark.parametrize(("suffix", "frames"), [("nut", None), ("avi", 6)])
def test_stdin_is_read_as_far_as_it_must_be(folder: Path, suffix: str, frames: int | None) -> None:
    codec = "mpeg4" if suffix == "avi" else "libx264"
    with make_clip(folder / f"clip.{suffix}", frames=6, codec=codec).open("rb") as data:
        process = program("inspect", "-", "--json", cwd=folder, stdin=data)
        told, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    record = json.loads(told)
    assert (record["source"], record["frames"], record["bytes"]) == ("stdin", frames, None)
    assert "stdin is" in record["reason"]
