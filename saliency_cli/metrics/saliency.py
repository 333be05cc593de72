"""NSS, CC, SIM, KL and information gain: scores of map values.

Definitions and degenerate cases follow ``code_forMetrics`` of cvzoya/saliency, the MATLAB code of the MIT Saliency
Benchmark. Throughout, P is the prediction, G the density of fixations, F the set of fixated pixels, n the number of
pixels, and eps 2.22e-16. Maps are (H, W) of any real type and of one size (see :func:`match_size`); computation is in
float64. A score that is not defined is NaN: the caller counts and skips it. Maps of other shapes, of different sizes
or with values that are not finite raise ValueError.

Each score is written for rows, (N, pixels) with (N,) scores; its other form checks one map and is a stack of one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from saliency_cli.metrics.maps import MapRows, as_locations, as_map, check_same_size, dots

__all__ = [
    "cc",
    "cc_rows",
    "information_gain",
    "information_gain_rows",
    "kl",
    "kl_rows",
    "nss",
    "nss_rows",
    "sim",
    "sim_rows",
]

EPS = float(np.finfo(np.float64).eps)  # 2.22e-16, MATLAB's eps


def nss(prediction: NDArray[Any], fixations: NDArray[Any]) -> float:
    """Normalised scanpath saliency: mean over F of (P − mean P) / std P, with std over n−1 (``NSS.m``).

    ``fixations``: (H, W), binary or counts; a pixel that was fixated twice counts once, as in the reference.
    NaN without a fixation, and for a constant prediction.
    """
    values, fixated = as_map(prediction), as_locations(fixations)
    check_same_size(values, fixated, "fixations")
    return float(nss_rows(_row(values), fixated.reshape(1, -1))[0])


def nss_rows(maps: MapRows, fixated: NDArray[np.bool_]) -> NDArray[np.float64]:
    """:func:`nss` of each map; ``fixated``: (N, pixels)."""
    at = _means_at(maps.centred, fixated)  # NaN without a fixation
    deviation = np.sqrt(maps.squares / max(maps.values.shape[1] - 1, 1))
    return np.asarray(np.divide(at, deviation, out=np.full_like(at, np.nan), where=~maps.constant))


def cc(prediction: NDArray[Any], density: NDArray[Any]) -> float:
    """Pearson's linear correlation of P and G over all pixels (``CC.m``).

    NaN if either map is constant, which an empty density is.
    """
    values, truth = as_map(prediction), as_map(density, "density")
    check_same_size(values, truth, "density")
    return float(cc_rows(_row(values), _row(truth))[0])


def cc_rows(maps: MapRows, truth: MapRows) -> NDArray[np.float64]:
    """:func:`cc` of each map with its density."""
    defined = ~(maps.constant | truth.constant)
    norm = np.sqrt(maps.squares * truth.squares)
    products = dots(maps.centred, truth.centred)
    return np.asarray(np.divide(products, norm, out=np.full_like(norm, np.nan), where=defined))


def sim(prediction: NDArray[Any], density: NDArray[Any]) -> float:
    """Similarity, the histogram intersection: Σ min(P', G'), each map min–max scaled, then of sum 1 (``similarity.m``).

    0 for a prediction that is zero everywhere; NaN for any other constant prediction, as in the reference.
    NaN for a constant density too; the reference gives 0 for one that is zero, a truth without a fixation.
    """
    values, truth = as_map(prediction), as_map(density, "density")
    check_same_size(values, truth, "density")
    return float(sim_rows(_row(values), _row(truth))[0])


def sim_rows(maps: MapRows, truth: MapRows) -> NDArray[np.float64]:
    """:func:`sim` of each map with its density."""
    both = np.minimum(maps.scaled, truth.scaled, out=maps.room("work")).sum(axis=1)
    undefined = truth.constant | (maps.constant & (maps.low[:, 0] != 0))
    return np.where(undefined, np.nan, both)


def kl(prediction: NDArray[Any], density: NDArray[Any]) -> float:
    """Kullback–Leibler divergence of G from P: Σ G' · ln(eps + G' / (P' + eps)), each map of sum 1 (``KLdiv.m``).

    Lower is better. Nothing is min–max scaled: a prediction that is zero where people looked costs up to 36 nats.
    A prediction that is zero everywhere stays zero. NaN for a density that is zero everywhere, where the reference
    gives 0, the best score there is. Raises ValueError for negative values, which no distribution has.
    """
    values, truth = as_map(prediction), as_map(density, "density")
    check_same_size(values, truth, "density")
    return float(kl_rows(_row(values), _row(truth))[0])


def kl_rows(maps: MapRows, truth: MapRows) -> NDArray[np.float64]:
    """:func:`kl` of each map from its density."""
    if maps.low.min() < 0 or truth.low.min() < 0:
        raise ValueError("KL compares distributions: maps must not hold negative values")
    share, ratio = _of_sum_one(truth), _of_sum_one(maps)
    ratio += EPS
    np.divide(share, ratio, out=ratio)
    ratio += EPS
    each = dots(share, np.log(ratio, out=ratio))  # terms outside the density are 0 · ln(eps) = 0
    return np.where(truth.high[:, 0] > 0, each, np.nan)


def information_gain(prediction: NDArray[Any], fixations: NDArray[Any], baseline: NDArray[Any]) -> float:
    """Information gain over ``baseline`` B, in bits a fixation: mean over F of log2(eps + P') − log2(eps + B').

    P' and B' are min–max scaled, then of sum 1 (``InfoGain.m``, after Kümmerer et al. 2015).
    ``baseline``: (H, W), for example a centre Gaussian or the density of other stimuli's fixations.
    NaN without a fixation, and if prediction or baseline is constant.
    """
    values, fixated, base = as_map(prediction), as_locations(fixations), as_map(baseline, "baseline")
    check_same_size(values, fixated, "fixations")
    check_same_size(values, base, "baseline")
    return float(information_gain_rows(_row(values), fixated.reshape(1, -1), _row(base))[0])


def information_gain_rows(maps: MapRows, fixated: NDArray[np.bool_], baselines: MapRows) -> NDArray[np.float64]:
    """:func:`information_gain` of each map over its baseline, or over the only one; ``fixated``: (N, pixels)."""
    scaled = np.broadcast_to(baselines.scaled, maps.values.shape)
    gains = [
        np.mean(np.log2(EPS + ours[where]) - np.log2(EPS + base[where])) if where.any() else np.nan
        for ours, base, where in zip(maps.scaled, scaled, fixated, strict=True)
    ]
    return np.where(maps.constant | baselines.constant, np.nan, gains)


def _row(values: NDArray[np.float64]) -> MapRows:
    return MapRows(values.reshape(1, -1))


def _means_at(values: NDArray[np.float64], fixated: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The mean of each row at its fixated pixels: (N,); NaN where there are none."""
    rows = zip(values, fixated, strict=True)
    return np.array([row[where].mean() if where.any() else np.nan for row, where in rows])


def _of_sum_one(maps: MapRows) -> NDArray[np.float64]:
    """Each row divided by its sum; one that is zero everywhere stays so."""
    total = maps.values.sum(axis=1, keepdims=True)
    return np.divide(maps.values, np.where(total > 0, total, 1), out=maps.room("work"))
