"""How long frames took: the median and the largest of any number of delays, in little memory."""

from __future__ import annotations

import math
from collections import Counter

__all__ = ["Delays"]

STEP = 1.02  # delays are counted in steps of two per cent: a stream may go on for weeks
SHORTEST = 1e-6  # seconds


class Delays:
    """Delays in seconds, counted."""

    def __init__(self) -> None:
        self._steps: Counter[int] = Counter()
        self._largest = 0.0

    def add(self, delay: float) -> None:
        """Count one."""
        self._steps[round(math.log(max(delay, SHORTEST), STEP))] += 1
        self._largest = max(self._largest, delay)

    def summary(self) -> dict[str, float] | None:
        """``median``, to two per cent, and ``largest``; None if there was none."""
        passed = 0
        for step in sorted(self._steps):
            passed += self._steps[step]
            if 2 * passed >= self._steps.total():
                median = min(STEP**step, self._largest)
                return {"median": round(median, 4), "largest": round(self._largest, 4)}
        return None
