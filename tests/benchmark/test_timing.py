"""Timings: cases take turns, and what the clock said is what comes out."""

from __future__ import annotations

import subprocess
import sys

import pytest

from saliency_cli.benchmark import timing
from saliency_cli.benchmark.timing import Timing, interleaved, rounds_of, timing_of


class Clock:
    """A clock that moves only while a case runs: by the seconds that the case is due next."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.done = 0.0, list[str]()
        monkeypatch.setattr(timing.time, "perf_counter", lambda: self.now)

    def run(self, name: str, *seconds: float) -> None:
        self.now += seconds[self.done.count(name)]
        self.done.append(name)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_cases_take_turns_and_the_first_round_does_not_count(clock: Clock) -> None:
    cases = {"a": lambda: clock.run("a", 9, 1, 2, 3), "b": lambda: clock.run("b", 9, 4, 4, 8)}
    timings = interleaved(cases, rounds=3, per_case=2)
    assert clock.done == ["a", "b"] * 4
    assert timings == {"a": Timing(1000, 750, 1250), "b": Timing(2000, 2000, 3000)}


def test_each_case_has_its_own_number_of_items(clock: Clock) -> None:
    cases = {"a": lambda: clock.run("a", 9, 1, 2), "b": lambda: clock.run("b", 9, 4, 6)}
    turns = list[float]()
    times = rounds_of(cases, rounds=2, items={"a": 1, "b": 4}, on_turn=lambda: turns.append(clock.now))
    assert times == {"a": [1000, 2000], "b": [1000, 1500]}
    assert turns == [9, 18, 19, 23, 25, 31]


def test_what_runs_after_a_turn_is_not_timed(clock: Clock) -> None:
    def slow() -> None:
        clock.now += 100

    times = rounds_of({"a": lambda: clock.run("a", 1, 2)}, rounds=2, items={"a": 1}, uncounted=0, on_turn=slow)
    assert times == {"a": [1000, 2000]}


def test_medians_and_quartiles() -> None:
    assert timing_of([4.0, 1.0, 2.0, 3.0, 100.0]) == Timing(3, 2, 4)
    assert timing_of([2.00049]) == Timing(2.0, 2.0, 2.0)


def test_scripts_may_still_choose_threads_after_importing_it() -> None:
    code = (
        "import sys; from saliency_cli.benchmark import machine, timing; "
        "print(sorted({'torch', 'numpy', 'cv2'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
