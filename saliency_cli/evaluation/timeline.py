"""The frames of a recording that are to be scored, and when each is shown."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from saliency_cli.datasets.base import Recording
from saliency_cli.errors import ReadError
from saliency_cli.media import PICTURE_SUFFIXES, open_source, probe

__all__ = ["frame_times", "match_times", "presentation_times", "stimulus_frames"]

# What two programs may differ by in writing down one time, in seconds; Matroska rounds to milliseconds.
ROUNDING = 1e-3


def presentation_times(path: Path) -> tuple[float, ...]:
    """When each frame of a video, or of a folder of frames, is shown: seconds on the container's clock.

    Nothing is decoded where the packets' own times tell. Raises ReadError for what cannot be read.
    """
    if not path.is_dir() and path.suffix.lower() not in PICTURE_SUFFIXES:
        found = probe(path)
        if not found.untimed and not found.backward:
            return tuple(float(pts * found.info.time_base) for pts in found.pts)
    with open_source(path) as source:
        if source.info.kind == "video":
            return tuple(frame.seconds for frame in source)
        return tuple(float(index * source.info.time_base) for index in range(source.info.frames or 0))


def frame_times(recording: Recording, limit: int | None = None) -> tuple[float, ...]:
    """When each frame to be scored is shown, in seconds; as many as there are frames, at most ``limit``.

    A still has one, at 0. Frames that are paired by number need no time, and have NaN. Without annotated frames or a
    stimulus nothing tells: then there are none.

    Raises:
        ReadError: the stimulus cannot be read.
    """
    times: tuple[float, ...] = ()
    if recording.kind == "image":
        times = (0.0,)
    elif recording.pairing == "frame" and recording.frames is not None:
        times = (math.nan,) * recording.frames
    elif recording.stimulus is not None:
        times = presentation_times(recording.stimulus)
    return times[:limit]


def stimulus_frames(recording: Recording) -> int | None:
    """How many frames the stimulus has; None without one."""
    return None if recording.stimulus is None else len(presentation_times(recording.stimulus))


def match_times(own: tuple[float, ...], shown: tuple[float, ...], source: Path) -> tuple[int, ...]:
    """The frame of the stimulus that each map belongs to: the one shown at its time, within half a frame.

    ``own``: times of the maps of ``source``; ``shown``: of the stimulus' frames, rising. No two maps share a frame.

    Raises:
        ReadError: a map is shown when no frame of the stimulus is.
    """
    frames = np.asarray(shown)
    after = np.clip(np.searchsorted(frames, own), 1, max(len(shown) - 1, 1))
    if len(shown) > 1:
        nearest = np.where(np.abs(frames[after] - own) < np.abs(frames[after - 1] - own), after, after - 1)
        tolerance = max(float(np.diff(frames).min()) / 2, ROUNDING)
    else:
        nearest, tolerance = np.zeros(len(own), np.int64), ROUNDING
    distance = np.abs(frames[nearest] - own)
    lost = np.flatnonzero(~(distance <= tolerance))
    if lost.size or len(set(nearest.tolist())) < len(own):
        first = int(lost[0]) if lost.size else 0
        raise ReadError(
            f"{source} has a map at {own[first]:.3f} s where its stimulus shows no frame (that begins at "
            f"{shown[0]:.3f} s and has {len(shown)} frames, and there are {len(own)} maps): write maps with the "
            "stimulus' own times, or as numbered pictures."
        )
    return tuple(int(index) for index in nearest)
