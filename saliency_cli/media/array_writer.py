"""Maps as NumPy arrays, written as they come: memory does not grow with the video."""

from __future__ import annotations

import contextlib
import io
import zipfile
import zlib
from pathlib import Path
from typing import Final, cast

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from saliency_cli.errors import UsageError
from saliency_cli.media.atomic import write_errors
from saliency_cli.media.product import Product
from saliency_cli.types import SaliencyFrame

__all__ = ["ARRAY_FORMATS", "ArrayWriter"]

ARRAY_FORMATS: Final = (".npz", ".npy")
HEADER = 256  # bytes kept free for the header of the maps, which says how many there are
CHUNK = 1 << 20


class ArrayWriter(Product):
    """Saliency maps as ``.npz`` or ``.npy``, which ``numpy.load`` reads.

    ``.npz``: ``saliency`` float32 (N, h, w); ``seconds`` float64 (N,), presentation times on the container's clock;
    ``frame`` int64 (N,), counted from 0. ``.npy``: the maps alone, which ``mmap_mode`` can open.

    The number of maps stands before them and is known after them: room is left for it and filled in at the end.
    Raises UsageError for another suffix.
    """

    def __init__(self, path: Path | str) -> None:
        suffix = Path(path).suffix.lower()
        if suffix not in ARRAY_FORMATS:
            raise UsageError(f"{path}: arrays are written as {' or '.join(ARRAY_FORMATS)}; choose one of these.")
        self._seconds: list[float] = []
        self._frames: list[int] = []
        self._shape: tuple[int, int] | None = None
        self._zip: zipfile.ZipFile | None = None
        super().__init__(path)
        try:
            with write_errors(self.path):
                self._file = self._replacement.temporary.open("w+b")
                if suffix == ".npz":
                    self._zip = zipfile.ZipFile(self._file, "w", zipfile.ZIP_STORED, allowZip64=True)
                    # Stored, not compressed: noise in the last bits of float32 does not shrink.
                    self._member = zipfile.ZipInfo("saliency.npy")
                    self._out = self._zip.open(self._member, "w", force_zip64=True)
                else:
                    self._out = self._file
                self._out.write(bytes(HEADER))
        except BaseException:
            self.discard()
            raise

    def write(self, frame: SaliencyFrame) -> None:
        """Add a map, (h, w), of the same size as the ones before. Raises WriteError."""
        saliency = np.ascontiguousarray(frame.saliency, np.float32)
        if self._shape is None:
            self._shape = cast(tuple[int, int], saliency.shape)
        if saliency.shape != self._shape:
            raise ValueError(f"a map of shape {self._shape} is due, not {saliency.shape}")
        with write_errors(self.path):
            self._out.write(saliency.data.cast("B"))
        self._seconds.append(frame.seconds)
        self._frames.append(frame.index)

    def _finish(self) -> None:
        header = self._header()
        if self._zip is None:
            self._file.seek(0)
            self._file.write(header)
        else:
            self._out.close()
            self._patch(header)
            self._add("seconds", np.asarray(self._seconds, np.float64))
            self._add("frame", np.asarray(self._frames, np.int64))
            self._zip.close()
        self._file.close()

    def _abandon(self) -> None:
        if self._zip is not None:
            with contextlib.suppress(OSError, ValueError):
                self._out.close()
            self._zip.fp = None  # or it writes its end when it is collected, and complains if the disk is still full
        with contextlib.suppress(OSError):
            if hasattr(self, "_file"):
                self._file.close()

    def _header(self) -> bytes:
        """NumPy's header for all maps, padded to the room left for it."""
        buffer = io.BytesIO()
        shape = (len(self._frames), *(self._shape or (0, 0)))
        npy.write_array_header_1_0(buffer, {"descr": "<f4", "fortran_order": False, "shape": shape})
        # magic (6 bytes), version (2), length (2), text that may be padded with spaces and ends with a new line
        text = buffer.getvalue()[10:].rstrip()
        length = HEADER - 10
        return npy.magic(1, 0) + length.to_bytes(2, "little") + text.ljust(length - 1) + b"\n"

    def _patch(self, header: bytes) -> None:
        """Fill in the header of the maps, which are in the zip file already, and correct the checksum of both."""
        assert self._zip is not None
        end = self._file.tell()
        self._file.seek(self._member.header_offset)
        size = len(self._member.FileHeader(zip64=True))
        self._file.seek(self._member.header_offset + size)
        self._file.write(header)
        self._file.seek(self._member.header_offset + size)
        checksum, left = 0, self._member.file_size
        while left:
            part = self._file.read(min(CHUNK, left))
            checksum, left = zlib.crc32(part, checksum), left - len(part)
        self._member.CRC = checksum
        self._file.seek(self._member.header_offset)
        self._file.write(self._member.FileHeader(zip64=True))
        self._file.seek(end)

    def _add(self, name: str, values: NDArray[np.generic]) -> None:
        assert self._zip is not None
        with self._zip.open(zipfile.ZipInfo(f"{name}.npy"), "w") as member:
            npy.write_array(member, values, allow_pickle=False)
