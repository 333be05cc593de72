"""Folders of frames, and still images.

Pictures come as a person sees them: the EXIF orientation is applied, transparency is dropped, 16 bits are scaled to 8,
gray becomes RGB. Of a picture file with several pages or frames the first counts; a GIF is read as a video.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from saliency_cli.errors import ReadError, UsageError
from saliency_cli.media.dimensions import check_declared_size, check_size
from saliency_cli.media.opening import require_file
from saliency_cli.types import Frame, SourceKind, VideoInfo

__all__ = ["DEFAULT_RATE", "PICTURE_SUFFIXES", "describe_pictures", "list_frames", "read_picture", "read_pictures"]

PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})
DEFAULT_RATE = Fraction(30)


def _natural(path: Path) -> tuple[list[tuple[int, int, str]], str]:
    """Sort key in which numbers count as numbers: 2.png comes before 10.png."""
    parts = re.split(r"(\d+)", path.name.casefold())
    return [(1, 0, part) if not part.isdecimal() else (0, int(part), "") for part in parts if part], path.name


def list_frames(folder: Path) -> list[Path]:
    """The pictures in a folder, in natural order; hidden files, other files and subfolders are passed over.

    Raises ReadError if there are none, or the folder may not be read.
    """
    try:
        names = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
        found = [entry for entry in names if entry.suffix.lower() in PICTURE_SUFFIXES and entry.is_file()]
    except PermissionError:
        raise ReadError(f"{folder} may not be read by this user; change its permissions.") from None
    except OSError as error:
        raise ReadError(f"{folder} cannot be read ({error.strerror}); check the file system.") from None
    if not found:
        kinds = ", ".join(sorted(suffix[1:] for suffix in PICTURE_SUFFIXES))
        raise ReadError(f"{folder} is a folder without pictures ({kinds}); name a folder of frames, or a video.")
    return sorted(found, key=_natural)


def read_picture(path: Path) -> NDArray[np.uint8]:
    """Read a picture file as RGB, uint8 (H, W, 3).

    Raises ReadError if it is missing, does not decode, or holds floating-point pixels, whose range nobody knows.
    """
    require_file(path)
    check_declared_size(path)
    try:
        # Through memory, because OpenCV's own file reading fails on some names outside ASCII
        pixels = cv2.imdecode(np.fromfile(path, dtype=np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    except cv2.error:
        pixels = None  # its limit on the number of pixels
    if pixels is None:
        raise ReadError(f"{path} is no picture that can be decoded; it is damaged or of another format than its name.")
    height, width = pixels.shape[:2]
    check_size(path, width, height)
    if pixels.dtype == np.uint16:
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if pixels.dtype != np.uint8:
        raise ReadError(f"{path} holds {pixels.dtype} pixels; convert it to 8 or 16 bits per channel.")
    return np.ascontiguousarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def describe_pictures(
    path: Path, pictures: Sequence[Path], *, kind: SourceKind, fps: Fraction | float | None = None
) -> VideoInfo:
    """What a folder of frames, or a still image, holds; its size is that of the first picture.

    Raises UsageError for a rate that is not positive, ReadError if the first picture does not decode.
    """
    rate = DEFAULT_RATE if fps is None else Fraction(fps).limit_denominator(1001)
    if rate <= 0:
        raise UsageError(f"{path} cannot be shown at {fps} frames per second; give a rate above 0.")
    height, width = read_picture(pictures[0]).shape[:2]
    return VideoInfo(
        path=str(path),
        kind=kind,
        width=width,
        height=height,
        frames=len(pictures),
        rate=rate,
        time_base=1 / rate,
        start=Fraction(0),
        codec=pictures[0].suffix[1:].lower(),
    )


def read_pictures(info: VideoInfo, pictures: Sequence[Path], *, first: int = 0) -> Iterator[Frame]:
    """Yield the pictures from number ``first`` on as frames, at the rate of ``info``.

    Raises ReadError naming the picture that does not decode or is of another size than the first.
    """
    for index, picture in enumerate(pictures[first:], start=first):
        pixels = read_picture(picture)
        height, width = pixels.shape[:2]
        if (width, height) != (info.width, info.height):
            raise ReadError(
                f"{picture} is {width}x{height}, but {pictures[0].name} is {info.width}x{info.height}; "
                "all frames of a folder must have one size."
            )
        yield Frame(index, pixels, index, info.time_base)
