"""Annotations and stimuli as pictures: their size without decoding them, and their gray values."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

from saliency_cli.errors import ReadError
from saliency_cli.media import PICTURE_SUFFIXES, list_frames, probe, read_picture

__all__ = ["picture_size", "read_gray", "stimulus_size"]

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_START = b"\xff\xd8"
# Start of frame, of every kind of coding; C4, C8 and CC in between are something else (ITU-T T.81, table B.1)
JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
JPEG_EXIF = 0xE1
PNG_EXIF = b"eXIf"


def picture_size(path: Path) -> tuple[int, int]:
    """Height and width of a picture as ``media`` reads it: from the header of a PNG or JPEG, otherwise by decoding.

    Raises ReadError for a picture that is missing or damaged.
    """
    try:
        with path.open("rb") as file:
            size = _header_size(file)
    except OSError as error:
        raise ReadError(f"{path} cannot be read ({error.strerror}); check the file and its folder.") from None
    except (struct.error, ValueError):
        size = None  # not the header it seemed to be: the decoder knows better, or says what is wrong
    if size is None:
        height, width = read_picture(path).shape[:2]
        return height, width
    return size


def stimulus_size(path: Path) -> tuple[int, int]:
    """Height and width of a picture, a folder of frames or a video, as ``media`` shows it upright.

    Raises ReadError for a stimulus that cannot be read.
    """
    if path.is_dir():
        return picture_size(list_frames(path)[0])
    if path.suffix.lower() in PICTURE_SUFFIXES:
        return picture_size(path)
    info = probe(path).info
    return info.height, info.width


def read_gray(path: Path) -> NDArray[Any]:
    """A picture's gray values (H, W), uint8 or uint16; of a colour picture the luma. Raises ReadError."""
    try:
        # Through memory, because OpenCV's own file reading fails on some names outside ASCII
        values = cv2.imdecode(np.fromfile(path, dtype=np.uint8), cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH)
    except FileNotFoundError:
        raise ReadError(f"{path} is missing; copy the annotations again.") from None
    except OSError as error:
        raise ReadError(f"{path} cannot be read ({error.strerror}); check the file and its folder.") from None
    except cv2.error:
        values = None
    if values is None or values.dtype not in (np.uint8, np.uint16):
        raise ReadError(f"{path} is no gray picture that can be decoded; copy the annotation again.")
    return np.asarray(values)


def _header_size(file: BinaryIO) -> tuple[int, int] | None:
    """Height and width, or None where only the decoder can tell: another format, or one that EXIF may turn."""
    start = file.read(8)
    if start == PNG_SIGNATURE:
        length, kind, width, height = struct.unpack(">I4sII", file.read(16))
        if kind != b"IHDR" or not width or not height:
            return None
        file.seek(length - 8 + 4, 1)  # the rest of the header, and its checksum
        return None if any(kind == PNG_EXIF for kind in _png_chunks(file)) else (height, width)
    if start[:2] == JPEG_START:
        file.seek(2)
        return _jpeg_size(file)
    return None


def _png_chunks(file: BinaryIO) -> Iterator[bytes]:
    """The kinds of the chunks up to the first with pixels."""
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        yield kind
        if kind == b"IDAT":
            return
        file.seek(length + 4, 1)


def _jpeg_size(file: BinaryIO) -> tuple[int, int] | None:
    while True:
        marker, kind = struct.unpack(">BB", file.read(2))
        if marker != 0xFF:
            return None
        while kind == 0xFF:  # filling
            (kind,) = struct.unpack(">B", file.read(1))
        (length,) = struct.unpack(">H", file.read(2))
        if kind in JPEG_FRAMES:
            _, height, width = struct.unpack(">BHH", file.read(5))
            return (height, width) if height and width else None
        if kind == JPEG_EXIF or length < 2:
            return None
        file.seek(length - 2, 1)
