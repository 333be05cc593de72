"""The numbers of a report: arithmetic on the statistics of maps, without pictures.

Places are fractions of the picture's width and height. Everything that is a mean or a share counts each frame by the
time that it is shown, so that a variable frame rate does not weigh.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import dist, log2

from saliency_cli.render import FrameStatistics

__all__ = ["HOLD", "JUMP", "MIDDLE", "JumpCounter", "Summary", "Tally", "concentration", "frame_at", "key_times"]

JUMP = 0.25  # of the width and height: how far attention goes at once in a jump
HOLD = 0.15  # seconds that it stays there
MIDDLE = (1 / 3, 2 / 3)
KEY_FRAMES = 8
SHORTEST_PIECE = 1.0  # seconds: no more key frames than one in so many

Place = tuple[float, float]


def concentration(entropy: float, pixels: int) -> float:
    """How firmly a map of so many pixels looks at something: 0 if it is even, 1 if it is one pixel.

    1 - H / log2(n): the entropy H, in bits, relative to that of an even map (Pielou's evenness, taken from 1).
    """
    return 1.0 if pixels < 2 else min(max(1 - entropy / log2(pixels), 0.0), 1.0)


@dataclass(frozen=True, slots=True)
class Summary:
    """What is told of a whole video.

    ``duration``: seconds from the first frame to the end of the last. ``shots``: one more than the cuts.
    ``concentration``, ``spread``: means. ``middle``: share of the time in which the peak lies in the middle third of
    the width and of the height. ``jumps``: see :class:`JumpCounter`.
    """

    frames: int
    duration: float
    shots: int
    concentration: float
    spread: float
    middle: float
    jumps: int


class JumpCounter:
    """Counts how often attention jumps within shots.

    A jump is a move of the peak by more than ``JUMP``, not across a cut, after which it stays away from where it was
    for at least ``HOLD`` seconds: slow drifts, and flickering for a moment, are none.
    """

    def __init__(self) -> None:
        self.jumps = 0
        self._place: Place | None = None
        self._away: tuple[float, Place] | None = None  # since when the peak is elsewhere, and where

    def see(self, seconds: float, peak: Place, *, cut: bool) -> None:
        """The peak of the next frame; ``cut``: it begins a shot."""
        if self._place is None or cut or dist(peak, self._place) <= JUMP:
            self._place, self._away = peak, None
        elif self._away is None or dist(peak, self._away[1]) > JUMP:
            self._away = seconds, peak
        elif seconds - self._away[0] >= HOLD:
            self.jumps += 1
            self._place, self._away = peak, None
        else:
            self._away = self._away[0], peak


class Tally:
    """Adds up a video frame by frame, in constant memory."""

    def __init__(self) -> None:
        self._frames = self._shots = 0
        self._begin = self._time = self._shown = 0.0
        self._concentration = self._spread = self._middle = 0.0
        self._last: tuple[float, float, bool] | None = None
        self._jumps = JumpCounter()

    def add(self, seconds: float, statistics: FrameStatistics, pixels: int, *, cut: bool) -> float:
        """The map of the next frame, of so many pixels; its concentration. ``cut``: the frame begins a shot."""
        if self._last is None:
            self._begin = seconds
        self._until(seconds)
        firm = concentration(statistics.entropy, pixels)
        middle = all(MIDDLE[0] <= each <= MIDDLE[1] for each in statistics.peak)
        self._last, self._time = (firm, statistics.spread, middle), seconds
        self._frames += 1
        self._shots += cut or self._frames == 1
        self._jumps.see(seconds, statistics.peak, cut=cut)
        return firm

    def summary(self, end: float) -> Summary:
        """Of all frames, the last of which is shown until ``end``, in seconds."""
        self._until(end)
        self._time = end
        shown = self._shown or 1.0
        return Summary(
            frames=self._frames,
            duration=end - self._begin,
            shots=self._shots,
            concentration=self._concentration / shown,
            spread=self._spread / shown,
            middle=self._middle / shown,
            jumps=self._jumps.jumps,
        )

    def _until(self, seconds: float) -> None:
        if self._last is None:
            return
        share = seconds - self._time
        firm, spread, middle = self._last
        self._shown += share
        self._concentration += share * firm
        self._spread += share * spread
        self._middle += share * middle


def key_times(cuts: Sequence[float], end: float, *, most: int = KEY_FRAMES) -> tuple[float, ...]:
    """Times, in order, at which a video from 0 to ``end`` seconds is looked at: at most ``most``.

    Each shot is looked at in its middle. Of more shots than ``most`` the longest are. With fewer, the longest are cut
    into equal pieces, none shorter than a second, and each piece is looked at in its middle.
    """
    edges = [0.0, *(cut for cut in cuts if 0 < cut < end), end]
    shots = [(first, last) for first, last in pairwise(edges) if last > first] or [(0.0, end)]
    shots = sorted(sorted(shots, key=lambda shot: shot[0] - shot[1])[:most])
    pieces = [1] * len(shots)
    while sum(pieces) < most:
        lengths = [(last - first) / count for (first, last), count in zip(shots, pieces, strict=True)]
        longest = max(range(len(shots)), key=lengths.__getitem__)
        if lengths[longest] * pieces[longest] / (pieces[longest] + 1) < SHORTEST_PIECE:
            break
        pieces[longest] += 1
    return tuple(
        first + (last - first) * (piece + 0.5) / count
        for (first, last), count in zip(shots, pieces, strict=True)
        for piece in range(count)
    )


def frame_at(seconds: Sequence[float], time: float) -> int:
    """The number of the frame that is shown at a time: the last that began."""
    return max(bisect_right(seconds, time) - 1, 0)
