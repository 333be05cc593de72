"""What the engine remembers of a stream: features by position, of which the window is always one contiguous run.

**Positions.** A layer's window has n positions, 0 … n−1. When the window moves on by one, what was at position i is at
i−1. A position whose temporal receptive field stays inside the window (it is *interior*) depends on the frames alone,
not on where the window's zero-padded ends are: its features are kept. The others are computed for each window anew,
into the same places: no later window reads them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Interior", "Memory", "Ring", "Span"]


class Span(NamedTuple):
    """Positions begin … end−1."""

    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Interior:
    """Which of a layer's ``count`` positions are interior: first … last, or none if first > last."""

    count: int
    first: int
    last: int

    def after(self, kernel: int, stride: int = 1) -> Interior:
        """Those of a layer on top that convolves or pools in time, with kernel // 2 zeros at both ends."""
        reach = kernel // 2
        count = (self.count + 2 * reach - kernel) // stride + 1
        return Interior(count, -((-self.first - reach) // stride), (self.last - reach) // stride)

    @property
    def longest(self) -> int:
        """How many times a convolution over three times, of which this is the interior, reads at a time, at most."""
        return self.count if self.first >= self.last else max(self.first + 1, self.count - self.last + 1)

    def missing(self, *, fresh: bool) -> list[Span]:
        """Positions to compute: the ends, and the one that has just become interior; if ``fresh``, all."""
        if fresh or self.first >= self.last:
            return [Span(0, self.count)]
        return [span for span in (Span(0, self.first), Span(self.last, self.count)) if span.begin < span.end]


class Ring:
    """Features of the last positions of a stream, (count, …); memory is claimed once and used again.

    Runs of at most ``longest`` positions are views; longer ones may have to be copied. If those are all positions, the
    ring is twice as long, and all move to its beginning when its end is reached. If they are fewer, it is closed:
    behind its end lies a second time what lies at its beginning.
    """

    def __init__(self, count: int, shape: torch.Size, like: Tensor, *, longest: int | None = None) -> None:
        self._count, self._start = count, 0
        self._twice = None if longest is None or longest >= count else longest - 1  # how many positions lie there twice
        slots = 2 * count if self._twice is None else count + self._twice
        self._slots = torch.zeros(slots, *shape, dtype=like.dtype, device=like.device)

    def advance(self) -> None:
        """Move the window on by one position."""
        self._start += 1
        if self._twice is not None:
            self._start %= self._count
        elif self._start > self._count:  # all but the new position go to the beginning, where nothing overlaps
            self._slots[: self._count - 1] = self._slots[self._start :]
            self._start = 0

    def __getitem__(self, span: tuple[int, int]) -> Tensor:
        """The features at positions begin … end−1, for reading."""
        begin, end = (self._start + position for position in span)
        if begin >= self._count and self._twice is not None:
            begin, end = begin - self._count, end - self._count
        if end <= len(self._slots):
            return self._slots[begin:end]
        return torch.cat([self._slots[begin : self._count], self._slots[: end - self._count]])

    def put(self, begin: int, features: Tensor, *, at: int = 0) -> None:
        """Keep (m, …, C) at positions begin … begin+m−1, as channels from ``at``."""
        channels = slice(at, at + features.shape[-1])
        first, last = self._start + begin, self._start + begin + len(features)
        if self._twice is None:
            self._slots[first:last, ..., channels] = features
            return
        # Once round, and once more: where the features lie as they stand, before the beginning, and behind the end.
        for turn in (-self._count, 0, self._count):
            low, high = max(first + turn, 0), min(last + turn, len(self._slots))
            if low < high:
                self._slots[low:high, ..., channels] = features[low - first - turn : high - first - turn]


class Memory:
    """The rings of one stream, by name, moved on together."""

    def __init__(self) -> None:
        self._rings: dict[str, Ring] = {}
        self.age = -1  # windows before this one; −1 before the first

    def advance(self) -> None:
        """Move on to the next window."""
        self.age += 1
        if self.age > 0:
            for ring in self._rings.values():
                ring.advance()

    def forget(self) -> None:
        """Begin another stream in the same memory."""
        self.age = -1

    def put(
        self,
        name: str,
        count: int,
        begin: int,
        features: Tensor,
        *,
        at: int = 0,
        width: int | None = None,
        longest: int | None = None,
    ) -> None:
        """Keep (m, …, C) in the ring of a name, at positions begin … begin+m−1 of ``count``, as channels from ``at``.

        The first to put something there tells how many channels there are (``width``; C, if they are all), and how many
        positions are read at a time, at most, once the stream runs (``longest``; all, if nothing is said).
        """
        ring = self._rings.get(name)
        if ring is None:
            shape = torch.Size((*features.shape[1:-1], width or features.shape[-1]))
            ring = self._rings[name] = Ring(count, shape, features, longest=longest)
        ring.put(begin, features, at=at)

    def __getitem__(self, name: str) -> Ring:
        """The ring of a name; KeyError if nothing was put there."""
        return self._rings[name]
