"""Many maps at once: all scores of a stack, with what the metrics share computed once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saliency_cli.errors import UsageError
from saliency_cli.metrics.auc import auc_judd, auc_shuffled
from saliency_cli.metrics.maps import MapRows
from saliency_cli.metrics.saliency import cc_rows, information_gain_rows, kl_rows, nss_rows, sim_rows
from saliency_cli.metrics.summary import DEFAULT_METRICS, MetricName

__all__ = ["score_stack"]

CHUNK = 1 << 16  # pixels that are computed together: a few such arrays stay in the processor's second cache


def score_stack(
    predictions: NDArray[Any],
    fixations: NDArray[Any],
    densities: NDArray[Any] | None = None,
    *,
    metrics: Sequence[MetricName] = DEFAULT_METRICS,
    other: NDArray[Any] | None = None,
    baseline: NDArray[Any] | None = None,
    seed: int = 0,
) -> dict[MetricName, NDArray[np.float64]]:
    """The scores of N maps of one size, each (N,): those that ``nss``, ``cc`` and so on give map by map.

    ``predictions``, ``fixations`` (binary or counts) and ``densities``, for CC, SIM and KL: (N, H, W). ``other`` for
    s-AUC and ``baseline`` for information gain: (N, H, W), or (H, W) for all. Map i's draws come from ``seed`` + i.
    A score that is not defined is NaN.

    Raises UsageError for a metric that lacks what it needs, and ValueError for arrays of other shapes, or with values
    that are not finite.
    """
    needs = {"cc": densities, "sim": densities, "kl": densities, "auc_shuffled": other, "information_gain": baseline}
    for metric in metrics:
        if metric in needs and needs[metric] is None:
            raise UsageError(f"{metric} needs more than predictions and fixations: give it, or leave the metric out.")
    if predictions.ndim != 3 or predictions.size == 0:
        raise ValueError(f"predictions must be a stack of shape (maps, height, width), not {predictions.shape}")
    count, height, width = predictions.shape
    for name, array in (("fixations", fixations), ("densities", densities), ("other", other), ("baseline", baseline)):
        single = name in ("other", "baseline") and array is not None and array.shape == (height, width)
        if array is not None and array.shape != predictions.shape and not single:
            raise ValueError(f"predictions {predictions.shape} and {name} {array.shape} differ in size")
    scores = {metric: np.empty(count) for metric in metrics}
    common = None if baseline is None or baseline.ndim == 3 else _rows(baseline[None], "baseline")
    scratch: tuple[dict[str, NDArray[np.float64]], ...] = ({}, {}, {})  # for predictions, densities and baselines
    step = max(1, CHUNK // (height * width))
    for start in range(0, count, step):
        part = slice(start, start + step)
        maps = _rows(predictions[part], "predictions", scratch[0])
        truth = None if densities is None else _rows(densities[part], "densities", scratch[1])
        fixated = (fixations[part] > 0).reshape(maps.values.shape)
        for metric, result in scores.items():
            if metric == "nss":
                result[part] = nss_rows(maps, fixated)
            elif metric == "auc_judd":
                result[part] = [
                    auc_judd(values[None], where[None], seed=seed + start + index)
                    for index, (values, where) in enumerate(zip(maps.values, fixated, strict=True))
                ]
            elif metric == "auc_shuffled" and other is not None:
                elsewhere = np.broadcast_to(other, predictions.shape)[part].reshape(maps.values.shape)
                result[part] = [
                    auc_shuffled(values[None], where[None], negatives[None], seed=seed + start + index)
                    for index, (values, where, negatives) in enumerate(
                        zip(maps.values, fixated, elsewhere, strict=True)
                    )
                ]
            elif metric == "information_gain" and baseline is not None:
                over = common or _rows(baseline[part], "baseline", scratch[2])
                result[part] = information_gain_rows(maps, fixated, over)
            elif truth is not None:
                result[part] = {"cc": cc_rows, "sim": sim_rows, "kl": kl_rows}[metric](maps, truth)
    return scores


def _rows(stack: NDArray[Any], name: str, scratch: dict[str, NDArray[np.float64]] | None = None) -> MapRows:
    """A stack (n, H, W) of any real type as rows. Raises ValueError for NaN and infinity."""
    values = stack.reshape(len(stack), -1).astype(np.float64, copy=False)
    if not np.isfinite(values).all():
        raise ValueError(f"the {name} hold values that are not finite")
    return MapRows(values, scratch)
