"""What comes through a pipe, told by its first bytes: whether it can be decoded as it comes.

Formats can that tell everything before the frames that it is about; of mp4, that depends on where its index is.
"""

from __future__ import annotations

import contextlib
import io
import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import av

from saliency_cli.errors import ReadError
from saliency_cli.media.opening import NOT_VIDEO
from saliency_cli.media.stdin import STDIN_NAME, Intake

__all__ = ["Contents", "holds_series", "recognise"]

# So much of the beginning is looked at: for the index of an mp4, and before anything unknown is kept at all
HEAD: Final = 1 << 20
TS_PACKETS: Final = {188: 0, 192: 4}  # their length, and where the sync byte stands


@dataclass(frozen=True, slots=True)
class Contents:
    """What comes through a pipe.

    ``format`` is FFmpeg's name for it if it can be decoded as it comes, None if it must be kept in a file first, with
    ``suffix``. ``size`` is how many bytes it says that there are, if it says so; ``unit`` what their number is a
    multiple of; ``header`` how many come before the frames of y4m, which are all of one size. ``reason`` completes
    "stdin is …".
    """

    reason: str
    format: str | None = None
    suffix: str = ""
    size: int | None = None
    header: int = 0
    unit: int | None = None


FORWARDS: Final = {
    b"nut/multimedia container\0": Contents("NUT, read as it comes", "nut"),
    b"FLV\x01": Contents("FLV, read as it comes", "flv"),
    b"\x00\x00\x01\xba": Contents("MPEG-PS, read as it comes", "mpeg"),
}
KEPT: Final = {
    b"\x89PNG\r\n\x1a\n": Contents("a picture (PNG), read from a temporary file", suffix=".png"),
    b"\xff\xd8\xff": Contents("a picture (JPEG), read from a temporary file", suffix=".jpg"),
    b"II*\0": Contents("a picture (TIFF), read from a temporary file", suffix=".tif"),
    b"MM\0*": Contents("a picture (TIFF), read from a temporary file", suffix=".tif"),
    b"GIF8": Contents("GIF, read from a temporary file", suffix=".gif"),
}
# Where one picture ends and the next begins
SEAMS: Final = {b"\x89PNG": b"IEND\xaeB`\x82\x89PNG", b"\xff\xd8": b"\xff\xd9\xff\xd8\xff"}
MULTI_PICTURE: Final = b"MPF\0"
EBML: Final = b"\x1aE\xdf\xa3"
SEGMENT: Final = b"\x18S\x80g"
Y4M_HEADER: Final = 96
BOXES: Final = {b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"free", b"skip", b"wide", b"pnot", b"uuid", b"sidx"}


def recognise(intake: Intake) -> Contents:
    """What comes, and whether it can be decoded as it comes, from no more of its beginning than that takes.

    Raises ReadError for more than a mebibyte of something that is no media file.
    """
    head = intake.peek(4)
    if b"YUV4MPEG2".startswith(head) and intake.peek(9) == b"YUV4MPEG2":
        return Contents("y4m, read as it comes", "yuv4mpegpipe", header=_line(intake))
    for known in (FORWARDS, KEPT):
        for signature, contents in known.items():
            if signature.startswith(head) and intake.peek(len(signature)) == signature:
                return contents
            if head.startswith(signature):
                return contents
    if head == EBML:
        return Contents("Matroska, read as it comes", "matroska", size=_matroska_size(intake.peek(128)))
    if head == b"RIFF":
        if intake.peek(12)[8:] == b"WEBP":
            return Contents("a picture (WebP), read from a temporary file", suffix=".webp")
        return Contents("AVI, whose index is at its end: read from a temporary file", suffix=".avi")
    if head[:2] == b"BM" and intake.peek(10)[6:] == bytes(4):
        return Contents("a picture (BMP), read from a temporary file", suffix=".bmp")
    for length, at in TS_PACKETS.items():
        if _is_transport(intake, length, at):
            return Contents("MPEG-TS, read as it comes", "mpegts", unit=length)
    if intake.peek(8)[4:] in BOXES:
        return _mp4(intake)
    beginning = intake.peek(HEAD)
    if len(beginning) == HEAD:
        _require_media(beginning)
    return Contents("of a format that may have to be read from its end: read from a temporary file")


def holds_series(path: Path) -> bool:
    """Whether a file that begins as a picture holds several, one after the other, as some programs put them in pipes.

    The further pictures of one photograph, such as a camera's own preview (CIPA DC-007), are no series.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        seam = next((seam for beginning, seam in SEAMS.items() if content[: len(beginning)] == beginning), None)
        return seam is not None and content.find(seam) >= 0 and content.find(MULTI_PICTURE, 0, HEAD) < 0


def _line(intake: Intake) -> int:
    """How long the first line is, with its end; 0 if it has none within what FFmpeg would read of it."""
    length = 10
    while length < Y4M_HEADER and not intake.peek(length).endswith(b"\n"):
        length += 1
    return length % Y4M_HEADER


def _is_transport(intake: Intake, length: int, at: int) -> bool:
    if intake.peek(at + 1)[at:] != b"\x47":
        return False
    head = intake.peek(at + 2 * length + 1)
    return len(head) > at + length and all(head[place] == 0x47 for place in range(at, len(head), length))


def _mp4(intake: Intake) -> Contents:
    """Whether the index comes before the frames: the first box that tells decides (ISO/IEC 14496-12, section 4.2)."""
    offset = 0
    while offset + 16 <= HEAD and len(header := intake.peek(offset + 16)[offset:]) >= 8:
        length, kind = int.from_bytes(header[:4], "big"), header[4:8]
        if kind in (b"moov", b"moof"):
            return Contents("mp4 with its index in front, read as it comes", "mov")
        length = int.from_bytes(header[8:16], "big") if length == 1 else length
        if kind == b"mdat" or length < 8:
            break
        offset += length
    return Contents("mp4 with its index behind the frames: read from a temporary file", suffix=".mp4")


def _matroska_size(head: bytes) -> int | None:
    """How long a Matroska file is, by its segment's size; None where that was left open (RFC 8794, section 4)."""
    with contextlib.suppress(IndexError):
        length, at = _ebml_number(head, 4)
        if length is None or head[at + length : at + length + 4] != SEGMENT:
            return None
        size, begins = _ebml_number(head, at + length + 4)
        return None if size is None else begins + size
    return None


def _ebml_number(data: bytes, at: int) -> tuple[int | None, int]:
    """A variable-length number, None for the one that means "unknown", and where what follows begins."""
    width = 9 - data[at].bit_length()
    value = int.from_bytes(data[at : at + width], "big") & (1 << 7 * width) - 1
    return None if value == (1 << 7 * width) - 1 else value, at + width


def _require_media(beginning: bytes) -> None:
    """Refuse what no demuxer knows, instead of filling the disk with it."""
    name = "text"
    here = {"protocol_whitelist": "none"}  # no playlist leads to the network
    with (
        contextlib.suppress(av.FFmpegError),
        av.open(io.BytesIO(beginning), options=here, metadata_errors="replace") as container,
    ):
        name = container.format.name
        if not NOT_VIDEO & set(name.split(",")):
            return
    raise ReadError(f"{STDIN_NAME} is no video that can be opened ({name}, or damaged); pipe a video into it.")
