"""Stills and clips with their gaze, as batches that a seed and a step's number decide.

A batch follows from (seed, stage, step) alone, so a run that was stopped goes on with the batches it would have had.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saliency_cli.media import open_source
from saliency_cli.metrics.gaze import (
    SIGMA_STILL,
    SIGMA_VIDEO,
    Fixations,
    GazeTable,
    Item,
    active,
    density_map,
    fixation_counts,
)
from saliency_cli.metrics.split import is_validation
from saliency_cli.models.streaming import input_size_for

__all__ = ["Batch", "Clip", "Still", "clip_batch", "load_clips", "load_stills", "still_batch"]

MAP_STRIDE = 4  # input pixels per pixel of the network's map
CACHE_HEIGHT = 288  # frames are kept at about this height: enough for the largest scale of a recipe
CACHE_GAP = 0.035  # seconds between cached frames at least: clips are sampled far more coarsely


@dataclass(frozen=True, slots=True, eq=False)
class Still:
    """A photograph, uint8 (H, W, 3) RGB, and where it was looked at, (N, 2) as fractions of width and height."""

    name: str
    pixels: NDArray[np.uint8]
    points: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """A video: frames uint8 (H, W, 3) RGB at ``seconds`` on the container's clock, and its fixations."""

    name: str
    frames: list[NDArray[np.uint8]]
    seconds: NDArray[np.float64]
    fixations: Fixations


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """What a step learns from; a still is a clip of one frame.

    ``frames``: (B, S, 3, H, W) float32 in 0 … 255. ``seconds``: (B, S) float64. ``target``: (B, S, H/4, W/4), densities
    that sum to 1. ``counts``: the same shape, fixations per pixel.
    """

    frames: Tensor
    seconds: Tensor
    target: Tensor
    counts: Tensor


def load_stills(gaze: GazeTable, *, validation: bool) -> list[Still]:
    """The photographs of one side of the split, in file order."""
    stills = []
    for item in _items(gaze, "image", validation=validation):
        points = gaze.fixations(item.dataset, item.name).points
        if not len(points):
            continue
        with open_source(gaze.stimulus_path(item.dataset, item.name)) as source:
            for frame in source:
                stills.append(Still(f"{item.dataset}/{item.name}", _shrink(frame.pixels), points))
    return stills


def load_clips(gaze: GazeTable, *, validation: bool) -> list[Clip]:
    """The videos of one side of the split, their frames thinned to what training samples."""
    clips = []
    for item in _items(gaze, "video", validation=validation):
        frames: list[NDArray[np.uint8]] = []
        seconds: list[float] = []
        with open_source(gaze.stimulus_path(item.dataset, item.name)) as source:
            for frame in source:
                if not seconds or frame.seconds - seconds[-1] > CACHE_GAP:
                    frames.append(_shrink(frame.pixels))
                    seconds.append(frame.seconds)
        fixations = gaze.fixations(item.dataset, item.name)
        clips.append(Clip(f"{item.dataset}/{item.name}", frames, np.array(seconds), fixations))
    return clips


def still_batch(stills: Sequence[Still], rng: np.random.Generator, *, size: int, budget: tuple[int, int]) -> Batch:
    """``size`` stills of one shape, drawn at random, flipped and lit at random."""
    shapes: dict[tuple[int, int], list[Still]] = defaultdict(list)
    for still in stills:
        shapes[_input_size(still.pixels, budget)].append(still)
    height, width = _input_size(stills[int(rng.integers(len(stills)))].pixels, budget)
    group = shapes[height, width]
    chosen = [group[i] for i in rng.choice(len(group), size, replace=len(group) < size)]
    samples = [_sample([s.pixels], [s.points], rng, height=height, width=width, sigma=SIGMA_STILL) for s in chosen]
    return _batch(samples, np.zeros((size, 1)))


def clip_batch(
    clips: Sequence[Clip],
    rng: np.random.Generator,
    *,
    size: int,
    frames: int,
    spacing: tuple[float, float],
    budget: tuple[int, int],
) -> Batch:
    """``size`` clips of ``frames`` frames each, from videos of one shape, at random places and spacings."""
    first = clips[int(rng.integers(len(clips)))]
    height, width = _input_size(first.frames[0], budget)
    group = [clip for clip in clips if _input_size(clip.frames[0], budget) == (height, width)]
    chosen = [first, *(group[i] for i in rng.integers(len(group), size=size - 1))]
    samples, times = [], []
    for clip in chosen:
        span = (frames - 1) * rng.uniform(*spacing)
        start = rng.uniform(clip.seconds[0], max(clip.seconds[-1] - span, clip.seconds[0]))
        wanted = start + np.linspace(0, span, frames)
        picked = np.searchsorted(clip.seconds, wanted).clip(max=len(clip.seconds) - 1)
        points = [active(clip.fixations, float(clip.seconds[i])) for i in picked]
        samples.append(
            _sample([clip.frames[i] for i in picked], points, rng, height=height, width=width, sigma=SIGMA_VIDEO)
        )
        times.append(clip.seconds[picked])
    return _batch(samples, np.array(times))


Sample = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]


def _sample(
    frames: Sequence[NDArray[np.uint8]],
    points: Sequence[NDArray[np.float64]],
    rng: np.random.Generator,
    *,
    height: int,
    width: int,
    sigma: float,
) -> Sample:
    """Frames (S, H, W, 3), densities and counts (S, H/4, W/4): one flip and one light for the whole clip."""
    flip = rng.random() < 0.5
    gain, offset = rng.uniform(0.8, 1.2), rng.uniform(-20, 20)
    pixels = np.stack([cv2.resize(f, (width, height), interpolation=cv2.INTER_AREA) for f in frames])
    lit = np.clip(pixels.astype(np.float32) * np.float32(gain) + np.float32(offset), 0, 255)
    grid = (height // MAP_STRIDE, width // MAP_STRIDE)
    counts = np.stack([fixation_counts(at, *grid) for at in points]).astype(np.float32)
    if flip:
        lit, counts = lit[:, :, ::-1], counts[:, :, ::-1]
    density = np.stack([_density(c, sigma * c.shape[0]) for c in counts])
    return np.ascontiguousarray(lit), density, np.ascontiguousarray(counts)


def _batch(samples: Sequence[Sample], seconds: NDArray[np.float64]) -> Batch:
    frames, target, counts = (torch.from_numpy(np.stack(part)) for part in zip(*samples, strict=True))
    return Batch(frames.permute(0, 1, 4, 2, 3), torch.from_numpy(seconds), target, counts)


def _density(counts: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """The density summing to 1. A map without fixations stays zero: the loss leaves it out."""
    blurred = density_map(counts, sigma)
    total = float(blurred.sum())
    return blurred / np.float32(total) if total else blurred


def _input_size(pixels: NDArray[np.uint8], budget: tuple[int, int]) -> tuple[int, int]:
    return _input_size_of_shape(pixels.shape[0], pixels.shape[1], budget)


@cache  # thousands of pictures in a handful of shapes, all of them asked at every step
def _input_size_of_shape(height: int, width: int, budget: tuple[int, int]) -> tuple[int, int]:
    return input_size_for(width, height, budget=budget)


def _shrink(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture at the cache's height, or as it is if it is smaller."""
    height, width = pixels.shape[:2]
    if height <= CACHE_HEIGHT:
        return pixels
    size = (round(width * CACHE_HEIGHT / height), CACHE_HEIGHT)
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def _items(gaze: GazeTable, kind: str, *, validation: bool) -> list[Item]:
    return [item for item in gaze.items() if item.kind == kind and is_validation(item) == validation]
