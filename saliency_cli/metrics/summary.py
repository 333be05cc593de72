"""From maps to a table: scores frame by frame, what was skipped and why, and the two means that papers report."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from saliency_cli.errors import UsageError
from saliency_cli.metrics.auc import auc_judd, auc_shuffled
from saliency_cli.metrics.gaze import SIGMA_VIDEO, Fixations, active, density_map, fixation_counts
from saliency_cli.metrics.maps import is_constant, match_size
from saliency_cli.metrics.saliency import cc, information_gain, kl, nss, sim

__all__ = [
    "DEFAULT_METRICS",
    "LABELS",
    "FrameScores",
    "MetricName",
    "VideoScores",
    "evaluate_video",
    "mean_over_frames",
    "mean_over_videos",
    "score_map",
    "score_truth",
    "skipped_frames",
    "undefined_scores",
]

MetricName = Literal["nss", "cc", "sim", "auc_judd", "auc_shuffled", "kl", "information_gain"]
SkipReason = Literal["no fixation", "constant map", "not annotated", "no prediction"]

DEFAULT_METRICS: tuple[MetricName, ...] = ("nss", "cc", "sim", "auc_judd", "kl")  # what needs no other stimulus

# As papers write them. All but KL are better when higher.
LABELS: Mapping[MetricName, str] = {
    "nss": "NSS",
    "cc": "CC",
    "sim": "SIM",
    "auc_judd": "AUC-J",
    "auc_shuffled": "s-AUC",
    "kl": "KL",
    "information_gain": "IG",
}


@dataclass(frozen=True, slots=True)
class FrameScores:
    """The scores of one frame, or the reason why it has none. ``fixations`` counts those that fell on the frame.

    A score that is not defined on this frame is NaN.
    """

    index: int
    seconds: float
    fixations: int
    scores: Mapping[MetricName, float]
    skipped: SkipReason | None = None


@dataclass(frozen=True, slots=True)
class VideoScores:
    """One video, frame by frame."""

    name: str
    frames: tuple[FrameScores, ...]

    @property
    def skipped(self) -> Counter[str]:
        """How many frames have no scores, for each reason."""
        return Counter(frame.skipped for frame in self.frames if frame.skipped is not None)

    @property
    def means(self) -> dict[MetricName, float]:
        """The mean over the frames that were not skipped; empty if all were. Scores not defined count nowhere."""
        return _means([frame.scores for frame in self.frames if frame.skipped is None])


def score_map(
    prediction: NDArray[Any],
    points: NDArray[np.float64],
    *,
    height: int,
    width: int,
    sigma: float,
    metrics: Sequence[MetricName] = DEFAULT_METRICS,
    other: NDArray[Any] | None = None,
    baseline: NDArray[Any] | None = None,
    seed: int = 0,
    index: int = 0,
    seconds: float = 0.0,
) -> FrameScores:
    """Score one map against the fixations on one frame or still.

    ``prediction``: (h, w) of any size and real type, resized to ``height`` x ``width``. ``points``: (N, 2) as fractions
    of width and height. ``sigma``: pixels, for the density (see :func:`density_map`). ``other`` (height, width): the
    negatives of s-AUC; ``baseline`` (height, width): of information gain. ``seed``: for AUC-J's jitter and s-AUC.

    A frame without a fixation in the picture is skipped, and so is one whose map is constant, for which most scores
    are not defined. Raises UsageError for a metric that does not exist or lacks what it needs, and ValueError for
    maps that are not maps.
    """
    return score_truth(
        prediction,
        fixation_counts(points, height, width),
        None,
        sigma=sigma,
        metrics=metrics,
        other=other,
        baseline=baseline,
        seed=seed,
        index=index,
        seconds=seconds,
    )


def score_truth(
    prediction: NDArray[Any],
    counts: NDArray[Any],
    density: NDArray[Any] | None,
    *,
    sigma: float | None = None,
    metrics: Sequence[MetricName] = DEFAULT_METRICS,
    other: NDArray[Any] | None = None,
    baseline: NDArray[Any] | None = None,
    seed: int = 0,
    index: int = 0,
    seconds: float = 0.0,
) -> FrameScores:
    """Score one map against what was recorded: ``counts`` (H, W) of fixations, and their ``density`` (H, W).

    ``prediction``: (h, w) of any size and real type, resized to H x W. Without a density, ``counts`` are blurred with
    ``sigma`` pixels. Otherwise as :func:`score_map`, whose values these are.

    Raises UsageError for a metric that does not exist or lacks what it needs, and ValueError for maps that are not
    maps, or if neither density nor sigma is given though a metric needs it.
    """
    _check_metrics(metrics, other, baseline)
    total = int(counts.sum())
    values = match_size(prediction, *counts.shape)
    if total == 0:
        return FrameScores(index, seconds, 0, {}, "no fixation")
    if is_constant(values):
        return FrameScores(index, seconds, total, {}, "constant map")
    # No score depends on the scale but AUC-J, whose jitter of 1e-7 would swamp a map of probabilities of sum 1.
    values = values / np.abs(values).max()
    if density is None and {"cc", "sim", "kl"} & set(metrics):
        if sigma is None:
            raise ValueError("cc, sim and kl need a density, or the sigma that makes one")
        density = density_map(counts, sigma)
    scores: dict[MetricName, float] = {}
    for metric in metrics:
        if metric == "nss":
            scores[metric] = nss(values, counts)
        elif metric == "auc_judd":
            scores[metric] = auc_judd(values, counts, seed=seed)
        elif metric == "auc_shuffled" and other is not None:
            scores[metric] = auc_shuffled(values, counts, other, seed=seed)
        elif metric == "information_gain" and baseline is not None:
            scores[metric] = information_gain(values, counts, baseline)
        elif density is not None:
            against = {"cc": cc, "sim": sim, "kl": kl}[metric]
            scores[metric] = against(values, density)
    return FrameScores(index, seconds, total, scores)


def evaluate_video(
    maps: Iterable[tuple[float, NDArray[Any]]],
    fixations: Fixations,
    *,
    height: int,
    width: int,
    metrics: Sequence[MetricName] = DEFAULT_METRICS,
    sigma: float | None = None,
    other: NDArray[Any] | None = None,
    baseline: NDArray[Any] | None = None,
    seed: int = 0,
    name: str = "",
) -> VideoScores:
    """Score a video's maps, (presentation time in seconds, map (h, w)) in order, one at a time.

    At each time the fixations that are active then count. ``height`` and ``width`` are the size to score at, to which
    maps are resized; ``sigma`` is by default that of video. Frame i's draws come from ``seed`` + i. Otherwise as
    :func:`score_map`, which raises what is raised here.
    """
    _check_metrics(metrics, other, baseline)
    blur = height * SIGMA_VIDEO if sigma is None else sigma
    rows = [
        score_map(
            prediction,
            active(fixations, seconds),
            height=height,
            width=width,
            sigma=blur,
            metrics=metrics,
            other=other,
            baseline=baseline,
            seed=seed + index,
            index=index,
            seconds=seconds,
        )
        for index, (seconds, prediction) in enumerate(maps)
    ]
    return VideoScores(name, tuple(rows))


def mean_over_frames(videos: Iterable[VideoScores]) -> dict[MetricName, float]:
    """The mean over all frames of all videos, as DHF1K reports it: long videos weigh more. Empty without a score."""
    return _means([frame.scores for video in videos for frame in video.frames if frame.skipped is None])


def mean_over_videos(videos: Iterable[VideoScores]) -> dict[MetricName, float]:
    """The mean of the videos' means, as STAViS reports it: videos weigh alike, those without a scored frame nothing."""
    return _means([video.means for video in videos if video.means])


