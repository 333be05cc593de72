"""AUC-J and s-AUC: against loops that follow their definitions word by word, and where they are not defined."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from saliency_cli.metrics import SHUFFLED_PROTOCOL, auc_judd, auc_shuffled

SHAPE = (14, 19)
SEEDS = st.integers(0, 2**32 - 1)


def scattered(generator: np.random.Generator, count: int) -> NDArray[np.bool_]:
    """True at ``count`` random pixels."""
    result = np.zeros(SHAPE, np.bool_)
    result.flat[generator.choice(result.size, count, replace=False)] = True
    return result


def area(points: list[tuple[float, float]]) -> float:
    """Trapezoids under (false, true) points."""
    return sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in pairwise(points))


@given(seed=SEEDS, levels=st.sampled_from([3, 40, 10**9]), count=st.integers(1, 30))
def test_judd_is_its_definition(seed: int, levels: int, count: int) -> None:
    generator = np.random.default_rng(seed)
    prediction, fixations = generator.integers(0, levels, SHAPE), scattered(generator, count)
    points = [(0.0, 0.0)]
    for i, threshold in enumerate(sorted(prediction[fixations], reverse=True), start=1):
        above = int((prediction >= threshold).sum())
        points.append(((above - i) / (prediction.size - count), i / count))
    points.append((1.0, 1.0))
    assert auc_judd(prediction, fixations, jitter=False) == pytest.approx(area(points), abs=1e-12)


@given(
    seed=SEEDS, levels=st.sampled_from([3, 11, 256]), count=st.integers(1, 30), step=st.sampled_from([0.1, 1 / 49, 1])
)
def test_shuffled_with_nothing_to_draw_is_its_definition(seed: int, levels: int, count: int, step: float) -> None:
    generator = np.random.default_rng(seed)
    prediction, fixations = generator.integers(0, levels, SHAPE), scattered(generator, count)
    other = scattered(generator, count)  # as many as fixations: every split takes them all
    values = (prediction - prediction.min()) / (prediction.max() - prediction.min())
    positives, negatives = values[fixations], values[other]
    points = [(0.0, 0.0)]
    for index in reversed(range(round(1 / step) + 1)):
        points.append((float((negatives >= index * step).mean()), float((positives >= index * step).mean())))
    points.append((1.0, 1.0))
    assert auc_shuffled(prediction, fixations, other, splits=3, step=step) == pytest.approx(area(points), abs=1e-12)


@settings(max_examples=5, deadline=None)  # 800 scores: how long they take is not what is tested
@given(seed=SEEDS)
def test_shuffled_draws_without_replacement(seed: int) -> None:
    """The mean and the spread over splits are those of splits drawn pixel by pixel."""
    generator = np.random.default_rng(seed)
    prediction, fixations, other = generator.random(SHAPE), scattered(generator, 20), scattered(generator, 60)
    one_by_one = [auc_shuffled(prediction, fixations, drawn_from(generator, other, 20), splits=1) for _ in range(400)]
    at_once = [auc_shuffled(prediction, fixations, other, splits=1, seed=split) for split in range(400)]
    error = math.hypot(np.std(one_by_one), np.std(at_once)) / math.sqrt(400)
    assert abs(np.mean(one_by_one) - np.mean(at_once)) < 5 * error
    assert 0.75 < np.std(one_by_one) / np.std(at_once) < 1.35


def drawn_from(generator: np.random.Generator, pool: NDArray[np.bool_], count: int) -> NDArray[np.bool_]:
    """``count`` of the pixels that are True in ``pool``."""
    result = np.zeros(SHAPE, np.bool_)
    result.flat[generator.choice(np.flatnonzero(pool), count, replace=False)] = True
    return result


def test_perfect_and_reversed_maps() -> None:
    generator = np.random.default_rng(1)
    fixations, other = scattered(generator, 10), np.zeros(SHAPE, np.bool_)
    other[~fixations] = True
    prediction = fixations + 0.5 * generator.random(SHAPE)
    assert auc_judd(prediction, fixations) == pytest.approx(1)
    assert auc_judd(-prediction, fixations) == pytest.approx(0.05)  # the first of ten: all others are found before it
    assert auc_shuffled(prediction, fixations, other) > 0.99


def test_jitter_comes_from_the_seed_and_breaks_ties() -> None:
    generator = np.random.default_rng(2)
    prediction, fixations = np.zeros(SHAPE), scattered(generator, 10)
    prediction[0] = 1
    assert auc_judd(prediction, fixations, seed=3) == auc_judd(prediction, fixations, seed=3)
    assert auc_judd(prediction, fixations, seed=3) != auc_judd(prediction, fixations, seed=4)
    assert auc_judd(prediction, fixations, jitter=False) < 0.2 < auc_judd(prediction, fixations)


def test_shuffled_comes_from_the_seed() -> None:
    generator = np.random.default_rng(3)
    prediction, fixations, other = generator.random(SHAPE), scattered(generator, 10), scattered(generator, 50)
    assert auc_shuffled(prediction, fixations, other) == auc_shuffled(prediction, fixations, other, seed=0)
    assert auc_shuffled(prediction, fixations, other, seed=1) != auc_shuffled(prediction, fixations, other, seed=2)


def test_not_defined() -> None:
    generator = np.random.default_rng(4)
    prediction, fixations, nothing = generator.random(SHAPE), scattered(generator, 10), np.zeros(SHAPE)
    flat = np.full(SHAPE, 0.1)
    undefined = [
        auc_judd(prediction, nothing),
        auc_judd(prediction, nothing == 0),
        auc_judd(flat, fixations, jitter=False),
        auc_shuffled(prediction, nothing, fixations),
        auc_shuffled(prediction, fixations, nothing),
        auc_shuffled(flat, fixations, fixations),
    ]
    assert all(math.isnan(score) for score in undefined)
    assert 0.2 < auc_judd(flat, fixations) < 0.8


def test_bad_arguments() -> None:
    maps = np.eye(5)
    with pytest.raises(ValueError, match="differ in size"):
        auc_judd(maps, np.eye(4))
    with pytest.raises(ValueError, match="differ in size"):
        auc_shuffled(maps, maps, np.eye(4))
    with pytest.raises(ValueError, match="at least one split"):
        auc_shuffled(maps, maps, maps, splits=0)
    with pytest.raises(ValueError, match="a step in"):
        auc_shuffled(maps, maps, maps, step=0)


def test_protocol_is_named() -> None:
    assert SHUFFLED_PROTOCOL.startswith("s-AUC after Borji: 100 random splits, step 0.1")


@pytest.mark.parametrize("step", [0.1, 1 / 49, 1 / 93])
def test_shuffled_thresholds_include_the_maximum(step: float) -> None:
    """Only a threshold of 1 tells the fixated pixel from the other, although 1 / (1/93) is below 93 in floats."""
    prediction = np.array([[0.0, 0.99, 1.0]])
    assert auc_shuffled(prediction, np.array([[0, 0, 1]]), np.array([[0, 1, 0]]), step=step) == 1
