"""Clips with the gaze at their last frame, for networks with a window.

Which clips a step learns from follows from the seed and the step's number alone, whatever was computed before and on
however many processes: a run that was stopped goes on with the clips it would have had.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saliency_cli.datasets import Recording, Truth
from saliency_cli.media import sound_window
from saliency_cli.media.sound import WINDOW_SAMPLES
from saliency_cli.training.frames import Footage, FrameStore
from saliency_cli.training.windowed_recipe import DataPlan, WindowedRecipe
from saliency_cli.windows import is_reversed, window_indices

__all__ = ["Portion", "TrainingClips", "ValidationClips", "training_window"]

DRAWS = 8  # of a clip from a video until somebody looked at its last frame
ORDER, CLIP = 0, 1  # what a random generator is for


@dataclass(frozen=True, slots=True, eq=False)
class Portion:
    """Clips that go through the network together.

    ``frames``: uint8 (B, T, H, W, 3). ``target``: (B, H, W), densities that sum to 1. ``fixated``: (B, H, W), 1 where
    somebody looked, else 0; a clip nobody looked at has neither. ``sound``: (B, 70560), or None. ``scored`` are the
    annotations at the recordings' own sizes, for validation.
    """

    frames: Tensor
    target: Tensor
    fixated: Tensor
    sound: Tensor | None
    scored: tuple[Truth, ...] = ()


def training_window(rng: np.random.Generator, *, length: int, count: int, short: str) -> list[int]:
    """``length`` consecutive frames of a video of ``count``, from anywhere in it.

    In a video that is too ``short`` the first frame comes ``length - 1`` times more ("repeat-first": TSFP-Net, section
    4.2), or the video is looped to 2·length - 1 frames ("loop": TASED-Net, section 4.3).
    """
    if count >= length:
        start = int(rng.integers(count - length + 1))
        return list(range(start, start + length))
    if short == "repeat-first":
        last = int(rng.integers(count))
        return [max(0, index) for index in range(last - length + 1, last + 1)]
    start = int(rng.integers(length))
    return [index % count for index in range(start, start + length)]


class TrainingClips:
    """An endless row of clips: epoch after epoch each video gives one, in an order of the epoch's own."""

    def __init__(self, recordings: Sequence[Recording], store: FrameStore, recipe: WindowedRecipe) -> None:
        self.recordings, self.store, self.recipe = recordings, store, recipe
        self._order = lru_cache(2)(self._shuffled)

    def __len__(self) -> int:
        """Clips in an epoch."""
        return len(self.recordings)

    def portion(self, first: int) -> Portion:
        """``at_once`` clips from number ``first`` of the row on."""
        return _portion([self._clip(number) for number in range(first, first + self.recipe.schedule.at_once)])

    def _shuffled(self, epoch: int) -> NDArray[np.int64]:
        return np.random.default_rng([self.recipe.seed, ORDER, epoch]).permutation(len(self.recordings))

    def _clip(self, number: int) -> _Clip:
        epoch, place = divmod(number, len(self.recordings))
        recording = self.recordings[self._order(epoch)[place]]
        rng = np.random.default_rng([self.recipe.seed, CLIP, number])
        footage = self.store.open(recording)
        count = _annotated(recording, footage)
        for _ in range(DRAWS):
            window = training_window(
                rng, length=self.recipe.model.clip_length, count=count, short=self.recipe.data.short_videos
            )
            truth = recording.truth(window[-1], float(footage.seconds[window[-1]]), self.store.size)
            if truth is not None and truth.counts.any():
                break
        flip = self.recipe.data.flip and bool(rng.random() < 0.5)
        return _clip(footage, window, truth, self.store, flip=flip)


