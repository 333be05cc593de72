"""Ground truth at another size: densities are resized, fixations are moved one by one."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["move_counts", "resize_density"]


def move_counts(counts: NDArray[Any], height: int, width: int) -> NDArray[np.int64]:
    """``counts`` (h, w), fixations on each pixel or True and False, on a grid of (height, width).

    Each pixel's fixations go to the pixel that its centre falls into. None is lost and none doubled: those that meet in
    one pixel add up. Raises ValueError for another shape, or a size below 1.
    """
    if counts.ndim != 2 or counts.size == 0:
        raise ValueError(f"fixations must be a map of shape (height, width), not {counts.shape}")
    if height < 1 or width < 1:
        raise ValueError(f"a map has at least one pixel, not {width}x{height}")
    if counts.shape == (height, width):
        return counts.astype(np.int64)
    rows, columns = np.nonzero(counts)
    # floor((r + 1/2) · H / h) in whole numbers, so that no rounding moves a fixation
    rows_to = (2 * rows + 1) * height // (2 * counts.shape[0])
    columns_to = (2 * columns + 1) * width // (2 * counts.shape[1])
    moved = np.zeros((height, width), np.int64)
    np.add.at(moved, (rows_to, columns_to), counts[rows, columns].astype(np.int64))
    return moved


def resize_density(density: NDArray[Any], height: int, width: int) -> NDArray[np.float32]:
    """``density`` (h, w) as float32 (height, width): averaged over areas where it shrinks, bilinear where it grows.

    Its scale stays, its sum does not. Raises ValueError for another shape, or a size below 1.
    """
    if density.ndim != 2 or density.size == 0:
        raise ValueError(f"a density must be a map of shape (height, width), not {density.shape}")
    if height < 1 or width < 1:
        raise ValueError(f"a map has at least one pixel, not {width}x{height}")
    values = density.astype(np.float32)
    if values.shape == (height, width):
        return values
    shrinks = height <= values.shape[0] and width <= values.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(values, (width, height), interpolation=how), dtype=np.float32)
