"""Pictures and clips with their targets, cut, mirrored and lit at random.

A sample follows from (seed, stage, step, row) alone, so a run that was stopped goes on with the samples it would have
had.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saliency_cli.datasets import Truth
from saliency_cli.metrics import fixation_counts
from saliency_cli.training.distilled_material import Material
from saliency_cli.training.distilled_recipe import DistilledRecipe, Stage

__all__ = ["Samples", "draw_samples"]

# What a sample is of, as far as it is there
OF_PICTURES = {"extra": 0.3, "videos": 0.2, "stills": 0.5}
OF_CLIPS = {"extra": 0.15, "videos": 0.5, "stills": 0.35}

# Of clips
WHOLE = 0.35  # show all of the picture, as prediction does; others a part
MOVING_VIDEO, MOVING_STILL = 0.2, 0.4  # are panned and zoomed
BACKWARDS = 0.12  # run backwards, with a target for their first frame: a video's first maps are predicted so
DOUBLE_PACE = 0.25  # of short clips, take every other frame
SHORT = 16  # frames

LITTLE = 0.02  # of where people looked: a cut that holds less of it has the teacher's map alone

Box = NDArray[np.float64]
"""x, y, width and height of a part of a picture, as shares of the whole."""


@dataclass(frozen=True, slots=True)
class Samples:
    """What a step learns from.

    ``clips``: (B, 3, T, H, W) of values 0 … 1, channels last; T = 1 for pictures. ``target``: (B, h, w), densities that
    sum to 1, and ``counts``: the same shape, fixations per pixel; (h, w) is (H, W) for pictures, half of it for clips.
    """

    clips: Tensor
    target: Tensor
    counts: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    """Frames, uint8 (h, w, 3), one a picture throughout if there is but one, and what is known of the last."""

    frames: Sequence[NDArray[np.uint8]]
    saliency: NDArray[np.float16]
    truth: Truth | None


@dataclass(frozen=True, slots=True)
class _Light:
    """How far colours, brightness and contrast go astray; shares that become gray, or get another gamma."""

    cast: float
    gain: float
    offset: float
    gray: float
    gamma: float


PICTURE_LIGHT = _Light(cast=0.1, gain=0.3, offset=0.1, gray=0.1, gamma=0.3)
CLIP_LIGHT = _Light(cast=0.07, gain=0.25, offset=0.08, gray=0.08, gamma=0.0)

Row = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]


def draw_samples(material: Material, recipe: DistilledRecipe, number: int, step: int) -> Samples:
    """Those of a ``step`` of stage ``number``, both counted from 0."""
    stage, share = recipe.stages[number], recipe.teacher.share
    draw = _picture if stage.kind == "pictures" else _clip
    rows = [
        draw(material, stage, share, np.random.default_rng([recipe.seed, number, step, row]))
        for row in range(stage.batch)
    ]
    clips, target, counts = (torch.from_numpy(np.stack(part)) for part in zip(*rows, strict=True))
    return Samples(clips.permute(0, 4, 1, 2, 3), target, counts)


def _picture(material: Material, stage: Stage, share: float, rng: np.random.Generator) -> Row:
    """Frames (1, H, W, 3), target and counts (H, W)."""
    kind = _kind(material, OF_PICTURES, rng)
    if kind == "videos":
        video = material.videos[int(rng.integers(len(material.videos)))]
        index = int(rng.integers(len(video)))
        view = _View(list(video.footage.pixels([index])), video.saliency(index), video.truth(index))
    else:
        view = _still(material, kind, rng)
    box = _part(rng, least=0.6, shape=0.15)
    frames = _cut(view.frames[0], box, stage.size)[None]
    target, counts = _target(view, box, stage.size, share)
    return _lit(frames, target, counts, PICTURE_LIGHT, rng)


def _clip(material: Material, stage: Stage, share: float, rng: np.random.Generator) -> Row:
    """Frames (T, H, W, 3), target and counts (H/2, W/2)."""
    kind, length = _kind(material, OF_CLIPS, rng), stage.clip_length
    if kind == "videos":
        video = material.videos[int(rng.integers(len(material.videos)))]
        indices = _window(len(video), length, rng)
        last = indices[-1]
        view = _View(list(video.footage.pixels(indices)), video.saliency(last), video.truth(last))
        moving = rng.random() < MOVING_VIDEO
    else:
        view = _still(material, kind, rng)
        moving = rng.random() < MOVING_STILL
    boxes = _boxes(length, rng, moving=moving)
    if len(view.frames) == 1 and not moving:
        frames = np.repeat(_cut(view.frames[0], boxes[0], stage.size)[None], length, axis=0)
    else:
        shown = [view.frames[n % len(view.frames)] for n in range(length)]
        frames = np.stack([_cut(frame, box, stage.size) for frame, box in zip(shown, boxes, strict=True)])
    height, width = stage.size
    target, counts = _target(view, boxes[-1], (height // 2, width // 2), share)
    return _lit(frames, target, counts, CLIP_LIGHT, rng)


def _kind(material: Material, shares: Mapping[str, float], rng: np.random.Generator) -> str:
    there = {kind: share for kind, share in shares.items() if len(getattr(material, kind))}
    chances = np.array(list(there.values()))
    return list(there)[int(rng.choice(len(there), p=chances / chances.sum()))]


def _still(material: Material, kind: str, rng: np.random.Generator) -> _View:
    pictures = material.extra if kind == "extra" else material.stills
    chosen = pictures[int(rng.integers(len(pictures)))]
    return _View([chosen.pixels], chosen.saliency, chosen.truth())


def _window(count: int, length: int, rng: np.random.Generator) -> list[int]:
    """Frames of a video of ``count`` in the order in which a network takes them; the last one is predicted."""
    pace = 2 if length <= SHORT and rng.random() < DOUBLE_PACE else 1
    span = (length - 1) * pace
    if rng.random() < BACKWARDS:
        first = int(rng.integers(max(1, count - span)))
        return [min(count - 1, first + n * pace) for n in reversed(range(length))]
    last = int(rng.integers(min(span, count - 1), count))
    return [max(0, last - n * pace) for n in reversed(range(length))]


def _part(rng: np.random.Generator, *, least: float, shape: float) -> Box:
    """A part of a picture, at ``least`` so much of each side, its shape changed by up to ``shape``."""
    size, stretch = rng.uniform(least, 1.0), rng.uniform(1 / (1 + shape), 1 + shape)
    width, height = min(1.0, size * stretch), min(1.0, size / stretch)
    return np.array([rng.uniform(0, 1 - width), rng.uniform(0, 1 - height), width, height])


def _boxes(length: int, rng: np.random.Generator, *, moving: bool) -> NDArray[np.float64]:
    """A box for each frame, (T, 4): the same throughout, or on its way to another one."""
    if rng.random() < WHOLE and not moving:
        return np.tile(np.array([0.0, 0.0, 1.0, 1.0]), (length, 1))
    begin = _part(rng, least=0.65, shape=0.1)
    end = begin + (_part(rng, least=0.65, shape=0.1) - begin) * rng.uniform(0.05, 0.5) if moving else begin
    way = np.linspace(0, 1, length)[:, None]
    return np.asarray(begin * (1 - way) + end * way)


def _cut(picture: NDArray[np.uint8 | np.float32], box: Box, size: tuple[int, int]) -> NDArray[np.float32]:
    """A part of a picture or a map, (h, w) or (h, w, 3), at ``size``, (height, width)."""
    (x, y, w, h), (height, width), (rows, columns) = box, size, picture.shape[:2]
    if w == h == 1:
        whole = cv2.resize(np.asarray(picture), (width, height), interpolation=cv2.INTER_AREA)
        return np.asarray(whole, np.float32)
    across, down = w * columns / width, h * rows / height  # source pixels for one of the result's
    way_back = np.array([[across, 0, x * columns + (across - 1) / 2], [0, down, y * rows + (down - 1) / 2]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    part = cv2.warpAffine(np.asarray(picture), way_back, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(part, np.float32)


def _target(
    view: _View, box: Box, size: tuple[int, int], share: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Target and counts, (h, w) each, of a part of the view's last frame."""
    teacher = _density(_cut(view.saliency.astype(np.float32), box, size))
    nobody = np.zeros(size, np.float32)
    if view.truth is None or not (total := float(view.truth.density.sum())):
        return teacher, nobody
    inside = np.maximum(_cut(view.truth.density, box, size), 0)
    pixels = view.truth.density.size / inside.size
    if float(inside.sum()) / total * box[2] * box[3] * pixels < LITTLE:
        return teacher, nobody
    rows, columns = view.truth.counts.shape
    at = np.argwhere(view.truth.counts > 0)[:, ::-1]  # x, y of pixels that were looked at
    points = np.repeat((at + 0.5) / (columns, rows), view.truth.counts[at[:, 1], at[:, 0]].astype(np.int64), axis=0)
    counts = fixation_counts((points - box[:2]) / box[2:], *size).astype(np.float32)
    return share * teacher + (1 - share) * _density(inside), counts


