"""What flows through the house: a description of the source, its frames, and their saliency maps."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["AudioInfo", "ColourInfo", "Frame", "Hdr", "SaliencyFrame", "SourceKind", "VideoInfo"]

SourceKind = Literal["video", "frames", "image"]
Hdr = Literal["", "pq", "hlg"]


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """The audio stream that goes with a video."""

    codec: str
    rate: int  # samples per second
    channels: int
    start: Fraction  # seconds, on the container's clock


@dataclass(frozen=True, slots=True)
class ColourInfo:
    """Colour tags of a video stream, as FFmpeg numbers them: unknown is 2, and 0 for the range."""

    space: int = 2
    range: int = 0
    primaries: int = 2
    transfer: int = 2


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What a source holds, known before a pixel is decoded.

    ``width`` and ``height`` are those of the frames as shown, after ``rotation`` (degrees counter-clockwise, 0, 90,
    180 or 270) was applied. ``frames`` is None where only reading to the end could tell. ``pixel_aspect`` is the width
    of one pixel as shown over its height, 1 if the file does not say; frames are not stretched by it. ``colour`` is
    that of the frames as handed on: high dynamic range, which ``hdr`` names, has become BT.709.
    """

    path: str
    kind: SourceKind
    width: int
    height: int
    frames: int | None
    rate: Fraction  # frames per second, the average; a folder of frames has the rate it was given
    time_base: Fraction  # seconds per unit of Frame.pts
    start: Fraction  # seconds, presentation time of the first frame
    codec: str
    rotation: int = 0
    colour: ColourInfo = ColourInfo()
    audio: AudioInfo | None = None
    pixel_aspect: Fraction = Fraction(1)
    hdr: Hdr = ""

    @property
    def duration(self) -> Fraction | None:
        """Seconds from the first frame's appearance to the end of the last, at the average rate."""
        return None if self.frames is None else self.frames / self.rate


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One frame as a person sees it: upright, RGB.

    ``pixels``: uint8 (H, W, 3). ``index`` counts from 0 in presentation order. ``pts`` is the container's presentation
    time in units of ``time_base``, not counted from 0.
    """

    index: int
    pixels: NDArray[np.uint8]
    pts: int
    time_base: Fraction

    @property
    def seconds(self) -> float:
        """Presentation time on the container's clock."""
        return float(self.pts * self.time_base)

    def __repr__(self) -> str:
        height, width = self.pixels.shape[:2]
        return f"Frame({self.index}, {width}x{height}, {self.seconds:.3f} s)"


@dataclass(frozen=True, slots=True, eq=False)
class SaliencyFrame:
    """The saliency map of one frame. ``saliency``: float32 (h, w), of the network's or the source's size."""

    index: int
    seconds: float
    saliency: NDArray[np.float32]

    def __repr__(self) -> str:
        height, width = self.saliency.shape
        return f"SaliencyFrame({self.index}, {width}x{height}, {self.seconds:.3f} s)"
