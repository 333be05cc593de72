"""NSS, CC, SIM, KL and information gain: scores of map values.

Definitions and degenerate cases follow ``code_forMetrics`` of cvzoya/saliency, the MATLAB code of the MIT Saliency
Benchmark. Throughout, P is the prediction, G the density of fixations, F the set of fixated pixels, n the number of
pixels, and eps 2.22e-16. Maps are (H, W) of any real type and of one size (see :func:`match_size`); computation is in
float64. A score that is not defined is NaN: the caller counts and skips it. Maps of other shapes, of different sizes
or with values that are not finite raise ValueError.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from saliency_cli.metrics.maps import as_locations, as_map, check_same_size, is_constant, min_max

__all__ = ["cc", "information_gain", "kl", "nss", "sim"]

EPS = float(np.finfo(np.float64).eps)  # 2.22e-16, MATLAB's eps


def nss(prediction: NDArray[Any], fixations: NDArray[Any]) -> float:
    """Normalised scanpath saliency: mean over F of (P − mean P) / std P, with std over n−1 (``NSS.m``).

    ``fixations``: (H, W), binary or counts; a pixel that was fixated twice counts once, as in the reference.
    NaN without a fixation, and for a constant prediction.
    """
    values, fixated = as_map(prediction), as_locations(fixations)
    check_same_size(values, fixated, "fixations")
    if not fixated.any() or is_constant(values):
        return float("nan")
    return float((values[fixated].mean() - values.mean()) / values.std(ddof=1))


def cc(prediction: NDArray[Any], density: NDArray[Any]) -> float:
    """Pearson's linear correlation of P and G over all pixels (``CC.m``).

    NaN if either map is constant, which an empty density is.
    """
    values, truth = as_map(prediction), as_map(density, "density")
    check_same_size(values, truth, "density")
    if is_constant(values) or is_constant(truth):
        return float("nan")
    values, truth = values - values.mean(), truth - truth.mean()
    return float(np.vdot(values, truth) / np.sqrt(np.vdot(values, values) * np.vdot(truth, truth)))


def sim(prediction: NDArray[Any], density: NDArray[Any]) -> float:
    """Similarity, the histogram intersection: Σ min(P', G'), each map min–max scaled, then of sum 1 (``similarity.m``).

    0 for a prediction that is zero everywhere; NaN for any other constant prediction, as in the reference.
    NaN for a constant density too; the reference gives 0 for one that is zero, a truth without a fixation.
    """
    values, truth = as_map(prediction), as_map(density, "density")
    check_same_size(values, truth, "density")
    if is_constant(truth):
        return float("nan")
    if is_constant(values):
        return float("nan") if values.any() else 0.0
    values, truth = min_max(values), min_max(truth)
    return float(np.minimum(values / values.sum(), truth / truth.sum()).sum())


def kl(prediction: NDArray[Any], density: NDArray[Any]) -> float:
    """Kullback–Leibler divergence of G from P: Σ G' · ln(eps + G' / (P' + eps)), each map of sum 1 (``KLdiv.m``).

    Lower is better. Nothing is min–max scaled: a prediction that is zero where people looked costs up to 36 nats.
    A prediction that is zero everywhere stays zero. NaN for a density that is zero everywhere, where the reference
    gives 0, the best score there is. Raises ValueError for negative values, which no distribution has.
    """
    values, truth = as_map(prediction), as_map(density, "density")
    check_same_size(values, truth, "density")
    if values.min() < 0 or truth.min() < 0:
        raise ValueError("KL compares distributions: maps must not hold negative values")
    if not truth.any():
        return float("nan")
    if values.any():
        values = values / values.sum()
    truth = truth / truth.sum()
    inside = truth > 0  # elsewhere the terms are 0
    truth, values = truth[inside], values[inside]
    return float(np.vdot(truth, np.log(EPS + truth / (values + EPS))))


def information_gain(prediction: NDArray[Any], fixations: NDArray[Any], baseline: NDArray[Any]) -> float:
    """Information gain over ``baseline`` B, in bits a fixation: mean over F of log2(eps + P') − log2(eps + B').

    P' and B' are min–max scaled, then of sum 1 (``InfoGain.m``, after Kümmerer et al. 2015).
    ``baseline``: (H, W), for example a centre Gaussian or the density of other stimuli's fixations.
    NaN without a fixation, and if prediction or baseline is constant.
    """
    values, fixated, base = as_map(prediction), as_locations(fixations), as_map(baseline, "baseline")
    check_same_size(values, fixated, "fixations")
    check_same_size(values, base, "baseline")
    if not fixated.any() or is_constant(values) or is_constant(base):
        return float("nan")
    values, base = min_max(values), min_max(base)
    at_values, at_base = values[fixated] / values.sum(), base[fixated] / base.sum()
    return float(np.mean(np.log2(EPS + at_values) - np.log2(EPS + at_base)))
