"""Where people look in other stimuli: what s-AUC takes its negatives from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from saliency_cli.datasets.base import Dataset, Recording

__all__ = ["STIMULI", "other_fixations", "other_stimuli"]

STIMULI = 10
"""On how many other stimuli s-AUC takes its negatives from fixations."""


def other_fixations(
    dataset: Dataset, recording: Recording, *, height: int, width: int, stimuli: int = STIMULI, seed: int = 0
) -> NDArray[np.bool_]:
    """The negatives of s-AUC for ``recording``: all pixels fixated, at any time, in other stimuli of its data set.

    ``stimuli`` of them are drawn at random from ``seed``, or all there are if fewer; what shows the same content as
    ``recording`` is none of them. They are drawn from ``dataset`` as a whole, not from one part of it, among the
    recordings whose ``dataset`` is the same. Returns (height, width).
    Raises ReadError for a damaged annotation.
    """
    union = np.zeros((height, width), np.bool_)
    for other in other_stimuli(dataset, recording, stimuli=stimuli, seed=seed):
        union |= other.fixated(height, width)
    return union


def other_stimuli(
    dataset: Dataset, recording: Recording, *, stimuli: int = STIMULI, seed: int = 0
) -> tuple[Recording, ...]:
    """The recordings that :func:`other_fixations` draws; fewer than ``stimuli`` where the data set has no more."""
    pool = [
        other
        for other in dataset.recordings
        if other.dataset == recording.dataset and not recording.same_content(other)
    ]
    return tuple(pool[index] for index in np.random.default_rng(seed).permutation(len(pool))[:stimuli])
