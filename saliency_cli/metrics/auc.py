"""AUC-J and s-AUC: areas under two kinds of ROC curve.

Both follow ``code_forMetrics`` of cvzoya/saliency. Maps are (H, W) of any real type and of one size (see
:func:`match_size`). Without a fixation the scores are NaN; maps of other shapes, of different sizes or with values
that are not finite raise ValueError.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from saliency_cli.metrics.maps import as_locations, as_map, check_same_size, is_constant

__all__ = ["SHUFFLED_PROTOCOL", "auc_judd", "auc_shuffled"]

JITTER = 1e-7  # the reference's: rand / 10000000

SHUFFLED_PROTOCOL = "s-AUC after Borji: 100 random splits, step 0.1, negatives from ten other stimuli's fixations"


def auc_judd(
    prediction: NDArray[Any],
    fixations: NDArray[Any],
    *,
    jitter: bool = True,
    seed: int = 0,
) -> float:
    """AUC-J: the thresholds are P's values at the fixated pixels (``AUC_Judd.m``).

    At the i-th highest of the N thresholds the true positive rate is i / N, and the false positive rate
    (above − i) / (n − N), where ``above`` counts the pixels of n at or above the threshold; the area is the
    trapezoidal one, from (0, 0) to (1, 1). It is not the Mann–Whitney AUC: where fixated pixels tie, the curve runs
    back and forth, and a map with many ties scores low. ``jitter`` therefore adds a uniform random value in
    [0, 1e-7), from ``seed``, to each pixel; the reference does so by default.

    The reference's min–max scaling, which comes after the jitter, is left out: it changes no order. The jitter does
    where differences are as small as 1e-7, as between pixels of a probability map of sum 1: scale such a map to a
    maximum of 1 first, as :func:`score_map` does.

    NaN without a fixation, or with every pixel fixated. A constant map gives about 0.5 with jitter, NaN without.
    """
    values, fixated = as_map(prediction), as_locations(fixations)
    check_same_size(values, fixated, "fixations")
    pixels, count = values.size, int(fixated.sum())
    if count in (0, pixels) or (is_constant(values) and not jitter):
        return float("nan")
    if jitter:
        noise = np.random.default_rng(seed).random(values.shape)
        noise *= JITTER
        values = np.add(values, noise, out=noise)
    thresholds = np.sort(values[fixated])[::-1]
    high = values[values >= thresholds[-1]]  # what lies below every threshold need not be sorted
    high.sort()
    above = high.size - np.searchsorted(high, thresholds, side="left")
    found = np.arange(1, count + 1)
    return float(_area(false=(above - found) / (pixels - count), true=found / count))


def auc_shuffled(
    prediction: NDArray[Any],
    fixations: NDArray[Any],
    other_fixations: NDArray[Any],
    *,
    splits: int = 100,
    step: float = 0.1,
    seed: int = 0,
) -> float:
    """s-AUC: positives are the fixated pixels, negatives as many pixels that were fixated in other stimuli.

    After ``AUC_shuffled.m`` (Borji). P is min–max scaled; thresholds are 0, step, 2·step … up to the largest value,
    both ends included; the result is the mean over ``splits`` random draws of negatives from ``seed``.
    ``other_fixations``: (H, W), True where any of ten other stimuli was fixated; of fewer such pixels than fixations,
    all are taken.

    No draw is made pixel by pixel. Only how many of the negatives reach each threshold matters, and drawing without
    replacement makes these counts multivariate hypergeometric: they are drawn for all splits at once. Thresholds
    above a draw's largest value, which the reference leaves out, add no area.

    NaN without a fixation, without other fixations, and for a constant map.
    Raises ValueError unless ``splits >= 1`` and ``0 < step <= 1``.
    """
    if splits < 1 or not 0 < step <= 1:
        raise ValueError(f"s-AUC needs at least one split and a step in (0, 1], not {splits} and {step}")
    values = as_map(prediction)
    fixated, elsewhere = as_locations(fixations), as_locations(other_fixations, "other fixations")
    check_same_size(values, fixated, "fixations")
    check_same_size(values, elsewhere, "other fixations")
    if not fixated.any() or not elsewhere.any() or is_constant(values):
        return float("nan")
    low, high = values.min(), values.max()
    positives, pool = ((values[where] - low) / (high - low) for where in (fixated, elsewhere))
    # As in Octave's ranges, 3 eps keep rounding from losing the last step (1 / (1/93) is below 93), and 1 is the end.
    steps = int(1 / step * (1 + 3 * float(np.finfo(np.float64).eps)))
    thresholds = np.minimum(np.arange(steps + 1, dtype=np.float64) * step, 1)
    drawn = min(positives.size, pool.size)
    counts = np.random.default_rng(seed).multivariate_hypergeometric(
        _levels(pool, thresholds), drawn, size=splits, method="marginals"
    )  # (splits, levels)
    true = _rates(_levels(positives, thresholds)[None])
    return float(np.mean(_area(false=_rates(counts), true=np.broadcast_to(true, counts.shape))))


def _levels(values: NDArray[np.float64], thresholds: NDArray[np.float64]) -> NDArray[np.int64]:
    """How many of ``values`` (all >= 0) reach each threshold but not the next: (len(thresholds),)."""
    reached = np.searchsorted(thresholds, values, side="right") - 1
    return np.bincount(reached, minlength=thresholds.size)


def _rates(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Share at or above each threshold, from the highest threshold to the lowest: (..., levels) to (..., levels)."""
    above = np.cumsum(counts[..., ::-1], axis=-1)
    rates: NDArray[np.float64] = above / above[..., -1:]
    return rates


def _area(*, false: NDArray[np.float64], true: NDArray[np.float64]) -> NDArray[np.float64]:
    """Trapezoidal area under the points (false, true), (..., K), with (0, 0) before and (1, 1) after: (...)."""
    ends = [(0, 0)] * (false.ndim - 1) + [(1, 1)]
    x, y = (np.pad(rate, ends, constant_values=((0, 0),) * (rate.ndim - 1) + ((0, 1),)) for rate in (false, true))
    return np.asarray(np.sum(np.diff(x) * (y[..., 1:] + y[..., :-1]), axis=-1) / 2)
