"""A video that is decoded as it comes through stdin: once, forwards, and with a clock for how long a frame takes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import chain
from typing import Any, cast

import av
from av.container import InputContainer

from saliency_cli.errors import ReadError
from saliency_cli.media.contents import Contents
from saliency_cli.media.conversion import Look, look_of, remarks
from saliency_cli.media.decode_pyav import decode_packets
from saliency_cli.media.delays import Delays
from saliency_cli.media.description import describe, frame_step
from saliency_cli.media.dimensions import DECODER_LIMITS
from saliency_cli.media.probe import (
    PACKETS_TO_FIRST_FRAME,
    REORDERED,
    AnyPacket,
    VideoPacket,
    read_packets,
    video_stream,
)
from saliency_cli.media.reader import Source
from saliency_cli.media.sound_feed import AudioPacket, SoundFeed
from saliency_cli.media.stdin import STDIN, STDIN_NAME, Intake
from saliency_cli.media.threads import decoder_threads
from saliency_cli.types import Frame, VideoInfo

__all__ = ["StreamedSource", "open_stream"]


# No frames are read ahead to guess a rate: headers tell it, or the first two frames do
AT_ONCE = {"fpsprobesize": "0"}
BUFFER = 1 << 16  # bytes: as much as a pipe holds
SLACK = 1  # seconds of pictures behind the end asked for, in which sound from before it may still come
USUAL_RATES = tuple(
    Fraction(number, of) for number in (24, 25, 30, 50, 60) for of in (Fraction(1), Fraction(1001, 1000))
)
Y4M_FRAME = len(b"FRAME\n")
MPEG = ("mpegts", "mpeg")  # their clocks have 33 bits
MOST_COMING = 256  # packets whose frames may still come out of the decoder


class StreamedSource(Source):
    """Frames of stdin as they come; made by ``open_stream``.

    One thread decodes a frame, with others to help with its slices: decoding several frames at a time, as for files,
    would keep each waiting for those behind it.
    """

    def __init__(
        self,
        info: VideoInfo,
        *,
        intake: Intake,
        contents: Contents,
        container: InputContainer,
        stream: av.VideoStream,
        packets: Iterator[AnyPacket | None],
        look: Look,
        feed: SoundFeed | None,
        start: float | None,
        end: float | None,
    ) -> None:
        super().__init__(info, decoder="pyav", reason=f"{STDIN_NAME} is {contents.reason}", start=start, end=end)
        self._intake, self._contents, self._container, self._stream = intake, contents, container, stream
        self._packets, self._look, self._feed = packets, look, feed
        self.warnings += remarks(stream, info, look)
        self._begun = self._broken = False
        self._came = self._size = 0  # packets of pictures to be shown, and bytes of the last of them
        self._hidden = 0  # packets that an edit list hides
        self._last: tuple[int | None, bool] = (None, False)  # the time of the last of them, and whether it is damaged
        self._coming: dict[int | None, float] = {}  # when packets came whose frames are still to be decoded, by pts
        self._arrived: dict[int, float] = {}  # when frames came that are still to be delivered, by index
        self._delays = Delays()

    @property
    def sound(self) -> SoundFeed | None:
        return self._feed

    @property
    def sha256(self) -> str:
        return self._intake.sha256

    @property
    def delay(self) -> dict[str, float] | None:
        return self._delays.summary()

    def delivered(self, frame: Frame) -> None:
        arrived = self._arrived.pop(frame.index, None)
        if arrived is not None:
            self._delays.add(time.perf_counter() - arrived)

    def interrupt(self) -> None:
        self._intake.stop()

    def __iter__(self) -> Iterator[Frame]:
        if self._begun:
            raise ReadError(f"{STDIN_NAME} can be read once only; open it with spool=True, or save it to a file first.")
        self._begun = True
        self._reading = self._read()
        return self._reading

    def close(self) -> None:
        super().close()
        self._container.close()
        self._intake.close()

    def _decode(self) -> Iterator[Frame]:
        decoded = 0
        wraps = self._contents.format in MPEG
        for frame in decode_packets(self._shown(), self._stream, self.info, self._look, wraps=wraps, warn=self._warn):
            decoded += 1
            came = self._coming.pop(frame.pts, None)
            if self._end is not None and frame.pts >= self._end:
                self._hear_out()
            elif came is not None and (self._begin is None or frame.pts >= self._begin):
                self._arrived[frame.index] = came
            yield frame
        self._intake.check()
        self._count(decoded)

    def _shown(self) -> Iterator[VideoPacket | None]:
        """The packets of the pictures; those of the sound go their own way."""
        for packet in self._packets:
            if packet is None:
                self._broken = True
                yield None
            elif packet.stream is not self._stream:
                self._broken = packet.is_corrupt
                self._hear(cast(AudioPacket, packet))
            else:
                if packet.size and packet.is_discard:
                    self._hidden += 1
                elif packet.size:
                    self._came += 1
                    self._last, self._size = (packet.pts, packet.is_corrupt), packet.size
                    self._coming[packet.pts] = time.perf_counter()
                    if len(self._coming) > MOST_COMING:
                        del self._coming[next(iter(self._coming))]
                yield packet

    def _count(self, decoded: int) -> None:
        """Say what was lost."""
        announced, size, unit = self._stream.frames - self._hidden, self._contents.size, self._contents.unit
        lost = max(self._came, announced) - decoded
        pts, corrupt = self._last
        cut = self._broken or corrupt or (lost > 0 and pts in self._coming)
        cut = cut or self._came < announced or (size is not None and self._intake.count < size)
        if self._contents.header:
            unit = self._size + Y4M_FRAME
        if cut or (unit is not None and (self._intake.count - self._contents.header) % unit != 0):
            self._warn(f"{STDIN_NAME} broke off after {decoded} frames; check what writes to it.")
        elif lost > 0:
            self._warn(f"{lost} of {self._came} frames of {STDIN_NAME} could not be decoded.")

    def _hear(self, packet: AudioPacket) -> None:
        if self._feed is not None and packet.stream is self._feed.stream:
            self._feed.put(packet)

    def _hear_out(self) -> None:
        """Take the sound from before the end that comes behind its pictures."""
        if self._feed is None or not self._feed.heard or self._end is None:
            return
        end = self._end * self.info.time_base
        for packet in self._packets:
            if packet is None or packet.pts is None:
                continue
            begins = packet.pts * packet.time_base
            if packet.stream is self._feed.stream:
                self._feed.put(packet)
                if begins >= end:
                    return
            elif begins >= end + SLACK:
                return


def open_stream(
    intake: Intake,
    contents: Contents,
    *,
    threads: int | None = None,
    start: float | None = None,
    end: float | None = None,
) -> StreamedSource:
    """Begin to read a stream: as far as its first frame, which tells how the pictures must be turned.

    Raises ReadError for a stream that cannot be read, or without pictures.
    """
    try:
        container = av.open(
            cast(Any, intake),
            format=contents.format,
            options={"protocol_whitelist": "none", **AT_ONCE, **DECODER_LIMITS},  # no stream leads elsewhere
            buffer_size=BUFFER,
            metadata_errors="replace",  # titles in an old encoding
        )
    except av.FFmpegError as error:
        intake.check()
        name = contents.reason.split(",")[0]
        raise ReadError(
            f"{STDIN_NAME} begins like {name} but cannot be read as such ({error.strerror}); check what writes to it."
        ) from None
    try:
        intake.check()
        return _begun(intake, contents, container, threads, start, end)
    except BaseException:
        container.close()
        raise


def _begun(
    intake: Intake,
    contents: Contents,
    container: InputContainer,
    threads: int | None,
    start: float | None,
    end: float | None,
) -> StreamedSource:
    stream = video_stream(container, STDIN.with_name(STDIN_NAME))
    stream.thread_type = "SLICE"
    stream.codec_context.thread_count = decoder_threads(threads)
    heard = container.streams.best("audio")
    feed: SoundFeed | None = None
    if isinstance(heard, av.AudioStream) and getattr(heard, "codec_context", None) is not None:
        feed = SoundFeed(heard, which=container.streams.audio.index(heard) + 1, streams=len(container.streams.audio))
    packets = read_packets(container, stream, *(() if feed is None else (feed.stream,)))
    early, first = _first_frame(packets, stream)
    intake.check()
    if first is None:
        raise ReadError(f"{STDIN_NAME} announces a video but gives no frame; check what writes to it.")
    untimed, begin = (0, first.pts) if first.pts is not None else _untimed(early, packets, stream)
    info = describe(
        container, stream, STDIN, first, times=[], begin=begin if begin is not None else first.dts or 0, frames=None
    )
    if not stream.average_rate:
        info = replace(info, rate=_rate(early, packets, stream) or info.rate)
    intake.check()
    info = replace(info, start=info.start - untimed * frame_step(info) * info.time_base)
    return StreamedSource(
        info,
        intake=intake,
        contents=contents,
        container=container,
        stream=stream,
        packets=_chained(early, packets),
        look=look_of(first),
        feed=feed,
        start=start,
        end=end,
    )


def _first_frame(
    packets: Iterator[AnyPacket | None], stream: av.VideoStream
) -> tuple[list[AnyPacket | None], av.VideoFrame | None]:
    """The packets up to the first frame that can be seen, and that frame; the decoder is as new again."""
    early: list[AnyPacket | None] = []
    first: av.VideoFrame | None = None
    for packet in packets:
        early.append(packet)
        if packet is not None and packet.stream is stream:
            try:
                first = next((frame for frame in packet.decode() if not frame.is_corrupt), None)
            except av.FFmpegError:
                first = None  # the next packet may do
        if first is not None or len(early) >= PACKETS_TO_FIRST_FRAME:
            break
    stream.codec_context.flush_buffers()
    return early, first


def _untimed(
    early: list[AnyPacket | None], packets: Iterator[AnyPacket | None], stream: av.VideoStream
) -> tuple[int, int | None]:
    """How many packets without a time come first, and the first time there is; 0 and None where none comes soon.

    Matroska cannot store times before 0: such frames come without one, up to as many later as are out of order. What
    is looked at comes in ``early`` then.
    """
    untimed, times = 0, list[int]()
    last = 0  # packets that came since one without a time
    for packet in chain(tuple(early), _kept(packets, early)):
        if packet is not None and packet.stream is stream and packet.size:
            untimed, last = (untimed + 1, 0) if packet.pts is None else (untimed, last + 1)
            times += [] if packet.pts is None else [packet.pts]
        if last > REORDERED or len(early) >= PACKETS_TO_FIRST_FRAME:
            break
    return (untimed, min(times)) if times else (0, None)


def _rate(
    early: list[AnyPacket | None], packets: Iterator[AnyPacket | None], stream: av.VideoStream
) -> Fraction | None:
    """The rate of a stream whose header does not tell it: that of its first two frames, which come in ``early`` then.

    Decoding times, unlike those of presentation, are in order.
    """
    times: set[int] = set()
    for packet in chain(tuple(early), _kept(packets, early)):
        if packet is not None and packet.stream is stream and packet.dts is not None:
            times.add(packet.dts)
        if len(times) == 2:
            step = (max(times) - min(times)) * (stream.time_base or Fraction(1))
            usual = (rate for rate in USUAL_RATES if abs(1 / rate - step) < (stream.time_base or 0))
            return next(usual, (1 / step).limit_denominator(1001))
    return None


def _kept(packets: Iterator[AnyPacket | None], early: list[AnyPacket | None]) -> Iterator[AnyPacket | None]:
    for packet in packets:
        early.append(packet)
        yield packet


def _chained(early: list[AnyPacket | None], packets: Iterator[AnyPacket | None]) -> Iterator[AnyPacket | None]:
    """The packets looked at already, none of which is kept, then the others."""
    early.reverse()
    while early:
        yield early.pop()
    yield from packets
