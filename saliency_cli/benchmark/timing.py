"""Timings that can be compared: cases take turns, and medians stand for the rounds."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Timing", "interleaved", "rounds_of", "timing_of"]

Case = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Timing:
    """How long one case took, in milliseconds: the median of the rounds, and the quartiles around it."""

    median_ms: float
    lower_quartile_ms: float
    upper_quartile_ms: float


def interleaved(cases: Mapping[str, Case], *, rounds: int, per_case: int = 1) -> dict[str, Timing]:
    """Time every case once a round, in turn, so that what else the machine does falls on all alike.

    A round before the first is not counted. ``per_case``: how many items a case works through; times are for one.
    """
    found = rounds_of(cases, rounds=rounds, items=dict.fromkeys(cases, per_case))
    return {name: timing_of(values) for name, values in found.items()}


def rounds_of(
    cases: Mapping[str, Case],
    *,
    rounds: int,
    items: Mapping[str, int],
    uncounted: int = 1,
    on_turn: Callable[[], None] | None = None,
) -> dict[str, list[float]]:
    """Milliseconds for one item of each case in each counted round, cases taking turns.

    Args:
        cases: what is timed. A case has ended when its call returns: it waits for its GPU itself.
        items: how many of them each case works through.
        uncounted: rounds before those that count, in which caches fill.
        on_turn: called after each turn, outside the times.
    """
    times: dict[str, list[float]] = {name: [] for name in cases}
    for turn in range(uncounted + rounds):
        for name, case in cases.items():
            begin = time.perf_counter()
            case()
            elapsed = time.perf_counter() - begin
            if turn >= uncounted:
                times[name].append(elapsed * 1000 / items[name])
            if on_turn:
                on_turn()
    return times


def timing_of(values: Sequence[float]) -> Timing:
    """The median and the quartiles of some milliseconds, to the microsecond; of a single value, that value."""
    if len(values) == 1:
        values = (*values, *values)
    lower, median, upper = statistics.quantiles(values, n=4, method="inclusive")
    return Timing(round(median, 3), round(lower, 3), round(upper, 3))
