"""How large a picture may be, and how large a file says that it is, before anything of it is decoded.

A header of a few bytes can announce a picture of 100,000 by 100,000 pixels, for which a decoder would ask for 30 GB.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from saliency_cli.errors import ReadError

__all__ = ["DECODER_LIMITS", "MAX_PIXELS", "MAX_SIDE", "check_declared_size", "check_size", "declared_size"]

MAX_SIDE = 32768
MAX_PIXELS = 16384 * 16384
# FFmpeg's decoders themselves refuse larger frames, also where a stream changes its size on the way
DECODER_LIMITS = {"max_pixels": str(MAX_PIXELS)}
HEAD = 4096  # bytes: all headers below lie in them, but those of JPEG and TIFF
MAX_SEGMENTS = 4096  # of a JPEG file before its frame header


def check_size(path: Path | str, width: int, height: int) -> None:
    """Raise ReadError for a picture that has no size, or one that nothing here can hold."""
    if 0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE and width * height <= MAX_PIXELS:
        return
    if width <= 0 or height <= 0:  # FFmpeg says 0 for what it finds absurd as well
        what = "gives no size of its pictures, or an impossible one"
    else:
        what = f"says that its pictures are {width}x{height} pixels, more than can be handled"
    raise ReadError(f"{path} {what}; it is damaged, or must be scaled down first.")


def check_declared_size(path: Path) -> None:
    """Raise ReadError if a file's own header announces pictures that nothing here can hold.

    Headers that are not known here pass: FFmpeg reads those, and has the same limit.
    """
    with path.open("rb") as file:
        size = declared_size(file)
    if size is not None:
        check_size(path, *size)


def declared_size(file: BinaryIO) -> tuple[int, int] | None:
    """Width and height that a PNG, GIF, BMP, WebP, JPEG, TIFF, AVI or YUV4MPEG2 file announces; None for others."""
    head = file.read(HEAD)
    try:
        if head[:8] == b"\x89PNG\r\n\x1a\n":
            return struct.unpack_from(">II", head, 16)
        if head[:4] == b"GIF8":
            return struct.unpack_from("<HH", head, 6)
        if head[:2] == b"BM" and head[14:18] != b"\x0c\0\0\0":
            width, height = struct.unpack_from("<ii", head, 18)
            return abs(width), abs(height)
        if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
            return _webp(head)
        if head[:4] == b"RIFF" and head[8:16] == b"AVI LIST":
            return _avi(head)
        if head[:10] == b"YUV4MPEG2 ":
            return _yuv4mpeg(head)
        if head[:3] == b"\xff\xd8\xff":
            return _jpeg(file)
        if head[:4] in (b"II*\0", b"MM\0*"):
            return _tiff(file, "<" if head[:1] == b"I" else ">")
    except struct.error:  # the header breaks off
        return None
    return None


def _webp(head: bytes) -> tuple[int, int] | None:
    """WebP container specification: the canvas of VP8X, or the frame header of VP8 and VP8L."""
    kind = head[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", head, 21)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", head, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None


def _avi(head: bytes) -> tuple[int, int] | None:
    """The largest of the sizes in the bitmap headers of the video streams (``strh`` of ``vids``, then ``strf``)."""
    sizes = []
    for found in re.finditer(rb"strh.{4}vids", head, re.DOTALL):
        at = head.find(b"strf", found.end())
        if at >= 0:
            width, height = struct.unpack_from("<ii", head, at + 12)
            sizes.append((abs(width), abs(height)))
    return max(sizes, key=lambda size: size[0] * size[1], default=None)


def _yuv4mpeg(head: bytes) -> tuple[int, int] | None:
    fields = {word[:1]: word[1:] for word in head.split(b"\n")[0].split(b" ")[1:]}
    width, height = fields.get(b"W", b""), fields.get(b"H", b"")
    return (int(width), int(height)) if width.isdigit() and height.isdigit() and len(width + height) < 40 else None


def _jpeg(file: BinaryIO) -> tuple[int, int] | None:
    """The frame header (SOF), behind any number of other segments; ITU-T T.81, annex B."""
    for kind, at in _segments(file):
        if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):
            file.seek(at)
            _, height, width = struct.unpack(">BHH", file.read(5))
            return width, height
    return None


def _segments(file: BinaryIO) -> Iterator[tuple[int, int]]:
    """(marker, offset of its content) of the segments of a JPEG file, up to the first scan."""
    at = 2
    for _ in range(MAX_SEGMENTS):
        file.seek(at)
        mark, kind, length = struct.unpack(">BBH", file.read(4))
        if mark != 0xFF or kind == 0xDA:
            return
        if kind == 0xFF:  # padding
            at += 1
            continue
        yield kind, at + 4
        at += 2 + max(length, 2)


def _tiff(file: BinaryIO, order: str) -> tuple[int, int] | None:
    """ImageWidth (256) and ImageLength (257) of the first directory; TIFF 6.0, section 2."""
    file.seek(4)
    (at,) = struct.unpack(order + "I", file.read(4))
    file.seek(at)
    (entries,) = struct.unpack(order + "H", file.read(2))
    sizes = {}
    for _ in range(entries):
        tag, kind, _, value = struct.unpack(order + "HHI4s", file.read(12))
        if tag in (256, 257):
            sizes[tag] = struct.unpack_from(order + ("H" if kind == 3 else "I"), value)[0]
    return (sizes[256], sizes[257]) if len(sizes) == 2 else None
