"""What every metric does first: check its maps, bring them to one size, scale them."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["as_locations", "as_map", "check_same_size", "is_constant", "match_size", "min_max"]


def as_map(values: NDArray[Any], name: str = "prediction") -> NDArray[np.float64]:
    """``values`` (H, W) of any real type as float64. Raises ValueError for other shapes, and for NaN or infinity."""
    if values.ndim != 2 or values.size == 0:
        raise ValueError(f"the {name} must be a map of shape (height, width), not {values.shape}")
    result = values.astype(np.float64, copy=False)
    if not np.isfinite(result).all():
        raise ValueError(f"the {name} holds values that are not finite")
    return result


def as_locations(values: NDArray[Any], name: str = "fixations") -> NDArray[np.bool_]:
    """``values`` (H, W), binary or counts, as True where it is above zero. Raises ValueError for other shapes."""
    if values.ndim != 2 or values.size == 0:
        raise ValueError(f"the {name} must be a map of shape (height, width), not {values.shape}")
    return values > 0


def check_same_size(prediction: NDArray[Any], truth: NDArray[Any], name: str) -> None:
    """Raise ValueError unless both maps have one shape; :func:`match_size` gives them one."""
    if prediction.shape != truth.shape:
        raise ValueError(f"prediction {prediction.shape} and {name} {truth.shape} differ in size: use match_size first")


def is_constant(values: NDArray[Any]) -> bool:
    """Whether all values are equal. A standard deviation would not tell: rounding leaves it a little above zero."""
    return bool(values.min() == values.max())


def min_max(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """``values`` scaled to [0, 1]; they must not be constant."""
    low, high = values.min(), values.max()
    result: NDArray[np.float64] = (values - low) / (high - low)
    return result


def match_size(prediction: NDArray[Any], height: int, width: int) -> NDArray[np.float64]:
    """``prediction`` (h, w) resized to (height, width) with bilinear interpolation; unchanged if it has that size.

    The reference resizes bicubically, which overshoots below zero; DHF1K's and its successors' scripts use OpenCV.
    Raises ValueError for a map that is not two-dimensional and finite, or a size below 1.
    """
    values = as_map(prediction)
    if height < 1 or width < 1:
        raise ValueError(f"cannot resize a map to {width}x{height}")
    if values.shape == (height, width):
        return values
    return np.asarray(cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.float64)
