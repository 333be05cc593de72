"""When a run's rates fall, and when it validates."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saliency_cli.training.schedule import Schedule
from saliency_cli.training.windowed_recipe import SchedulePlan

TSFP = Schedule(SchedulePlan(length=26, falls_at=(22, 25, 26)), epoch=600)
TASED = Schedule(
    SchedulePlan(length=1000, unit="step", batch=40, falls_at=(750, 950), falling=("decoder",), validate_every=50),
    epoch=600,
)


def test_tsfp_nets_epochs() -> None:
    assert TSFP.steps == 26 * 600 / 16
    assert [TSFP.epoch_of(step) for step in (0, 37, 38, 974)] == [1, 1, 2, 26]  # step 37 has 8 clips of the first
    factors = {epoch: [] for epoch in range(1, 27)}
    for step in range(TSFP.steps):
        factors[TSFP.epoch_of(step)].append(TSFP.factor(step, "encoder"))
    assert all(set(factors[epoch]) == {1.0} for epoch in range(1, 22))
    for epoch, expected in ((22, 0.1), (24, 0.1), (25, 0.01), (26, 0.001)):
        assert factors[epoch] == pytest.approx([expected] * len(factors[epoch]))
    validations = [done for done in range(1, TSFP.steps + 1) if TSFP.validates_after(done)]
    assert len(validations) == 26
    assert (validations[0], validations[-1]) == (38, 975)


def test_tased_nets_steps() -> None:
    assert TASED.steps == 1000
    rates = [TASED.factor(step, "decoder") for step in (0, 748, 749, 948, 949, 999)]
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
    assert {TASED.factor(step, "encoder") for step in range(1000)} == {1.0}
    assert [done for done in range(1, 1001) if TASED.validates_after(done)] == list(range(50, 1001, 50))


@given(st.integers(1, 50), st.integers(1, 30), st.integers(1, 9), st.integers(1, 5))
def test_epochs_of_any_size(epoch: int, batch: int, length: int, every: int) -> None:
    schedule = Schedule(SchedulePlan(length=length, batch=batch, at_once=1, validate_every=every), epoch)
    assert length * epoch <= schedule.steps * batch < length * epoch + batch
    assert schedule.validates_after(schedule.steps)
    found = sum(schedule.validates_after(done) for done in range(1, schedule.steps + 1))
    assert found <= length // every + 1
    assert schedule.epoch_of(0) == 1
    assert schedule.epoch_of(schedule.steps - 1) <= length
