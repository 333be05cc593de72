"""Pictures and numbers out: a folder of PNG files, a single picture, JSON lines, and the sidecar of any product."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from saliency_cli.errors import UsageError, WriteError
from saliency_cli.media.atomic import write_errors
from saliency_cli.media.product import Product
from saliency_cli.media.stdout import Outlet

__all__ = ["IMAGE_FORMATS", "ImageWriter", "PngWriter", "SidecarWriter", "StatsStream", "StatsWriter", "sidecar_path"]

Picture = NDArray[np.uint8] | NDArray[np.uint16]

IMAGE_FORMATS: Final = (".png", ".jpg", ".jpeg")
FAST: Final = (cv2.IMWRITE_PNG_COMPRESSION, 1)  # a tenth larger than the default, in a third of the time
GOOD: Final = (cv2.IMWRITE_JPEG_QUALITY, 95)


class PngWriter(Product):
    """One PNG file a frame in a folder, ``000001.png`` for the first; the folder appears when it is complete.

    ``digits``: of a frame's number, at least 4, or an earlier folder would not be known as one (``FRAME_FILES``).
    """

    def __init__(self, path: Path | str, *, digits: int = 6) -> None:
        if digits < 4:
            raise ValueError(f"frames are numbered with 4 digits or more, not {digits}")
        self._digits = digits
        super().__init__(path, folder=True)

    def write(self, pixels: Picture, index: int) -> None:
        """Add frame ``index``, counted from 0: uint8 or uint16, (H, W) gray or (H, W, 3) RGB. Raises WriteError."""
        with write_errors(self.path):
            (self._replacement.temporary / f"{index + 1:0{self._digits}d}.png").write_bytes(_encoded(pixels, ".png"))


class ImageWriter(Product):
    """A single picture, ``.png`` or ``.jpg``; a JPEG has 8 bits. None is stdout, which gets a PNG.

    Raises UsageError for another suffix, or if stdout is a terminal.
    """

    def __init__(self, path: Path | str | None) -> None:
        self._suffix = ".png" if path is None else Path(path).suffix.lower()
        if self._suffix not in IMAGE_FORMATS:
            raise UsageError(f"{path}: a picture is written as {', '.join(IMAGE_FORMATS)}; choose one of these.")
        self._written = False
        super().__init__(path)
        self._out = Outlet() if path is None else None

    def write(self, pixels: Picture) -> None:
        """The picture: uint8 or uint16, (H, W) gray or (H, W, 3) RGB. Raises UsageError for 16 bits in a JPEG."""
        if self._written:
            raise ValueError("a picture is written once")
        if pixels.dtype != np.uint8 and self._suffix != ".png":
            raise UsageError(f"{self.path}: a JPEG holds 8 bits, not 16; write a PNG, or 8 bits.")
        content = _encoded(pixels, self._suffix)
        with write_errors(self.path):
            if self._out is not None:
                self._out.write(content)
                self._out.check()
            else:
                self._replacement.temporary.write_bytes(content)
        self._written = True

    def _finish(self) -> None:
        if not self._written:
            raise WriteError(f"{self.path} cannot be written: there is no picture; check the input.")
        self._abandon()

    def _abandon(self) -> None:
        if self._out is not None:
            self._out.finish()

    def interrupt(self) -> None:
        if self._out is not None:
            self._out.stop()


class StatsWriter(Product):
    """JSON lines, one a frame: its number from 0, its time, and the numbers measured."""

    def __init__(self, path: Path | str) -> None:
        super().__init__(path)
        self._stream = self._replacement.temporary.open("w", encoding="utf-8", newline="\n")

    def write(self, index: int, seconds: float, values: Mapping[str, Any]) -> None:
        """Add the line of frame ``index``, shown from ``seconds`` on. Raises WriteError."""
        with write_errors(self.path):
            self._stream.write(_line(index, seconds, values))

    def _finish(self) -> None:
        self._stream.close()

    def _abandon(self) -> None:
        with contextlib.suppress(OSError):  # lines still in the buffer, which nobody wants any more
            self._stream.close()


class StatsStream(Product):
    """The same lines to stdout, which may be a terminal: each goes at once. Raises WriteError if there is no stdout."""

    def __init__(self) -> None:
        super().__init__(None)
        self._out = Outlet(text=True)

    def write(self, index: int, seconds: float, values: Mapping[str, Any]) -> None:
        """Add the line of frame ``index``, shown from ``seconds`` on. Raises WriteError."""
        with write_errors(self.path):
            self._out.write(_line(index, seconds, values).encode("ascii"))
            self._out.check()

    def interrupt(self) -> None:
        self._out.stop()

    def _finish(self) -> None:
        self._out.finish()

    def _abandon(self) -> None:
        self._out.finish()


class SidecarWriter(Product):
    """How a product was made, as JSON beside it."""

    def __init__(self, product: Path | str) -> None:
        super().__init__(sidecar_path(product))

    def write(self, mapping: Mapping[str, Any]) -> None:
        """The whole of it. Raises WriteError."""
        text = json.dumps(dict(mapping), indent=2, ensure_ascii=False, default=_plain) + "\n"
        with write_errors(self.path):
            # A name that is no UTF-8 is kept as JSON's own escapes.
            self._replacement.temporary.write_bytes(text.encode("utf-8", "backslashreplace"))


def sidecar_path(product: Path | str) -> Path:
    """Where a product's sidecar lies: ``clip.mp4.json`` for ``clip.mp4``, ``maps.json`` for the folder ``maps``."""
    path = Path(product)
    return path.with_name(path.name + ".json")


def _line(index: int, seconds: float, values: Mapping[str, Any]) -> str:
    record = {"frame": index, "seconds": round(seconds, 6), **values}
    return json.dumps(record, default=_plain, allow_nan=False) + "\n"


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
