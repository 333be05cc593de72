from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from saliency_cli.render import frame_statistics

maps = arrays(
    np.float32,
    st.tuples(st.integers(1, 8), st.integers(1, 8)),
    elements=st.one_of(st.just(0.0), st.floats(2**-20, 1.0, width=32)),
)


def test_one_pixel() -> None:
    saliency = np.zeros((4, 10), np.float32)
    saliency[1, 7] = 0.5
    found = frame_statistics(saliency)
    assert found.peak == pytest.approx((0.75, 0.375))
    assert found.centroid == pytest.approx((0.75, 0.375))
    assert (found.spread, found.entropy) == (0, 0)
    assert found.mean == pytest.approx(0.5 / 40)


def test_two_pixels() -> None:
    saliency = np.zeros((1, 4), np.float32)
    saliency[0, [0, 3]] = 0.25
    found = frame_statistics(saliency)
    assert found.peak == (0.125, 0.5)  # the first of two equals
    assert found.centroid == pytest.approx((0.5, 0.5))
    assert found.spread == pytest.approx(0.375)
    assert found.entropy == pytest.approx(1)


@given(maps)
def test_bounds(saliency: NDArray[np.float32]) -> None:
    found = frame_statistics(saliency)
    for x, y in (found.peak, found.centroid):
        assert 0 < x < 1
        assert 0 < y < 1
    assert 0 <= found.spread <= math.sqrt(0.5)
    assert 0 <= found.entropy <= math.log2(saliency.size) + 1e-9
    assert found.mean == pytest.approx(float(saliency.astype(np.float64).mean()), rel=1e-9, abs=1e-12)


@given(maps)
def test_mirroring_mirrors(saliency: NDArray[np.float32]) -> None:
    found, mirrored = frame_statistics(saliency), frame_statistics(saliency[:, ::-1])
    assert mirrored.centroid == pytest.approx((1 - found.centroid[0], found.centroid[1]))
    assert mirrored.spread == pytest.approx(found.spread, abs=1e-7)
    assert mirrored.entropy == pytest.approx(found.entropy)


@given(maps, st.floats(0.125, 8))
def test_scale_matters_to_the_mean_only(saliency: NDArray[np.float32], scale: float) -> None:
    found, scaled = frame_statistics(saliency), frame_statistics((saliency * scale).astype(np.float32))
    assert scaled.centroid == pytest.approx(found.centroid, abs=1e-5)
    assert scaled.entropy == pytest.approx(found.entropy, abs=1e-4)
    assert scaled.mean == pytest.approx(found.mean * scale, rel=1e-5)


def test_a_map_of_zeros_is_even() -> None:
    found = frame_statistics(np.zeros((4, 8), np.float32))
    assert (found.peak, found.entropy, found.mean) == ((0.5, 0.5), 5, 0)


def test_statistics_are_plain_json() -> None:
    line = json.dumps(frame_statistics(np.eye(3, dtype=np.float32)).as_dict())
    assert list(json.loads(line)) == ["peak", "centroid", "spread", "entropy", "mean"]
