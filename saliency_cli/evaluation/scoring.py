"""One item: its maps taken one by one, paired with what was recorded, and scored."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from saliency_cli.datasets import Dataset, Kind, Recording, other_fixations
from saliency_cli.datasets.negatives import STIMULI, other_stimuli
from saliency_cli.errors import ReadError
from saliency_cli.evaluation.sources import MapSource, Trial, label_of
from saliency_cli.evaluation.timeline import frame_times
from saliency_cli.metrics import FrameScores, MetricName, VideoScores, center_gaussian, score_truth
from saliency_cli.types import SaliencyFrame

__all__ = ["ItemScores", "Negatives", "score_item"]


@dataclass(frozen=True, slots=True)
class ItemScores:
    """The scores of one video, or of one still as a video of one frame.

    ``size``: (height, width), at which it was scored. ``change`` is the maps' unrest: the mean absolute difference of
    consecutive ones, each scaled to a maximum of 1; None for a single map, and for half of the observers.
    """

    dataset: str
    name: str
    kind: Kind
    size: tuple[int, int]
    scores: VideoScores
    change: float | None

    @property
    def label(self) -> str:
        """``dataset/name``."""
        return f"{self.dataset}/{self.name}"

    @property
    def scored(self) -> tuple[int, ...]:
        """The frames that have scores."""
        return tuple(frame.index for frame in self.scores.frames if frame.skipped is None)


class Negatives:
    """Where people look in ten other stimuli of the data set, for s-AUC; kept, since several sources ask for it."""

    def __init__(self, dataset: Dataset, *, seed: int = 0) -> None:
        self.dataset, self.seed = dataset, seed
        self._packed: dict[str, NDArray[np.uint8]] = {}  # an eighth of a byte a pixel
        self._fewest: dict[str, int] = {}

    def of(self, recording: Recording) -> NDArray[np.bool_]:
        """(height, width), True where another stimulus was fixated. Raises ReadError."""
        label, (height, width) = label_of(recording), (recording.height, recording.width)
        if label not in self._packed:
            found = other_fixations(self.dataset, recording, height=height, width=width, seed=self.seed)
            self._packed[label] = np.packbits(found)
            others = len(other_stimuli(self.dataset, recording, seed=self.seed))
            self._fewest[recording.dataset] = min(others, self._fewest.get(recording.dataset, others))
        flat = np.unpackbits(self._packed[label], count=height * width)
        return flat.reshape(height, width).astype(np.bool_)

    def notes(self, datasets: Collection[str]) -> tuple[str, ...]:
        """For each of ``datasets`` that has too few other stimuli for the protocol, how many there were."""
        return tuple(
            f"s-AUC on {name}: negatives come from {count or 'no'} other stimuli instead of {STIMULI}, since the data "
            f"set has no more; {'its values depend on that' if count else 'it is not defined'}."
            for name, count in self._fewest.items()
            if name in datasets and count < STIMULI
        )


def score_item(
    source: MapSource,
    recording: Recording,
    *,
    metrics: Sequence[MetricName],
    negatives: Negatives,
    limit: int | None = None,
    seed: int = 0,
) -> ItemScores:
    """Score the maps that ``source`` has for a recording, which it was prepared for.

    Raises:
        ReadError: a stimulus, a map or an annotation is damaged, or a map holds what is none.
    """
    size = recording.height, recording.width
    other = negatives.of(recording) if "auc_shuffled" in metrics else None
    baseline = center_gaussian(*size) if "information_gain" in metrics else None
    unrest = _Unrest()
    rows = []
    for trial in source.trials(recording, limit):
        maps = unrest.watch(trial.maps) if source.steady else trial.maps
        rows.append([_score(one, trial, source, metrics, other, baseline, seed) for one in maps])
    frames = _averaged(rows) if len(rows) > 1 else rows[0]
    complete = sorted(chain(frames, _unpredicted(frames, recording, limit)), key=lambda frame: frame.index)
    scores = VideoScores(label_of(recording), tuple(complete))
    return ItemScores(recording.dataset, recording.name, recording.kind, size, scores, unrest.mean)


def _score(
    one: SaliencyFrame,
    trial: Trial,
    source: MapSource,
    metrics: Sequence[MetricName],
    other: NDArray[np.bool_] | None,
    baseline: NDArray[np.float64] | None,
    seed: int,
) -> FrameScores:
    truth = trial.judge.truth(one.index, one.seconds)
    if truth is None:
        return FrameScores(one.index, one.seconds, 0, {}, "not annotated")
    try:
        return score_truth(
            one.saliency,
            truth.counts,
            truth.density,
            metrics=metrics,
            other=other,
            baseline=baseline,
            seed=seed + one.index,
            index=one.index,
            seconds=one.seconds,
        )
    except ValueError as error:  # of the wrong shape, not finite, or negative where a distribution is due
        raise ReadError(
            f"{source.name}: the map of frame {one.index} (counted from 0) of {label_of(trial.judge)} cannot be "
            f"scored, as {error}: predict it again."
        ) from error


def _unpredicted(frames: Sequence[FrameScores], recording: Recording, limit: int | None) -> Iterator[FrameScores]:
    """The frames that no map came for."""
    seen = {frame.index for frame in frames}
    for index, seconds in enumerate(frame_times(recording, limit)):
        if index not in seen:
            yield FrameScores(index, seconds, 0, {}, "no prediction")


def _averaged(trials: Sequence[Sequence[FrameScores]]) -> list[FrameScores]:
    """Each frame's mean over the trials in which it has scores; skipped, as in the first trial, if it has none."""
    by_frame: dict[int, list[FrameScores]] = {}
    for frame in chain.from_iterable(trials):
        by_frame.setdefault(frame.index, []).append(frame)
    averaged = []
    for frames in by_frame.values():
        whole = VideoScores("", tuple(frames))
        fixations = round(float(np.mean([frame.fixations for frame in frames])))
        skipped = None if whole.means else frames[0].skipped
        averaged.append(FrameScores(frames[0].index, frames[0].seconds, fixations, whole.means, skipped))
    return averaged


class _Unrest:
    """Mean absolute difference of consecutive maps, each scaled to a maximum of 1."""

    def __init__(self) -> None:
        self._last: tuple[int, NDArray[np.float32]] | None = None
        self._changes: list[float] = []

    def watch(self, maps: Iterable[SaliencyFrame]) -> Iterator[SaliencyFrame]:
        """The same maps, seen as they pass."""
        for one in maps:
            scaled = np.asarray(one.saliency, np.float32)
            scaled = scaled / max(float(scaled.max(initial=0)), 1e-12)
            if self._last is not None:
                index, last = self._last
                if index == one.index - 1 and last.shape == scaled.shape:
                    self._changes.append(float(np.abs(scaled - last).mean()))
            self._last = one.index, scaled
            yield one

    @property
    def mean(self) -> float | None:
        """None without two consecutive maps, or if one held what is no number."""
        change = float(np.mean(self._changes)) if self._changes else math.nan
        return change if math.isfinite(change) else None
