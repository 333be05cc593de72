"""Which window holds the most attention, and when it is worth going there."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from saliency_cli.reframing.targets import follow, gains, held, positions

Array = NDArray[np.float64]


def spot(where: float, bins: int = 64, width: float = 0.03) -> Array:
    """Attention at one place, (1, bins)."""
    line = np.exp(-0.5 * ((np.arange(bins) + 0.5) / bins - where) ** 2 / width**2)
    return np.asarray(line / line.sum())[None]


@pytest.mark.parametrize(("where", "expected"), [(0.5, 0.35), (0.3, 0.15), (0.02, 0.0), (0.99, 0.7)])
def test_a_spot_is_framed_in_the_middle(where: float, expected: float) -> None:
    worth = gains(spot(where), 0.7)
    assert positions(0.7)[worth[0].argmax()] == pytest.approx(expected, abs=0.01)


def test_most_attention_counts_and_not_its_centre() -> None:
    attention = 0.55 * spot(0.15) + 0.45 * spot(0.9)  # the centroid, 0.49, is a place where nothing is
    best = positions(0.7)[gains(attention, 0.7)[0].argmax()]
    assert best <= 0.14
    assert held(attention, 0.7, np.array([best]))[0] == pytest.approx(0.55, abs=0.01)


def test_without_a_preference_it_is_the_middle() -> None:
    flat = np.full((1, 32), 1 / 32)
    assert positions(0.6)[gains(flat, 0.6)[0].argmax()] == pytest.approx(0.3, abs=0.03)


@given(st.floats(0, 1), st.floats(0.01, 0.95))
def test_what_is_held_is_the_overlap(where: float, room: float) -> None:
    flat = np.full((1, 50), 1 / 50)
    edge = where * room
    assert held(flat, room, np.array([edge]))[0] == pytest.approx(1 - room, abs=1e-9)
    assert held(spot(0.5), 0.0, np.array([0.0]))[0] == pytest.approx(1)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.floats(0, 2), st.floats(0.02, 0.2))
def test_no_other_way_is_better(seed: int, cells: int, move: float, room: float) -> None:
    where = positions(room)
    worth = np.random.default_rng(seed).random((cells, len(where)))
    best = worth[0] * 0.1
    for cell in range(1, cells):  # the plain way, each with each
        best = (best[None] - move * np.abs(where[:, None] - where[None])).max(axis=1) + worth[cell] * 0.1
    found = follow(worth, room, 0.1, move)
    index = np.abs(found[:, None] - where[None]).argmin(axis=1)
    value = 0.1 * worth[np.arange(cells), index].sum() - move * np.abs(np.diff(found)).sum()
    assert value == pytest.approx(best.max(), abs=1e-9)


def test_what_is_soon_over_is_not_followed_and_what_lasts_is() -> None:
    def scene(cells: int) -> Array:
        return np.concatenate([spot(0.2).repeat(30, 0), spot(0.8).repeat(cells, 0), spot(0.2).repeat(30, 0)])

    brief = follow(gains(scene(3), 0.7), 0.7, 0.1)
    assert np.ptp(brief) == 0
    lasting = follow(gains(scene(30), 0.7), 0.7, 0.1)
    assert lasting[45] - lasting[0] > 0.4
    assert len(np.unique(lasting)) <= 3
