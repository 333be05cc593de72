"""What every metric does first: check its maps, bring them to one size, scale them."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["MapRows", "as_locations", "as_map", "check_same_size", "dots", "is_constant", "match_size"]


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


class MapRows:
    """Maps of one size, a row each, with what several metrics want to know of them: computed when first asked for.

    Every metric is written once, for rows; a single map is one row. At video size a fresh array costs more than the
    arithmetic that fills it: with ``scratch``, a dictionary, the arrays of the rows before are used again, and those
    rows must not be asked any more. All arrays are float64 unless said otherwise; they are not to be changed.
    """

    def __init__(self, values: NDArray[np.float64], scratch: dict[str, NDArray[np.float64]] | None = None) -> None:
        self.values = values  # (N, pixels)
        self._scratch = {} if scratch is None else scratch

    def room(self, name: str) -> NDArray[np.float64]:
        """An array to write ``name`` into: (N, pixels), of any content."""
        kept = self._scratch.get(name)
        if kept is None or kept.shape[1:] != self.values.shape[1:] or len(kept) < len(self.values):
            kept = self._scratch[name] = np.empty_like(self.values, order="C")
        return kept[: len(self.values)]

    @cached_property
    def low(self) -> NDArray[np.float64]:
        """The least value of each map: (N, 1)."""
        return np.asarray(self.values.min(axis=1, keepdims=True))

    @cached_property
    def high(self) -> NDArray[np.float64]:
        """The greatest value of each map: (N, 1)."""
        return np.asarray(self.values.max(axis=1, keepdims=True))

    @cached_property
    def constant(self) -> NDArray[np.bool_]:
        """Which maps have one value everywhere: (N,), bool. See :func:`is_constant`."""
        return np.asarray(self.low == self.high)[:, 0]

    @cached_property
    def centred(self) -> NDArray[np.float64]:
        """Each map without its mean: (N, pixels)."""
        means = self.values.mean(axis=1, keepdims=True)
        return np.asarray(np.subtract(self.values, means, out=self.room("centred")))

    @cached_property
    def squares(self) -> NDArray[np.float64]:
        """The sum of squares of the centred maps: (N,)."""
        return dots(self.centred, self.centred)

    @cached_property
    def scaled(self) -> NDArray[np.float64]:
        """Each map min–max scaled, then of sum 1: (N, pixels); zeros for a constant one."""
        result = np.subtract(self.values, self.low, out=self.room("scaled"))
        result /= np.where(self.constant[:, None], 1, self.high - self.low)
        total = result.sum(axis=1, keepdims=True)
        result /= np.where(total > 0, total, 1)
        return result


def dots(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """The scalar product of each row (N, pixels) of one with that of the other: (N,)."""
    return np.array([np.vdot(a, b) for a, b in zip(left, right, strict=True)])


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
