"""The shape asked for, and the largest crop of that shape that a frame holds: arithmetic, no pictures."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Self

from saliency_cli.errors import UsageError

__all__ = ["Aspect", "Crop"]

NUMBER = r"([0-9]{1,5}(?:\.[0-9]{1,4})?)"
NARROWEST, WIDEST = Fraction(1, 10), Fraction(10)
SMALLEST = 16  # pixels: what is smaller is no picture, and encoders refuse it


@dataclass(frozen=True, slots=True)
class Aspect:
    """Width over height of a picture as shown. ``label`` is how products are called after it: ``9x16``."""

    ratio: Fraction
    label: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """From ``W:H`` or a number, W over H: ``9:16``, ``2.39:1``, ``1.85``. Raises UsageError."""
        found = re.fullmatch(rf"{NUMBER}(?::{NUMBER})?", text.strip())
        if found is None:
            raise UsageError(f"--aspect {text}: must be W:H or a number, as 9:16, 1:1 or 2.39.")
        width, height = found[1], found[2] or "1"
        if not Fraction(width) or not Fraction(height):
            raise UsageError(f"--aspect {text}: a side is 0; give a shape as 9:16, 1:1 or 2.39.")
        ratio = Fraction(width) / Fraction(height)
        if not NARROWEST <= ratio <= WIDEST:
            raise UsageError(f"--aspect {text}: must lie between 1:10 and 10:1.")
        return cls(ratio, f"{width}x{height}")


@dataclass(frozen=True, slots=True)
class Crop:
    """A window of fixed size in a frame, which moves along one axis.

    Sizes are in pixels. ``along`` is ``x`` or ``y``. ``left`` and ``top`` are where the window stands on the axis along
    which it does not move. ``whole``: the window is the frame.
    """

    frame: tuple[int, int]  # width, height
    width: int
    height: int
    along: str

    @classmethod
    def largest(cls, frame: tuple[int, int], aspect: Aspect, *, pixel_aspect: Fraction = Fraction(1)) -> Self:
        """The largest window of an aspect, with even sides; the whole frame, if that is within a pixel of the aspect.

        Raises UsageError if the window would be too small for a picture.
        """
        wide, high = frame
        ratio = aspect.ratio / pixel_aspect  # of pixels' numbers
        width, height = min(Fraction(wide), high * ratio), min(Fraction(high), wide / ratio)
        if wide - width <= 1 and high - height <= 1:
            return cls(frame, wide, high, "x")
        crop = cls(frame, _even(width, wide), _even(height, high), "x" if wide - width > high - height else "y")
        if min(crop.width, crop.height) < SMALLEST:
            raise UsageError(
                f"--aspect {aspect.label.replace('x', ':')}: of {wide}x{high} pixels only {crop.width}x{crop.height} "
                "would be left; choose a shape nearer to the video's."
            )
        return crop

    @property
    def whole(self) -> bool:
        return (self.width, self.height) == self.frame

    @property
    def length(self) -> int:
        """Of the frame, along the axis of movement."""
        return self.frame[0] if self.along == "x" else self.frame[1]

    @property
    def room(self) -> int:
        """How far the window can move, in pixels."""
        return self.frame[0] - self.width if self.along == "x" else self.frame[1] - self.height

    @property
    def share(self) -> float:
        """The window's part of the frame's length."""
        return 1 - self.room / self.length

    def box(self, position: float) -> tuple[int, int, int, int]:
        """The window (x, y, width, height), on whole pixels, with its edge at ``position``, a part of the length."""
        edge = min(max(round(position * self.length), 0), self.room)
        left, top = (self.frame[0] - self.width) // 2, (self.frame[1] - self.height) // 2
        return (edge, top, self.width, self.height) if self.along == "x" else (left, edge, self.width, self.height)


def _even(size: Fraction, most: int) -> int:
    """The even number nearest to a size that still fits."""
    even = 2 * round(size / 2)
    return even if even <= most else even - 2
