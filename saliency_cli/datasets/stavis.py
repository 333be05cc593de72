"""The layout that STAViS gives to DIEM, Coutrot 1 and 2, AVAD, ETMD and SumMe (Tsiami et al., CVPR 2020, code release).

::

    annotations/<database>/<video>/maps/eyeMap_00001.jpg    density
    annotations/<database>/<video>/fixMap_00001.mat         fixations, a matrix eyeMap
    video_frames/<database>/<video>/img_00001.jpg
    video_audio/<database>/<video>/<video>.wav
    fold_lists/<database>_list_{train,test}_{1,2,3}_fps.txt lines of: video, number of frames, frames per second

DIEM has one pair of lists, without a number, which all three splits share. Frames beyond the number that a list gives
are not scored, as the authors' code does it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from saliency_cli.datasets.base import Dataset
from saliency_cli.datasets.framewise import FrameRecording, line_up, numbered_files, subfolders
from saliency_cli.errors import ReadError

__all__ = ["open_stavis"]

VARIABLE = "eyeMap"
FOLDS = (1, 2, 3)
LIST_NAME = re.compile(r"(.+)_list_(train|test)(?:_([0-9]+))?_fps\.txt")


@dataclass(slots=True)
class _Listed:
    """What the lists say of one video."""

    frames: int
    rate: float
    splits: set[str] = field(default_factory=set)


def open_stavis(root: Path) -> Dataset:
    """The annotated videos of all databases there, by database and name; a video in no list belongs to no part.

    Raises ReadError if there are none, their annotations are incomplete, or a list is damaged.
    """
    listed = _read_lists(root / "fold_lists")
    recordings = []
    for database in subfolders(root / "annotations"):
        for folder in subfolders(database):
            recording = _recording(root, folder, listed.get((database.name, folder.name)))
            if recording is not None:
                recordings.append(recording)
    if not recordings:
        raise ReadError(f"{root} has no video with annotations/<database>/<video>/maps; unpack the annotations.")
    return Dataset(root, "stavis", tuple(recordings))


def _recording(root: Path, folder: Path, listed: _Listed | None) -> FrameRecording | None:
    database, name = folder.parent.name, folder.name
    maps = numbered_files(folder / "maps", prefix="eyeMap_")
    fixations = numbered_files(folder, (".mat",), prefix="fixMap_")
    found = line_up(maps, fixations, range(1, listed.frames + 1) if listed else None, where=folder)
    if found is None:
        return None
    lined_up, lined_up_fixations, (height, width) = found
    frames = root / "video_frames" / database / name
    sound = root / "video_audio" / database / name / f"{name}.wav"
    return FrameRecording(
        dataset=database,
        name=name,
        kind="video",
        stimulus=frames if numbered_files(frames) else None,
        height=height,
        width=width,
        splits=frozenset(listed.splits if listed else ()),
        pairing="frame",
        frames=len(lined_up),
        maps=lined_up,
        fixations=lined_up_fixations,
        variable=VARIABLE,
        rate=listed.rate if listed else None,
        sound=sound if sound.is_file() else None,
    )


def _read_lists(folder: Path) -> Mapping[tuple[str, str], _Listed]:
    """What the lists say, by database and video."""
    listed: dict[tuple[str, str], _Listed] = {}
    for path in sorted(folder.glob("*_fps.txt")):
        found = LIST_NAME.fullmatch(path.name)
        if found is None:
            continue
        database, part, fold = found.groups()
        splits = {f"{part}-{fold}"} if fold else {part, *(f"{part}-{number}" for number in FOLDS)}
        for name, frames, rate in _read_list(path):
            listed.setdefault((database, name), _Listed(frames, rate)).splits.update(splits)
    return listed


def _read_list(path: Path) -> list[tuple[str, int, float]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ReadError(f"{path} cannot be read ({error}); copy the lists again.") from None
    rows = []
    for number, line in enumerate(lines, 1):
        if not (words := line.split()):
            continue
        try:
            name, frames, rate = words
            rows.append((name, int(frames), float(rate)))
        except ValueError:
            raise ReadError(
                f"{path} does not give a video, its frames and its frames per second in line {number}; mend that line."
            ) from None
    return rows
