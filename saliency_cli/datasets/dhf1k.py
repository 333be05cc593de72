"""DHF1K as released: ``annotation/0601/maps/0001.png`` with ``fixation/0001.png``, and ``video/601.AVI``.

Fixations also come as ``fixation/maps/0001.mat``, with a matrix ``I``. Videos may be numbered with three digits or
four, and frames may lie in ``annotation/0601/images``, ``frames/0601`` or ``video/0601`` instead. Annotation 0001 is
that of the first frame (Wang et al., Revisiting Video Saliency, CVPR 2018; the authors' ``record_mapping.m``).
"""

from __future__ import annotations

from pathlib import Path

from saliency_cli.datasets.base import Dataset
from saliency_cli.datasets.framewise import FrameRecording, Numbered, line_up, numbered_files, subfolders
from saliency_cli.errors import ReadError

__all__ = ["VARIABLE", "fixation_files", "open_dhf1k"]

VARIABLE = "I"
VIDEOS = (".avi", ".mp4", ".mov", ".mkv", ".webm")
LAST_TRAIN, LAST_VALIDATION = 600, 700


def open_dhf1k(root: Path) -> Dataset:
    """The annotated videos, by number. Those of the test part, 701 to 1000, come without annotations and are left out.

    Raises ReadError if there are none, or their annotations are incomplete.
    """
    videos = _videos(root)
    recordings = []
    for folder in subfolders(root / "annotation"):
        if not folder.name.isdecimal():
            continue
        number = int(folder.name)
        found = line_up(numbered_files(folder / "maps"), fixation_files(folder), None, where=folder)
        if found is None:
            continue
        maps, fixations, (height, width) = found
        recordings.append(
            FrameRecording(
                dataset="dhf1k",
                name=folder.name,
                kind="video",
                stimulus=videos.get(number) or _frames(root, folder),
                height=height,
                width=width,
                splits=frozenset({split_of(number)}),
                pairing="frame",
                frames=len(maps),
                maps=maps,
                fixations=fixations,
                variable=VARIABLE,
            )
        )
    if not recordings:
        raise ReadError(f"{root} has no video with annotation/<number>/maps and fixation; unpack the annotations.")
    return Dataset(root, "dhf1k", tuple(recordings))


def split_of(number: int) -> str:
    """The part that a video belongs to: 600 to train on, 100 to validate, 300 to test."""
    return "train" if number <= LAST_TRAIN else "validation" if number <= LAST_VALIDATION else "test"


def fixation_files(folder: Path) -> Numbered | None:
    """The fixations of one video in either form, pictures before matrices, which say the same and take longer."""
    for place in (folder / "fixation", folder / "fixation" / "maps"):
        found = numbered_files(place) or numbered_files(place, (".mat",))
        if found:
            return found
    return None


def _videos(root: Path) -> dict[int, Path]:
    """The video files by number, of whatever format."""
    found = [numbered_files(root / "video", (suffix,), prefix="") for suffix in VIDEOS]
    return {
        number: files.folder / f"{digits}{files.suffix}"
        for files in reversed(found)  # of two formats the first counts
        if files
        for number, digits in files.digits.items()
    }


def _frames(root: Path, folder: Path) -> Path | None:
    """The folder with a video's frames, None if there is none."""
    places = (folder / "images", root / "frames" / folder.name, root / "video" / folder.name)
    return next((place for place in places if numbered_files(place)), None)
