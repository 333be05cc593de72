"""Every stream of a media file, as its header has it: for people who want to know what they have before them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, Literal

import av
from av.container import InputContainer
from av.stream import Disposition

from saliency_cli.media.opening import open_container
from saliency_cli.media.probe import video_stream
from saliency_cli.types import ColourInfo

__all__ = ["StreamFacts", "colour_names", "list_streams"]

# FFmpeg's numbers, which are those of ITU-T H.273, under FFmpeg's names
MATRICES: Final[Mapping[int, str]] = {
    **{0: "rgb", 1: "bt709", 4: "fcc", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "ycgco"},
    **{9: "bt2020nc", 10: "bt2020c", 14: "ictcp"},
}
RANGES: Final[Mapping[int, str]] = {1: "limited", 2: "full"}
PRIMARIES: Final[Mapping[int, str]] = {
    **{1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "film", 9: "bt2020"},
    **{10: "smpte428", 11: "smpte431", 12: "smpte432", 22: "ebu3213"},
}
TRANSFERS: Final[Mapping[int, str]] = {
    **{1: "bt709", 4: "gamma22", 5: "gamma28", 6: "smpte170m", 7: "smpte240m", 8: "linear", 9: "log100", 10: "log316"},
    **{11: "iec61966-2-4", 12: "bt1361e", 13: "srgb", 14: "bt2020-10", 15: "bt2020-12", 16: "pq", 17: "smpte428"},
    18: "hlg",
}
UNTAGGED: Final = 2  # of matrix, primaries and transfer; 0 of the range


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamFacts:
    """One stream of a file.

    Attributes:
        index: its number in the container.
        kind: ``video``, ``audio``, ``subtitle``, ``data``, ``attachment``; a cover is a ``picture``.
        codec: FFmpeg's name, "" where it has none. ``profile``: of the codec, "" likewise.
        used: the pictures, or the sound, that a prediction takes.
        seconds: how long it lasts, by its header; ``start``: its first time; ``bit_rate``: bits per second. None where
            the header is silent.
        width, height: of a video, in pixels as coded. ``pixel_format``, ``colour``: as stored.
        rate, channels: of sound: samples per second, and how many at a time.
        language: of ISO 639, "" where the file does not say.
    """

    index: int
    kind: str
    codec: str
    profile: str
    used: bool
    start: float | None
    seconds: float | None
    bit_rate: int | None
    width: int | None = None
    height: int | None = None
    pixel_format: str | None = None
    colour: ColourInfo | None = None
    rate: int | None = None
    channels: int | None = None
    language: str = ""


def list_streams(path: Path) -> tuple[StreamFacts, ...]:
    """All streams of a video file, in the container's order; nothing is decoded. Raises ReadError as ``probe`` does."""
    with open_container(path) as container:
        used = {video_stream(container, path).index}
        if (sound := container.streams.best("audio")) is not None:
            used.add(sound.index)
        return tuple(_facts(container, stream, used=stream.index in used) for stream in container.streams)


def colour_names(colour: ColourInfo) -> dict[Literal["matrix", "range", "primaries", "transfer"], str | None]:
    """The tags by FFmpeg's names; None where there is no tag, the number where it has no name."""

    def name(names: Mapping[int, str], number: int, none: int = UNTAGGED) -> str | None:
        return None if number == none else names.get(number, str(number))

    return {
        "matrix": name(MATRICES, colour.space),
        "range": name(RANGES, colour.range, 0),
        "primaries": name(PRIMARIES, colour.primaries),
        "transfer": name(TRANSFERS, colour.transfer),
    }


def _facts(container: InputContainer, stream: Any, *, used: bool) -> StreamFacts:
    context = getattr(stream, "codec_context", None)
    cover = stream.type == "video" and bool(stream.disposition & Disposition.attached_pic)
    seconds = None if stream.duration is None or stream.time_base is None else stream.duration * stream.time_base
    if seconds is None and container.duration is not None:  # formats without a table of streams' lengths
        seconds = Fraction(container.duration, av.time_base)
    begin = None if stream.start_time is None or stream.time_base is None else stream.start_time * stream.time_base
    of_kind: dict[str, Any] = {}
    if isinstance(stream, av.VideoStream) and context is not None:
        of_kind = {
            "width": context.width,
            "height": context.height,
            "pixel_format": context.pix_fmt,
            "colour": ColourInfo(
                space=int(context.colorspace),
                range=int(context.color_range),
                primaries=int(context.color_primaries),
                transfer=int(context.color_trc),
            ),
        }
    elif isinstance(stream, av.AudioStream) and context is not None:
        of_kind = {"rate": context.sample_rate, "channels": context.channels}
    return StreamFacts(
        index=stream.index,
        kind="picture" if cover else stream.type,
        codec="" if context is None else context.codec.canonical_name,
        profile="" if context is None else context.profile or "",
        used=used,
        start=None if begin is None else float(begin),
        seconds=None if seconds is None else float(seconds),
        bit_rate=None if context is None else getattr(context, "bit_rate", None) or None,
        language=stream.metadata.get("language", "").replace("und", ""),
        **of_kind,
    )
