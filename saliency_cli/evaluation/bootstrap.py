"""How sure a mean over videos is: percentile bootstrap intervals, from a seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["CONFIDENCE", "RESAMPLES", "Interval", "bootstrap_interval"]

RESAMPLES = 10_000
CONFIDENCE = 0.95
CHUNK = 1 << 20  # draws at a time: memory does not grow with the number of videos


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval, both ends included."""

    low: float
    high: float

    def excludes(self, value: float) -> bool:
        """Whether ``value`` lies outside."""
        return not self.low <= value <= self.high


def bootstrap_interval(
    values: Sequence[float],
    weights: Sequence[float] | None = None,
    *,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> Interval | None:
    """The percentile interval of the mean of ``values`` (N,), one a video; None for fewer than two.

    Videos are drawn with replacement, N of them ``resamples`` times; with ``weights`` (N,), above 0, the mean is
    weighted, as the one over frames is by the videos' numbers of frames. The order of the values does not matter.

    Raises:
        ValueError: values that are not finite, weights that do not fit, no resample, or no confidence in (0, 1).
    """
    points = np.asarray(values, np.float64)
    masses = np.ones_like(points) if weights is None else np.asarray(weights, np.float64)
    if points.ndim != 1 or masses.shape != points.shape:
        raise ValueError(f"values and weights must be two rows of one length, not {points.shape} and {masses.shape}")
    if not (np.isfinite(points).all() and np.isfinite(masses).all() and (masses > 0).all()):
        raise ValueError("values and weights must be finite, and weights above 0")
    if resamples < 1 or not 0 < confidence < 1:
        raise ValueError(f"{resamples} resamples at a confidence of {confidence}: take at least 1, and between 0 and 1")
    if points.size < 2:
        return None
    order = np.lexsort((masses, points))
    means = _resampled(points[order], masses[order], resamples, np.random.default_rng(seed))
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(float(low), float(high))


def _resampled(
    values: NDArray[np.float64], weights: NDArray[np.float64], resamples: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    """The weighted mean of each resample: (resamples,)."""
    means = np.empty(resamples)
    step = max(1, CHUNK // values.size)
    for start in range(0, resamples, step):
        chosen = generator.integers(0, values.size, (min(step, resamples - start), values.size))
        mass = weights[chosen]
        means[start : start + len(chosen)] = (mass * values[chosen]).sum(axis=1) / mass.sum(axis=1)
    return means
