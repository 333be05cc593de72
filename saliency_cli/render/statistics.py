"""One line of numbers for each map.

Positions are fractions of the picture's width and height, measured at pixel centres: column i of w lies at
(i + 0.5) / w. So they hold for the map and for the frame alike, whatever their sizes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["FrameStatistics", "frame_statistics"]


@dataclass(frozen=True, slots=True)
class FrameStatistics:
    """Where a map looks, and how firmly.

    ``peak``: x, y of the largest value, the first in reading order among equals. ``centroid``: x, y of the centre of
    mass. ``spread``: root of the mean squared distance from the centroid, weighted by saliency, in fractions (so a
    wide picture is measured as if it were square). ``entropy``: of the map as a distribution over its pixels, in bits;
    log2(h * w) where it is even, 0 where it is one pixel. ``mean``: of the values as they are, not normalised.
    """

    peak: tuple[float, float]
    centroid: tuple[float, float]
    spread: float
    entropy: float
    mean: float

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


def frame_statistics(saliency: NDArray[np.float32]) -> FrameStatistics:
    """Measure a map, (h, w). Values below 0 count as 0; a map of zeros counts as even, with its peak in the centre."""
    height, width = saliency.shape
    values = np.maximum(saliency, 0.0, dtype=np.float64)
    top = float(values.max())
    x = (np.arange(width) + 0.5) / width  # (w,)
    y = (np.arange(height) + 0.5) / height  # (h,)
    if top > 0.0:
        row, column = divmod(int(values.argmax()), width)
        peak = (float(x[column]), float(y[row]))
        share = values / top  # before the sum, so that tiny values do not vanish in it
    else:
        peak = (0.5, 0.5)
        share = np.ones_like(values)
    share /= share.sum()
    columns, rows = share.sum(axis=0), share.sum(axis=1)  # marginals: (w,), (h,)
    centre_x, centre_y = float(columns @ x), float(rows @ y)
    variance = float(columns @ (x - centre_x) ** 2 + rows @ (y - centre_y) ** 2)
    held = share[share > 0.0]
    entropy = float(-(held * np.log2(held)).sum())
    return FrameStatistics(
        peak=peak,
        centroid=(centre_x, centre_y),
        spread=variance**0.5,
        entropy=max(entropy, 0.0),
        mean=float(saliency.mean(dtype=np.float64)),
    )
