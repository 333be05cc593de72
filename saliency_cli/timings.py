"""How long each stage of a prediction was busy."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

__all__ = ["StageClock"]

T = TypeVar("T")


class _End:
    """The end of a stream, where None may be an item."""


END = _End()


class StageClock:
    """How long each stage was busy, in seconds. A stage belongs to one thread."""

    def __init__(self) -> None:
        self.begin = time.perf_counter()
        self._busy = dict.fromkeys(("decode", "wait", "predict", "write"), 0.0)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        begin = time.perf_counter()
        try:
            yield
        finally:
            self._busy[stage] += time.perf_counter() - begin

    def around(self, stage: str, items: Iterable[T]) -> Iterator[T]:
        """The items, with the time that each took to come."""
        stream = iter(items)
        while True:
            with self(stage):
                item = next(stream, END)
            if isinstance(item, _End):
                return
            yield item

    def timings(self) -> dict[str, float]:
        """Rounded to milliseconds. The predictor's own time is without its waiting for frames."""
        busy = self._busy
        seconds = {"decode": busy["decode"], "predict": busy["predict"] - busy["wait"], "write": busy["write"]}
        seconds["total"] = time.perf_counter() - self.begin
        return {stage: round(value, 3) for stage, value in seconds.items()}
