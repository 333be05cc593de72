"""What is in a video file, found by scanning its packets, and which decoder can be trusted with it.

Only one frame is decoded, since nothing else tells how the pictures must be turned. A
sample aspect ratio other than 1 is told but not applied, so that a network sees the pixels as they were stored.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Literal, TypeAlias

import av
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from numpy.typing import NDArray

from saliency_cli.errors import ReadError
from saliency_cli.media.opening import open_container
from saliency_cli.media.orientation import Orientation, orientation_of
from saliency_cli.types import AudioInfo, ColourInfo, VideoInfo

__all__ = [
    "DECORD_CODECS",
    "DecoderName",
    "Probe",
    "VideoPacket",
    "choose_decoder",
    "probe",
    "read_packets",
    "video_stream",
]

DecoderName = Literal["decord", "pyav"]
VideoPacket: TypeAlias = "av.Packet[av.VideoStream]"

DECORD_CODECS = frozenset({"h264", "hevc", "mpeg4", "vp8", "vp9", "prores", "ffv1"})
# decord decodes ahead without bound, and cannot be told to stop: with 750 frames of 1920x1080 and a slow reader, 3.4 GB
# lay in its queue. What it can pile up at most is the whole video, so it gets those that fit into this.
DECORD_BYTES = 512 * 2**20
RGB = 0  # as FFmpeg numbers colour spaces
MAX_SIDE = 32768
MAX_PIXELS = 16384 * 16384
# A stream may begin far from a key frame; after so many packets without a picture we stop trying to see one
PACKETS_TO_FIRST_FRAME = 600
DEMUX_ERRORS = 16


@dataclass(frozen=True, slots=True)
class Probe:
    """What a scan of all packets found.

    ``pts`` holds the presentation times of all frames that will be shown, sorted, in units of ``info.time_base``.
    ``announced`` is the container's own frame count, None if it has none; both it and ``packets`` include the
    ``discarded`` ones, which an edit list hides. ``untimed`` packets have no timestamp, before ``backward`` ones the
    decoding clock jumped back. ``first`` is the first frame, upright RGB (H, W, 3), or None if none
    could be decoded near the beginning.
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
    orientation: Orientation
    first: NDArray[np.uint8] | None = field(repr=False, compare=False)

    @property
    def expected(self) -> int:
        """How many frames a whole and healthy file would show."""
        return max(self.packets, self.announced or 0) - self.discarded


def video_stream(container: InputContainer, path: Path) -> av.VideoStream:
    """The first video stream that is no cover picture."""
    streams = _video_streams(container)
    if not streams:
        what = "has sound but no video" if container.streams.audio else "has no video stream"
        raise ReadError(f"{path} {what}; give a file with pictures.")
    if getattr(streams[0], "codec_context", None) is None:
        raise ReadError(f"{path} has a video stream that no decoder here knows; convert it to H.264 first.")
    return streams[0]


def _video_streams(container: InputContainer) -> list[av.VideoStream]:
    return [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]


def read_packets(container: InputContainer, stream: av.VideoStream) -> Iterator[VideoPacket | None]:
    """All packets of a stream, the empty last one that flushes the decoder included; None where reading failed.

    Reading goes on behind a damaged place as long as the format can find its way again.
    """
    failures = 0
    while failures < DEMUX_ERRORS:
        try:
            yield from container.demux(stream)
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
    packets = discarded = corrupt = untimed = backward = 0
    decoding_time: int | None = None
    times: list[int] = []
    for packet in read_packets(container, stream):
        if packet is None:
            corrupt += 1
            continue
        if first is None and packets < PACKETS_TO_FIRST_FRAME:
            try:
                first = next((frame for frame in packet.decode() if not frame.is_corrupt), None)
            except av.FFmpegError:
                first = None  # The next packet may do; what is lost is counted when the frames are read
        if packet.size == 0:
            continue
        packets += 1
        corrupt += packet.is_corrupt
        if packet.dts is not None:
            backward += decoding_time is not None and packet.dts < decoding_time
            decoding_time = packet.dts
        if packet.is_discard:
            discarded += 1
        elif packet.pts is None:
            untimed += 1
        else:
            times.append(packet.pts)
    if not times and not untimed:
        raise ReadError(f"{path} announces a video but holds no frame; copy or record it again.")
    times.sort()

    context = stream.codec_context
    width, height = (first.width, first.height) if first else (context.width, context.height)
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE and width * height <= MAX_PIXELS):
        raise ReadError(
            f"{path} says that its frames are {width}x{height} pixels, which no decoder can hold; it is damaged, or "
            "must be scaled down first."
        )
    orientation = orientation_of(first) if first else Orientation()
    tagged = first if first is not None else context
    time_base = stream.time_base or Fraction(1, 90000)
    announced = stream.frames or None
    whole = not (corrupt or untimed or backward) and (announced is None or announced == packets)
    begin = times[0] if times else stream.start_time or 0
    info = VideoInfo(
        path=str(path),
        kind="video",
        width=height if orientation.transpose else width,
        height=width if orientation.transpose else height,
        frames=packets - discarded if whole else None,
        rate=_rate(stream, [] if backward else times, time_base),
        time_base=time_base,
        start=begin * time_base,
        codec=context.codec.canonical_name,
        rotation=orientation.rotation,
        colour=ColourInfo(
            space=RGB if _is_rgb(first) else int(tagged.colorspace),
            range=int(tagged.color_range),
            primaries=int(tagged.color_primaries),
            transfer=int(tagged.color_trc),
        ),
        audio=_audio(container),
        pixel_aspect=_pixel_aspect(stream, orientation),
    )
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
        orientation=orientation,
        first=orientation.apply(np.asarray(first.to_ndarray(format="rgb24"), dtype=np.uint8)) if first else None,
    )


