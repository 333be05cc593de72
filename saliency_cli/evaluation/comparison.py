"""Two sources against each other: paired differences, video by video, and how sure their mean is."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from saliency_cli.errors import ReadError, UsageError
from saliency_cli.evaluation.bootstrap import Interval, bootstrap_interval
from saliency_cli.evaluation.results import ALL_VIDEOS, Evaluation
from saliency_cli.evaluation.scoring import ItemScores
from saliency_cli.metrics import LABELS, MetricName

__all__ = ["Comparison", "Difference", "Pair", "compare", "compare_results", "spell_difference"]


@dataclass(frozen=True, slots=True)
class Pair:
    """One video's means of both sources, over the frames that both have scores on."""

    dataset: str
    name: str
    kind: str
    frames: int
    first: Mapping[MetricName, float]
    second: Mapping[MetricName, float]

    @property
    def differences(self) -> dict[MetricName, float]:
        """The second's minus the first's."""
        return {metric: self.second[metric] - value for metric, value in self.first.items()}


@dataclass(frozen=True, slots=True)
class Difference:
    """A metric over the items of a group: both means over items, and the second's minus the first's.

    ``interval`` is that of the difference, drawing items; None for fewer than two.
    """

    items: int
    first: float
    second: float
    difference: float
    interval: Interval | None


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Two sources on the same frames. ``unpaired``: items that one of them lacks, by label, with the reason."""

    first: str
    second: str
    metrics: tuple[MetricName, ...]
    pairs: tuple[Pair, ...]
    unpaired: Mapping[str, str]
    seed: int

    def differences(self) -> dict[str, dict[MetricName, Difference]]:
        """For each data set, and for all videos together if they come from several."""
        groups: dict[str, list[Pair]] = {}
        for pair in self.pairs:
            groups.setdefault(pair.dataset, []).append(pair)
        videos = [pair for pair in self.pairs if pair.kind == "video"]
        if len({pair.dataset for pair in videos}) > 1:
            groups[ALL_VIDEOS] = videos
        return {name: _differences(rows, self.metrics, self.seed) for name, rows in groups.items()}


def compare(first: Evaluation, second: Evaluation) -> Comparison:
    """Pair two evaluations of the same recordings, on exactly the frames that both have scores on.

    Raises:
        UsageError: no item, or no metric, was scored of both.
    """
    metrics = _common(first.metrics, second.metrics, first.source, second.source)
    others = {item.label: item for item in second.items}
    unpaired = {**first.missing, **second.missing}
    pairs = []
    for item in first.items:
        if other := others.get(item.label):
            pair = _pair(item, other, metrics)
            if pair.frames:
                pairs.append(pair)
            else:
                unpaired[item.label] = "no frame has scores of both"
    if not pairs:
        raise UsageError(f"{first.source} and {second.source} have scores on no frame in common: nothing to compare.")
    return Comparison(first.source, second.source, metrics, tuple(pairs), unpaired, first.seed)


def compare_results(first: str | Path, second: str | Path, *, seed: int = 0) -> Comparison:
    """Pair two earlier results, as ``vsal evaluate --json`` writes them.

    Raises:
        ReadError: a file is missing or no such result.
        UsageError: they hold other items, or other frames of them, or no metric in common.
    """
    results = _read_result(Path(first)), _read_result(Path(second))
    names = tuple(_name(result, path) for result, path in zip(results, (first, second), strict=True))
    metrics = _common(results[0]["metrics"], results[1]["metrics"], str(first), str(second))
    one, other = ({f"{row['dataset']}/{row['item']}": row for row in result["items"]} for result in results)
    if different := sorted(one.keys() ^ other.keys()):
        holder = first if different[0] in one else second
        raise UsageError(
            f"{first} and {second} hold different items ({different[0]} is only in {holder}): evaluate the same ones."
        )
    pairs = []
    for label, row in one.items():
        if any(row[key] != other[label][key] for key in ("scored", "height", "width")):
            raise UsageError(
                f"{first} and {second} scored other frames of {label}, or at another size: compare the predictions "
                "themselves, which pairs their frames."
            )
        means = tuple({m: _number(side[m]) for m in metrics if m in side} for side in (row, other[label]))
        if means[0] and means[1]:
            pairs.append(Pair(row["dataset"], row["item"], row["kind"], _count(row["scored"]), *means))
    if not pairs:
        raise UsageError(f"{first} and {second} have no item with scores: nothing to compare.")
    return Comparison(names[0], names[1], metrics, tuple(pairs), {}, seed)


def spell_difference(comparison: Comparison, group: str, metric: MetricName, found: Difference) -> str:
    """A sentence: which is higher by how much, and whether that may be chance."""
    label, high = LABELS[metric], "lower is better" if metric == "kl" else "higher is better"
    if math.isnan(found.difference):
        return f"{group}: {label} is not defined."
    size = f"{group}: {label} of {comparison.second} minus that of {comparison.first} is {found.difference:+.3f}"
    if found.interval is None:
        return f"{size} ({high}); with fewer than two items there is no interval."
    low, up = found.interval.low, found.interval.high
    verdict = "excludes 0" if found.interval.excludes(0) else "includes 0: this may be chance"
    return f"{size} ({high}), and its 95 % interval over {found.items} items, {low:+.3f} to {up:+.3f}, {verdict}."


def _pair(item: ItemScores, other: ItemScores, metrics: Sequence[MetricName]) -> Pair:
    theirs = {frame.index: frame.scores for frame in other.scores.frames if frame.skipped is None}
    rows = [
        (frame.scores, theirs[frame.index])
        for frame in item.scores.frames
        if frame.skipped is None and frame.index in theirs
    ]
    sides: tuple[dict[MetricName, float], dict[MetricName, float]] = {}, {}
    for metric in metrics:
        both = [(a[metric], b[metric]) for a, b in rows if not math.isnan(a[metric] + b[metric])]
        for side, values in zip(sides, zip(*both, strict=True) if both else ((), ()), strict=True):
            side[metric] = sum(values) / len(values) if values else math.nan
    return Pair(item.dataset, item.name, item.kind, len(rows), *sides)


def _differences(pairs: Sequence[Pair], metrics: Sequence[MetricName], seed: int) -> dict[MetricName, Difference]:
    found: dict[MetricName, Difference] = {}
    for metric in metrics:
        rows = [(pair.first[metric], pair.second[metric]) for pair in pairs if not math.isnan(pair.differences[metric])]
        if not rows:
            found[metric] = Difference(0, math.nan, math.nan, math.nan, None)
            continue
        changes = [b - a for a, b in rows]
        first, second = (sum(side) / len(rows) for side in zip(*rows, strict=True))
        interval = bootstrap_interval(changes, seed=seed)
        found[metric] = Difference(len(rows), first, second, sum(changes) / len(rows), interval)
    return found


def _common(first: Sequence[MetricName], second: Sequence[MetricName], one: str, other: str) -> tuple[MetricName, ...]:
    metrics = tuple(metric for metric in first if metric in second and metric in get_args(MetricName))
    if not metrics:
        raise UsageError(f"{one} and {other} have no metric in common: evaluate both with the same --metric.")
    return metrics


def _read_result(path: Path) -> dict[str, Any]:
    wrong = f"{path} is no result of vsal evaluate --json: give one, or a folder of predictions."
    try:
        result: Any = json.loads(path.read_bytes())
    except OSError as error:
        raise ReadError(f"{path} cannot be read ({error.strerror}): give a result of vsal evaluate --json.") from None
    except ValueError:
        raise ReadError(wrong) from None
    rows = result.get("items") if isinstance(result, dict) else None
    if not isinstance(rows, list) or not isinstance(result.get("metrics"), list):
        raise ReadError(wrong)
    needed = {"dataset", "item", "kind", "scored", "height", "width"}
    if not all(isinstance(row, dict) and needed <= row.keys() for row in rows):
        raise ReadError(wrong)
    return dict(result)


def _name(result: Mapping[str, Any], path: str | Path) -> str:
    source = result.get("source")
    name = source.get("name") if isinstance(source, dict) else None
    return f"{name} ({Path(path).name})" if name else str(path)


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _count(ranges: str) -> int:
    """How many numbers stand in ``0-3,5``."""
    ends = [part.partition("-") for part in ranges.split(",") if part]
    return sum(int(last or first) - int(first) + 1 for first, _, last in ends)