class ValidationClips:
    """The windows that predict the validation videos' frames, as a predictor cuts them."""

    def __init__(
        self, recordings: Sequence[Recording], store: FrameStore, recipe: WindowedRecipe, *, at_once: int
    ) -> None:
        self.recordings, self.store, self.length = recordings, store, recipe.model.clip_length
        plan: DataPlan = recipe.data
        # The clips of the first T-1 frames run backwards from up to frame 2T-2.
        self._limit = max(plan.validation_frames, 2 * self.length - 1) if plan.validation_frames else None
        wanted = [
            (recording, frame)
            for recording in recordings
            for frame in range(_annotated(recording, store.open(recording, limit=self._limit)))
            if frame < plan.validation_frames or not plan.validation_frames
        ]
        if plan.validation_clips and len(wanted) > plan.validation_clips:
            wanted = [wanted[n * len(wanted) // plan.validation_clips] for n in range(plan.validation_clips)]
        self._portions: list[list[tuple[Recording, int]]] = []
        for item in wanted:  # those of one video together: it has sound or it has none
            if self._portions and self._portions[-1][0][0] is item[0] and len(self._portions[-1]) < at_once:
                self._portions[-1].append(item)
            else:
                self._portions.append([item])

    def __len__(self) -> int:
        """Portions in all."""
        return len(self._portions)

    def portion(self, number: int) -> Portion:
        """Up to ``at_once`` clips of one video."""
        clips, scored = [], []
        for recording, frame in self._portions[number]:
            footage = self.store.open(recording, limit=self._limit)
            window = window_indices(frame, length=self.length, count=len(footage))
            seconds = float(footage.seconds[frame])
            truth = recording.truth(frame, seconds, self.store.size)
            whole = recording.truth(frame, seconds)
            reverse = is_reversed(frame, self.length)
            clips.append(_clip(footage, window, truth, self.store, reverse=reverse))
            scored.append(whole or Truth(np.zeros((1, 1)), np.zeros((1, 1), np.float32)))
        # A video without sound is predicted as without sound, and not as a silent one.
        return _portion(clips, scored=tuple(scored), listen=footage.hear() is not None)


@dataclass(frozen=True, slots=True, eq=False)
class _Clip:
    """One clip: frames (T, H, W, 3), target and fixated (H, W), sound (70560,)."""

    frames: NDArray[np.uint8]
    target: NDArray[np.float32]
    fixated: NDArray[np.float32]
    sound: NDArray[np.float32] | None


def _clip(
    footage: Footage,
    window: Sequence[int],
    truth: Truth | None,
    store: FrameStore,
    *,
    flip: bool = False,
    reverse: bool = False,
) -> _Clip:
    frames = footage.pixels(window)
    fixated = np.zeros(store.size, np.float32) if truth is None else (truth.counts > 0).astype(np.float32)
    density = np.zeros(store.size, np.float32) if truth is None else truth.density
    total = float(density.sum())
    target = density / np.float32(total) if total else density
    if not total:
        fixated = np.zeros_like(fixated)  # the loss leaves out what has no density
    if flip:
        frames, target, fixated = frames[:, :, ::-1], target[:, ::-1], fixated[:, ::-1]
    sound = None
    if store.listen:  # a video without sound is a silent one among others
        times = [float(footage.seconds[index]) for index in window]
        heard = footage.hear()
        sound = (
            np.zeros(WINDOW_SAMPLES, np.float32)
            if heard is None
            else sound_window(heard, times, footage.interval, reverse=reverse)
        )
    return _Clip(frames, target, fixated, sound)


def _portion(clips: Sequence[_Clip], *, scored: tuple[Truth, ...] = (), listen: bool = True) -> Portion:
    sounds = [clip.sound for clip in clips if clip.sound is not None]
    return Portion(
        torch.from_numpy(np.stack([clip.frames for clip in clips])),
        torch.from_numpy(np.stack([clip.target for clip in clips])),
        torch.from_numpy(np.stack([clip.fixated for clip in clips])),
        torch.from_numpy(np.stack(sounds)) if sounds and listen else None,
        scored,
    )


def _annotated(recording: Recording, footage: Footage) -> int:
    """How many frames of a video can be a clip's last."""
    return len(footage) if recording.frames is None else min(len(footage), recording.frames)
