"""Decoding with PyAV: every format, strictly forwards, and past damaged places.

Colours: swscale converts with the matrix and range of each frame's own tags; where there are none it assumes BT.601,
limited range. decord does the same: measured on tagged and untagged H.264 and VP9, the two agree to the last bit.
HDR is not tone-mapped.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.reformatter import VideoReformatter

from saliency_cli.media.opening import open_container
from saliency_cli.media.probe import Probe, VideoPacket, read_packets, video_stream
from saliency_cli.media.threads import decoder_threads
from saliency_cli.types import Frame

__all__ = ["decode_pyav"]

# A clock that goes back by more than this was reset; less is a frame out of order
RESET_SECONDS, RESET_FRAMES = 1, 32


def decode_pyav(
    found: Probe, *, threads: int | None = None, first: int = 0, after: int | None = None
) -> Iterator[Frame]:
    """Yield the frames of a video, upright RGB, in presentation order.

    Damage is passed over: a packet that does not decode is lost, and so is a frame that the decoder marks as patched
    up; the frames behind it, up to the next key frame, are what any player would show. Times rise strictly. Frames
    keep their size when the stream changes its own on the way. With ``after``, frames up to that time are decoded and
    dropped, and numbering begins with ``first``.

    Raises ReadError if the file cannot be opened any more.
    """
    path, info, orientation = Path(found.info.path), found.info, found.orientation
    width, height = (info.height, info.width) if orientation.transpose else (info.width, info.height)
    clock = _Clock(step=max(1, round(1 / (info.rate * info.time_base))), time_base=info.time_base, last=after)
    reformatter = VideoReformatter()
    index, damaged = first, False
    with open_container(path) as container:
        stream = video_stream(container, path)
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = decoder_threads(threads)
        for frame in _frames(container, stream):
            if frame is None:
                damaged = True
                continue
            given = frame.pts if frame.pts is not None else frame.dts
            if after is not None and given is not None and given <= after:
                continue
            pts = clock.time_of(given, damaged=damaged)
            if pts is None:
                continue
            picture = reformatter.reformat(frame, width=width, height=height, format="rgb24").to_ndarray()
            yield Frame(index, orientation.apply(np.asarray(picture, dtype=np.uint8)), pts, info.time_base)
            index += 1


@dataclass(slots=True)
class _Clock:
    """Makes presentation times rise strictly, by as little change as possible."""

    step: int  # one frame, in units of time_base
    time_base: Fraction
    last: int | None
    offset: int = 0

    def time_of(self, given: int | None, *, damaged: bool) -> int | None:
        """The time for a frame that carries ``given``, or None for a frame that comes too late to be shown."""
        last = self.last
        pts = None if given is None else given + self.offset
        if pts is None:  # raw streams have no times
            pts = 0 if last is None else last + self.step
        elif last is not None and pts <= last:
            if last - pts > max(Fraction(RESET_FRAMES * self.step), RESET_SECONDS / self.time_base):
                # Recordings put end to end: the second one's clock begins anew, so it goes on behind the first
                self.offset += last + self.step - pts
                pts = last + self.step
            elif damaged:
                return None  # behind damage, decoders let go of old pictures out of order
            else:
                pts = last + 1  # a time given twice
        self.last = pts
        return pts


def _frames(container: InputContainer, stream: av.VideoStream) -> Iterator[av.VideoFrame | None]:
    """The frames that are whole, and None wherever something was lost."""
    flushed = False
    for packet in read_packets(container, stream):
        if packet is None:
            yield None
            continue
        flushed = packet.size == 0
        yield from _decode(stream, packet)
    if not flushed:  # reading broke off: the decoder still holds frames
        yield from _decode(stream, None)


def _decode(stream: av.VideoStream, packet: VideoPacket | None) -> list[av.VideoFrame | None]:
    try:
        return [None if frame.is_corrupt else frame for frame in stream.decode(packet)]
    except av.FFmpegError:
        return [None]  # the reader compares what came with what should have come, and says so
