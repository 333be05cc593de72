"""Maps that lie in a folder or a file, found by the items' names and paired with their frames.

For the item ``NAME`` of ``DATASET``, in ``FOLDER/DATASET`` or else in ``FOLDER``, the first of these that is there::

    NAME.npz  NAME.npy      NAME.arrays.npz and .npy     floating point, as a rule
    NAME/                   NAME.maps/                   a PNG file a frame
    NAME.png                NAME.maps.png                of a still; or another picture format
    NAME.mp4                NAME.maps.mp4                a gray video; or another container

Where the stimulus is a file of another name, which no other item shares, that name serves too.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saliency_cli.datasets.base import Recording
from saliency_cli.errors import ReadError
from saliency_cli.evaluation.map_files import VIDEO_SUFFIXES, MapFile, open_maps
from saliency_cli.evaluation.sources import MapSource, Trial, label_of
from saliency_cli.evaluation.timeline import frame_times, match_times, stimulus_frames
from saliency_cli.media import PICTURE_SUFFIXES
from saliency_cli.provenance import digest_of
from saliency_cli.types import SaliencyFrame

__all__ = ["StoredMaps"]

ARRAYS = (".npz", ".npy")
PICTURES = (".png", *sorted(PICTURE_SUFFIXES - {".png"}))


@dataclass(frozen=True, slots=True)
class _Paired:
    """Maps, with the number and the time of each one's frame."""

    maps: MapFile
    frames: tuple[int, ...]
    seconds: tuple[float, ...]


class StoredMaps(MapSource):
    """Predictions that another program, or ``vsal predict``, has written.

    Raises:
        ReadError: there is nothing at ``path``.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.name = str(path)
        if not self.path.exists():
            raise ReadError(f"{path} does not exist: name a folder of predictions, model:NAME or baseline:center.")
        self._found: dict[str, _Paired] = {}
        self._digests: dict[str, str] = {}

    def prepare(self, recordings: Sequence[Recording], limit: int | None) -> Mapping[str, str]:
        missing: dict[str, str] = {}
        stems = Counter(stem for one in recordings if (stem := _stem(one)))
        for recording in recordings:
            names = [recording.name]
            if (stem := _stem(recording)) and stems[stem] == 1 and stem != recording.name:
                names.append(stem)
            path = self._locate(recording, names, alone=len(recordings) == 1)
            if path is None:
                missing[label_of(recording)] = (
                    f"{self.path} is one file, and {len(recordings)} items are selected; choose its own with --item"
                    if self.path.is_file()
                    else f"no prediction called {' or '.join(names)} in {self.path}"
                )
                continue
            maps = open_maps(path, still=recording.kind == "image")
            self._found[label_of(recording)] = _pair(maps, recording, limit)
        return missing

    def _locate(self, recording: Recording, names: Sequence[str], *, alone: bool) -> Path | None:
        if self.path.is_file():
            return self.path if alone else None
        still = recording.kind == "image"
        for folder in (self.path / recording.dataset, self.path):
            for name in names:
                if found := _find(folder, name, still=still):
                    return found
        holds_pictures = any(entry.suffix.lower() in PICTURE_SUFFIXES for entry in self.path.iterdir())
        return self.path if alone and not still and holds_pictures else None

    def trials(self, recording: Recording, limit: int | None) -> Iterator[Trial]:
        paired = self._found[label_of(recording)]
        self._digests[label_of(recording)] = digest_of(paired.maps.path)
        yield Trial(_maps(paired, limit), recording)

    def about(self) -> dict[str, Any]:
        lines = "".join(f"{label} {digest}\n" for label, digest in sorted(self._digests.items()))
        return {
            "kind": "predictions",
            "path": str(self.path),
            "sha256": hashlib.sha256(lines.encode()).hexdigest(),
            "files": {
                label: {"path": str(paired.maps.path), "form": paired.maps.form, "sha256": self._digests.get(label)}
                for label, paired in self._found.items()
            },
        }

    def notes(self) -> tuple[str, ...]:
        coarse = [paired for paired in self._found.values() if paired.maps.coarse]
        if not coarse:
            return ()
        return (
            f"{self.name}: the maps of {len(coarse)} of {len(self._found)} items have 8 bits, which changes scores "
            "(KL and AUC-J the most); floating-point arrays are scored as they are.",
        )


def _stem(recording: Recording) -> str | None:
    """The stimulus' name, if it is a file."""
    return recording.stimulus.stem if recording.stimulus is not None and not recording.stimulus.is_dir() else None


