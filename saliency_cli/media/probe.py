"""What is in a video file, found by scanning its packets.

Only one frame is decoded, since nothing else tells how the pictures must be turned and what their colours mean. A
sample aspect ratio other than 1 is told but not applied, so that a network sees the pixels as they were stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

import av
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from numpy.typing import NDArray

from saliency_cli.errors import ReadError
from saliency_cli.media.conversion import Converter, Look, look_of, remarks
from saliency_cli.media.description import describe, frame_step, longest_pause
from saliency_cli.media.dimensions import DECODER_LIMITS, check_size
from saliency_cli.media.opening import open_container
from saliency_cli.types import VideoInfo

__all__ = [
    "AnyPacket",
    "Probe",
    "VideoPacket",
    "probe",
    "read_packets",
    "video_stream",
]

AnyPacket: TypeAlias = "av.Packet[Any]"
VideoPacket: TypeAlias = "av.Packet[av.VideoStream]"

# A stream may begin far from a key frame; after so many packets without a picture we stop trying to see one
PACKETS_TO_FIRST_FRAME = 600
DEMUX_ERRORS = 16
VP8_SHOWN = 0x10  # show_frame, in the first byte of a frame (RFC 6386, section 9.1)
REORDERED = 16  # frames that a codec may hold back to bring them into order


@dataclass(frozen=True, slots=True)
class Probe:
    """What a scan of all packets found.

    ``pts`` holds the presentation times of all frames that will be shown, sorted, in units of ``info.time_base``.
    ``announced`` is the container's own frame count, None if it has none; both it and ``packets`` include the
    ``discarded`` ones, which an edit list hides, and the ``unshown`` ones, which VP8 makes to predict others from.
    ``untimed`` packets have no timestamp, before ``backward`` ones the
    decoding clock jumped back. ``look`` and ``first`` are those of the first frame, the latter upright RGB (H, W, 3),
    or None if none could be decoded near the beginning; ``spoilt`` says that damaged ones came before it. ``claimed``
    is how many frames the header's durations amount to. ``duplicates`` is how many frames carry the time of another; if
    all do, which ``timeless`` says, times are counted at the average rate. ``leaps`` is how often times go on
    after more than a day. ``notes`` are sentences about what is unusual.
    """

    info: VideoInfo
    packets: int
    pts: tuple[int, ...] = field(repr=False)
    container: str
    video_streams: int
    announced: int | None
    discarded: int
    corrupt: int
    untimed: int
    backward: int
    look: Look
    first: NDArray[np.uint8] | None = field(repr=False, compare=False)
    spoilt: bool = False
    claimed: int = 0
    duplicates: int = 0
    leaps: int = 0
    unshown: int = 0
    timeless: bool = False
    notes: tuple[str, ...] = ()

    @property
    def expected(self) -> int:
        """How many frames a whole and healthy file would show."""
        return max(self.packets, self.announced or 0) - self.discarded - self.unshown


def video_stream(container: InputContainer, path: Path) -> av.VideoStream:
    """The first video stream that is no cover picture, its decoder held to sizes that memory can hold."""
    streams = _video_streams(container)
    if not streams:
        what = "has sound but no video" if container.streams.audio else "has no video stream"
        raise ReadError(f"{path} {what}; give a file with pictures.")
    if getattr(streams[0], "codec_context", None) is None:
        raise ReadError(f"{path} has a video stream that no decoder here knows; convert it to H.264 first.")
    stream = streams[0]
    context = stream.codec_context
    if context.width or context.height:
        check_size(path, context.width, context.height)
    context.options = {**context.options, **DECODER_LIMITS}
    return stream


def _video_streams(container: InputContainer) -> list[av.VideoStream]:
    return [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]


def read_packets(container: InputContainer, *streams: Any) -> Iterator[AnyPacket | None]:
    """All packets of some streams, the empty last ones that flush decoders included; None where reading failed.

    Reading goes on behind a damaged place as long as the format can find its way again.
    """
    failures = 0
    while failures < DEMUX_ERRORS:
        try:
            yield from container.demux(*streams)
            return
        except av.FFmpegError:
            failures += 1
            yield None


def probe(path: str | Path) -> Probe:
    """Scan a video file.

    Raises ReadError for a file that is missing, empty, unreadable, no video, or without a single frame.
    """
    path = Path(path)
    with open_container(path) as container:
        stream = video_stream(container, path)
        return _scan(container, stream, path)


def _scan(container: InputContainer, stream: av.VideoStream, path: Path) -> Probe:
    first: av.VideoFrame | None = None
    spoilt = False
    packets = discarded = corrupt = untimed = backward = unshown = 0
    vp8 = stream.codec_context.codec.canonical_name == "vp8"
    decoding_time: int | None = None
    times: list[int] = []
    last_untimed = 0  # as many packets had come by then
    for packet in read_packets(container, stream):
        if packet is None:
            corrupt += 1
            continue
        if first is None and packets < PACKETS_TO_FIRST_FRAME:
            try:
                frames = packet.decode()
            except av.FFmpegError:
                frames, spoilt = [], True  # The next packet may do; what is lost is counted when the frames are read
            first = next((frame for frame in frames if not frame.is_corrupt), None)
            spoilt |= any(frame.is_corrupt for frame in frames)
        if packet.size == 0:
            continue
        packets += 1
        corrupt += packet.is_corrupt
        if packet.dts is not None:
            backward += decoding_time is not None and packet.dts < decoding_time
            decoding_time = packet.dts
        if packet.is_discard:
            discarded += 1
        elif vp8 and not memoryview(packet)[0] & VP8_SHOWN:
            unshown += 1
        elif packet.pts is None:
            untimed, last_untimed = untimed + 1, packets
        else:
            times.append(packet.pts)
    if not times and not untimed:
        raise ReadError(f"{path} announces a video but holds no frame; copy or record it again.")
    times.sort()
    duplicates = len(times) - len(set(times))
    timeless = len(times) > 1 and times[0] == times[-1]
    announced = stream.frames or None
    whole = not (corrupt or untimed or backward) and (announced is None or announced == packets)
    info = describe(
        container,
        stream,
        path,
        first,
        times=[] if backward else times,
        begin=_begin(stream, first if backward else None, times),
        frames=packets - discarded - unshown if whole else None,
    )
    if times and untimed and last_untimed <= untimed + REORDERED:
        # Matroska cannot store times before 0: such frames come without one, and belong in front of the first with one
        info = replace(info, start=info.start - untimed * frame_step(info) * info.time_base)
    if timeless:
        # The times that the frames are going to have
        times = [times[0] + index * frame_step(info) for index in range(len(times))]
    elif duplicates:
        for index in range(1, len(times)):
            times[index] = max(times[index], times[index - 1] + 1)
    leap = longest_pause(info)
    leaps = sum(later - earlier > leap for earlier, later in pairwise(times))
    look = look_of(first)
    return Probe(
        info=info,
        packets=packets,
        pts=tuple(times),
        container=container.format.name,
        video_streams=len(_video_streams(container)),
        announced=announced,
        discarded=discarded,
        corrupt=corrupt,
        untimed=untimed,
        backward=backward,
        look=look,
        first=Converter(info, look).picture(first) if first else None,
        spoilt=spoilt,
        claimed=_claimed(container, stream),
        duplicates=duplicates,
        leaps=leaps,
        unshown=unshown,
        timeless=timeless,
        notes=tuple(_notes(stream, info, look, timeless=timeless, leaps=leaps)),
    )


def _begin(stream: av.VideoStream, first: av.VideoFrame | None, times: Sequence[int]) -> int:
    """The time of the first frame, which is the earliest unless recordings were put end to end."""
    if first is not None and first.pts is not None:
        return first.pts
    return times[0] if times else stream.start_time or 0


def _claimed(container: InputContainer, stream: av.VideoStream) -> int:
    """How many frames the durations in the headers amount to; decoders reserve room for them."""
    seconds = Fraction(max(container.duration or 0, 0), av.time_base)
    if stream.duration and stream.time_base:
        seconds = max(seconds, stream.duration * stream.time_base)
    rates = (stream.average_rate, stream.base_rate, stream.guessed_rate)
    return int(seconds * max((rate for rate in rates if rate), default=Fraction(1)))


def _notes(stream: av.VideoStream, info: VideoInfo, look: Look, *, timeless: bool, leaps: int) -> Iterator[str]:
    yield from remarks(stream, info, look)
    if leaps:
        yield "The clock leaps by more than a day: what comes behind goes on without a pause."
    if timeless:
        yield f"All frames carry the same time: they are shown at {float(info.rate):g} frames per second."
