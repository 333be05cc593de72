"""What a video stream holds, as its header, its first frame and its frames' times say."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
from av.container import InputContainer

from saliency_cli.media.conversion import colours_as_delivered
from saliency_cli.media.dimensions import check_size
from saliency_cli.media.orientation import Orientation, orientation_of
from saliency_cli.types import AudioInfo, ColourInfo, VideoInfo

__all__ = ["describe", "frame_step", "longest_pause"]

MAX_PAUSE = 24 * 3600  # seconds
RGB = 0  # as FFmpeg numbers colour spaces
# A frame that is shown as long as so many others is a pause, or a clock set forwards: no average is taken over it
PAUSE_FRAMES = 32


def describe(
    container: InputContainer,
    stream: av.VideoStream,
    path: Path,
    first: av.VideoFrame | None,
    *,
    times: Sequence[int],
    begin: int,
    frames: int | None,
) -> VideoInfo:
    """What a video stream holds, as its header and its first frame say.

    ``times``: presentation times that its rate is checked with, sorted. ``begin``: that of the first frame.

    Raises ReadError for a size that nobody can handle.
    """
    context = stream.codec_context
    width, height = (first.width, first.height) if first else (context.width, context.height)
    check_size(path, width, height)
    orientation = orientation_of(first) if first else Orientation()
    tagged = first if first is not None else context
    time_base = stream.time_base or Fraction(1, 90000)
    colour, hdr = colours_as_delivered(
        ColourInfo(
            space=RGB if _is_rgb(first) else int(tagged.colorspace),
            range=int(tagged.color_range),
            primaries=int(tagged.color_primaries),
            transfer=int(tagged.color_trc),
        )
    )
    return VideoInfo(
        path=str(path),
        kind="video",
        width=height if orientation.transpose else width,
        height=width if orientation.transpose else height,
        frames=frames,
        rate=_rate(stream, times, time_base),
        time_base=time_base,
        start=begin * time_base,
        codec=context.codec.canonical_name,
        rotation=orientation.rotation,
        colour=colour,
        hdr=hdr,
        audio=_audio(container),
        pixel_aspect=_pixel_aspect(stream, orientation),
    )


def frame_step(info: VideoInfo) -> int:
    """How long a frame is shown at the average rate, in units of the time base; at least 1."""
    return max(1, round(1 / (info.rate * info.time_base)))


def longest_pause(info: VideoInfo) -> int:
    """In units of the time base, at least 1000 frames: what is longer is no pause, but a clock that went wrong."""
    return max(int(MAX_PAUSE / info.time_base), 1000 * frame_step(info))


def _is_rgb(frame: av.VideoFrame | None) -> bool:
    """Whether pictures are stored as RGB, which few formats say in a tag: no matrix was used to decode them."""
    return frame is not None and (frame.format.is_rgb or frame.format.has_palette)


def _pixel_aspect(stream: av.VideoStream, orientation: Orientation) -> Fraction:
    """Width over height of one pixel, upright; 1 where the file says nothing or nonsense."""
    stored = stream.sample_aspect_ratio
    if not stored or stored < 0:
        return Fraction(1)
    return 1 / stored if orientation.transpose else stored


def _rate(stream: av.VideoStream, times: Sequence[int], time_base: Fraction) -> Fraction:
    """The average rate: the container's exact fraction if the timestamps bear it out, else what they say.

    Pauses do not count: a clock that jumps by an hour tells nothing about how long a frame is shown.
    """
    stated = stream.average_rate or stream.guessed_rate
    stated = stated if stated and stated > 0 else None
    span = (times[-1] - times[0]) * time_base if times else Fraction(0)
    if span <= 0:
        coded = stream.codec_context.framerate if len(times) > 1 else None  # what the container says, comes from times
        return coded or stated or Fraction(25)
    steps = [later - earlier for earlier, later in pairwise(times)]
    longest = PAUSE_FRAMES * max(1, sorted(steps)[len(steps) // 2])
    usual = [step for step in steps if step <= longest]
    span = sum(usual) * time_base
    if stated and abs(len(usual) / stated - span) <= max(Fraction(3, 2) / stated, span / 100):
        return stated
    if span <= 0:
        return stated or Fraction(25)
    measured = len(usual) / span
    return measured.limit_denominator(1001) or measured


def _audio(container: InputContainer) -> AudioInfo | None:
    stream = container.streams.best("audio")
    if not isinstance(stream, av.AudioStream) or getattr(stream, "codec_context", None) is None:
        return None
    time_base = stream.time_base or Fraction(1)
    context = stream.codec_context
    return AudioInfo(
        codec=context.codec.canonical_name,
        rate=context.sample_rate,
        channels=context.channels,
        start=(stream.start_time or 0) * time_base,
    )
