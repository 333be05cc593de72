"""What a video, a folder of frames or a picture holds, and what the reader will make of it.

A video's packets are scanned, as they are before a prediction; of its pictures only the first is decoded, since nothing
else tells how they must be turned and what their colours mean. Of what can be read once, from a pipe, only the header
is looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

from saliency_cli.media import (
    DecoderChoice,
    Probe,
    Source,
    StreamFacts,
    colour_names,
    list_streams,
    open_source,
    source_path,
)
from saliency_cli.media.dimensions import declared_size
from saliency_cli.types import AudioInfo, SourceKind

__all__ = ["Inspection", "Times", "inspect_source"]

UNTAGGED = 2  # FFmpeg's number of a matrix that is not known; BT.601 is taken then


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """When the frames are shown, in seconds on the container's clock.

    Attributes:
        first, last: presentation times of the first frame and the last; the latter None where only reading tells.
        seconds: from the first frame's appearance to the end of the last, at the average rate; None likewise.
        rate: frames per second, the average. ``time_base``: seconds per unit of the clock.
        variable: whether frames are shown for different times, by more than the clock's rounding; None where only
            reading tells.
        shortest, longest: seconds between two frames; None likewise, and for a single frame.
    """

    first: float
    last: float | None
    seconds: float | None
    rate: Fraction
    time_base: Fraction
    variable: bool | None
    shortest: float | None
    longest: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What an input holds, and how it will be read.

    Attributes:
        source: the input's name.
        kind: ``video``, ``frames`` (a folder of them) or ``image``.
        container: FFmpeg's name of the format; None for pictures.
        bytes: of the file, or of all pictures; None for stdin.
        codec: of the pictures, FFmpeg's name.
        coded, shown: (width, height) in pixels, as stored and upright, in which order frames are handed on.
        rotation: degrees counter-clockwise that stored pictures are turned; ``mirrored``: and mirrored.
        pixel_aspect: width over height of a pixel as shown. It is told, not applied.
        interlaced: each frame holds two fields.
        pixel_format, colour: as stored; tags that are missing are None. ``hdr``: ``pq``, ``hlg`` or "".
        treatment: what is done with the colours, in words.
        times: see :class:`Times`.
        frames: how many the reader will give, all damage aside; None where only reading tells.
        announced: by the container, None if it says nothing. ``packets``: that hold a picture; None for pictures.
        unusual: of packets or frames, how many are what: discarded, unshown, damaged, …; only what there is.
        sound: that goes with the pictures; None if there is none.
        streams: of a video's container, all; empty where the input can be read once only.
        decoder, reason: what reads it, and why.
        warnings: sentences that the reader says before it begins, or will.
    """

    source: str
    kind: SourceKind
    container: str | None
    bytes: int | None
    codec: str
    coded: tuple[int, int]
    shown: tuple[int, int]
    rotation: int
    mirrored: bool
    pixel_aspect: Fraction
    interlaced: bool
    pixel_format: str | None
    colour: dict[str, str | None]
    hdr: str
    treatment: str
    times: Times
    frames: int | None
    announced: int | None
    packets: int | None
    unusual: dict[str, int]
    sound: AudioInfo | None
    streams: tuple[StreamFacts, ...]
    decoder: str
    reason: str
    warnings: tuple[str, ...]

    def record(self) -> dict[str, Any]:
        """As JSON takes it: fractions are ``"num/den"``, sizes ``[width, height]``."""
        streams = [
            {
                name: colour_names(stream.colour) if name == "colour" and stream.colour is not None else value
                for name, value in asdict(stream).items()
                if value is not None
            }
            for stream in self.streams
        ]
        record: dict[str, Any] = _plain({**asdict(self), "streams": streams})
        return record