def _is_rgb(frame: av.VideoFrame | None) -> bool:
    """Whether pictures are stored as RGB, which few formats say in a tag: no matrix was used to decode them."""
    return frame is not None and (frame.format.is_rgb or frame.format.has_palette)


def _pixel_aspect(stream: av.VideoStream, orientation: Orientation) -> Fraction:
    """Width over height of one pixel, upright; 1 where the file says nothing or nonsense."""
    stored = stream.sample_aspect_ratio
    if not stored or stored < 0:
        return Fraction(1)
    return 1 / stored if orientation.transpose else stored


def _rate(stream: av.VideoStream, times: list[int], time_base: Fraction) -> Fraction:
    """The average rate: the container's exact fraction if the timestamps bear it out, else what they say."""
    stated = stream.average_rate or stream.guessed_rate
    span = (times[-1] - times[0]) * time_base if times else Fraction(0)
    if span <= 0:
        return stated or Fraction(25)
    if stated and abs((len(times) - 1) / stated - span) <= max(Fraction(3, 2) / stated, span / 100):
        return stated
    return Fraction((len(times) - 1) / span).limit_denominator(1001)


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


def choose_decoder(found: Probe, wanted: Literal["auto", "decord", "pyav"] = "auto") -> tuple[DecoderName, str]:
    """Which decoder reads this file, and why.

    On anything unusual decord drops, repeats or mixes up frames without a word, and it decodes ahead without bound, so
    it gets only plain and short files; PyAV takes everything else. Asking for one by name overrules the choice.
    """
    doubt = _doubt(found)
    if wanted == "auto":
        if doubt:
            return "pyav", doubt
        return "decord", f"plain {found.info.codec}: every packet is whole, timed and shown, and time starts at 0"
    if wanted == "decord" and doubt:
        return "decord", f"asked for, in spite of this: {doubt}"
    return wanted, "asked for"


def _doubt(found: Probe) -> str | None:
    """The first reason not to trust decord with a file, None if there is none."""
    info = found.info
    if info.codec not in DECORD_CODECS:
        return f"decord does not read {info.codec}"
    try:
        info.path.encode()
    except UnicodeEncodeError:
        return "the file's name is not valid UTF-8, which decord cannot open"
    if found.video_streams != 1:
        return f"{found.video_streams} video streams, of which decord takes another than the first"
    if found.discarded:
        return f"an edit list hides some packets ({found.discarded}), which decord would show"
    if found.corrupt:
        return f"damaged packets: {found.corrupt}"
    if found.untimed:
        return f"packets without a timestamp: {found.untimed}"
    if found.backward:
        return f"the clock jumps back: {found.backward} times"
    if found.container.startswith("mpeg"):  # transport and programme streams
        return f"decord drops the first frames of {found.container} and repeats the last"
    if info.start != 0:
        return f"the first frame's time is {float(info.start):.3f} s, not 0"
    if found.announced is not None and found.announced != found.packets:
        return f"the container announces {found.announced} frames but holds {found.packets}"
    if found.orientation.mirrored or (found.orientation != Orientation() and "mp4" not in found.container):
        return "the picture must be turned, which decord does in mp4 and mov only"
    decoded = 3 * info.width * info.height * found.packets
    if decoded > DECORD_BYTES:
        return f"decord may hold all {decoded / 2**20:,.0f} MiB of decoded frames in memory"
    return None
