"""Pictures made of maps, and of maps and frames.

Maps are float32 (h, w), normalised to 0..1, of any size; values outside are cut off. Frames are uint8 (H, W, 3), RGB.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from saliency_cli.render.colour import Colormap, colour, lookup_table
from saliency_cli.render.smooth import resize

__all__ = ["cover_table", "gray8", "gray8_truncated", "gray16", "heatmap", "overlay", "side_by_side"]

GAMMA = 0.8
FADE_IN = 0.12  # saliency at which the cover is no longer weakened


def gray8(saliency: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The map in 8 bits, rounded: uint8 (h, w)."""
    return np.asarray(np.rint(np.clip(saliency, 0.0, 1.0) * np.float32(255)), np.uint8)


def gray8_truncated(saliency: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The map in 8 bits, cut off instead of rounded, as TASED-Net's authors store it: uint8 (h, w)."""
    return np.asarray(np.clip(saliency, 0.0, 1.0) * np.float32(255), np.float32).astype(np.uint8)


def gray16(saliency: NDArray[np.float32]) -> NDArray[np.uint16]:
    """The map in 16 bits, rounded: uint16 (h, w)."""
    return np.asarray(np.rint(np.clip(saliency, 0.0, 1.0) * np.float32(65535)), np.uint16)


def heatmap(
    saliency: NDArray[np.float32], colormap: Colormap = "inferno", *, size: tuple[int, int] | None = None
) -> NDArray[np.uint8]:
    """The map in colour: uint8 (h, w, 3), RGB; resized to ``size`` (width, height) first, if given."""
    return colour(gray8(saliency if size is None else resize(saliency, *size)), colormap)


def overlay(
    frame: NDArray[np.uint8],
    saliency: NDArray[np.float32],
    colormap: Colormap = "turbo",
    *,
    opacity: float = 0.7,
    gamma: float = GAMMA,
) -> NDArray[np.uint8]:
    """Lay the map's colours over a frame: uint8 (H, W, 3), RGB.

    The colours cover the frame by ``opacity * saliency ** gamma``: what draws no attention stays the natural picture.
    Near zero the cover fades in smoothly, so that a weak background of the map does not veil the whole frame.

    Colours and cover are worked out at the map's size and then resized, in 8 bits, which takes a third of the time.
    """
    height, width = frame.shape[:2]
    levels = gray8(saliency)
    covers = cover_table(opacity, gamma)
    tinted = np.rint(lookup_table(colormap) * covers[:, None])  # colours times cover, so that one addition blends them
    clear = np.rint(255.0 * (1.0 - covers))
    ink = cv2.applyColorMap(levels, tinted.astype(np.uint8)[:, None, :])
    glass = cv2.LUT(levels, clear.astype(np.uint8))
    if levels.shape != (height, width):
        ink = cv2.resize(ink, (width, height), interpolation=cv2.INTER_LINEAR)
        glass = cv2.resize(glass, (width, height), interpolation=cv2.INTER_LINEAR)
    picture = cv2.cvtColor(glass, cv2.COLOR_GRAY2RGB)  # the one large array made here that outlives the function
    cv2.multiply(frame, picture, dst=picture, scale=1.0 / 255.0)
    return np.asarray(cv2.add(picture, ink, dst=picture), np.uint8)


def side_by_side(
    frame: NDArray[np.uint8], saliency: NDArray[np.float32], colormap: Colormap = "inferno"
) -> NDArray[np.uint8]:
    """The frame on the left, its heatmap on the right: uint8 (H, 2 * W, 3), RGB; the width is even in any case."""
    height, width = frame.shape[:2]
    return np.asarray(cv2.hconcat([frame, heatmap(saliency, colormap, size=(width, height))]), np.uint8)


def cover_table(opacity: float, gamma: float = GAMMA) -> NDArray[np.float64]:
    """How much of the frame each of the 256 levels hides: (256,), 0..1."""
    level = np.linspace(0.0, 1.0, 256)
    ramp = np.clip(level / FADE_IN, 0.0, 1.0)
    smoothstep = ramp * ramp * (3.0 - 2.0 * ramp)
    return np.asarray(np.clip(opacity, 0.0, 1.0) * level**gamma * smoothstep, np.float64)