def _density(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scaled to sum to 1; an even density where there is nothing."""
    positive = np.maximum(values, 0)
    total = float(positive.sum())
    return np.asarray(positive / total if total else np.full_like(values, 1 / values.size), np.float32)


def _lit(
    frames: NDArray[np.float32],
    target: NDArray[np.float32],
    counts: NDArray[np.float32],
    light: _Light,
    rng: np.random.Generator,
) -> Row:
    """Frames of 0 … 255 in another light, as values 0 … 1, and every other sample mirrored."""
    if rng.random() < 0.5:
        frames, target, counts = frames[:, :, ::-1], target[:, ::-1], counts[:, ::-1]
    gains = rng.uniform(1 - light.cast, 1 + light.cast, 3) * rng.uniform(1 - light.gain, 1 + light.gain)
    offset = rng.uniform(-light.offset, light.offset)
    lit = np.clip(frames / np.float32(255) * gains.astype(np.float32) + np.float32(offset), 0, 1)
    if rng.random() < light.gray:
        lit = np.repeat(lit.mean(-1, keepdims=True), 3, axis=-1)
    if rng.random() < light.gamma:
        lit = lit ** np.float32(rng.uniform(0.7, 1.4))
    return np.ascontiguousarray(lit), np.ascontiguousarray(target), np.ascontiguousarray(counts)
