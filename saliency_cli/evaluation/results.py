"""Many items: a source scored on a data set, with what was left out, means and their intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from saliency_cli.datasets import Dataset, Recording
from saliency_cli.errors import UsageError
from saliency_cli.evaluation.bootstrap import Interval, bootstrap_interval
from saliency_cli.evaluation.scoring import ItemScores, Negatives, score_item
from saliency_cli.evaluation.sources import MapSource, label_of
from saliency_cli.metrics import MetricName, mean_over_frames, mean_over_videos

__all__ = [
    "ALL_VIDEOS",
    "PAPER_METRICS",
    "Evaluation",
    "Summary",
    "evaluate",
    "group_items",
    "scored_frames",
    "summarise",
]

PAPER_METRICS: tuple[MetricName, ...] = ("nss", "cc", "sim", "auc_judd", "auc_shuffled", "kl")
ALL_VIDEOS = "all videos"


@dataclass(frozen=True, slots=True)
class Summary:
    """Means over the items of a group, and how sure they are.

    ``over_items`` weighs videos alike, ``over_frames`` frames. An interval is missing where fewer than two items have
    the score; both kinds draw whole videos.
    """

    items: int
    frames: int
    over_items: Mapping[MetricName, float]
    over_frames: Mapping[MetricName, float]
    items_interval: Mapping[MetricName, Interval]
    frames_interval: Mapping[MetricName, Interval]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluation:
    """A source's scores.

    ``source`` is its name, and ``about`` what it was made of (for a model its weights and their SHA-256). ``missing``:
    the items without predictions, by label, each with the reason. ``notes``: what a reader should know.
    """

    source: str
    about: Mapping[str, Any]
    metrics: tuple[MetricName, ...]
    items: tuple[ItemScores, ...]
    missing: Mapping[str, str]
    notes: tuple[str, ...]
    limit: int | None
    seed: int

    def summaries(self) -> dict[str, Summary]:
        """For each data set, and for all videos together if they come from several."""
        return {name: summarise(rows, self.metrics, seed=self.seed) for name, rows in group_items(self.items).items()}


def evaluate(
    dataset: Dataset,
    source: MapSource,
    *,
    recordings: Sequence[Recording] | None = None,
    metrics: Sequence[MetricName] = PAPER_METRICS,
    limit: int | None = None,
    seed: int = 0,
    negatives: Negatives | None = None,
    on_item: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Score a source on a data set, frame by frame; memory does not grow with the videos' length.

    ::

        dataset = open_dataset("gaze")
        result = evaluate(dataset, PredictedMaps(), recordings=select(dataset, "validation"))
        result.summaries()["hevc"].over_items["nss"]

    Args:
        recordings: those to score, by default all; s-AUC takes its negatives from all of ``dataset`` in any case.
        metrics: information gain is that over the centre Gaussian.
        limit: score only the first so many frames of each video.
        seed: of AUC-J's jitter, s-AUC's draws and the bootstrap.
        negatives: from an earlier call for the same data set, which spares finding them again.
        on_item: called with the number of items done and of all.

    Raises:
        ReadError: a stimulus, a map or an annotation is damaged, or there are maps that cannot be paired with frames.
        UsageError: a metric that does not exist, a limit below 1, or no item has a prediction.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"--limit {limit}: score at least 1 frame of each video.")
    chosen = dataset.recordings if recordings is None else recordings
    known = negatives or Negatives(dataset, seed=seed)
    missing = dict(source.prepare(chosen, limit))
    present = [recording for recording in chosen if label_of(recording) not in missing]
    if not present:
        why = next(iter(missing.values()), "nothing is selected")
        raise UsageError(f"{source.name} has no predictions for any of {len(chosen)} items of {dataset.root} ({why}).")
    items = []
    for done, recording in enumerate(present, 1):
        items.append(score_item(source, recording, metrics=metrics, negatives=known, limit=limit, seed=seed))
        if on_item:
            on_item(done, len(present))
    shuffled = known.notes({item.dataset for item in items}) if "auc_shuffled" in metrics else ()
    return Evaluation(
        source=source.name,
        about=source.about(),
        metrics=tuple(metrics),
        items=tuple(items),
        missing=missing,
        notes=(*source.notes(), *shuffled),
        limit=limit,
        seed=seed,
    )


def group_items(items: Sequence[ItemScores]) -> dict[str, list[ItemScores]]:
    """The items of each data set, and all videos together as :data:`ALL_VIDEOS` if they come from several."""
    groups: dict[str, list[ItemScores]] = {}
    for item in items:
        groups.setdefault(item.dataset, []).append(item)
    videos = [item for item in items if item.kind == "video"]
    if len({item.dataset for item in videos}) > 1:
        groups[ALL_VIDEOS] = videos
    return groups


def summarise(items: Sequence[ItemScores], metrics: Sequence[MetricName], *, seed: int = 0) -> Summary:
    """The means of a group of items, with bootstrap intervals over items."""
    over_items: dict[MetricName, Interval] = {}
    over_frames: dict[MetricName, Interval] = {}
    for metric in metrics:
        values, weights = [], []
        for item in items:
            mean = item.scores.means.get(metric, math.nan)
            if math.isfinite(mean):
                values.append(mean)
                weights.append(_defined(item, metric))
        if interval := bootstrap_interval(values, seed=seed):
            over_items[metric] = interval
        if interval := bootstrap_interval(values, weights, seed=seed):
            over_frames[metric] = interval
    rows = [item.scores for item in items]
    return Summary(
        items=len(items),
        frames=sum(len(row.frames) for row in rows),
        over_items=mean_over_videos(rows),
        over_frames=mean_over_frames(rows),
        items_interval=over_items,
        frames_interval=over_frames,
    )


def scored_frames(items: Sequence[ItemScores], group: str) -> int:
    """On how many frames the items of a group have scores."""
    return sum(len(item.scored) for item in group_items(items).get(group, ()))


def _defined(item: ItemScores, metric: MetricName) -> int:
    """On how many frames the item has this score."""
    frames = item.scores.frames
    return sum(not math.isnan(frame.scores.get(metric, math.nan)) for frame in frames)
