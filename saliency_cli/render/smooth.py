"""Blurring and resizing of maps."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["TASED_SIGMA", "blur", "resize", "tased_postprocess"]

TRUNCATE = 4.0  # standard deviations at which a Gaussian ends, as in SciPy
TASED_SIGMA = 7.0  # pixels of the 224x384 map


@lru_cache(maxsize=16)
def _gaussian(sigma: float) -> NDArray[np.float64]:
    """Weights of a Gaussian cut off at 4 sigma, (2 * radius + 1,), summing to 1."""
    radius = int(TRUNCATE * sigma + 0.5)
    x = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 * (x / sigma) ** 2)
    return np.asarray(weights / weights.sum(), np.float64)


def _convolve(values: NDArray[Any], sigma: float) -> NDArray[Any]:
    kernel = _gaussian(sigma)
    # Separable, with the edge pixel repeated by the mirror (cba|abc): SciPy's mode "reflect".
    return np.asarray(cv2.sepFilter2D(values, -1, kernel, kernel, borderType=cv2.BORDER_REFLECT))


def blur(saliency: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """Gaussian blur; equals ``scipy.ndimage.gaussian_filter(saliency, sigma, mode="reflect")`` to float32 accuracy.

    ``saliency``: (h, w). ``sigma``: pixels; 0 or less returns a copy.
    """
    values = np.ascontiguousarray(saliency, np.float32)
    return values.copy() if sigma <= 0 else np.asarray(_convolve(values, float(sigma)), np.float32)


def tased_postprocess(probability: NDArray[np.float32]) -> NDArray[np.float32]:
    """What TASED-Net's authors do to a map before they store it, without the last step to 8 bits.

    The sigmoid's output, (h, w) in 0..1, is cut down to steps of 1/255, blurred with sigma 7 and divided by its
    maximum. Truncating 255 times the result gives the bytes of their PNG files. A map below 1/255 everywhere comes
    out zero.

    float64 inside: in float32 single pixels fall on the other side of a step.
    """
    steps = np.trunc(np.asarray(probability, np.float32) * np.float32(255)).astype(np.float64) / 255.0
    smooth = _convolve(steps, TASED_SIGMA)
    peak = float(smooth.max(initial=0.0))
    if peak <= 0.0:
        return np.zeros(probability.shape, np.float32)
    levels = smooth / peak
    result = levels.astype(np.float32)
    # Rounding to float32 may carry a value over a step of 1/255; the next smaller float32 stays below it.
    over = np.trunc(result * np.float32(255)) > np.trunc(levels * 255.0)
    result[over] = np.nextafter(result[over], np.float32(0))
    return result


def resize(saliency: NDArray[np.float32], width: int, height: int) -> NDArray[np.float32]:
    """Bring a map, (h, w), to (height, width): bilinear where it grows, area average where both sides shrink."""
    values = np.ascontiguousarray(saliency, np.float32)
    if values.shape == (height, width):
        return values
    shrinks = width <= values.shape[1] and height <= values.shape[0]
    return np.asarray(
        cv2.resize(values, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR), np.float32
    )
