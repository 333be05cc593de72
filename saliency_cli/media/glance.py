"""What a source says about itself in its header: quick, and not to be relied on."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import av

from saliency_cli.errors import ReadError
from saliency_cli.media.folder import PICTURE_SUFFIXES, list_frames, read_picture
from saliency_cli.media.opening import open_container
from saliency_cli.media.probe import video_stream

__all__ = ["Glance", "glance"]


@dataclass(frozen=True, slots=True)
class Glance:
    """``frames`` and ``seconds`` are None where the header is silent."""

    width: int
    height: int
    frames: int | None
    seconds: float | None


def glance(path: Path) -> Glance:
    """Look at a video's header, or count the pictures of a folder. Raises ReadError where there is nothing to see."""
    folder = os.path.isdir(path)
    if folder or path.suffix.lower() in PICTURE_SUFFIXES:
        pictures = list_frames(path) if folder else [path]
        height, width = read_picture(pictures[0]).shape[:2]
        return Glance(width, height, len(pictures), None)
    try:
        with open_container(path) as container:
            video = video_stream(container, path)
            seconds = None if container.duration is None else container.duration / av.time_base
            rate = video.average_rate or video.guessed_rate
            frames = video.frames or (round(seconds * rate) if seconds and rate else None)
            return Glance(video.codec_context.width, video.codec_context.height, frames, seconds)
    except (OSError, ValueError) as error:
        raise ReadError(f"{path} cannot be opened ({error}).") from None
