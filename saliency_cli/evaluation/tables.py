"""Results for people: tables for the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rich.table import Table

from saliency_cli.evaluation.bootstrap import Interval
from saliency_cli.evaluation.comparison import Comparison
from saliency_cli.evaluation.results import Evaluation, scored_frames
from saliency_cli.evaluation.sources import CENTRE, OBSERVERS
from saliency_cli.metrics import LABELS, MetricName

__all__ = ["comparison_tables", "scores_table"]

BASELINE_NAMES = {CENTRE: "centre Gaussian", OBSERVERS: "half of the observers"}
NONE = "–"


def scores_table(evaluation: Evaluation, baselines: Sequence[Evaluation] = ()) -> Table:
    """Every video with a row of its own; for each data set the means, their intervals, and what stands beside them."""
    metrics = evaluation.metrics
    table = Table("", "frames", *(LABELS[name] for name in metrics), "change", box=None)
    for item in evaluation.items:
        if item.kind == "video":
            change = NONE if item.change is None else f"{item.change:.4f}"
            frames = _count(len(item.scored), len(item.scores.frames))
            table.add_row(item.label, frames, *_cells(item.scores.means, metrics), change)
    beside = [(baseline, baseline.summaries()) for baseline in baselines]
    for group, summary in evaluation.summaries().items():
        frames = _count(scored_frames(evaluation.items, group), summary.frames)
        table.add_row(f"{group}, mean over items", frames, *_cells(summary.over_items, metrics))
        if summary.items_interval:
            table.add_row("  95 % interval", "", *_spans(summary.items_interval, metrics))
        table.add_row(f"{group}, mean over frames", frames, *_cells(summary.over_frames, metrics))
        for baseline, summaries in beside:
            if group in summaries:
                name = BASELINE_NAMES.get(baseline.source, baseline.source)
                beneath = summaries[group]
                of = _count(scored_frames(baseline.items, group), beneath.frames)
                table.add_row(f"  {name}, over items", of, *_cells(beneath.over_items, metrics))
    return table


def comparison_tables(comparison: Comparison) -> tuple[Table, Table]:
    """The differences of every video; for each data set and metric both means, their difference and its interval."""
    metrics = comparison.metrics
    each = Table("second − first", "frames", *(LABELS[name] for name in metrics), box=None)
    for pair in comparison.pairs:
        each.add_row(f"{pair.dataset}/{pair.name}", str(pair.frames), *_cells(pair.differences, metrics, sign="+"))
    means = Table("", "items", "", "first", "second", "second − first", "95 % interval", "excludes 0", box=None)
    for group, differences in comparison.differences().items():
        for metric, found in differences.items():
            numbers = [_number(found.first), _number(found.second), _number(found.difference, sign="+")]
            verdict = NONE if found.interval is None else "yes" if found.interval.excludes(0) else "no"
            span = _span(found.interval, sign="+")
            means.add_row(group, str(found.items), LABELS[metric], *numbers, span, verdict)
    return each, means


def _count(scored: int, frames: int) -> str:
    """How many frames the means are of, and of how many, if some have no scores."""
    return str(frames) if scored == frames else f"{scored} of {frames}"


def _cells(means: Mapping[MetricName, float], metrics: Sequence[MetricName], *, sign: str = "") -> list[str]:
    return [_number(means.get(name, math.nan), sign=sign) for name in metrics]


def _spans(intervals: Mapping[MetricName, Interval], metrics: Sequence[MetricName]) -> list[str]:
    return [_span(intervals.get(name)) for name in metrics]


def _number(value: float, *, sign: str = "") -> str:
    return format(round(value, 3) + 0.0, f"{sign}.3f") if math.isfinite(value) else NONE  # and never -0.000


def _span(interval: Interval | None, *, sign: str = "") -> str:
    if interval is None:
        return NONE
    between = " to " if sign or interval.low < 0 else "–"
    return f"{_number(interval.low, sign=sign)}{between}{_number(interval.high, sign=sign)}"
