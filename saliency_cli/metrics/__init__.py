"""How well maps predict where people look: scores, gaze tables, baselines and means.

::

    table = GazeTable.load("gaze")
    video = evaluate_video(maps, table.fixations("hevc", "Yan"), height=288, width=512)
    video.means, video.skipped
"""

from __future__ import annotations

from saliency_cli.metrics.auc import SHUFFLED_PROTOCOL, auc_judd, auc_shuffled
from saliency_cli.metrics.baselines import center_gaussian, observers_baseline, split_observers
from saliency_cli.metrics.gaze import (
    SIGMA_STILL,
    SIGMA_VIDEO,
    Fixations,
    GazeTable,
    Item,
    active,
    density_map,
    fixation_counts,
    fixation_map,
)
from saliency_cli.metrics.maps import match_size
from saliency_cli.metrics.saliency import cc, information_gain, kl, nss, sim
from saliency_cli.metrics.split import VALIDATION_VIDEOS, is_validation
from saliency_cli.metrics.stacks import score_stack
from saliency_cli.metrics.summary import (
    DEFAULT_METRICS,
    LABELS,
    FrameScores,
    MetricName,
    VideoScores,
    evaluate_video,
    mean_over_frames,
    mean_over_videos,
    score_map,
    score_truth,
    skipped_frames,
    undefined_scores,
)

__all__ = [
    "DEFAULT_METRICS",
    "LABELS",
    "SHUFFLED_PROTOCOL",
    "SIGMA_STILL",
    "SIGMA_VIDEO",
    "VALIDATION_VIDEOS",
    "Fixations",
    "FrameScores",
    "GazeTable",
    "Item",
    "MetricName",
    "VideoScores",
    "active",
    "auc_judd",
    "auc_shuffled",
    "cc",
    "center_gaussian",
    "density_map",
    "evaluate_video",
    "fixation_counts",
    "fixation_map",
    "information_gain",
    "is_validation",
    "kl",
    "match_size",
    "mean_over_frames",
    "mean_over_videos",
    "nss",
    "observers_baseline",
    "score_map",
    "score_stack",
    "score_truth",
    "sim",
    "skipped_frames",
    "split_observers",
    "undefined_scores",
]
