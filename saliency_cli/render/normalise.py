"""Which value becomes white: the frame's maximum, the video's maximum, or 1."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, cast

import numpy as np
from numpy.typing import NDArray

from saliency_cli.errors import WriteError
from saliency_cli.types import SaliencyFrame

__all__ = ["VideoScale", "normalise"]


def normalise(saliency: NDArray[np.float32], *, peak: float | None = None) -> NDArray[np.float32]:
    """Divide a map by ``peak``, or by its own maximum where none is given.

    ``saliency``: (h, w), not negative. Returns float32 (h, w) with values up to 1. A map without a positive value
    stays zero: nothing stands out in it, and noise must not be blown up to look as if something did.
    """
    top = float(saliency.max(initial=0.0)) if peak is None else peak
    if top <= 0.0:
        return np.zeros(saliency.shape, np.float32)
    # The quotient in float64: a subnormal maximum has no float32 reciprocal.
    return np.divide(saliency, top, dtype=np.float64).astype(np.float32)


class VideoScale:
    """Maps kept on disk until their common maximum is known.

    Exact, unlike a running maximum, whose scale would drift at the beginning of the video. Hand in maps of the
    network's size: 10 minutes at 30 frames per second and 224x384 are 6.2 GB of float32. The file has no name and goes
    away with the object, even if the process is killed.
    """

    def __init__(self, *, folder: Path | None = None) -> None:
        self.peak = 0.0
        self._frames: list[tuple[int, float, tuple[int, int]]] = []
        try:
            self._file = cast(BinaryIO, tempfile.TemporaryFile(dir=folder))  # noqa: SIM115 - closed by close()
        except OSError as error:
            raise WriteError(
                f"{folder or tempfile.gettempdir()}: no temporary file for the maps can be made there "
                f"({error.strerror}); set TMPDIR to a folder that can be written."
            ) from error

    def add(self, frame: SaliencyFrame) -> None:
        """Keep one map, (h, w)."""
        saliency = np.ascontiguousarray(frame.saliency, np.float32)
        try:
            self._file.write(saliency.data.cast("B"))
        except OSError as error:
            raise self._failure(error) from error
        height, width = saliency.shape
        self._frames.append((frame.index, frame.seconds, (height, width)))
        self.peak = max(self.peak, float(saliency.max(initial=0.0)))

    def scaled(self) -> Iterator[SaliencyFrame]:
        """All maps in the order they came, divided by the maximum of all."""
        try:
            self._file.seek(0)  # writes out what is still buffered, and may find the disk full
        except OSError as error:
            raise self._failure(error) from error
        for index, seconds, shape in self._frames:
            buffer = bytearray(shape[0] * shape[1] * np.dtype(np.float32).itemsize)
            self._file.readinto(buffer)  # type: ignore[attr-defined]  # typeshed's BinaryIO lacks it
            saliency = np.frombuffer(buffer, np.float32).reshape(shape)
            yield SaliencyFrame(index, seconds, normalise(saliency, peak=self.peak))

    def close(self) -> None:
        """Give the disk space back."""
        with contextlib.suppress(OSError):  # bytes still buffered on a full disk: nobody wants them any more
            self._file.close()

    def _failure(self, error: OSError) -> WriteError:
        return WriteError(
            f"The maps of the video do not fit into the temporary folder ({error.strerror}); free some space there, "
            "set TMPDIR to another folder, or scale each frame by itself."
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
