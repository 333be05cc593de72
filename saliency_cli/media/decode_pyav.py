"""Decoding with PyAV: every format, strictly forwards, and past damaged places.

Frames become pictures in ``conversion``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av

from saliency_cli.media.conversion import Converter, Look
from saliency_cli.media.description import frame_step, longest_pause
from saliency_cli.media.opening import open_container
from saliency_cli.media.probe import Probe, VideoPacket, read_packets, video_stream
from saliency_cli.media.threads import decoder_threads
from saliency_cli.types import Frame, VideoInfo

__all__ = ["decode_packets", "decode_pyav"]

# A clock that goes back by more than this was reset; less is a frame out of order
RESET_SECONDS, RESET_FRAMES = 1, 32
REORDERED_FRAMES = 1  # the same, where the decoding clock is known to jump
# MPEG's clock of 33 bits begins again after a day; FFmpeg takes any time long before the first for one behind that
WRAP = 1 << 33


def decode_pyav(
    found: Probe,
    *,
    threads: int | None = None,
    first: int = 0,
    after: int | None = None,
    warn: Callable[[str], None] = lambda _: None,
) -> Iterator[Frame]:
    """Yield the frames of a video, upright RGB, in presentation order.

    Damage is passed over: a packet that does not decode is lost, and so is a frame that the decoder marks as patched
    up; the frames behind it, up to the next key frame, are what any player would show. Times rise strictly. Frames
    keep their size when the stream changes its own on the way, which ``warn`` is told. With ``after``, frames up to
    that time are decoded and dropped, and numbering begins with ``first``.

    Raises ReadError if the file cannot be opened any more.
    """
    path = Path(found.info.path)
    with open_container(path) as container:
        stream = video_stream(container, path)
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = decoder_threads(threads)
        packets = read_packets(container, stream)
        yield from decode_packets(
            packets,
            stream,
            found.info,
            found.look,
            first=first,
            after=after,
            timeless=found.timeless,
            jumps=found.backward > 0,
            wraps=found.container.startswith("mpeg"),
            warn=warn,
        )


def decode_packets(
    packets: Iterable[VideoPacket | None],
    stream: av.VideoStream,
    info: VideoInfo,
    look: Look,
    *,
    first: int = 0,
    after: int | None = None,
    timeless: bool = False,
    jumps: bool = False,
    wraps: bool = False,
    warn: Callable[[str], None] = lambda _: None,
) -> Iterator[Frame]:
    """Yield the frames of packets, None where reading failed, that come from a container that is open; see above.

    ``timeless``: their times mean nothing, and are counted at the average rate. ``jumps``: the decoding clock goes back
    somewhere, as it does where one recording ends and another begins. ``wraps``: times have 33 bits.
    """
    step = frame_step(info)
    clock = _Clock(
        step=step,
        time_base=info.time_base,
        last=after,
        begin=round(info.start / info.time_base),
        reset=REORDERED_FRAMES * step if jumps else None,
        leap=WRAP // 2 if wraps else longest_pause(info),
    )
    converter = Converter(info, look)
    index, damaged, told, skip = first, False, False, first
    for frame in _frames(packets, stream):
        if frame is None:
            damaged = True
            continue
        given = frame.pts if frame.pts is not None else frame.dts
        if timeless:
            given = None
            if skip:
                skip -= 1
                continue
        if after is not None and given is not None and given <= after:
            continue
        pts = clock.time_of(given, damaged=damaged)
        if pts is None:
            continue
        yield Frame(index, converter.picture(frame), pts, info.time_base)
        index += 1
        if converter.resized and not told:
            told = True
            size = f"{info.width}x{info.height}"
            warn(f"The pictures change their size at frame {index - 1}: they are scaled to {size}.")


@dataclass(slots=True)
class _Clock:
    """Makes presentation times rise strictly, by as little change as possible."""

    step: int  # one frame, in units of time_base
    time_base: Fraction
    last: int | None
    begin: int = 0  # of the first frame, if it carries no time
    reset: int | None = None  # a clock that goes back by more was reset; None: see RESET_SECONDS
    leap: int | None = None  # a clock that goes forwards by more was reset
    offset: int = 0

    def time_of(self, given: int | None, *, damaged: bool) -> int | None:
        """The time for a frame that carries ``given``, or None for a frame that comes too late to be shown."""
        last = self.last
        pts = None if given is None else given + self.offset
        if pts is None:  # raw streams have no times
            pts = self.begin if last is None else last + self.step
        elif last is not None and self.leap is not None and pts - last > self.leap:
            self.offset += last + self.step - pts
            pts = last + self.step
        elif last is not None and pts <= last:
            usual = max(Fraction(RESET_FRAMES * self.step), RESET_SECONDS / self.time_base)
            if last - pts > (usual if self.reset is None or damaged else self.reset):
                # Recordings put end to end: the second one's clock begins anew, so it goes on behind the first
                self.offset += last + self.step - pts
                pts = last + self.step
            elif damaged:
                return None  # behind damage, decoders let go of old pictures out of order
            else:
                pts = last + 1  # a time given twice
        self.last = pts
        return pts


def _frames(packets: Iterable[VideoPacket | None], stream: av.VideoStream) -> Iterator[av.VideoFrame | None]:
    """The frames that are whole, and None wherever something was lost."""
    flushed = False
    for packet in packets:
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
