"""Scores in a checkpoint's header, which ``vsal train`` writes when it is done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from saliency_cli.datasets import open_dataset
from saliency_cli.evaluation.results import evaluate, group_items
from saliency_cli.evaluation.scoring import ItemScores
from saliency_cli.evaluation.selection import select
from saliency_cli.evaluation.sources import PredictedMaps
from saliency_cli.metrics import LABELS, mean_over_videos
from saliency_cli.models.checkpoint import read_checkpoint, save_checkpoint
from saliency_cli.models.config import ModelConfig
from saliency_cli.options import PredictOptions

__all__ = ["record_scores", "spell_scores"]


def spell_scores(items: Sequence[ItemScores]) -> str:
    """Means over items for a checkpoint's header: ``osie NSS 3.2 CC 0.8; hevc …``, three decimals."""
    return "; ".join(
        f"{name} " + " ".join(f"{LABELS[metric]} {value:.3f}" for metric, value in means.items())
        for name, group in group_items(items).items()
        if (means := mean_over_videos(item.scores for item in group))
    )


def record_scores(
    weights: Path,
    gaze: Path,
    *,
    split: str | None = None,
    device: str = "auto",
    on_item: Callable[[int, int], None] | None = None,
) -> str:
    """Score trained weights on the validation items and write NSS and CC into their header; what was written.

    ``gaze`` may be a data set of any layout, and ``split`` another part of it; by default see ``default_split``.

    Raises:
        ReadError, UsageError, WeightsError, WriteError, DeviceError: see the parts.
    """
    checkpoint = read_checkpoint(weights)
    config = ModelConfig.from_metadata(checkpoint.metadata, source=str(weights))
    options = PredictOptions(model=config.architecture, weights=str(weights), device=device)
    dataset = open_dataset(gaze)
    source = PredictedMaps(options)
    found = evaluate(dataset, source, recordings=select(dataset, split), metrics=("nss", "cc"), on_item=on_item)
    scores = spell_scores(found.items)
    save_checkpoint(weights, checkpoint.state, config, {**checkpoint.metadata, "validation_scores": scores})
    return scores
