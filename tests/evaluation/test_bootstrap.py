"""Intervals: they hold the mean, follow the seed and not the order, and shrink with the number of videos."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saliency_cli.evaluation import Interval, bootstrap_interval

SCORES = st.lists(st.floats(-10, 10).map(lambda value: round(value, 3)), min_size=2, max_size=12)


@settings(max_examples=60, deadline=None)
@given(SCORES)
def test_the_mean_lies_inside(values: list[float]) -> None:
    found = bootstrap_interval(values, resamples=2000)
    assert found is not None
    assert min(values) - 1e-9 <= found.low <= np.mean(values) + 1e-9
    assert np.mean(values) - 1e-9 <= found.high <= max(values) + 1e-9


@settings(max_examples=40, deadline=None)
@given(SCORES, st.randoms(use_true_random=False))
def test_the_order_of_videos_does_not_matter(values: list[float], random: object) -> None:
    rows = list(zip(values, [1 + index % 3 for index in range(len(values))], strict=True))
    mixed = list(rows)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    one, other = (bootstrap_interval(*zip(*each, strict=True), resamples=500) for each in (rows, mixed))
    assert one == other


@settings(max_examples=30, deadline=None)
@given(SCORES, st.floats(0.5, 3).map(lambda value: round(value, 2)), st.integers(-5, 5))
def test_scaled_values_have_a_scaled_interval(values: list[float], scale: float, shift: int) -> None:
    one = bootstrap_interval(values, resamples=500)
    other = bootstrap_interval([scale * value + shift for value in values], resamples=500)
    assert one is not None
    assert other is not None
    assert other.low == pytest.approx(scale * one.low + shift, abs=1e-6)
    assert other.high == pytest.approx(scale * one.high + shift, abs=1e-6)


def test_the_width_is_that_of_the_mean_of_normal_values() -> None:
    values = np.random.default_rng(1).normal(3, 2, 400)
    found = bootstrap_interval(list(values))
    assert found is not None
    spread = values.std() / np.sqrt(400)
    assert found.low == pytest.approx(values.mean() - 1.96 * spread, abs=0.03)
    assert found.high == pytest.approx(values.mean() + 1.96 * spread, abs=0.03)


def test_weights_pull_the_mean() -> None:
    plain, heavy = bootstrap_interval([0, 1, 2]), bootstrap_interval([0, 1, 2], [1, 1, 100])
    assert plain is not None
    assert heavy is not None
    assert heavy.high == 2
    middles = [found.low + found.high for found in (plain, heavy)]
    assert middles[1] >= middles[0]
    assert bootstrap_interval([0, 1, 2], [5, 5, 5]) == plain


def test_many_videos_are_drawn_in_parts() -> None:
    found = bootstrap_interval([0.0, 1.0] * 3000, resamples=400)
    assert found is not None
    assert 0.45 < found.low < 0.5 < found.high < 0.55


def test_seeds() -> None:
    values = [1.0, 2.0, 4.0, 7.0]
    assert bootstrap_interval(values) == bootstrap_interval(values, seed=0)
    assert bootstrap_interval(values, resamples=50) != bootstrap_interval(values, resamples=50, seed=1)


@pytest.mark.parametrize("values", [[], [3.0]])
def test_fewer_than_two_have_none(values: list[float]) -> None:
    assert bootstrap_interval(values) is None


@pytest.mark.parametrize(
    "arguments",
    [
        {"values": [1, float("nan")]},
        {"values": [1, 2], "weights": [1]},
        {"values": [1, 2], "weights": [1, 0]},
        {"values": [1, 2], "resamples": 0},
        {"values": [1, 2], "confidence": 1.0},
    ],
)
def test_what_makes_no_sense(arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"must be|take at least"):
        bootstrap_interval(**arguments)  # type: ignore[arg-type]


def test_excluding() -> None:
    assert Interval(0.1, 0.2).excludes(0)
    assert not Interval(0.0, 0.2).excludes(0)
    assert Interval(-0.2, -0.1).excludes(0)
