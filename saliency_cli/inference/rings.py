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

    def holds(self, begin: int, end: int) -> bool:
        """Whether all positions begin … end−1 are interior."""
        return self.first <= begin and end - 1 <= self.last

    def missing(self, *, fresh: bool) -> list[Span]:
        """Positions to compute: the ends, and the one that has just become interior; if ``fresh``, all."""
        if fresh or self.first >= self.last:
            return [Span(0, self.count)]
        return [span for span in (Span(0, self.first), Span(self.last, self.count)) if span.begin < span.end]


class Ring:
    """Features of the last positions of a stream, (count, …); memory is claimed once and used again.

    ``whole``: all positions are asked for at once. Then the ring is twice as long, and they are never in two pieces.
    """

    def __init__(self, count: int, shape: torch.Size, like: Tensor, *, whole: bool = False) -> None:
        self._slots = torch.zeros(2 * count if whole else count, *shape, dtype=like.dtype, device=like.device)
        self._count, self._start, self._whole = count, 0, whole

    def advance(self) -> None:
        """Move the window on by one position."""
        self._start += 1
        if not self._whole:
            self._start %= self._count
        elif self._start > self._count:  # all but the new position go to the beginning, where nothing overlaps
            self._slots[: self._count - 1] = self._slots[self._start :]
            self._start = 0

    def __getitem__(self, span: tuple[int, int]) -> Tensor:
        """The features at positions begin … end−1, for reading: a view, or a copy where the ring's end lies between."""
        pieces = [self._slots[begin:end] for begin, end in self._pieces(*span)]
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)

    def put(self, begin: int, features: Tensor, *, at: int = 0) -> None:
        """Keep (m, …, C) at positions begin … begin+m−1, as channels from ``at``."""
        done = 0
        for first, last in self._pieces(begin, begin + len(features)):
            piece = features[done : done + last - first]
            self._slots[first:last, ..., at : at + features.shape[-1]] = piece
            done += len(piece)

    def _pieces(self, begin: int, end: int) -> list[tuple[int, int]]:
        """Where positions begin … end−1 lie."""
        size, first, last = len(self._slots), self._start + begin, self._start + end
        if last <= size:
            return [(first, last)]
        if first >= size:
            return [(first - size, last - size)]
        return [(first, size), (0, last - size)]


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
        whole: bool = False,
    ) -> None:
        """Keep (m, …, C) in the ring of a name, at positions begin … begin+m−1 of ``count``, as channels from ``at``.

        The first to put something there tells how many channels there are (``width``; C, if they are all), and whether
        the ring will be read ``whole``.
        """
        ring = self._rings.get(name)
        if ring is None:
            shape = torch.Size((*features.shape[1:-1], width or features.shape[-1]))
            ring = self._rings[name] = Ring(count, shape, features, whole=whole)
        ring.put(begin, features, at=at)

    def __getitem__(self, name: str) -> Ring:
        """The ring of a name; KeyError if nothing was put there."""
        return self._rings[name]
