"""Where one shot ends and the next begins: PySceneDetect's detector, shown our frames at our times.

Its ``AdaptiveDetector`` compares the change from frame to frame (hue, saturation, lightness) with that of the frames
around it, so that fast motion is no cut. Its own reading of files is not used: ours knows turned, damaged and oddly
timed ones, and the frames are decoded for the network anyway.
"""

from __future__ import annotations

from bisect import bisect_left
from fractions import Fraction
from typing import Any

import cv2

from saliency_cli.types import Frame

__all__ = ["CutFinder"]

WIDTH = 256  # pixels, as PySceneDetect scales pictures itself: cuts are seen in small ones, and noise is not
SHORTEST = 0.4  # seconds: of a shot; flashes are none


class CutFinder:
    """Takes the frames of one video in order; ``cuts`` are then the indices, from 0, of those that begin a shot.

    The first frame is not counted among them. A cut before the last two frames is not seen. Fades and dissolves are
    no cuts.
    """

    def __init__(self, rate: Fraction) -> None:
        from scenedetect.detectors import AdaptiveDetector  # with a window of two frames to either side

        self.cuts: list[int] = []
        self._detector = AdaptiveDetector(min_scene_len=SHORTEST)
        self._rate = rate
        self._times: list[int] = []  # from the first frame on: PySceneDetect knows no times before 0

    def add(self, frame: Frame) -> None:
        """Show the next frame."""
        from scenedetect.common import FrameTimecode, Timecode

        height, width = frame.pixels.shape[:2]
        scale = min(1.0, WIDTH / width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = cv2.cvtColor(cv2.resize(frame.pixels, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2BGR)
        self._first = frame.pts if not self._times else self._first
        self._times.append(frame.pts - self._first)
        time: Any = FrameTimecode(Timecode(self._times[-1], frame.time_base), fps=self._rate)
        self.cuts += [bisect_left(self._times, found.pts) for found in self._detector.process_frame(time, small)]
