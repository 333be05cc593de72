"""Photographs and videos with their gaze, as batches that a seed and a step's number decide.

A batch follows from (seed, stage, step) alone, so a run that was stopped goes on with the batches it would have had.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saliency_cli.inference.motion import MotionMeter
from saliency_cli.media import Sound, open_source, read_sound
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
from saliency_cli.models.streaming import input_size_for

__all__ = [
    "Batch",
    "Clip",
    "Glances",
    "Still",
    "glance_batch",
    "glances_of",
    "input_shape",
    "load_clips",
    "load_stills",
    "still_batch",
    "to_network",
]

MAP_STRIDE = 4  # input pixels per pixel of the network's map
CACHE_SIDE = 288  # pictures are kept with a shorter side of about this: enough for the largest scale of a recipe
CACHE_GAP = 0.035  # seconds between the frames kept of a video at least: neighbours teach the same


@dataclass(frozen=True, slots=True, eq=False)
class Still:
    """A photograph, uint8 (H, W, 3) RGB, and where it was looked at, (N, 2) as fractions of width and height."""

    name: str
    pixels: NDArray[np.uint8]
    points: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """A video of S frames, uint8 (H, W, 3) RGB, at ``seconds`` (S,) on the container's clock, and its fixations.

    ``motion``: float16 (S, 6, h, w), and ``since``: float32 (S,), as :class:`Motion` has them. ``sound``:
    None if there is none, or none was asked for.
    """

    name: str
    frames: list[NDArray[np.uint8]]
    seconds: NDArray[np.float64]
    motion: NDArray[np.float16]
    since: NDArray[np.float32]
    fixations: Fixations
    sound: Sound | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """What a step learns from.

    ``pictures``: (B, 3, H, W) float32 in 0 … 255. ``target``: (B, H/4, W/4), densities that sum to 1. ``counts``: the
    same shape, fixations per pixel.
    """

    pictures: Tensor
    target: Tensor
    counts: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Glances:
    """A clip as the photographs' network sees its frames, and where they are looked at.

    ``features``: float16 (S, C, h/2, w/2). ``logits``: float32 (S, 1, h, w), at the map's resolution. ``counts``:
    float32 (S, h, w), fixations per pixel. ``target``: the same shape, densities that sum to 1, or 0 where nobody
    looked. ``motion`` and ``since``: the clip's.
    """

    features: Tensor
    logits: Tensor
    counts: Tensor
    target: Tensor
    motion: Tensor
    since: Tensor


def load_stills(gaze: GazeTable, items: Iterable[Item]) -> list[Still]:
    """Those of the items that are photographs with fixations, in their order."""
    stills = []
    for item in items:
        points = gaze.fixations(item.dataset, item.name).points
        if item.kind != "image" or not len(points):
            continue
        with open_source(gaze.stimulus_path(item.dataset, item.name)) as source:
            for frame in source:
                stills.append(Still(f"{item.dataset}/{item.name}", _shrink(frame.pixels), points))
    return stills


def load_clips(gaze: GazeTable, items: Iterable[Item], *, sound: bool = False, silent: bool = True) -> list[Clip]:
    """Those of the items that are videos with fixations, their motion measured on every frame, but not all kept.

    With ``sound`` they bring it; without ``silent`` those that have none are left out.
    """
    clips = []
    for item in items:
        fixations = gaze.fixations(item.dataset, item.name)
        if item.kind != "video" or not len(fixations.points):
            continue
        frames: list[NDArray[np.uint8]] = []
        seconds: list[float] = []
        motion: list[NDArray[np.float16]] = []
        since: list[float] = []
        meter = MotionMeter()
        path = gaze.stimulus_path(item.dataset, item.name)
        heard = read_sound(path) if sound else None
        if heard is None and not silent:
            continue
        with open_source(path) as source:
            for frame in source:
                seen = meter.measure(frame.pixels, frame.seconds)
                if not seconds or frame.seconds - seconds[-1] > CACHE_GAP:
                    frames.append(_shrink(frame.pixels))
                    seconds.append(frame.seconds)
                    motion.append(seen.maps.astype(np.float16))
                    since.append(seen.since)
        clips.append(
            Clip(
                f"{item.dataset}/{item.name}",
                frames,
                np.array(seconds),
                np.stack(motion),
                np.array(since, np.float32),
                fixations,
                heard,
            )
        )
    return clips


def still_batch(stills: Sequence[Still], rng: np.random.Generator, *, size: int, budget: tuple[int, int]) -> Batch:
    """``size`` photographs of one shape, drawn at random, flipped and lit at random."""
    shapes: dict[tuple[int, int], list[Still]] = defaultdict(list)
    for still in stills:
        shapes[input_shape(still.pixels, budget)].append(still)
    height, width = input_shape(stills[int(rng.integers(len(stills)))].pixels, budget)
    group = shapes[height, width]
    chosen = [group[i] for i in rng.choice(len(group), size, replace=len(group) < size)]
    samples = [_sample(still, rng, height=height, width=width) for still in chosen]
    pictures, target, counts = (torch.from_numpy(np.stack(part)) for part in zip(*samples, strict=True))
    return Batch(pictures.permute(0, 3, 1, 2), target, counts)


def glances_of(clip: Clip, features: Tensor, logits: Tensor) -> Glances:
    """A clip's frames with ``features`` and ``logits`` of the photographs' network."""
    height, width = logits.shape[-2:]
    counts = np.stack(
        [fixation_counts(active(clip.fixations, float(at)), height, width) for at in clip.seconds]
    ).astype(np.float32)
    target = np.stack([_density(each, SIGMA_VIDEO * height) for each in counts])
    return Glances(
        features.half().cpu(),
        logits.float().cpu(),
        torch.from_numpy(counts),
        torch.from_numpy(target),
        torch.from_numpy(clip.motion),
        torch.from_numpy(clip.since),
    )


def glance_batch(glances: Sequence[Glances], rng: np.random.Generator, *, size: int) -> Glances:
    """``size`` frames that somebody looked at, of clips of one shape, drawn at random and flipped at random."""
    watched = [clip for clip in glances if clip.counts.any()]
    first = watched[int(rng.integers(len(watched)))]
    shape = (first.counts.shape[1:], first.motion.shape[1:])
    group = [clip for clip in watched if (clip.counts.shape[1:], clip.motion.shape[1:]) == shape]
    rows: list[tuple[Tensor, ...]] = []
    while len(rows) < size:
        clip = group[int(rng.integers(len(group)))]
        at, flip = int(rng.integers(len(clip.counts))), rng.random() < 0.5
        if clip.counts[at].any():
            maps = (
                clip.features[at].float(),
                clip.logits[at],
                clip.counts[at],
                clip.target[at],
                clip.motion[at].float(),
            )
            rows.append((*(each.flip(-1) if flip else each for each in maps), clip.since[at]))
    return Glances(*(torch.stack(part) for part in zip(*rows, strict=True)))


Sample = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]


def _sample(still: Still, rng: np.random.Generator, *, height: int, width: int) -> Sample:
    """Picture (H, W, 3), density and counts (H/4, W/4), with one flip and one light."""
    flip = rng.random() < 0.5
    gain, offset = rng.uniform(0.8, 1.2), rng.uniform(-20, 20)
    pixels = cv2.resize(still.pixels, (width, height), interpolation=cv2.INTER_AREA)
    lit = np.clip(pixels.astype(np.float32) * np.float32(gain) + np.float32(offset), 0, 255)
    counts = fixation_counts(still.points, height // MAP_STRIDE, width // MAP_STRIDE).astype(np.float32)
    if flip:
        lit, counts = lit[:, ::-1], counts[:, ::-1]
    density = _density(counts, SIGMA_STILL * counts.shape[0])
    return np.ascontiguousarray(lit), density, np.ascontiguousarray(counts)


def _density(counts: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """The density summing to 1. A map without fixations stays zero: the loss leaves it out."""
    blurred = density_map(counts, sigma)
    total = float(blurred.sum())
    return blurred / np.float32(total) if total else blurred


def input_shape(pixels: NDArray[np.uint8], budget: tuple[int, int]) -> tuple[int, int]:
    """The network's (height, width) for a picture."""
    return _input_size_of_shape(pixels.shape[0], pixels.shape[1], budget)


@cache  # thousands of pictures in a handful of shapes, all of them asked at every step
def _input_size_of_shape(height: int, width: int, budget: tuple[int, int]) -> tuple[int, int]:
    return input_size_for(width, height, budget=budget)


def to_network(frames: Sequence[NDArray[np.uint8]], *, height: int, width: int) -> Tensor:
    """Frames as the predictor scales them: float32 (S, 3, height, width) in 0 … 255."""
    small = np.stack([cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA) for frame in frames])
    return torch.from_numpy(small).permute(0, 3, 1, 2).float()


def _shrink(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture with its shorter side as the cache has it, or as it is if it is smaller."""
    height, width = pixels.shape[:2]
    scale = CACHE_SIDE / min(height, width)
    if scale >= 1:
        return pixels
    size = (round(width * scale), round(height * scale))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
