"""How good a network is on held-out stills and videos while it learns from a teacher: NSS, on a modest number."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saliency_cli.datasets import Recording
from saliency_cli.errors import UsageError
from saliency_cli.metrics import match_size, nss
from saliency_cli.training.distilled_material import small_picture
from saliency_cli.training.frames import FrameStore
from saliency_cli.windows import window_indices

__all__ = ["HeldOut", "Scores"]

STILLS, FRAMES = 48, 12  # at most, of all stills and of each video

Look = Callable[[Tensor], Tensor]
"""From clips (B, 3, T, H, W) of values 0 … 1 to maps (B, H, W)."""


@dataclass(frozen=True, slots=True)
class Scores:
    """Mean NSS over stills, and over videos the mean of their frames' means; NaN where there are none."""

    stills: float
    videos: float
    counts: tuple[int, int]  # of stills, of videos

    def __str__(self) -> str:
        found = (
            (self.stills, f"{self.counts[0]} stills"),
            (self.videos, f"{self.counts[1]} videos, {FRAMES} frames of each"),
        )
        return "; ".join(f"NSS {score:.4f} on {what}" for score, what in found if not math.isnan(score))


@dataclass(frozen=True, slots=True, eq=False)
class _Task:
    """The uint8 frames (h, w, 3) that predict one frame or still, and where that was looked at."""

    frames: Sequence[NDArray[np.uint8]]
    counts: NDArray[np.int64]
    recording: int


class HeldOut:
    """Recordings that nothing is learnt from: stills, and videos out of the ``store``.

    Raises:
        ReadError: a stimulus cannot be read.
    """

    def __init__(self, recordings: Sequence[Recording], store: FrameStore) -> None:
        there = [recording for recording in recordings if recording.stimulus is not None]
        stills = [recording for recording in there if recording.kind == "image"]
        self._stills = stills[:: max(1, -(-len(stills) // STILLS))]
        self._videos = [recording for recording in there if recording.kind == "video"]
        self._store = store
        self._pictures = [small_picture(still.stimulus) for still in self._stills if still.stimulus is not None]

    def __bool__(self) -> bool:
        return bool(self._stills or self._videos)

    def score(self, look: Look, *, size: tuple[int, int], length: int, batch: int) -> Scores:
        """NSS at the recordings' own sizes, of clips of ``length`` frames (1: pictures) of ``size`` (height, width).

        An even map, for which there is no NSS, counts as 0.

        Raises:
            UsageError: the maps are not finite.
        """
        found: list[list[float]] = [[] for _ in (*self._stills, *self._videos)]
        waiting: list[_Task] = []
        for task in self._tasks(length):
            waiting.append(task)
            if len(waiting) == batch:
                _look(waiting, look, size, length, found)
                waiting = []
        if waiting:
            _look(waiting, look, size, length, found)
        means = [float(np.mean(scores)) if scores else math.nan for scores in found]
        parts = means[: len(self._stills)], means[len(self._stills) :]
        known = [[mean for mean in part if not math.isnan(mean)] for part in parts]
        stills, videos = (float(np.mean(part)) if part else math.nan for part in known)
        return Scores(stills, videos, (len(known[0]), len(known[1])))

    def _tasks(self, length: int) -> Iterator[_Task]:
        for number, (still, picture) in enumerate(zip(self._stills, self._pictures, strict=True)):
            truth = still.truth(0, 0.0)
            if truth is not None and truth.counts.any():
                yield _Task([picture] * length, truth.counts, number)
        for number, video in enumerate(self._videos, len(self._stills)):
            footage = self._store.open(video)
            count = len(footage) if video.frames is None else min(len(footage), video.frames)
            for index in np.unique(np.linspace(0, count - 1, FRAMES + 1).astype(int)[1:]).tolist():
                truth = video.truth(index, float(footage.seconds[index]))
                if truth is not None and truth.counts.any():
                    window = window_indices(index, length=length, count=len(footage))
                    yield _Task(list(footage.pixels(window)), truth.counts, number)


def _look(tasks: Sequence[_Task], look: Look, size: tuple[int, int], length: int, found: list[list[float]]) -> None:
    height, width = size
    clips = np.stack(
        [[cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA) for frame in task.frames] for task in tasks]
    )  # (B, T, H, W, 3)
    with torch.inference_mode():
        maps = look(torch.from_numpy(clips).permute(0, 4, 1, 2, 3).float() / 255).float().cpu()
    if not maps.isfinite().all():
        raise UsageError("the network's maps are no longer finite: lower the stages' rates, or use fp32.")
    for task, saliency in zip(tasks, maps, strict=True):
        score = nss(match_size(saliency.numpy(), *task.counts.shape), task.counts)
        found[task.recording].append(0.0 if math.isnan(score) else score)
