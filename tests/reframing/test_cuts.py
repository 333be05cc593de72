"""Cuts: found to the frame in what our decoder gives, at the times that the container has."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from saliency_cli.reframing.cuts import CutFinder
from saliency_cli.types import Frame


def scene(seed: int, count: int, *, drift: int = 2) -> list[NDArray[np.uint8]]:
    """A texture that moves along."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 255, (12, 40, 3)).astype(np.uint8).repeat(16, axis=0).repeat(16, axis=1)
    return [blocks[:, drift * index : drift * index + 320] for index in range(count)]


def cuts(pictures: Sequence[NDArray[np.uint8]], times: Sequence[int], base: Fraction = Fraction(1, 25)) -> list[int]:
    finder = CutFinder(Fraction(25))
    for index, (pixels, pts) in enumerate(zip(pictures, times, strict=True)):
        finder.add(Frame(index, pixels, pts, base))
    return finder.cuts


@pytest.mark.parametrize("start", [0, 900, -40])
def test_the_frames_that_begin_a_shot(start: int) -> None:
    pictures = [*scene(1, 30), *scene(2, 25), *scene(3, 20)]
    assert cuts(pictures, range(start, start + 75)) == [30, 55]


def test_times_may_vary() -> None:
    pictures = [*scene(1, 30), *scene(2, 25)]
    times = np.cumsum(np.random.default_rng(0).integers(1, 9, 55)).tolist()
    assert cuts(pictures, times, Fraction(1, 90)) == [30]


def test_motion_and_flashes_are_no_cuts() -> None:
    assert cuts(scene(1, 40, drift=6), range(40)) == []
    flashed = scene(1, 40)
    flashed[20] = np.full_like(flashed[20], 255)
    assert cuts(flashed, range(40)) == []
    flashed[21] = flashed[20]
    assert cuts(flashed, range(40)) == []


def test_small_and_single_frames() -> None:
    assert cuts([np.zeros((16, 16, 3), np.uint8)], [0]) == []
    assert cuts([np.zeros((2, 2000, 3), np.uint8)] * 6, range(6)) == []
