"""A model against recorded gaze: predictions made on the fly, scored by ``metrics``, beside what knows nothing.

Maps are scored as they come from the post-processing, in floating point, resized to the stimulus.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from saliency_cli.inference.predictor import SaliencyPredictor
from saliency_cli.media import open_source
from saliency_cli.metrics import (
    LABELS,
    SIGMA_STILL,
    SIGMA_VIDEO,
    FrameScores,
    GazeTable,
    Item,
    MetricName,
    VideoScores,
    center_gaussian,
    evaluate_video,
    is_validation,
    mean_over_videos,
    other_fixations,
    score_map,
)
from saliency_cli.models.checkpoint import read_checkpoint, save_checkpoint
from saliency_cli.models.config import ModelConfig
from saliency_cli.options import PredictOptions
from saliency_cli.pipeline import load_predictor, saliency_frames

__all__ = ["CENTRE", "ItemScores", "by_dataset", "evaluate_items", "record_scores", "spell_scores"]

CENTRE: Literal["baseline:center"] = "baseline:center"
"""Instead of a predictor: a Gaussian on the centre, the same for every frame."""

Predictor = SaliencyPredictor | Literal["baseline:center"]


@dataclass(frozen=True, slots=True)
class ItemScores:
    """The scores of one video, or of one still as a video of one frame.

    ``change`` is the maps' unrest: the mean absolute difference of consecutive ones, each scaled to a maximum of 1;
    None for a single map.
    """

    item: Item
    scores: VideoScores
    change: float | None


def evaluate_items(
    predictor: Predictor,
    gaze: GazeTable,
    items: Sequence[Item],
    *,
    metrics: Sequence[MetricName],
    options: PredictOptions | None = None,
    on_item: Callable[[int, int], None] | None = None,
) -> Iterator[ItemScores]:
    """Predict and score items one by one.

    Args:
        predictor: a model, or :data:`CENTRE`.
        metrics: s-AUC takes its negatives from ten other stimuli of the same dataset; information gain is that over
            the centre Gaussian.
        options: how maps are post-processed; by default as ``vsal predict`` does.
        on_item: called with the number of items done and of all.

    Raises:
        ReadError: a stimulus is missing or damaged.
        UsageError: a metric that does not exist.
    """
    for done, item in enumerate(items, 1):
        yield _evaluate(predictor, gaze, item, metrics, options or PredictOptions())
        if on_item:
            on_item(done, len(items))


def by_dataset(rows: Sequence[ItemScores]) -> dict[str, list[ItemScores]]:
    """The items of each data set, and all videos together as ``all videos`` if they come from several."""
    groups: dict[str, list[ItemScores]] = {}
    for row in rows:
        groups.setdefault(row.item.dataset, []).append(row)
    videos = [row for row in rows if row.item.kind == "video"]
    if len({row.item.dataset for row in videos}) > 1:
        groups["all videos"] = videos
    return groups


def spell_scores(rows: Sequence[ItemScores]) -> str:
    """Means over items for a checkpoint's header: ``osie NSS 3.2 CC 0.8; hevc …``, three decimals."""
    return "; ".join(
        f"{name} " + " ".join(f"{LABELS[metric]} {value:.3f}" for metric, value in means.items())
        for name, group in by_dataset(rows).items()
        if (means := mean_over_videos(row.scores for row in group))
    )


def record_scores(
    weights: Path, gaze: Path, *, device: str = "auto", on_item: Callable[[int, int], None] | None = None
) -> str:
    """Score trained weights on the validation items and write NSS and CC into their header; what was written.

    Raises:
        ReadError, WeightsError, WriteError, DeviceError: see the parts.
    """
    options = PredictOptions(weights=str(weights), device=device)
    table = GazeTable.load(gaze)
    items = [item for item in table.items() if is_validation(item)]
    rows = list(
        evaluate_items(load_predictor(options), table, items, metrics=("nss", "cc"), options=options, on_item=on_item)
    )
    scores = spell_scores(rows)
    checkpoint = read_checkpoint(weights)
    config = ModelConfig.from_metadata(checkpoint.metadata, source=str(weights))
    save_checkpoint(weights, checkpoint.state, config, {**checkpoint.metadata, "validation_scores": scores})
    return scores


def _evaluate(
    predictor: Predictor,
    gaze: GazeTable,
    item: Item,
    metrics: Sequence[MetricName],
    options: PredictOptions,
) -> ItemScores:
    path = gaze.stimulus_path(item.dataset, item.name)
    fixations = gaze.fixations(item.dataset, item.name)
    with open_source(path) as reader:
        height, width = reader.info.height, reader.info.width
        times = [] if isinstance(predictor, SaliencyPredictor) else [frame.seconds for frame in reader]
    other = other_fixations(gaze, item, height=height, width=width) if "auc_shuffled" in metrics else None
    baseline = center_gaussian(height, width) if "information_gain" in metrics else None
    maps: Iterator[tuple[float, NDArray[np.float32]]]
    if isinstance(predictor, SaliencyPredictor):
        maps = ((m.seconds, m.saliency) for m in saliency_frames(path, options, predictor=predictor))
    else:
        centre = center_gaussian(height, width).astype(np.float32)
        maps = ((seconds, centre) for seconds in times)
    unrest = _Unrest()
    name = f"{item.dataset}/{item.name}"
    if item.kind == "image":
        ((_, still),) = maps
        frame: FrameScores = score_map(
            still,
            fixations.points,
            height=height,
            width=width,
            sigma=height * SIGMA_STILL,
            metrics=metrics,
            other=other,
            baseline=baseline,
        )
        return ItemScores(item, VideoScores(name, (frame,)), None)
    scores = evaluate_video(
        unrest.watch(maps),
        fixations,
        height=height,
        width=width,
        metrics=metrics,
        sigma=height * SIGMA_VIDEO,
        other=other,
        baseline=baseline,
        name=name,
    )
    return ItemScores(item, scores, unrest.mean)


class _Unrest:
    """Mean absolute difference of consecutive maps, each scaled to a maximum of 1."""

    def __init__(self) -> None:
        self._last: NDArray[np.float32] | None = None
        self._changes: list[float] = []

    def watch(self, maps: Iterable[tuple[float, NDArray[np.float32]]]) -> Iterator[tuple[float, NDArray[np.float32]]]:
        """The same maps, seen as they pass."""
        for seconds, saliency in maps:
            scaled = saliency / max(float(saliency.max()), 1e-12)
            if self._last is not None:
                self._changes.append(float(np.abs(scaled - self._last).mean()))
            self._last = scaled
            yield seconds, saliency

    @property
    def mean(self) -> float | None:
        return float(np.mean(self._changes)) if self._changes else None
