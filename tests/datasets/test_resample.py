"""Fixations are moved between sizes without losing any, densities keep their scale."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from saliency_cli.datasets.resample import move_counts, resize_density
from saliency_cli.metrics import fixation_counts

COUNTS = arrays(np.int64, array_shapes(min_dims=2, max_dims=2, max_side=24), elements=st.integers(0, 9))
SIDES = st.integers(1, 40)


@given(COUNTS, SIDES, SIDES)
def test_no_fixation_is_lost_or_doubled(counts: NDArray[np.int64], height: int, width: int) -> None:
    moved = move_counts(counts, height, width)
    assert moved.shape == (height, width)
    assert moved.sum() == counts.sum()
    assert (moved >= 0).all()


@given(COUNTS, SIDES, SIDES)
def test_fixations_stay_where_they_were_in_the_picture(counts: NDArray[np.int64], height: int, width: int) -> None:
    """Each goes where a table of gaze would put its pixel's centre."""
    rows, columns = np.nonzero(counts)
    points = np.stack([(columns + 0.5) / counts.shape[1], (rows + 0.5) / counts.shape[0]], axis=1)
    points = points.repeat(counts[rows, columns], axis=0)
    expected, moved = fixation_counts(points, height, width), move_counts(counts, height, width)
    # On the border between two pixels the fraction is rounded either way
    on_border = ((points * [width, height]) % 1).round(9) % 1 == 0
    if not on_border.any():
        np.testing.assert_array_equal(moved, expected)
    for axis, side in ((0, height), (1, width)):
        means = [(grid.sum(axis=1 - axis) * (np.arange(side) + 0.5)).sum() / side for grid in (moved, expected)]
        assert means[0] == pytest.approx(means[1], abs=counts.sum() / side + 1e-9)


@given(COUNTS, st.integers(1, 4), st.integers(1, 4))
def test_enlarged_and_back_is_the_same(counts: NDArray[np.int64], down: int, across: int) -> None:
    height, width = counts.shape
    enlarged = move_counts(counts, down * height, across * width)
    assert np.count_nonzero(enlarged) == np.count_nonzero(counts)
    np.testing.assert_array_equal(move_counts(enlarged, height, width), counts)


def test_fixations_that_meet_add_up() -> None:
    counts = np.zeros((4, 6), np.int64)
    counts[0, 0], counts[1, 1], counts[3, 5] = 1, 2, 4
    np.testing.assert_array_equal(move_counts(counts, 2, 3), [[3, 0, 0], [0, 0, 4]])


def test_truth_values_count_once() -> None:
    assert move_counts(np.ones((4, 4), np.bool_), 1, 2).tolist() == [[8, 8]]


def test_a_density_shrinks_by_areas() -> None:
    density = np.zeros((4, 6), np.uint8)
    density[0, 0] = 200
    np.testing.assert_array_equal(resize_density(density, 2, 3), [[50, 0, 0], [0, 0, 0]])


def test_a_density_grows_without_overshooting() -> None:
    density = np.zeros((4, 6), np.uint8)
    density[2, 3] = 255
    grown = resize_density(density, 40, 60)
    assert grown.dtype == np.float32
    assert grown.min() == 0
    assert 200 < grown.max() <= 255
    assert np.argwhere(grown == grown.max()).mean(axis=0) == pytest.approx([24.5, 34.5], abs=1)


def test_a_density_of_that_size_is_unchanged() -> None:
    density = np.arange(12, dtype=np.uint16).reshape(3, 4)
    np.testing.assert_array_equal(resize_density(density, 3, 4), density)


@pytest.mark.parametrize("function", [move_counts, resize_density])
@pytest.mark.parametrize(("shape", "height"), [((3,), 2), ((0, 4), 2), ((3, 4), 0)])
def test_what_is_no_map_is_refused(function, shape: tuple[int, ...], height: int) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match="map"):
        function(np.zeros(shape), height, 2)
