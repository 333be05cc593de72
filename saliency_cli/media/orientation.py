"""How a stored picture must be turned to stand upright: the eight orientations of a display matrix."""

from __future__ import annotations

from dataclasses import dataclass

import av
import numpy as np
from av.sidedata.sidedata import SideData
from numpy.typing import NDArray

__all__ = ["Orientation", "orientation_of"]


@dataclass(frozen=True, slots=True)
class Orientation:
    """Transpose first, then mirror along x, then along y: together these reach all eight orientations."""

    transpose: bool = False
    mirror_x: bool = False
    mirror_y: bool = False

    @property
    def rotation(self) -> int:
        """Degrees counter-clockwise, 0, 90, 180 or 270; of a mirrored orientation the part before the mirror."""
        if self.transpose:
            return 270 if self.mirror_x else 90
        return 180 if self.mirror_y else 0

    @property
    def mirrored(self) -> bool:
        return (self.transpose + self.mirror_x + self.mirror_y) % 2 == 1

    def apply(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Turn a picture, (H, W, C) as stored, upright; the result is contiguous, and a copy only if it must be."""
        if self.transpose:
            pixels = pixels.transpose(1, 0, 2)  # (W, H, C)
        if self.mirror_x:
            pixels = pixels[:, ::-1]
        if self.mirror_y:
            pixels = pixels[::-1]
        return np.ascontiguousarray(pixels)


# By how many quarters of a turn, counter-clockwise
QUARTERS = (
    Orientation(),
    Orientation(transpose=True, mirror_y=True),
    Orientation(mirror_x=True, mirror_y=True),
    Orientation(transpose=True, mirror_x=True),
)


def orientation_of(frame: av.VideoFrame) -> Orientation:
    """Read a frame's display matrix.

    The matrix takes a stored point (x, y) to (a x + c y, b x + d y), y downwards (ISO/IEC 14496-12, section 6.2.2).
    An angle that is no multiple of 90 degrees goes to the nearest that is.
    """
    try:
        side_data = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # PyAV fails at kinds of side data that are newer than itself, as those with EXIF
        return QUARTERS[round(frame.rotation / 90) % 4]
    if not isinstance(side_data, SideData):
        return Orientation()
    a, b, _, c, d, *_ = (int(value) for value in np.frombuffer(bytes(side_data), dtype=np.int32))
    if abs(b) > abs(a):
        return Orientation(transpose=True, mirror_x=c < 0, mirror_y=b < 0)
    return Orientation(mirror_x=a < 0, mirror_y=d < 0)
