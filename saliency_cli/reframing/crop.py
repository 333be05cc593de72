"""The pictures: a window cut out of a frame, or drawn upon it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["Box", "cut_out", "drawn"]

Box = tuple[int, int, int, int]  # x, y, width, height
Picture = NDArray[np.uint8]

SHADE = 0.35  # of what lies outside is left
DARKER: Picture = np.rint(np.arange(256) * SHADE).astype(np.uint8)
LINE = (255, 255, 255)


def cut_out(pixels: Picture, box: Box, size: tuple[int, int] | None = None) -> Picture:
    """The window of a frame, uint8 (H, W, 3), scaled to ``size`` (width, height) if given."""
    x, y, width, height = box
    window = pixels[y : y + height, x : x + width]
    if size is None or size == (width, height):
        return np.ascontiguousarray(window)
    way = cv2.INTER_AREA if size[1] < height else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(window, size, interpolation=way), np.uint8)


def drawn(pixels: Picture, box: Box) -> Picture:
    """The whole frame, dark outside of the window, which has a thin white border: uint8 (H, W, 3)."""
    x, y, width, height = box
    picture = np.asarray(cv2.LUT(pixels, DARKER), np.uint8)
    picture[y : y + height, x : x + width] = pixels[y : y + height, x : x + width]
    thick = max(1, min(pixels.shape[:2]) // 360)
    for inset in range(min(thick, (min(width, height) + 1) // 2)):
        corner = (x + width - 1 - inset, y + height - 1 - inset)
        cv2.rectangle(picture, (x + inset, y + inset), corner, LINE, 1)
    return picture
