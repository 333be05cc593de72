"""Where one shot ends and the next begins: PySceneDetect's detector, shown our frames at our times.

Its ``AdaptiveDetector`` compares the change from frame to frame (hue, saturation, lightness) with that of the frames
around it, so that fast motion is no cut. Its own reading of files is not used: ours knows turned, damaged and oddly
timed ones, and the frames are decoded for the network anyway.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from saliency_cli.types import Frame

__all__ = ["CutFinder"]

WIDTH = 256  # pixels, as PySceneDetect scales pictures itself: cuts are seen in small ones, and noise is not
SHORTEST = 0.4  # seconds: of a shot
WINDOW = 2  # frames to either side that a change is compared with; as many frames later a cut is told
# What comes after a flash is like what was before it: the difference between the two is less than this part of that
# between the frame before and the first bright one.
FLASH = 0.5


class CutFinder:
    """Takes the frames of one video in order; ``cuts`` are then the indices, from 0, of those that begin a shot.

    The first frame is not counted among them. A cut before one of the last two frames is not seen. Fades and dissolves
    are no cuts, nor are flashes of one or two frames.
    """

    def __init__(self, rate: Fraction) -> None:
        from scenedetect.detectors import AdaptiveDetector

        self.cuts: list[int] = []
        self._detector = AdaptiveDetector(min_scene_len=SHORTEST, window_width=WINDOW)
        self._rate = rate
        self._first: int | None = None
        self._last: deque[NDArray[np.uint8]] = deque(maxlen=WINDOW + 2)  # from the one before a change on
        self._times: list[int] = []  # from the first frame on: PySceneDetect knows no times before 0

    def add(self, frame: Frame) -> None:
        """Show the next frame."""
        from scenedetect.common import FrameTimecode, Timecode

        height, width = frame.pixels.shape[:2]
        scale = min(1.0, WIDTH / width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = cv2.cvtColor(cv2.resize(frame.pixels, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2BGR)
        self._last.append(np.asarray(small, np.uint8))
        self._first = frame.pts if self._first is None else self._first
        self._times.append(frame.pts - self._first)
        time: Any = FrameTimecode(Timecode(self._times[-1], frame.time_base), fps=self._rate)
        found = [bisect_left(self._times, cut.pts) for cut in self._detector.process_frame(time, small)]
        if not self._is_flash():
            self.cuts += found

    def _is_flash(self) -> bool:
        """Whether a change ``WINDOW`` frames ago has been undone since."""
        if len(self._last) < WINDOW + 2 or len({picture.shape for picture in self._last}) > 1:
            return False
        before, first, now = self._last[0], self._last[1], self._last[-1]
        return bool(cv2.norm(before, now, cv2.NORM_L1) < FLASH * cv2.norm(before, first, cv2.NORM_L1))
