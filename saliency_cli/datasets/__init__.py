"""Recorded gaze in every layout: what was looked at, frame by frame.

::

    dataset = open_dataset("gaze")
    for recording in dataset.part("validation"):
        truth = recording.truth(0, 0.0)
"""

from __future__ import annotations

from saliency_cli.datasets.base import Dataset, Kind, Pairing, Recording, Truth
from saliency_cli.datasets.framewise import FrameRecording
from saliency_cli.datasets.gaze import GazeRecording
from saliency_cli.datasets.negatives import other_fixations
from saliency_cli.datasets.opening import Layout, open_dataset

__all__ = [
    "Dataset",
    "FrameRecording",
    "GazeRecording",
    "Kind",
    "Layout",
    "Pairing",
    "Recording",
    "Truth",
    "open_dataset",
    "other_fixations",
]
