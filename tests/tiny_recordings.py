"""Recordings that need no files: what people look at moves over the picture, one step a frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saliency_cli.datasets import Dataset, Recording, Truth
from saliency_cli.metrics import density_map

__all__ = ["HEIGHT", "WIDTH", "TinyRecording", "ideal", "recording", "together"]

HEIGHT, WIDTH = 24, 32


@dataclass(frozen=True, kw_only=True, eq=False)
class TinyRecording(Recording):
    """Frame n is looked at around column ``first`` + n. Frames in ``unseen`` nobody looks at, ``unknown`` are unmarked.

    With pairing by time, frame n is the one shown from 1 + n / 25 seconds on.
    """

    first: int = 4
    rows: tuple[int, ...] = (6, 12, 18)  # one an observer
    unseen: frozenset[int] = frozenset()
    unknown: frozenset[int] = frozenset()

    def truth(self, index: int, seconds: float, size: tuple[int, int] | None = None) -> Truth | None:
        number = index if self.pairing == "frame" or self.kind == "image" else round((seconds - 1) * 25)
        if number in self.unknown or (self.frames is not None and number >= self.frames):
            return None
        counts = np.zeros(size or (self.height, self.width), np.int64)
        if number not in self.unseen:
            counts[list(self.rows), (self.first + number) % self.width] = 1
        return Truth(counts, density_map(counts, 2.0))

    def fixated(self, height: int, width: int) -> NDArray[np.bool_]:
        seen = np.zeros((height, width), np.bool_)
        seen[:, self.first] = True
        return seen

    def halves(self, seed: int = 0) -> tuple[Recording, Recording]:
        if len(self.rows) < 2:
            return super().halves(seed)
        rows = np.random.default_rng(seed).permutation(self.rows)
        half = len(rows) // 2
        return replace(self, rows=tuple(map(int, rows[:half]))), replace(self, rows=tuple(map(int, rows[half:])))


def recording(name: str = "a", **changes: Any) -> TinyRecording:
    """A video of 5 annotated frames, paired by number, without a stimulus; ``changes`` are its fields."""
    fields: dict[str, Any] = {
        "dataset": "tiny",
        "name": name,
        "kind": "video",
        "stimulus": None,
        "height": HEIGHT,
        "width": WIDTH,
        "splits": frozenset({"validation"}),
        "pairing": "frame",
        "frames": 5,
    }
    return TinyRecording(**{**fields, **changes})


def together(recordings: Sequence[Recording]) -> Dataset:
    """They, as a data set."""
    return Dataset(Path("tiny"), "tiny", tuple(recordings))


def ideal(one: Recording, index: int = 0, seconds: float = 0.0) -> NDArray[np.float32]:
    """The best map there is of a frame: its own density, a little above zero everywhere."""
    truth = one.truth(index, seconds)
    assert truth is not None
    return truth.density + np.float32(1e-3)
