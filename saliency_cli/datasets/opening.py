"""Opening a folder of recorded gaze, whatever its layout."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from saliency_cli.datasets.base import Dataset
from saliency_cli.datasets.clips import PARTS, open_clips
from saliency_cli.datasets.dhf1k import open_dhf1k
from saliency_cli.datasets.framewise import subfolders
from saliency_cli.datasets.gaze import open_gaze
from saliency_cli.datasets.stavis import open_stavis
from saliency_cli.errors import ReadError, UsageError

__all__ = ["Layout", "open_dataset"]

Layout = Literal["gaze", "dhf1k", "hollywood2", "ucf-sports", "stavis"]


@dataclass(frozen=True, slots=True)
class _Reader:
    """How one layout is known from the tree, said in words and as a test, and read."""

    looks: str
    fits: Callable[[Path], bool]
    read: Callable[[Path], Dataset]


def _has_clips(root: Path, *, hollywood: bool) -> bool:
    """Whether a part holds clips, whose names begin with ``actionclip`` in Hollywood-2 and in no other set."""
    names = [folder.name for part in PARTS for folder in subfolders(root / part) if (folder / "maps").is_dir()]
    return bool(names) and all(name.startswith("actionclip") for name in names) == hollywood


_READERS: Mapping[Layout, _Reader] = {
    "gaze": _Reader("items.csv beside fixations.csv.gz", lambda root: (root / "items.csv").is_file(), open_gaze),
    "dhf1k": _Reader("annotation/0601/maps", lambda root: (root / "annotation").is_dir(), open_dhf1k),
    "hollywood2": _Reader(
        "training/actionclip…/maps",
        lambda root: _has_clips(root, hollywood=True),
        lambda root: open_clips(root, "hollywood2"),
    ),
    "ucf-sports": _Reader(
        "testing/<clip>/maps",
        lambda root: _has_clips(root, hollywood=False),
        lambda root: open_clips(root, "ucf-sports"),
    ),
    "stavis": _Reader("annotations/DIEM/<video>/maps", lambda root: (root / "annotations").is_dir(), open_stavis),
}


def open_dataset(path: str | Path, *, layout: Layout | Literal["auto"] = "auto") -> Dataset:
    """The recordings under ``path``. ``Dataset.layout`` says which layout it was, asked for or recognised.

    Raises:
        UsageError: a layout that does not exist.
        ReadError: the folder is missing, of no layout known here, or damaged.
    """
    root = Path(path)
    known = get_args(Layout)
    if layout != "auto" and layout not in known:
        raise UsageError(f"there is no layout {layout!r}: choose auto or one of {', '.join(known)}.")
    if not root.is_dir():
        raise ReadError(f"{root} is no folder; name the one that holds the data set.")
    if layout != "auto":
        return _READERS[layout].read(root)
    for reader in _READERS.values():
        if reader.fits(root):
            return reader.read(root)
    looked = ", ".join(f"{reader.looks} ({name})" for name, reader in _READERS.items())
    raise ReadError(f"{root} is of no layout known here: it has none of {looked}; name the folder that has.")
