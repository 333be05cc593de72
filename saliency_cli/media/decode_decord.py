"""Decoding with decord, for the plain and short files that ``choose_decoder`` leaves to it.

decord gives pictures only; their times are the container's own, from the packet scan. It turns rotated mp4 and mov by
itself. Its queue of decoded frames cannot be bounded, which is why long videos of large pictures do not come here.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saliency_cli.errors import ReadError
from saliency_cli.media.choice import DECORD_CLAIMED
from saliency_cli.media.probe import Probe
from saliency_cli.media.threads import decoder_threads
from saliency_cli.types import Frame

__all__ = ["DecordStopError", "decode_decord", "has_decord"]

# Mean difference, in levels, between decord's first frame and PyAV's: 0 to 2 for the same picture, dozens otherwise
FIRST_FRAME_TOLERANCE = 8.0


class DecordStopError(ReadError):
    """decord cannot go on with a file; another decoder may. ``reason`` is the sentence without the remedy."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"{reason}; use --decoder pyav.")
        self.reason = reason


def has_decord() -> bool:
    """Whether decord is installed."""
    return importlib.util.find_spec("decord") is not None


def decode_decord(found: Probe, *, threads: int | None = None) -> Iterator[Frame]:
    """Yield the frames of a video, upright RGB, in presentation order.

    Raises DecordStopError as soon as decord fails, or as soon as what it gives is not what the scan promised: another
    number of frames, another size, another first picture. Frames yielded before that stand.
    """
    path, info = found.info.path, found.info
    import decord

    if found.claimed > DECORD_CLAIMED:
        raise DecordStopError(f"{path} announces {found.claimed:,} frames, for which decord has no memory")
    decord.logging.set_level(decord.logging.QUIET)
    failures = (decord.DECORDError, RuntimeError, StopIteration, UnicodeEncodeError)  # the last for a file's name
    try:
        reader: Any = decord.VideoReader(
            str(Path(path).absolute()), ctx=decord.cpu(0), num_threads=decoder_threads(threads)
        )
    except failures as error:
        raise DecordStopError(f"{path} cannot be opened by decord") from error
    if len(reader) != len(found.pts):
        raise DecordStopError(f"{path} has {len(reader)} frames for decord but {len(found.pts)} packets")
    for index, pts in enumerate(found.pts):
        try:
            pixels: NDArray[np.uint8] = reader.next().asnumpy()
        except failures as error:
            raise DecordStopError(f"{path} stops decord at frame {index}") from error
        if pixels.shape != (info.height, info.width, 3) or (index == 0 and not _same(pixels, found.first)):
            raise DecordStopError(f"{path} comes out of decord changed at frame {index}")
        yield Frame(index, pixels, pts, info.time_base)


def _same(pixels: NDArray[np.uint8], expected: NDArray[np.uint8] | None) -> bool:
    if expected is None:
        return True
    difference = pixels.astype(np.int16) - expected
    return bool(np.abs(difference).mean() <= FIRST_FRAME_TOLERANCE)
