"""Which frames there are, when they are shown, and which one a map with a time belongs to."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from clips import make_clip
from tiny_recordings import recording

from saliency_cli.errors import ReadError
from saliency_cli.evaluation.timeline import frame_times, match_times, presentation_times, stimulus_frames


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    return make_clip(folder / "late.mp4", frames=6, size=(64, 48), rate=25, start=Fraction(6, 5))


def test_times_are_the_containers(clip: Path) -> None:
    expected = pytest.approx([1.2 + n / 25 for n in range(6)])
    assert presentation_times(clip) == expected
    timed = recording(pairing="time", stimulus=clip, frames=None)
    assert frame_times(timed) == expected
    assert len(frame_times(timed, 2)) == 2
    assert stimulus_frames(timed) == 6


def test_a_folder_of_frames(tmp_path: Path) -> None:
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.zeros((8, 8, 3), np.uint8))
    assert presentation_times(tmp_path) == pytest.approx([0, 1 / 30, 2 / 30])


def test_frames_that_are_numbered_need_no_time(clip: Path) -> None:
    times = frame_times(recording(stimulus=clip, frames=4))
    assert len(times) == 4
    assert all(map(math.isnan, times))


def test_a_still_and_what_nothing_tells() -> None:
    assert frame_times(recording(kind="image", frames=None)) == (0.0,)
    assert frame_times(recording(pairing="time", frames=None)) == ()
    assert stimulus_frames(recording()) is None


def test_maps_find_the_frame_shown_at_their_time() -> None:
    shown = (0.08, 0.12, 0.16, 0.2)
    assert match_times((0.08, 0.121, 0.2), shown, Path("maps.mp4")) == (0, 1, 3)
    assert match_times((0.08,), (0.08,), Path("maps.mp4")) == (0,)


@pytest.mark.parametrize(
    "own",
    [
        (0.0, 0.04, 0.08, 0.12),  # as many, counted from 0: the last frames would go without, and all be shifted
        (0.08, 0.085),  # two for one frame
        (0.24,),
        (float("nan"),),
    ],
)
def test_maps_at_other_times_are_refused(own: tuple[float, ...]) -> None:
    with pytest.raises(ReadError, match=r"maps\.mp4 has a map at .* where its stimulus shows no frame"):
        match_times(own, (0.08, 0.12, 0.16, 0.2), Path("maps.mp4"))
