"""Frames of recordings at the network's size, in any order, without decoding a video twice or holding one in memory.

A video can only be decoded forwards, and training asks for clips from anywhere: the first time a video is asked for,
its frames are decoded once, brought to the network's size and written to one file of plain pixels, of which a clip then
reads its own. That is 3·H·W bytes a frame on disk (203 kB at 192x352), and in memory what the system cares to keep. A
folder of frames needs no such file: its pictures are read one by one, and the last few hundred are kept.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from saliency_cli.datasets import FrameRecording, Recording
from saliency_cli.errors import WriteError
from saliency_cli.media import Sound, list_frames, open_source, read_picture, read_sound
from saliency_cli.types import Frame

__all__ = ["Footage", "FrameStore"]

PICTURES_KEPT = 256  # of folders of frames, at the network's size: 52 MB at 192x352
SOUNDS_KEPT = 32  # waveforms: 2.6 MB for half a minute
DEFAULT_RATE = 30.0  # frames per second of a folder whose data set does not say, as everywhere in vsal


@dataclass(frozen=True, slots=True, eq=False)
class Footage:
    """A recording as a network sees it.

    ``seconds``: (N,) presentation times on the container's clock. ``interval``: seconds for which a frame is shown.
    ``pixels``: from n frames' indices to uint8 (n, H, W, 3), RGB at the network's size. ``hear`` gives the sound, None
    if there is none or nobody listens.
    """

    seconds: NDArray[np.float64]
    interval: float
    pixels: Callable[[Sequence[int]], NDArray[np.uint8]]
    hear: Callable[[], Sound | None]

    def __len__(self) -> int:
        return len(self.seconds)


class FrameStore:
    """Opens recordings' stimuli at one size; safe to use from several threads, and to share between processes.

    ``folder`` receives the files of decoded videos. ``size`` is (height, width). ``listen`` reads sound too.
    """

    def __init__(self, folder: Path, size: tuple[int, int], *, listen: bool = False) -> None:
        self.folder, self.size, self.listen = folder, size, listen
        self._lock = threading.Lock()
        self._picture = lru_cache(PICTURES_KEPT)(self._read_picture)
        self._sound = lru_cache(SOUNDS_KEPT)(read_sound)
        self._open = lru_cache(None)(self._find)

    def open(self, recording: Recording, *, limit: int | None = None) -> Footage:
        """The recording's frames, or its first ``limit``.

        Raises:
            ReadError: the stimulus cannot be read.
            WriteError: there is no room for its frames.
        """
        with self._lock:
            return self._open(recording, limit)

    def _find(self, recording: Recording, limit: int | None) -> Footage:
        path = recording.stimulus
        assert path is not None, "recordings without a stimulus are left out before"
        known = recording if isinstance(recording, FrameRecording) else None
        sound = known.sound if known else None

        def hear() -> Sound | None:
            return self._sound(sound or path) if self.listen else None

        if path.is_dir():
            pictures = list_frames(path)[:limit]
            interval = 1 / ((known.rate if known else None) or DEFAULT_RATE)

            def one_by_one(wanted: Sequence[int]) -> NDArray[np.uint8]:
                return np.stack([self._picture(pictures[index]) for index in wanted])

            return Footage(np.arange(len(pictures), dtype=np.float64) * interval, interval, one_by_one, hear)
        pixels, times = self._decoded(path, limit)
        interval, *seconds = np.load(times)
        shape = (len(seconds), *self.size, 3)

        def mapped(wanted: Sequence[int]) -> NDArray[np.uint8]:
            # Opened anew each time, as hundreds of mapped files would use up the process's file descriptors
            return np.array(np.memmap(pixels, np.uint8, mode="r", shape=shape)[np.asarray(wanted)])

        return Footage(np.array(seconds), float(interval), mapped, hear)

    def _decoded(self, path: Path, limit: int | None) -> tuple[Path, Path]:
        """The files with a video's pixels (N, H, W, 3) and with its interval and N times, written if need be."""
        status = path.stat()
        identity = f"{path.resolve()} {status.st_size} {status.st_mtime_ns} {self.size} {limit}"
        name = f"{path.stem}-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"
        pixels, times = self.folder / f"{name}.rgb", self.folder / f"{name}.npy"
        try:
            if not times.exists():  # it is written last
                self.folder.mkdir(parents=True, exist_ok=True)
                with FileLock(self.folder / f"{name}.lock"):
                    if not times.exists():  # another process may have been faster
                        self._decode(path, limit, pixels, times)
        except OSError as error:
            raise WriteError(
                f"{self.folder} cannot hold the frames of {path.name} ({error.strerror or error}): "
                "make room, or name another folder with --cache."
            ) from error
        return pixels, times

    def _decode(self, path: Path, limit: int | None, pixels: Path, times: Path) -> None:
        young = [goal.with_name(f".{goal.name}.part") for goal in (pixels, times)]
        try:
            with open_source(path) as source:
                found = self._write_pixels(islice(source, limit), young[0])
                interval = float(1 / source.info.rate)
            with young[1].open("wb") as file:
                np.save(file, np.array([interval, *found]))
            for made, goal in zip(young, (pixels, times), strict=True):
                made.replace(goal)
        finally:
            for made in young:
                with suppress(OSError):  # it is gone, or never was
                    made.unlink()

    def _write_pixels(self, frames: Iterable[Frame], goal: Path) -> list[float]:
        """The frames' presentation times."""
        seconds = []
        with goal.open("wb") as file:
            for frame in frames:
                seconds.append(frame.seconds)
                file.write(self._small(frame.pixels).data)
        return seconds

    def _read_picture(self, path: Path) -> NDArray[np.uint8]:
        return self._small(read_picture(path))

    def _small(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """At the network's size, as the predictor makes it: bilinear even where it shrinks."""
        height, width = self.size
        small = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR)
        return np.ascontiguousarray(small, dtype=np.uint8)