def inspect_source(
    source: str | Path,
    *,
    decoder: DecoderChoice = "auto",
    fps: Fraction | float | None = None,
    start: float | None = None,
    end: float | None = None,
) -> Inspection:
    """Look at an input; ``-`` is stdin, which is used up by it. The options are those of ``open_source``.

    Raises ReadError, UsageError: see ``open_source``.
    """
    path = source_path(source)
    with open_source(path, decoder=decoder, fps=fps, start=start, end=end) as opened:
        found, info = opened.scan, opened.info
        streams = () if found is None else list_streams(Path(found.info.path))
        used = next((stream for stream in streams if stream.used and stream.kind == "video"), None)
        colour = None if used is None else used.colour
        if colour is None and info.kind == "video" and not info.hdr:  # handed on as stored
            colour = info.colour
        if opened.pictures:
            turned = _on_its_side(opened.pictures[0], info.width, info.height)
        else:
            turned = info.rotation % 180 == 90 if found is None else found.look.orientation.transpose
        shown = (info.width, info.height)
        return Inspection(
            source=opened.name,
            kind=info.kind,
            container=None if found is None else found.container,
            bytes=_bytes(opened),
            codec=info.codec,
            coded=(shown[1], shown[0]) if turned else shown,
            shown=shown,
            rotation=info.rotation,
            mirrored=found is not None and found.look.orientation.mirrored,
            pixel_aspect=info.pixel_aspect,
            interlaced=found is not None and found.look.interlaced,
            pixel_format=None if used is None else used.pixel_format,
            colour={} if colour is None else {str(tag): name for tag, name in colour_names(colour).items()},
            hdr=info.hdr,
            treatment=_treatment(opened),
            times=_times(opened),
            frames=opened.expected,
            announced=None if found is None else found.announced,
            packets=None if found is None else found.packets,
            unusual={} if found is None else _unusual(found),
            sound=info.audio,
            streams=streams,
            decoder=opened.decoder,
            reason=opened.reason,
            warnings=(*opened.warnings, *([] if found is None else _losses(found))),
        )


def _on_its_side(picture: Path, width: int, height: int) -> bool:
    """Whether a picture of this size, upright, is stored the other way round, as EXIF allows."""
    with picture.open("rb") as file:
        return width != height and declared_size(file) == (height, width)


def _bytes(source: Source) -> int | None:
    if source.sha256 is not None:
        return None
    path = Path(source.info.path)
    if path.is_dir():
        return sum(picture.stat().st_size for picture in source.pictures)
    return path.stat().st_size


def _treatment(source: Source) -> str:
    """What becomes of the colours, as ``media.conversion`` does it."""
    info = source.info
    if info.kind != "video":
        return "RGB of 8 bits; EXIF's orientation is applied, 16 bits become 8"
    if info.hdr:
        peak = "" if source.scan is None else f" from a peak of {source.scan.look.peak:g} cd/m²"
        return f"{info.hdr.upper()} is tone-mapped to BT.709{peak}"
    if info.colour.space == UNTAGGED:
        return "to RGB by BT.601, as nothing says otherwise"
    return "to RGB as the tags say"


def _times(source: Source) -> Times:
    info, found = source.info, source.scan
    unit = info.time_base
    steps: tuple[int, ...] = ()
    last: Fraction | None = None
    if found is not None and found.pts and not found.backward:
        steps = tuple(later - earlier for earlier, later in pairwise(found.pts))
        last = found.pts[-1] * unit
    elif found is None and info.frames is not None:
        steps = (1,) if info.frames > 1 else ()
        last = info.start + (info.frames - 1) / info.rate
    known = found is not None or info.frames is not None
    end = info.duration if last is None else last - info.start + 1 / info.rate
    return Times(
        first=float(info.start),
        last=None if last is None else float(last),
        seconds=None if end is None else float(end),
        rate=info.rate,
        time_base=unit,
        variable=max(steps, default=0) - min(steps, default=0) > 1 if known else None,
        shortest=float(min(steps) * unit) if steps else None,
        longest=float(max(steps) * unit) if steps else None,
    )


def _unusual(found: Probe) -> dict[str, int]:
    counts = {
        "hidden by an edit list": found.discarded,
        "not to be shown": found.unshown,
        "damaged": found.corrupt,
        "without a time": found.untimed,
        "at another's time": found.duplicates,
        "where the clock jumps back": found.backward,
        "where the clock leaps ahead": found.leaps,
    }
    return {what: count for what, count in counts.items() if count}


def _losses(found: Probe) -> Iterator[str]:
    """What the reader will probably say at its end."""
    there = found.packets - found.discarded - found.unshown
    if found.expected > there:
        yield f"{found.expected - there} of {found.expected} frames are announced, but not there."
    if found.corrupt:
        places = "one place" if found.corrupt == 1 else f"{found.corrupt} places"
        yield f"The file is damaged in {places}: frames there may be lost."
    if found.first is None:
        yield "No frame near the beginning could be decoded."
    elif found.spoilt:
        yield "Damaged frames come before the first whole one, and are lost."


def _plain(value: Any) -> Any:
    """Without what JSON does not know."""
    if isinstance(value, Fraction):
        return f"{value.numerator}/{value.denominator}"
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value
