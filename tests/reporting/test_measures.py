"""The numbers of a report."""

from __future__ import annotations

from itertools import pairwise
from math import log2

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saliency_cli.render import FrameStatistics, frame_statistics
from saliency_cli.reporting.measures import JumpCounter, Tally, concentration, frame_at, key_times

LEFT, RIGHT, MIDDLE = (0.1, 0.5), (0.9, 0.5), (0.5, 0.5)


def looking(place: tuple[float, float], *, entropy: float = 2.0, spread: float = 0.1) -> FrameStatistics:
    return FrameStatistics(peak=place, centroid=place, spread=spread, entropy=entropy, mean=0.1)


def test_concentration_is_0_for_an_even_map_and_1_for_a_point() -> None:
    point = np.zeros((4, 8), np.float32)
    point[1, 2] = 3
    assert concentration(frame_statistics(np.ones((4, 8), np.float32)).entropy, 32) == pytest.approx(0, abs=1e-12)
    assert concentration(frame_statistics(point).entropy, 32) == 1
    assert concentration(log2(32) / 4, 32) == 0.75
    assert concentration(0.0, 1) == 1


def jumps(*seen: tuple[float, tuple[float, float]], cuts: tuple[float, ...] = ()) -> int:
    counter = JumpCounter()
    for seconds, place in seen:
        counter.see(seconds, place, cut=seconds in cuts)
    return counter.jumps


def test_a_jump_is_a_move_that_stays() -> None:
    assert jumps((0, LEFT), (0.1, RIGHT), (0.2, RIGHT), (0.3, RIGHT)) == 1
    assert jumps((0, LEFT), (0.1, RIGHT), (0.2, LEFT), (0.3, LEFT)) == 0  # flickered
    assert jumps((0, LEFT), (0.1, RIGHT), (0.2, RIGHT), (0.3, RIGHT), cuts=(0.1,)) == 0
    assert jumps(*((n / 10, (0.1 + n / 20, 0.5)) for n in range(17))) == 0  # drifted
    assert jumps((0, LEFT), (0.1, RIGHT), (0.2, MIDDLE), (0.3, MIDDLE), (0.4, MIDDLE)) == 1  # elsewhere on the way
    there_and_back = [(n / 10, LEFT if n % 8 < 4 else RIGHT) for n in range(16)]
    assert jumps(*there_and_back) == 3


def test_frames_count_by_the_time_they_are_shown() -> None:
    tally = Tally()
    assert tally.add(1.0, looking(MIDDLE, entropy=2.0, spread=0.1), 16, cut=False) == 0.5
    assert tally.add(1.5, looking(LEFT, entropy=0.0, spread=0.4), 16, cut=True) == 1.0
    summary = tally.summary(3.0)
    assert (summary.frames, summary.duration, summary.shots, summary.jumps) == (2, 2.0, 2, 0)
    assert summary.concentration == pytest.approx((0.5 * 0.5 + 1.5 * 1.0) / 2)
    assert summary.spread == pytest.approx((0.5 * 0.1 + 1.5 * 0.4) / 2)
    assert summary.middle == pytest.approx(0.25)


def test_key_times() -> None:
    assert key_times([], 0.5) == (0.25,)
    assert key_times([], 8) == tuple(n + 0.5 for n in range(8))
    assert key_times([], 3.2) == pytest.approx((3.2 / 6, 3.2 / 2, 3.2 * 5 / 6))
    assert key_times([0.4], 2.4) == pytest.approx((0.2, 0.9, 1.9))  # the longer shot twice
    many = [float(n) for n in range(1, 20)]
    assert key_times(many[:-1], 20) == pytest.approx((*(n + 0.5 for n in range(7)), 19.0))  # the last is the longest


@given(cuts=st.lists(st.floats(0, 1000), max_size=30).map(sorted), end=st.floats(0.01, 1000), most=st.integers(1, 12))
def test_key_times_lie_in_the_video_and_in_order(cuts: list[float], end: float, most: int) -> None:
    times = key_times(cuts, end, most=most)
    assert 1 <= len(times) <= most
    assert all(first < second for first, second in pairwise(times))
    assert times[0] >= 0
    assert times[-1] <= end


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=50, unique=True).map(sorted), st.integers(0, 10_000))
def test_the_frame_shown_at_a_time(starts: list[int], time: int) -> None:
    number = frame_at(starts, time)
    assert number == max([n for n, start in enumerate(starts) if start <= time], default=0)
