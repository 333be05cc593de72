"""Pictures and numbers out: a folder of PNG files, a single picture, JSON lines, and the sidecar of any product."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TextIO

import cv2
import numpy as np
from numpy.typing import NDArray

from saliency_cli.errors import UsageError, WriteError
from saliency_cli.media.atomic import atomic_file, write_errors
from saliency_cli.media.product import Product

__all__ = ["ImageWriter", "PngWriter", "StatsWriter", "sidecar_path", "write_sidecar"]

Picture = NDArray[np.uint8] | NDArray[np.uint16]

DIGITS: Final = 6  # of a frame's number, which counts from 1
IMAGE_FORMATS: Final = (".png", ".jpg", ".jpeg")
FAST: Final = (cv2.IMWRITE_PNG_COMPRESSION, 1)  # a tenth larger than the default, in a third of the time
GOOD: Final = (cv2.IMWRITE_JPEG_QUALITY, 95)


class PngWriter(Product):
    """One PNG file a frame in a folder, ``000001.png`` for the first; the folder appears when it is complete."""

    def __init__(self, path: Path | str) -> None:
        super().__init__(path, folder=True)

    def write(self, pixels: Picture, index: int) -> None:
        """Add frame ``index``, counted from 0: uint8 or uint16, (H, W) gray or (H, W, 3) RGB. Raises WriteError."""
        with write_errors(self.path):
            (self._replacement.temporary / f"{index + 1:0{DIGITS}d}.png").write_bytes(_encoded(pixels, ".png"))


class ImageWriter(Product):
    """A single picture, ``.png`` or ``.jpg``; a JPEG has 8 bits. Raises UsageError for another suffix."""

    def __init__(self, path: Path | str) -> None:
        self._suffix = Path(path).suffix.lower()
        if self._suffix not in IMAGE_FORMATS:
            raise UsageError(f"{path}: a picture is written as {', '.join(IMAGE_FORMATS)}; choose one of these.")
        self._written = False
        super().__init__(path)

    def write(self, pixels: Picture) -> None:
        """The picture: uint8 or uint16, (H, W) gray or (H, W, 3) RGB. Raises UsageError for 16 bits in a JPEG."""
        if self._written:
            raise ValueError("a picture is written once")
        if pixels.dtype != np.uint8 and self._suffix != ".png":
            raise UsageError(f"{self.path}: a JPEG holds 8 bits, not 16; write a PNG, or 8 bits.")
        with write_errors(self.path):
            self._replacement.temporary.write_bytes(_encoded(pixels, self._suffix))
        self._written = True

    def _finish(self) -> None:
        if not self._written:
            raise WriteError(f"{self.path} cannot be written: there is no picture; check the input.")


class StatsWriter:
    """JSON lines, one a frame: its number from 0, its time, and the numbers measured.

    ``path`` is a file, which appears when it is complete, or an open text stream such as ``sys.stdout``, to which every
    line goes at once and which stays open.
    """

    def __init__(self, path: Path | str | TextIO) -> None:
        self.notes: list[str] = []
        self._product: Product | None = None
        if isinstance(path, (str, Path)):
            self._product = Product(path)
            self.path = self._product.path
            self._stream: TextIO = self._product._replacement.temporary.open("w", encoding="utf-8", newline="\n")
        else:
            self.path, self._stream = Path("-"), path

    def write(self, index: int, seconds: float, values: Mapping[str, Any]) -> None:
        """Add the line of frame ``index``, shown from ``seconds`` on. Raises WriteError."""
        line = json.dumps({"frame": index, "seconds": round(seconds, 6), **values}, default=_plain, allow_nan=False)
        with write_errors(self.path):
            self._stream.write(line + "\n")
            if self._product is None:
                self._stream.flush()  # the next program in the pipe waits for it

    def close(self) -> None:
        """Complete the file and put it in its place. Raises WriteError."""
        if self._product is not None:
            try:
                with write_errors(self.path):
                    self._stream.close()
            except BaseException:
                self.discard()
                raise
            self._product.close()

    def discard(self) -> None:
        """Remove the file; a stream keeps what it got."""
        if self._product is not None:
            with contextlib.suppress(OSError):  # lines still in the buffer, which nobody wants any more
                self._stream.close()
            self._product.discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.discard()


def sidecar_path(product: Path | str) -> Path:
    """Where a product's sidecar lies: ``clip.mp4.json`` for ``clip.mp4``, ``maps.json`` for the folder ``maps``."""
    path = Path(product)
    return path.with_name(path.name + ".json")


def write_sidecar(product: Path | str, mapping: Mapping[str, Any]) -> Path:
    """Write down how a product was made, as JSON beside it; returns the sidecar's path. Raises WriteError."""
    path = sidecar_path(product)
    text = json.dumps(dict(mapping), indent=2, ensure_ascii=False, default=_plain)
    with atomic_file(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8", newline="\n")
    return path


def _encoded(pixels: Picture, suffix: str) -> bytes:
    """The picture as a file's bytes. OpenCV's own writing fails without a reason, and on some names."""
    ordered = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.ndim == 3 else pixels
    _, content = cv2.imencode(suffix, ordered, FAST if suffix == ".png" else GOOD)
    return content.tobytes()


def _plain(value: object) -> object:
    """What JSON has no form for."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, (Fraction, Path)):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no place in JSON")
