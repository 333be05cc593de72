"""Hollywood-2 and UCF-Sports as DHF1K's authors release them: a folder a clip, in ``training/`` and ``testing/``.

A clip has ``images/``, ``maps/`` and ``fixation/``, and the pictures of one frame carry the same number in each:
``testing/Diving-Side-001/maps/Diving-Side_001_001.png``, ``training/actionclipTrain00001_1/images/
actionclipTrain00001_00001.png``. Clips of Hollywood-2 are shots, so that their numbers need not begin at 1, and a frame
here and there has no map.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from saliency_cli.datasets.base import Dataset
from saliency_cli.datasets.dhf1k import VARIABLE, fixation_files
from saliency_cli.datasets.framewise import (
    FrameRecording,
    check_unique,
    line_up,
    numbered_files,
    subfolders,
    trailing_number,
)
from saliency_cli.errors import ReadError
from saliency_cli.media import list_frames

__all__ = ["PARTS", "ClipSet", "open_clips"]

ClipSet = Literal["hollywood2", "ucf-sports"]
PARTS: Mapping[str, str] = {"training": "train", "testing": "test"}


def open_clips(root: Path, dataset: ClipSet) -> Dataset:
    """The annotated clips, those to train on first, each part by name.

    Raises ReadError if there are none, their annotations are incomplete, or one is in both parts.
    """
    recordings = []
    for part, split in PARTS.items():
        for folder in subfolders(root / part):
            recording = _recording(folder, dataset, split)
            if recording is not None:
                recordings.append(recording)
    if not recordings:
        raise ReadError(f"{root} has no clip with maps and fixation in training or testing; unpack the annotations.")
    check_unique((recording.name for recording in recordings), where=root)
    return Dataset(root, dataset, tuple(recordings))


def _recording(folder: Path, dataset: ClipSet, split: str) -> FrameRecording | None:
    images = folder / "images" if numbered_files(folder / "images") else None
    maps = numbered_files(folder / "maps")
    numbers: Sequence[int] | None = None
    if images:
        numbers = _numbers(list_frames(images))
    elif maps:
        numbers = range(min(maps.digits), max(maps.digits) + 1)
    counted = numbers is None or list(numbers) == list(range(1, len(numbers) + 1))
    found = line_up(maps, fixation_files(folder), numbers, where=folder)
    if found is None:
        return None
    lined_up, fixations, (height, width) = found
    return FrameRecording(
        dataset=dataset,
        name=folder.name,
        kind="video",
        stimulus=images,
        height=height,
        width=width,
        splits=frozenset({split}),
        pairing="frame",
        frames=len(lined_up),
        numbers=None if counted or numbers is None else tuple(numbers),
        maps=lined_up,
        fixations=fixations,
        variable=VARIABLE,
    )


def _numbers(images: Sequence[Path]) -> list[int]:
    numbers = []
    for image in images:
        parts = trailing_number(image.stem)
        if parts is None:
            raise ReadError(f"{image} has no number that tells which map is its own; name it as the maps are.")
        numbers.append(int(parts[1]))
    return numbers
