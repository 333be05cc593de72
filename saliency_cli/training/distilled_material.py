"""What a distillation learns from, on disk: pictures and videos at a modest size, with the teacher's maps of them.

All of it is made once, at the run's beginning, and read in any order from then on: 0.4 MB a picture, 0.3 MB a frame of
a video. Files are named by what is in them and by who made the maps, so that another run may share them.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from saliency_cli.datasets import Recording, Truth
from saliency_cli.errors import ReadError, UsageError, WriteError
from saliency_cli.media import PICTURE_SUFFIXES, read_picture
from saliency_cli.training.frames import Footage, FrameStore
from saliency_cli.training.teacher import MAP_SIZE, Teacher

__all__ = ["VIDEO_SIZE", "Material", "Picture", "Video", "load_material", "pictures_in", "small_picture"]

log = logging.getLogger(__name__)

PICTURE_SIZE, VIDEO_SIZE = (256, 416), (224, 384)  # (height, width): enough to cut from for a network's own size


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """uint8 (256, 416, 3) RGB, the teacher's map of it, float16 (128, 216), and where it was looked at, if known."""

    pixels: NDArray[np.uint8]
    saliency: NDArray[np.float16]
    truth: Callable[[], Truth | None]


@dataclass(frozen=True, eq=False)
class Video:
    """A recording's frames at 224x384, and the teacher's map of each."""

    recording: Recording
    footage: Footage
    maps: Path

    def __len__(self) -> int:
        """How many of its frames can be a clip's last."""
        known = self.recording.frames
        return len(self.footage) if known is None else min(len(self.footage), known)

    def saliency(self, index: int) -> NDArray[np.float16]:
        """The teacher's map of a frame, (128, 216), 1 where it looks most."""
        # Opened anew each time: a mapped file holds on to a file descriptor
        return np.array(_rows(self.maps, MAP_SIZE, np.float16)[index])

    def truth(self, index: int) -> Truth | None:
        """Where a frame was looked at, at the size of the maps; None where the recording does not say."""
        return self.recording.truth(index, float(self.footage.seconds[index]), MAP_SIZE)


@dataclass(frozen=True)
class Material:
    """Stills and videos with recorded gaze, and ``extra`` pictures that nobody's gaze was recorded on."""

    stills: Sequence[Picture]
    videos: Sequence[Video]
    extra: Sequence[Picture]

    @cached_property
    def spelt(self) -> str:
        """``700 stills, 23 videos, 740 unlabelled pictures``."""
        counts = {"stills": self.stills, "videos": self.videos, "unlabelled pictures": self.extra}
        return ", ".join(f"{len(found)} {what}" for what, found in counts.items() if found)


def pictures_in(folder: Path) -> list[Path]:
    """All pictures in a folder and the folders in it, in order; hidden ones are passed over.

    Raises:
        ReadError: there is no such folder.
        UsageError: there are none in it.
    """
    if not folder.is_dir():
        raise ReadError(f"{folder} is no folder: name one with pictures, or leave out --pictures.")
    found = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in PICTURE_SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    if not found:
        kinds = ", ".join(sorted(suffix[1:] for suffix in PICTURE_SUFFIXES))
        raise UsageError(f"{folder} holds no pictures ({kinds}): name another folder, or leave out --pictures.")
    return found


def load_material(
    recordings: Sequence[Recording], unlabelled: Sequence[Path], store: FrameStore, teacher: Teacher
) -> Material:
    """Read the recordings' stimuli and the unlabelled pictures, and ask the teacher, as far as it is not done yet.

    Files go to the folder of ``store``, whose size must be :data:`VIDEO_SIZE`.

    Raises:
        ReadError: a stimulus or a picture cannot be read.
        WriteError: there is no room for them.
    """
    stills = [recording for recording in recordings if recording.kind == "image" and recording.stimulus is not None]
    videos = [recording for recording in recordings if recording.kind == "video" and recording.stimulus is not None]
    paths = [still.stimulus for still in stills if still.stimulus is not None]
    return Material(
        _pictures(paths, [_at_map_size(still) for still in stills], store.folder, teacher),
        [_video(video, store, teacher) for video in videos],
        _pictures(unlabelled, [_nobody] * len(unlabelled), store.folder, teacher),
    )


def small_picture(path: Path) -> NDArray[np.uint8]:
    """A picture at the size at which it is kept, uint8 (256, 416, 3). Raises ReadError."""
    height, width = PICTURE_SIZE
    small = cv2.resize(read_picture(path), (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


def _pictures(
    paths: Sequence[Path], truths: Sequence[Callable[[], Truth | None]], folder: Path, teacher: Teacher
) -> list[Picture]:
    if not paths:
        return []
    digest = _digest(paths)
    pixels = _stored(folder / f"pictures-{digest}.rgb", lambda: map(small_picture, paths))
    maps = _stored(
        folder / f"pictures-{digest}-{_signature(teacher)}.maps", lambda: teacher.photographs(map(read_picture, paths))
    )
    rows = zip(_rows(pixels, (*PICTURE_SIZE, 3), np.uint8), _rows(maps, MAP_SIZE, np.float16), truths, strict=True)
    return [Picture(*row) for row in rows]


def _video(recording: Recording, store: FrameStore, teacher: Teacher) -> Video:
    path = recording.stimulus
    assert path is not None, "recordings without a stimulus are left out before"
    footage = store.open(recording)
    name = f"{path.stem}-{_digest([path])}-{_signature(teacher)}.maps"
    maps = _stored(store.folder / name, lambda: teacher.video(path))
    if len(_rows(maps, MAP_SIZE, np.float16)) != len(footage):
        raise ReadError(f"{maps} does not have a map for each frame of {path}: delete it, to have it made again.")
    return Video(recording, footage, maps)


def _at_map_size(recording: Recording) -> Callable[[], Truth | None]:
    return lambda: recording.truth(0, 0.0, MAP_SIZE)


def _nobody() -> None:
    """Nobody was asked to look."""


def _signature(teacher: Teacher) -> str:
    return f"{teacher.sha256[:16]}-{teacher.precision}"


def _digest(paths: Sequence[Path]) -> str:
    """Of files as they are on disk, and of what is made of them."""
    lines = [f"{PICTURE_SIZE} {MAP_SIZE}"]
    for path in paths:
        status = path.stat()
        lines.append(f"{path.resolve()} {status.st_size} {status.st_mtime_ns}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _stored(path: Path, make: Callable[[], Iterable[NDArray[Any]]]) -> Path:
    """The file of all the arrays, one after the other, written if it is not there yet."""
    if path.exists():
        return path
    log.info("making %s", path.name)
    young = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with young.open("wb") as file:
                for array in make():
                    file.write(np.ascontiguousarray(array).data)
            young.replace(path)
        finally:
            young.unlink(missing_ok=True)
    except OSError as error:
        raise WriteError(
            f"{path} cannot be written ({error.strerror or error}): make room, or name another folder with --cache."
        ) from error
    return path


def _rows(path: Path, shape: tuple[int, ...], dtype: type[Any]) -> NDArray[Any]:
    """The file's arrays, (N, *shape), mapped into memory."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.memmap(path, dtype, mode="r", shape=(path.stat().st_size // size, *shape))
