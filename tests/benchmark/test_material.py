"""What is predicted while the clock runs."""

from __future__ import annotations

from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from clips import make_clip as numbered_clip
from clips import read_number

from saliency_cli.benchmark import material
from saliency_cli.benchmark.material import endless, make_clip, read_material
from saliency_cli.errors import UsageError
from saliency_cli.media import open_source


def test_a_clip_is_made(tmp_path: Path) -> None:
    with open_source(make_clip(tmp_path / "clip.mp4", size=(96, 64), seconds=0.4)) as reader:
        frames = list(reader)
    assert (reader.info.width, reader.info.height, reader.info.rate, len(frames)) == (96, 64, 25, 10)
    changes = [float(np.abs(one.pixels.astype(int) - other.pixels).mean()) for one, other in pairwise(frames)]
    assert min(changes) > 0.5  # it moves
    assert max(changes) < 60  # and has no cut


@pytest.mark.parametrize("size", [(95, 64), (96, 16), (10_000, 64)])
def test_sizes_that_cannot_be(tmp_path: Path, size: tuple[int, int]) -> None:
    with pytest.raises(UsageError, match=f"--size {size[0]}x{size[1]}"):
        make_clip(tmp_path / "clip.mp4", size=size, seconds=1)


def test_the_first_frames_are_kept_and_all_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(material, "MOST_FRAMES", 4)
    with open_source(numbered_clip(tmp_path / "clip.mp4", frames=7), end=0.2) as reader:
        found = read_material(reader)
    assert [read_number(frame.pixels) for frame in found.frames] == [0, 1, 2, 3]
    assert found.length == 5
    monkeypatch.setattr(material, "MOST_BYTES", 64 * 48 * 3 * 3)
    with open_source(tmp_path / "clip.mp4") as reader:
        assert len(read_material(reader).frames) == 3


def test_without_end_there_is_no_cut(tmp_path: Path) -> None:
    with open_source(numbered_clip(tmp_path / "clip.mp4", frames=4)) as reader:
        frames = list(islice(endless(read_material(reader)), 9))
    assert [read_number(frame.pixels) for frame in frames] == [0, 1, 2, 3, 2, 1, 0, 1, 2]
    assert [frame.index for frame in frames] == list(range(9))
    assert frames[8].seconds == float(Fraction(8, 25))


@pytest.mark.parametrize("length", [1, 2])
def test_the_shortest_videos_have_no_end_either(tmp_path: Path, length: int) -> None:
    with open_source(numbered_clip(tmp_path / "clip.mp4", frames=length)) as reader:
        frames = list(islice(endless(read_material(reader)), 4))
    assert [read_number(frame.pixels) for frame in frames] == [index % length for index in range(4)]


def test_a_still_image_is_none(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "still.png"), np.zeros((32, 32, 3), np.uint8))
    with open_source(tmp_path / "still.png") as reader, pytest.raises(UsageError, match=r"still\.png is a still image"):
        read_material(reader)