def skipped_frames(videos: Iterable[VideoScores]) -> Counter[str]:
    """How many frames of all videos were skipped, for each reason."""
    return sum((video.skipped for video in videos), Counter())


def undefined_scores(videos: Iterable[VideoScores]) -> Counter[MetricName]:
    """How many frames that were scored have no value of a metric, as CC has none where the density is constant."""
    rows = [frame.scores for video in videos for frame in video.frames]
    return Counter(metric for row in rows for metric, value in row.items() if math.isnan(value))


def _means(rows: Sequence[Mapping[MetricName, float]]) -> dict[MetricName, float]:
    """Of the values that are defined; NaN where none is."""
    means: dict[MetricName, float] = {}
    for metric in rows[0] if rows else ():
        values = np.array([row[metric] for row in rows])
        defined = values[~np.isnan(values)]
        means[metric] = float(defined.mean()) if defined.size else math.nan
    return means


def _check_metrics(metrics: Sequence[MetricName], other: NDArray[Any] | None, baseline: NDArray[Any] | None) -> None:
    known = get_args(MetricName)
    if not metrics or any(metric not in known for metric in metrics):
        raise UsageError(f"metrics {', '.join(metrics) or '(none)'} are not all known: choose among {', '.join(known)}")
    if "auc_shuffled" in metrics and other is None:
        raise UsageError("auc_shuffled needs the fixations of other stimuli: give them, or leave the metric out")
    if "information_gain" in metrics and baseline is None:
        raise UsageError("information_gain needs a baseline map: give one, or leave the metric out")