def _find(folder: Path, name: str, *, still: bool) -> Path | None:
    """The best maps of an item in ``folder``, floating point before pictures before video."""
    files = [f"{name}{label}{suffix}" for label in ("", ".arrays") for suffix in ARRAYS]
    if still:
        files += [f"{name}{label}{suffix}" for label in ("", ".maps") for suffix in PICTURES]
    candidates = [folder / file for file in files]
    candidates += [folder / f"{name}{label}" for label in ("", ".maps")]
    candidates += [folder / f"{name}{label}{suffix}" for label in ("", ".maps") for suffix in VIDEO_SUFFIXES]
    for path in candidates:
        if path.is_file() and path.suffix.lower() in (*ARRAYS, *PICTURES, *VIDEO_SUFFIXES):
            return path
        if path.is_dir() and any(entry.suffix.lower() in PICTURE_SUFFIXES for entry in path.iterdir()):
            return path
    return None


def _pair(maps: MapFile, recording: Recording, limit: int | None) -> _Paired:
    """Give every map its frame: by time where gaze and maps have times, by number otherwise; never by guessing.

    Raises:
        ReadError: there are more or fewer maps than frames and nothing says which is which, or a map has no frame.
    """
    if recording.kind == "image":
        if len(maps) != 1:
            raise ReadError(f"{maps.path} holds {len(maps)} maps, but {label_of(recording)} is a still: give one.")
        return _Paired(maps, (0,), (0.0,))
    shown = frame_times(recording)
    if recording.pairing == "time" and maps.seconds is not None:
        if not shown:  # the set came without its stimulus, and the maps know the times
            return _Paired(maps, tuple(range(len(maps))), maps.seconds)
        frames = match_times(maps.seconds, shown, maps.path)
    elif not shown:
        raise ReadError(
            f"{label_of(recording)} has no stimulus that tells when its frames are shown: give {maps.path} as an .npz "
            "with seconds, or put the stimulus beside the gaze."
        )
    elif maps.frames is not None:
        frames = _by_own_numbers(maps, recording) or maps.frames
        last = max(frames)
        if (last >= len(shown) and last >= (stimulus_frames(recording) or 0)) or min(frames) < 0:
            number = f"number {last + 1}, counted from 1," if last >= len(shown) else "before the first frame"
            raise ReadError(
                f"{maps.path} has a map {number} but {label_of(recording)} has {len(shown)} frames: "
                "number maps as the frames are."
            )
    else:
        frames = tuple(range(len(maps)))
        _check_count(maps, recording, len(shown), limit)
    return _Paired(maps, frames, tuple(shown[frame] if frame < len(shown) else math.nan for frame in frames))


def _by_own_numbers(maps: MapFile, recording: Recording) -> tuple[int, ...] | None:
    """The frames of pictures that are numbered as the recording's own files are; None if they count from the first.

    Raises:
        ReadError: both ways of counting would do, and give different frames.
    """
    own, given = recording.numbers, maps.numbers
    if own is None or given is None or maps.frames is None:
        return None
    places = {number: index for index, number in enumerate(own)}
    if not all(number in places for number in given):
        return None
    found = tuple(places[number] for number in given)
    if found != maps.frames and max(maps.frames) < len(own):
        raise ReadError(
            f"{maps.path} may count frames from 1, or as the files of {label_of(recording)}, which begin with "
            f"{own[0]}: give a map for every frame, or an .npz with frame."
        )
    return found


def _check_count(maps: MapFile, recording: Recording, count: int, limit: int | None) -> None:
    """Maps that carry no number are one for every frame, or for each of the first ``limit``. Raises ReadError."""
    if len(maps) == count or (limit is not None and len(maps) == min(limit, count)):
        return
    if recording.pairing == "frame" and len(maps) == stimulus_frames(recording):
        return  # the annotation ends before the stimulus
    raise ReadError(
        f"{maps.path} holds {len(maps)} maps, but {label_of(recording)} has {count} frames: give one for each frame, "
        "or maps that carry their number (0001.png …, or frame in an .npz)."
    )


def _maps(paired: _Paired, limit: int | None) -> Iterator[SaliencyFrame]:
    wanted = len(paired.frames) if limit is None else sum(frame < limit for frame in paired.frames)
    for frame, seconds, saliency in zip(paired.frames, paired.seconds, paired.maps, strict=False):
        if not wanted:
            return
        if limit is None or frame < limit:
            wanted -= 1
            yield SaliencyFrame(frame, seconds, saliency)
