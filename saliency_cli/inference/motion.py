"""What moves in a video, and how differently from the camera: the embedded model's second input.

Dense optical flow (DIS, Kroeger et al. 2016, from OpenCV) on small gray pictures; the camera's own movement is an
affine field fitted to it robustly, and what is left moves by itself. Speeds are in lengths of the picture's longer side
per second, so that neither the resolution nor the frame rate matters. This is our own design, not a paper's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saliency_cli.models.streaming import MOTION_CHANNELS

__all__ = ["Motion", "MotionMeter"]

SIDE = 192  # pixels of the longer side that flow is computed on; its maps have half of it
GAP = 0.03  # seconds between compared frames at least: flow over less drowns in noise
CELL = 4  # pixels between the samples that the camera's movement is fitted to
ROUNDS = 4  # of reweighting in that fit
STILL = 0.01  # lengths per second below which deviations from the fit count alike
RIDGE = 1e-3  # keeps the fit solvable on tiny pictures
# A frame shows another shot when all hold: gray levels differ by this much on average once the camera's movement is
# undone; this share of the histogram (what left and what came) has changed, as fast action does not change it; and the
# pictures correlate less than this, as a change of light leaves them alike.
CUT_DIFFERENCE, CUT_HISTOGRAM, CUT_CORRELATION = 22.0, 0.4, 0.8
BINS = 32
HALF_LIVES = (0.15, 0.5, 0.15, 0.5, 0.15, 0.15)  # seconds, of each map in the order of Motion.maps
GRAY = 0.01  # differences of gray levels are kept in hundreds, near the size of the speeds

Gray = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Motion:
    """The motion seen up to a frame.

    ``maps``: float32 (6, h, w): own speed, fading with a half-life of 0.15 s, and of 0.5 s; difference from the frame
    before once the camera's movement is undone, fading alike; speed in the picture; the camera's mean speed. ``since``:
    seconds since the video, or the shot, began.
    """

    maps: Floats
    since: float


class MotionMeter:
    """Measures the motion of one video, whose frames it is shown in their order."""

    def __init__(self) -> None:
        self._reference: tuple[Gray, float] | None = None
        self._maps: Floats | None = None  # None: nothing was compared since the shot began
        self._begin = 0.0
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._flow.setFinestScale(1)

    def measure(self, pixels: NDArray[np.uint8], seconds: float) -> Motion:
        """The motion up to this frame.

        Args:
            pixels: (H, W, 3) RGB, of one size throughout the video.
            seconds: the frame's presentation time. A frame less than 0.03 s after the one compared before gets the same
                maps.
        """
        gray = _shrink(pixels)
        if self._reference is None:
            self._begin_shot(gray, seconds)
        elif seconds - self._reference[1] >= GAP:
            self._compare(gray, seconds, *self._reference)
        maps = self._maps
        if maps is None:
            height, width = gray.shape
            maps = np.zeros((MOTION_CHANNELS, height // 2, width // 2), np.float32)
        return Motion(maps, max(seconds - self._begin, 0.0))

    def memory(self) -> dict[str, Tensor]:
        """What it remembers, for :meth:`go_on` to take another time; empty before the first frame."""
        if self._reference is None:
            return {}
        gray, then = self._reference
        held = {"gray": torch.from_numpy(gray), "times": torch.tensor([then, self._begin], dtype=torch.float64)}
        return held if self._maps is None else {**held, "maps": torch.from_numpy(self._maps)}

    def go_on(self, memory: Mapping[str, Tensor]) -> None:
        """Measure from here on as if the frames before ``memory`` had been shown to this meter."""
        if not memory:
            return
        then, self._begin = memory["times"].tolist()
        self._reference = (memory["gray"].numpy(), then)
        self._maps = memory["maps"].numpy() if "maps" in memory else None

    def _begin_shot(self, gray: Gray, seconds: float) -> None:
        self._reference, self._maps, self._begin = (gray, seconds), None, seconds

    def _compare(self, gray: Gray, seconds: float, before: Gray, then: float) -> None:
        elapsed = seconds - then
        scale = np.float32(SIDE * elapsed)
        # From this frame back to the one before, so that every value belongs to a pixel of this one
        speed = np.asarray(self._flow.calc(gray, before, None), np.float32) / scale  # type: ignore[call-overload]
        camera = _camera(speed)
        grid_y, grid_x = _grid(*gray.shape)
        undone = cv2.remap(
            before,
            grid_x + camera[..., 0] * scale,
            grid_y + camera[..., 1] * scale,
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        shown = np.asarray(undone, np.uint8)
        difference = cv2.absdiff(gray, shown).astype(np.float32)
        if (
            float(difference.mean()) > CUT_DIFFERENCE
            and _histogram_change(gray, before) > CUT_HISTOGRAM
            and _correlation(gray, shown) < CUT_CORRELATION
        ):
            self._begin_shot(gray, seconds)
            return
        own = _halved(_length(speed - camera))
        changed = _halved(difference) * np.float32(GRAY)
        panning = np.full_like(own, _length(camera).mean())
        new = np.stack([own, own, changed, changed, _halved(_length(speed)), panning])
        if self._maps is not None:
            share = 1 - np.exp2(-elapsed / np.array(HALF_LIVES, np.float32))[:, None, None]
            new = self._maps + share.astype(np.float32) * (new - self._maps)
        self._reference, self._maps = (gray, seconds), new


def _shrink(pixels: NDArray[np.uint8]) -> Gray:
    """Gray, its longer side of 192 pixels and both sides even."""
    height, width = pixels.shape[:2]
    half = SIDE / max(height, width) / 2
    size = (max(2 * round(width * half), 16), max(2 * round(height * half), 16))
    gray = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_AREA), np.uint8)


def _camera(speed: Floats) -> Floats:
    """The affine field that most of ``speed`` (H, W, 2) follows, (H, W, 2): least squares, outliers weighted down."""
    basis = _basis(*speed.shape[:2])  # (H, W, 3)
    cells = np.s_[CELL // 2 :: CELL, CELL // 2 :: CELL]
    where, what = basis[cells].reshape(-1, 3), speed[cells].reshape(-1, 2)
    weights = np.ones(len(where), np.float32)
    for _ in range(ROUNDS):
        weighted = where * weights[:, None]
        field = np.linalg.solve(weighted.T @ where + RIDGE * np.eye(3, dtype=np.float32), weighted.T @ what)  # (3, 2)
        off = np.linalg.norm(what - where @ field, axis=1)
        weights = 1 / (1 + (off / (np.median(off) + np.float32(STILL))) ** 2)
    return np.asarray(basis @ field, np.float32)


@lru_cache(maxsize=4)  # every frame of a video asks for the same
def _grid(height: int, width: int) -> Floats:
    """The rows and the columns of a picture's pixels, (2, H, W)."""
    return np.mgrid[:height, :width].astype(np.float32)


@lru_cache(maxsize=4)
def _basis(height: int, width: int) -> Floats:
    """What an affine field is made of, (H, W, 3): one, and the place from the middle in longer sides."""
    y, x = _grid(height, width)
    return np.stack([np.ones_like(x), (x - width / 2) / SIDE, (y - height / 2) / SIDE], -1)


def _length(vectors: Floats) -> Floats:
    # Not cv2.magnitude, whose last digit depends on where its arrays lie in memory
    return np.asarray(np.sqrt(np.square(vectors[..., 0]) + np.square(vectors[..., 1])), np.float32)


def _halved(values: Floats) -> Floats:
    size = (values.shape[1] // 2, values.shape[0] // 2)
    return np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_AREA), np.float32)


def _histogram_change(one: Gray, other: Gray) -> float:
    first, second = (cv2.calcHist([gray], [0], None, [BINS], [0, 256]) for gray in (one, other))
    return float(np.abs(first - second).sum()) / one.size


def _correlation(one: Gray, other: Gray) -> float:
    """Pearson's, and 0 where a picture has one gray alone."""
    first, second = (gray.astype(np.float32) - gray.mean(dtype=np.float32) for gray in (one, other))
    norm = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float((first * second).sum()) / norm if norm else 0.0
