"""An inspection for people: a list of what there is, and a table of the streams."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from rich.table import Table

from saliency_cli.inspection.costs import Cost
from saliency_cli.inspection.looking import Inspection
from saliency_cli.media import StreamFacts

__all__ = ["cost_lines", "inspection_lines", "streams_table"]

KINDS = {"video": "video", "frames": "folder of frames", "image": "picture"}
NONE = "–"
UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def inspection_lines(found: Inspection) -> Iterator[tuple[str, str]]:
    """(what, how it is) of an input, in the order of its way through the reader."""
    container = "" if found.container is None else f", {found.container}"
    size = "" if found.bytes is None else f", {_bytes(found.bytes)}"
    yield "input", f"{KINDS[found.kind]}{container}{size}"
    yield "pictures", ", ".join(_pictures(found))
    tags = ", ".join(f"{tag} {name}" for tag, name in found.colour.items() if name is not None)
    yield "colours", f"{tags or 'without tags'}: {found.treatment}" if found.kind == "video" else found.treatment
    yield "frames", _frames(found)
    yield "times", ", ".join(_times(found))
    sound = found.sound
    if sound is None:
        yield "sound", "none"
    else:
        yield "sound", f"{sound.codec}, {sound.rate} Hz, {_channels(sound.channels)}, from {float(sound.start):.3f} s"
    yield "decoder", f"{found.decoder} ({found.reason})"
    for warning in found.warnings:
        yield "warning", warning


def streams_table(streams: tuple[StreamFacts, ...]) -> Table:
    """A row a stream; the used ones have a star."""
    table = Table("stream", "kind", "codec", "what", "from", "lasts", "kbit/s", box=None)
    for stream in streams:
        table.add_row(
            f"{stream.index}{'*' if stream.used else ''}",
            stream.kind,
            f"{stream.codec or NONE}{f' ({stream.profile})' if stream.profile else ''}",
            ", ".join(_what(stream)) or NONE,
            NONE if stream.start is None else f"{stream.start:.3f} s",
            NONE if stream.seconds is None else f"{stream.seconds:.3f} s",
            NONE if stream.bit_rate is None else f"{stream.bit_rate / 1000:.0f}",
        )
    return table


def cost_lines(cost: Cost) -> Iterator[tuple[str, str]]:
    """(what, how much) of a measured prediction."""
    stand_in = " with stand-in weights" if cost.stand_in else ""
    basis = f"measured: {cost.frames} frames in {cost.seconds:.1f} s, {cost.device}, {cost.precision}"
    whole = "not known, as the frames are not" if cost.seconds_in_all is None else _duration(cost.seconds_in_all)
    yield f"{cost.network}", f"{whole}, {1 / cost.seconds_per_frame:.1f} frames/s{stand_in} ({basis})"
    if not cost.memory:
        yield "memory", "not told by this system"
    elif cost.memory_at_most > cost.memory:
        yield "memory", f"{_bytes(cost.memory)}, at most {_bytes(cost.memory_at_most)} if decord decodes far ahead"
    else:
        yield "memory", _bytes(cost.memory)


def _pictures(found: Inspection) -> Iterator[str]:
    yield found.codec
    if found.pixel_format:
        yield found.pixel_format
    yield "{}x{}".format(*found.coded)
    if found.rotation:
        yield f"turned by {found.rotation}° counter-clockwise"
    if found.mirrored:
        yield "mirrored"
    if found.coded != found.shown:
        yield "shown as {}x{}".format(*found.shown)
    if found.pixel_aspect != 1:
        ratio = found.pixel_aspect
        yield f"pixels {ratio.numerator}:{ratio.denominator}, which are not stretched"
    if found.interlaced:
        yield "interlaced"


def _frames(found: Inspection) -> str:
    said = "as many as come" if found.frames is None else str(found.frames)
    if found.announced is not None and found.announced != found.packets:
        said += f"; the container announces {found.announced} and holds {found.packets}"
    return said + "".join(f"; {count} {what}" for what, count in found.unusual.items())


def _times(found: Inspection) -> Iterator[str]:
    times = found.times
    last = "" if times.last is None else f" to {times.last:.3f} s"
    yield f"from {times.first:.3f}{last or ' s'}"
    if times.seconds is not None:
        yield f"{_duration(times.seconds)} in all"
    yield f"{_rate(times.rate)} frames/s"
    if times.variable and times.shortest is not None and times.longest is not None:
        yield f"variable: {1000 * times.shortest:.1f} to {1000 * times.longest:.1f} ms"
    elif times.variable is False and times.shortest is not None:
        yield "constant"
    yield f"clock {times.time_base}"


def _what(stream: StreamFacts) -> Iterator[str]:
    if stream.width and stream.height:
        yield f"{stream.width}x{stream.height}"
    if stream.pixel_format:
        yield stream.pixel_format
    if stream.rate:
        yield f"{stream.rate} Hz"
    if stream.channels:
        yield _channels(stream.channels)
    if stream.language:
        yield stream.language


def _channels(count: int) -> str:
    return f"{count} channel{'' if count == 1 else 's'}"


def _rate(rate: Fraction) -> str:
    return str(rate) if rate.denominator == 1 else f"{float(rate):.3f} ({rate})"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d} h" if hours else f"{minutes}:{rest:02d} min"


def _bytes(number: int) -> str:
    size, unit = next((each for each in UNITS if number >= each[0]), UNITS[-1])
    return f"{number / size:.1f} {unit}"
