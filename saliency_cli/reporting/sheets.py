"""Maps as they travel in a page: tiles of gray JPEG sheets.

A second video of the maps would have to be kept in step with the first by two decoders that know nothing of each other.
Tiles are looked up by number instead: frame i is tile ``i % TILES`` of sheet ``i // TILES``, whatever the player does.
Maps are smooth, so that a tile takes a few hundred bytes. Its sides are multiples of JPEG's blocks of 8 pixels: no
block holds two maps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from saliency_cli import render
from saliency_cli.media.atomic import write_errors

__all__ = ["COLUMNS", "TILES", "SheetWriter", "Sheets", "tile_size"]

COLUMNS = 8
TILES = COLUMNS * COLUMNS  # a sheet
BLOCK = 8  # pixels of JPEG's blocks
QUALITY = 90


def tile_size(width: int, height: int, longest: int) -> tuple[int, int]:
    """Width and height of a tile for pictures of a shape: multiples of 8, the longer one about ``longest``."""
    scale = longest / max(width, height)
    across, down = (max(BLOCK, BLOCK * round(side * scale / BLOCK)) for side in (width, height))
    return across, down


@dataclass(frozen=True, slots=True)
class Sheets:
    """All sheets of a video, one after the other in a file. ``lengths``: bytes of each. ``tile``: width, height."""

    path: Path
    lengths: tuple[int, ...]
    tile: tuple[int, int]

    def __iter__(self) -> Iterator[bytes]:
        """Each sheet, a JPEG."""
        with self.path.open("rb") as file:
            for length in self.lengths:
                yield file.read(length)

    def map(self, number: int) -> NDArray[np.float32]:
        """The map of a frame as the page has it, (h, w), 0..1."""
        sheet, place = divmod(number, TILES)
        with self.path.open("rb") as file:
            file.seek(sum(self.lengths[:sheet]))
            content = file.read(self.lengths[sheet])
        picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE)
        assert picture is not None  # written here
        row, column = divmod(place, COLUMNS)
        width, height = self.tile
        tile = picture[row * height : (row + 1) * height, column * width : (column + 1) * width]
        return tile.astype(np.float32) / np.float32(255)


class SheetWriter:
    """Writes the maps of consecutive frames; one sheet is held in memory. ``sheets`` is complete after ``close``."""

    def __init__(self, path: Path, tile: tuple[int, int]) -> None:
        self._path, self._tile = path, tile
        self._lengths: list[int] = []
        self._count = 0
        with write_errors(path):
            self._file = path.open("wb")
        self._sheet = self._empty()

    def add(self, saliency: NDArray[np.float32]) -> None:
        """The next frame's map, (h, w), 0..1, of any size. Raises WriteError."""
        width, height = self._tile
        row, column = divmod(self._count % TILES, COLUMNS)
        tile = render.gray8(render.resize(saliency, width, height))
        self._sheet[row * height : (row + 1) * height, column * width : (column + 1) * width] = tile
        self._count += 1
        if self._count % TILES == 0:
            self._flush()

    def close(self) -> None:
        """Write what is left. Raises WriteError."""
        if self._count % TILES:
            self._flush()
        with write_errors(self._path):
            self._file.close()

    @property
    def sheets(self) -> Sheets:
        """What was written."""
        return Sheets(self._path, tuple(self._lengths), self._tile)

    def _empty(self) -> NDArray[np.uint8]:
        width, height = self._tile
        return np.zeros((COLUMNS * height, COLUMNS * width), np.uint8)

    def _flush(self) -> None:
        rows = -(-((self._count - 1) % TILES + 1) // COLUMNS)  # the last sheet ends with its last row
        _, content = cv2.imencode(".jpg", self._sheet[: rows * self._tile[1]], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        with write_errors(self._path):
            self._file.write(content.tobytes())
        self._lengths.append(len(content))
        self._sheet = self._empty()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self._file.close()
