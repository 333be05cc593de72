"""Colour maps: from one number a pixel to RGB."""

from __future__ import annotations

from functools import cache
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from saliency_cli.errors import UsageError

__all__ = ["COLORMAPS", "Colormap", "colour", "lookup_table"]

Colormap = Literal["inferno", "turbo", "jet", "viridis", "magma", "gray"]
COLORMAPS: tuple[str, ...] = get_args(Colormap)

_OPENCV = {
    "inferno": cv2.COLORMAP_INFERNO,
    "turbo": cv2.COLORMAP_TURBO,
    "jet": cv2.COLORMAP_JET,
    "viridis": cv2.COLORMAP_VIRIDIS,
    "magma": cv2.COLORMAP_MAGMA,
}


@cache
def lookup_table(colormap: Colormap) -> NDArray[np.uint8]:
    """The 256 colours of a map, from 0 to 1: uint8 (256, 3), RGB. Raises UsageError for a name that does not exist."""
    levels = np.arange(256, dtype=np.uint8)
    if colormap == "gray":
        table = np.stack([levels] * 3, axis=-1)
    elif colormap in _OPENCV:
        table = np.asarray(cv2.applyColorMap(levels[:, None], _OPENCV[colormap])[:, 0, ::-1], np.uint8).copy()
    else:
        raise UsageError(f"There is no colour map {colormap!r}; choose one of {', '.join(COLORMAPS)}.")
    table.flags.writeable = False
    return np.asarray(table, np.uint8)


def colour(levels: NDArray[np.uint8], colormap: Colormap) -> NDArray[np.uint8]:
    """Colour an 8-bit map: uint8 (h, w) to uint8 (h, w, 3), RGB."""
    # OpenCV takes the table as it stands, so a table in RGB order gives RGB.
    return np.asarray(cv2.applyColorMap(levels, lookup_table(colormap)[:, None, :].copy()), np.uint8)
