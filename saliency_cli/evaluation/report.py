"""Results for machines: JSON, and CSV with one row a video or one row a frame."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from saliency_cli._version import __version__
from saliency_cli.datasets import Dataset
from saliency_cli.evaluation.bootstrap import CONFIDENCE, RESAMPLES, Interval
from saliency_cli.evaluation.comparison import Comparison
from saliency_cli.evaluation.results import Evaluation, Summary, scored_frames
from saliency_cli.evaluation.scoring import ItemScores
from saliency_cli.metrics import SHUFFLED_PROTOCOL, MetricName, undefined_scores

__all__ = ["comparison_record", "evaluation_record", "frames_csv", "items_csv", "protocol", "report_record"]


def protocol(evaluation: Evaluation) -> dict[str, Any]:
    """How the numbers came about."""
    named: dict[str, Any] = {
        "size": "maps are resized to the ground truth's size, bilinearly",
        "means": "over items and over frames; frames that are skipped count nowhere",
        "interval": f"{100 * CONFIDENCE:g} % percentile bootstrap over items, {RESAMPLES} resamples from the seed",
        "seed": evaluation.seed,
        "limit": evaluation.limit,
    }
    if "auc_shuffled" in evaluation.metrics:
        named["auc_shuffled"] = SHUFFLED_PROTOCOL
    if "information_gain" in evaluation.metrics:
        named["information_gain"] = "over the centre Gaussian, in bits a fixation"
    return named


def report_record(
    dataset: Dataset, select: str, evaluation: Evaluation, baselines: Sequence[Evaluation] = ()
) -> dict[str, Any]:
    """A whole result, as JSON takes it: scores that are not defined are None."""
    return {
        "vsal": __version__,
        "data": {"path": str(dataset.root), "layout": dataset.layout, "select": select},
        "protocol": protocol(evaluation),
        "metrics": list(evaluation.metrics),
        **evaluation_record(evaluation),
        "baselines": {baseline.source: evaluation_record(baseline) for baseline in baselines},
    }


def evaluation_record(evaluation: Evaluation) -> dict[str, Any]:
    """One source's scores, as JSON takes them."""
    return {
        "source": {"name": evaluation.source, **evaluation.about},
        "items": [_item(item) for item in evaluation.items],
        "means": {name: _summary(summary) for name, summary in evaluation.summaries().items()},
        "missing": dict(evaluation.missing),
        "notes": list(evaluation.notes),
    }


def comparison_record(
    dataset: Dataset | None, select: str, comparison: Comparison, evaluations: Sequence[Evaluation] = ()
) -> dict[str, Any]:
    """A comparison, as JSON takes it. Differences are the second's minus the first's."""
    record: dict[str, Any] = {
        "vsal": __version__,
        "compare": {"first": comparison.first, "second": comparison.second},
        "metrics": list(comparison.metrics),
        "pairs": [
            {
                "dataset": pair.dataset,
                "item": pair.name,
                "kind": pair.kind,
                "frames": pair.frames,
                "first": _finite(pair.first),
                "second": _finite(pair.second),
                "difference": _finite(pair.differences),
            }
            for pair in comparison.pairs
        ],
        "differences": {
            group: {
                metric: {
                    "items": found.items,
                    **_finite({"first": found.first, "second": found.second, "difference": found.difference}),
                    "interval": _ends(found.interval),
                    "excludes_zero": None if found.interval is None else found.interval.excludes(0),
                }
                for metric, found in metrics.items()
            }
            for group, metrics in comparison.differences().items()
        },
        "unpaired": dict(comparison.unpaired),
    }
    if dataset is not None and evaluations:
        record["data"] = {"path": str(dataset.root), "layout": dataset.layout, "select": select}
        record["protocol"] = protocol(evaluations[0])
        record["sources"] = [evaluation_record(evaluation) for evaluation in evaluations]
    return record


def items_csv(evaluations: Sequence[Evaluation]) -> str:
    """One row an item, then for each data set one for its mean over items, with intervals, and one over frames."""
    metrics = evaluations[0].metrics
    ends = [f"{metric}_{end}" for metric in metrics for end in ("low", "high")]
    header = ["source", "row", "dataset", "item", "kind", "frames", "scored", "change", *metrics, *ends]
    rows: list[list[object]] = []
    for evaluation in evaluations:
        for item in evaluation.items:
            where = [evaluation.source, "item", item.dataset, item.name, item.kind]
            counts = [len(item.scores.frames), len(item.scored), item.change]
            rows.append([*where, *counts, *map(item.scores.means.get, metrics), *(None for _ in ends)])
        for group, summary in evaluation.summaries().items():
            for name, means, intervals in (
                ("mean over items", summary.over_items, summary.items_interval),
                ("mean over frames", summary.over_frames, summary.frames_interval),
            ):
                bounds = [_ends(intervals.get(metric)) or (None, None) for metric in metrics]
                scored = scored_frames(evaluation.items, group)
                where = [evaluation.source, name, group, "", ""]
                spans = [end for pair in bounds for end in pair]
                rows.append([*where, summary.frames, scored, None, *map(means.get, metrics), *spans])
    return _csv(header, rows)


def frames_csv(evaluations: Sequence[Evaluation]) -> str:
    """One row a frame: its number from 0, its time, the fixations on it, and its scores or why it has none."""
    metrics = evaluations[0].metrics
    header = ["source", "dataset", "item", "frame", "seconds", "fixations", "skipped", *metrics]
    return _csv(
        header,
        (
            [evaluation.source, item.dataset, item.name, frame.index, frame.seconds, frame.fixations, frame.skipped]
            + [frame.scores.get(metric) for metric in metrics]
            for evaluation in evaluations
            for item in evaluation.items
            for frame in item.scores.frames
        ),
    )


def _csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return stream.getvalue()


def _cell(value: object) -> object:
    """A number as it is, and nothing for one that is not defined."""
    return "" if value is None or (isinstance(value, float) and not math.isfinite(value)) else value


def _item(item: ItemScores) -> dict[str, Any]:
    return {
        "dataset": item.dataset,
        "item": item.name,
        "kind": item.kind,
        "height": item.size[0],
        "width": item.size[1],
        "frames": len(item.scores.frames),
        "scored": _ranges(item.scored),
        "skipped": dict(item.scores.skipped),
        "undefined": dict(undefined_scores([item.scores])),
        "change": item.change,
        **_finite(item.scores.means),
    }


def _summary(summary: Summary) -> dict[str, Any]:
    return {
        "items": summary.items,
        "frames": summary.frames,
        "over_items": _finite(summary.over_items),
        "over_items_interval": {metric: _ends(found) for metric, found in summary.items_interval.items()},
        "over_frames": _finite(summary.over_frames),
        "over_frames_interval": {metric: _ends(found) for metric, found in summary.frames_interval.items()},
    }


def _finite(values: Mapping[MetricName, float] | Mapping[str, float]) -> dict[str, float | None]:
    """Numbers as JSON can hold them: one that is not defined is None."""
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def _ends(interval: Interval | None) -> tuple[float, float] | None:
    return None if interval is None else (interval.low, interval.high)


def _ranges(numbers: Sequence[int]) -> str:
    """Rising numbers as ``0-3,5``."""
    breaks = [index + 1 for index, (one, other) in enumerate(pairwise(numbers)) if other != one + 1]
    runs = [numbers[start:end] for start, end in pairwise([0, *breaks, len(numbers)])] if numbers else []
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
