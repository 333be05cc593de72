"""What a reframing did."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Reframing"]


@dataclass(frozen=True, slots=True, eq=False)
class Reframing:
    """What a reframing did.

    Attributes:
        source: the input.
        output, path: the video and the path's file, None where none was asked for; ``-`` is stdout.
        size: width and height of the crop, in pixels of the upright source.
        seconds: (N,), the frames' presentation times.
        boxes: (N, 4), the window of each frame: x, y, width, height in pixels of the upright source.
        cuts: the times at which a shot begins, but for the first.
        attention: the part of the predicted attention that lies within the crop, on average; None if the crop is the
            whole frame, and nothing was predicted.
        decoder, device, precision, weights: what did it, and why; empty where nothing was predicted.
        timings: seconds that each stage was busy, and in all.
    """

    source: Path
    output: Path | None
    path: Path | None
    size: tuple[int, int]
    seconds: NDArray[np.float64]
    boxes: NDArray[np.int64]
    cuts: tuple[float, ...]
    attention: float | None
    decoder: str
    device: str
    precision: str
    weights: str
    warnings: tuple[str, ...]
    timings: dict[str, float]

    def record(self) -> dict[str, Any]:
        """How it went, for sidecars: all but the path itself."""
        width, height = self.size
        names = ("decoder", "device", "precision", "timings", "warnings")
        return {
            "crop": {"width": width, "height": height},
            "cuts": [round(cut, 6) for cut in self.cuts],
            "attention": None if self.attention is None else round(self.attention, 4),
            "frames": len(self.seconds),
            **{name: getattr(self, name) for name in names},
        }
