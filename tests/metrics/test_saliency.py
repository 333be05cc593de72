"""NSS, CC, SIM, KL and information gain: what holds for any maps, and where they are not defined."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from saliency_cli.metrics import cc, information_gain, kl, match_size, nss, sim

SHAPE = (12, 17)
SEEDS = st.integers(0, 2**32 - 1)


def random_maps(seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """A prediction, a density and seven fixations."""
    generator = np.random.default_rng(seed)
    fixations = np.zeros(SHAPE, np.bool_)
    fixations.flat[generator.choice(fixations.size, 7, replace=False)] = True
    return generator.random(SHAPE), generator.random(SHAPE), fixations


@given(seed=SEEDS, scale=st.floats(1e-6, 1e6))
def test_scale_does_not_matter(seed: int, scale: float) -> None:
    prediction, density, fixations = random_maps(seed)
    for score, truth in ((nss, fixations), (cc, density), (sim, density), (kl, density)):
        assert score(prediction * scale, truth) == pytest.approx(score(prediction, truth), rel=1e-6, abs=1e-9)


@given(seed=SEEDS)
def test_a_map_agrees_with_itself(seed: int) -> None:
    prediction, _, fixations = random_maps(seed)
    assert cc(prediction, prediction) == pytest.approx(1)
    assert cc(-prediction, prediction) == pytest.approx(-1)
    assert sim(prediction, prediction) == pytest.approx(1)
    assert kl(prediction, prediction) == pytest.approx(0, abs=1e-9)
    assert information_gain(prediction, fixations, prediction) == 0


@given(seed=SEEDS)
def test_ranges(seed: int) -> None:
    prediction, density, _ = random_maps(seed)
    assert -1 <= cc(prediction, density) <= 1
    assert 0 <= sim(prediction, density) <= 1
    assert kl(prediction, density) >= -1e-9


def test_nss_by_hand() -> None:
    prediction = np.array([[0, 1], [2, 5]])
    fixations = np.array([[0, 0], [0, 3]])  # three on one pixel count once
    assert nss(prediction, fixations) == pytest.approx(3 / math.sqrt(14 / 3))  # (5 - 2) / std over n-1


def test_kl_by_hand() -> None:
    assert kl(np.array([[1, 3]]), np.array([[1, 1]])) == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(2 / 3))


@pytest.mark.parametrize("level", [0.1, 1 / 3, 7.0])
def test_constant_predictions(level: float) -> None:
    _, density, fixations = random_maps(0)
    flat = np.full(SHAPE, level)
    assert math.isnan(nss(flat, fixations))
    assert math.isnan(cc(flat, density))
    assert math.isnan(sim(flat, density))
    assert math.isnan(information_gain(flat, fixations, density))
    assert math.isnan(information_gain(density, fixations, flat))
    assert kl(flat, density) == pytest.approx(kl(np.ones(SHAPE), density))


def test_zero_predictions() -> None:
    _, density, _ = random_maps(0)
    assert sim(np.zeros(SHAPE), density) == 0
    assert kl(np.zeros(SHAPE), density) > 25


def test_nothing_to_predict() -> None:
    prediction, density, _ = random_maps(0)
    nothing = np.zeros(SHAPE)
    scores = [score(prediction, nothing) for score in (nss, cc, sim, kl)]
    assert all(math.isnan(score) for score in (*scores, information_gain(prediction, nothing, density)))


@pytest.mark.parametrize("score", [nss, cc, sim, kl])
def test_bad_maps(score: Callable[[NDArray[Any], NDArray[Any]], float]) -> None:
    prediction, density, _ = random_maps(0)
    with pytest.raises(ValueError, match="differ in size: use match_size first"):
        score(prediction[:-1], density)
    with pytest.raises(ValueError, match="must be a map of shape"):
        score(prediction[None], density[None])
    prediction[3, 3] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        score(prediction, density)


def test_kl_refuses_negative_values() -> None:
    prediction, density, _ = random_maps(0)
    with pytest.raises(ValueError, match="negative"):
        kl(prediction - 0.5, density)


def test_inputs_are_left_alone() -> None:
    prediction, density, fixations = random_maps(0)
    before = prediction.copy(), density.copy(), fixations.copy()
    for score, truth in ((nss, fixations), (cc, density), (sim, density), (kl, density)):
        score(prediction, truth)
    information_gain(prediction, fixations, density)
    for array, copy in zip((prediction, density, fixations), before, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_match_size_is_bilinear() -> None:
    np.testing.assert_allclose(match_size(np.array([[0.0, 4.0]], np.float32), 1, 4), [[0, 1, 3, 4]])
    same = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(match_size(same, 2, 3), same)
    assert match_size(np.zeros((3, 5), np.uint8), 7, 4).shape == (7, 4)
    with pytest.raises(ValueError, match="cannot resize"):
        match_size(same, 0, 4)


def test_a_map_of_one_pixel_is_constant() -> None:
    one = np.ones((1, 1))
    assert all(math.isnan(score(one, one)) for score in (nss, cc, sim))
    assert math.isnan(information_gain(one, one, one))
    assert kl(one, one) == pytest.approx(0, abs=1e-12)
