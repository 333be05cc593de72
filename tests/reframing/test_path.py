"""The path of the crop: inside, within its limits, still where it may be, and the same at every frame rate."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import optimize

from saliency_cli.errors import VsalError
from saliency_cli.reframing import path
from saliency_cli.reframing.path import PART, Limits, plan_path, smooth

Array = NDArray[np.float64]
BINS = 64


def spots(where: Array, width: float = 0.04) -> Array:
    """Attention at one place in each frame, (N, BINS)."""
    line = np.exp(-0.5 * ((np.arange(BINS) + 0.5) / BINS - where[:, None]) ** 2 / width**2)
    return np.asarray(line / line.sum(axis=1, keepdims=True))


def check_limits(found: Array, seconds: Array, limits: Limits, cuts: tuple[int, ...] = ()) -> None:
    """Divided differences are means of the derivatives, so they keep the same limits, whatever the frames' times."""
    for first, last in zip([0, *cuts], [*cuts, len(found)], strict=True):
        time, place = seconds[first:last], found[first:last]
        if len(time) > 1:
            speed = np.diff(place) / np.diff(time)
            assert np.abs(speed).max() <= limits.speed + 1e-4
        if len(time) > 2:
            acceleration = 2 * np.diff(speed) / (time[2:] - time[:-2])
            assert np.abs(acceleration).max() <= limits.acceleration + 5e-3


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_inside_and_within_limits_whatever_happens(data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    count = data.draw(st.integers(1, 90))
    room = data.draw(st.floats(0.001, 0.9))
    limits = Limits(data.draw(st.floats(0, 2)), data.draw(st.floats(0, 4)))
    cuts = tuple(sorted(data.draw(st.sets(st.integers(1, 89), max_size=3)) & set(range(1, count))))
    seconds = np.cumsum(rng.choice([0.02, 0.04, 0.1, 0.5], count))
    attention = rng.random((count, BINS)) ** rng.choice([1, 20])
    if data.draw(st.booleans()):
        attention = spots(rng.random(count // 7 + 1).repeat(7)[:count])
    attention /= attention.sum(axis=1, keepdims=True)
    found = plan_path(attention, seconds, end=seconds[-1] + 0.04, room=room, cuts=cuts, limits=limits)
    assert found.shape == (count,)
    assert found.min() >= 0
    assert found.max() <= room
    check_limits(found, seconds, limits, cuts)


@given(st.floats(0, 1), st.integers(1, 60), st.floats(0.1, 0.8))
@settings(max_examples=30, deadline=None)
def test_constant_attention_gives_a_constant_crop(where: float, count: int, room: float) -> None:
    seconds = np.arange(count) / 25
    found = plan_path(spots(np.full(count, where)), seconds, end=count / 25, room=room)
    assert np.ptp(found) < 1e-7
    middle = np.clip(where - (1 - room) / 2, 0, room)
    assert found[0] == pytest.approx(middle, abs=0.02)


def test_trembling_attention_gives_a_crop_that_holds_still() -> None:
    seconds = np.arange(250) / 25
    trembling = 0.5 + 0.02 * np.random.default_rng(0).standard_normal(250)
    found = plan_path(spots(trembling), seconds, end=10, room=0.7)
    assert np.ptp(found) < 1e-7


def test_the_crop_jumps_at_cuts_and_nowhere_else() -> None:
    seconds = np.arange(150) / 25
    where = np.repeat([0.2, 0.8, 0.4], 50)
    found = plan_path(spots(where), seconds, end=6, room=0.7, cuts=(50, 100))
    assert [np.ptp(found[first : first + 50]) < 1e-7 for first in (0, 50, 100)] == [True] * 3
    assert found[[0, 50, 100]] == pytest.approx([0.05, 0.65, 0.25], abs=0.02)
    panned = plan_path(spots(where), seconds, end=6, room=0.7)
    assert np.abs(np.diff(panned)).max() <= Limits().speed / 25 + 1e-6


def test_a_pan_begins_before_it_is_due_and_ends_after() -> None:
    step, targets = 0.1, np.repeat([0.1, 0.5], 50)
    motion = smooth(targets, step, room=0.7)
    place = motion.position
    assert place[[0, -1]] == pytest.approx([0.1, 0.5], abs=1e-6)
    assert (np.diff(place) > -1e-9).all()
    assert 0.15 < place[50] < 0.45  # halfway there when the attention changes: the path looks ahead
    moving = np.abs(motion.speed) > 1e-6
    assert 8 <= moving.sum() <= 30  # a second or two; before and after that it holds
    assert np.diff(np.flatnonzero(moving)).max() == 1


def test_a_steady_run_is_followed_by_a_steady_pan() -> None:
    seconds = np.arange(200) / 25
    subject = 0.2 + 0.075 * seconds
    found = plan_path(spots(subject), seconds, end=8, room=0.7)
    assert np.abs(found + 0.15 - subject)[10:-10].max() < 0.1  # never near the crop's edge
    speed = np.diff(found)[25:-25] * 25
    assert np.ptp(speed) < 0.05


def frame_rate_scene(seconds: Array) -> Array:
    """Attention that changes every 0.2 s."""
    return spots(np.array([0.2, 0.25, 0.7, 0.72, 0.3])[np.floor(seconds + 1e-6).astype(int) % 5])


def test_the_frame_rate_does_not_change_the_path() -> None:
    slow, fast = np.arange(200) / 25, np.arange(400) / 50
    at_25 = plan_path(frame_rate_scene(slow), slow, end=8, room=0.7)
    at_50 = plan_path(frame_rate_scene(fast), fast, end=8, room=0.7)
    assert np.ptp(at_25) > 0.1
    assert at_50[::2] == pytest.approx(at_25, abs=1e-6)
    # Frames left out here and there
    kept = np.flatnonzero(np.random.default_rng(1).random(400) < 0.6)
    kept = np.union1d(kept, np.arange(0, 400, 50))  # but for those with which the attention changes
    varied = plan_path(frame_rate_scene(fast[kept]), fast[kept], end=8, room=0.7)
    assert varied == pytest.approx(at_50[kept], abs=1e-6)


def test_parts_of_a_long_shot_join_without_a_seam() -> None:
    rng = np.random.default_rng(0)
    targets = rng.uniform(0, 0.7, 60).repeat(30)[: 2 * PART + 300]
    limits = Limits(0.4, 0.5)
    motion = smooth(targets, 0.1, room=0.7, limits=limits)
    assert len(motion.position) == len(targets) + 1
    seconds = np.arange(len(targets) * 2) * 0.05
    found = motion.at(seconds)
    assert found.min() >= 0
    assert found.max() <= 0.7
    check_limits(found, seconds, limits)
    assert np.ptp(found[2 * PART - 400 : 2 * PART + 400]) > 0.3  # there is motion at the seam
    gaps = np.diff(motion.position) - 0.05 * (motion.speed[1:] + motion.speed[:-1])
    assert np.abs(gaps).max() < 1e-5


@pytest.mark.parametrize("cells", [1, 2, 3])
def test_the_shortest_shots(cells: int) -> None:
    motion = smooth(np.full(cells, 0.3), 0.1, room=0.5)
    assert motion.position == pytest.approx(0.3, abs=1e-6)
    assert motion.at(np.array([0.0, 0.1 * cells, 99.0])) == pytest.approx(0.3, abs=1e-6)


def test_gaps_of_years_between_frames_cost_nothing() -> None:
    seconds = np.array([0.0, 0.04, 1e9])
    found = plan_path(spots(np.array([0.2, 0.2, 0.8])), seconds, end=1e9 + 1, room=0.7)
    assert found.shape == (3,)
    check_limits(found, seconds, Limits())


def test_without_room_nothing_moves() -> None:
    assert (plan_path(spots(np.full(5, 0.5)), np.arange(5.0), end=5, room=0.0) == 0).all()


def test_a_solver_that_fails_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = optimize.OptimizeResult(x=None, message="numbers ran out")
    monkeypatch.setattr(optimize, "linprog", lambda *arguments, **options: failed)
    with pytest.raises(VsalError, match="numbers ran out"):
        smooth(np.full(3, 0.3), 0.1, room=0.5)


def test_the_spline_is_inside_between_its_knots_too(monkeypatch: pytest.MonkeyPatch) -> None:
    for price in ("SPEED", "ACCELERATION", "JERK"):  # free movement, which tries all that the constraints allow
        monkeypatch.setattr(path, price, 0.0)
    for seed in range(5):
        targets = np.random.default_rng(seed).choice([0, 0.1], 60)
        motion = smooth(targets, 0.1, room=0.1, limits=Limits(9, 99))
        middle = motion.position[:-1] + 0.05 * motion.speed[:-1]
        assert middle.min() >= -1e-6
        assert middle.max() <= 0.1 + 1e-6


def test_a_change_within_the_dead_zone_is_ignored_unless_it_lasts() -> None:
    creeping = np.linspace(0.3, 0.33, 40)
    assert np.ptp(smooth(creeping, 0.1, room=0.7).position) < 1e-6
    lasting = np.repeat([0.3, 0.33], 600)
    assert np.ptp(smooth(lasting, 0.1, room=0.7).position) > 0.02


def test_a_part_leaves_the_next_one_a_way_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(path, "PART", 30)
    monkeypatch.setattr(path, "AHEAD", 10)
    limits = Limits(2.0, 0.02)  # it takes the crop 12 s to cross the frame, and a second is in view
    targets = np.repeat([0.0, 0.7, 0.0], [20, 100, 100])
    motion = smooth(targets, 0.1, room=0.7, limits=limits)
    assert np.ptp(motion.position) > 0.05
    assert np.abs(np.diff(motion.speed)).max() <= 0.002 + 1e-5
