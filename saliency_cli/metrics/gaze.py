"""Recorded gaze: plain tables of fixations, and the maps made of them.

A folder holds ``items.csv`` (dataset, item, kind, source_width, source_height, fps, frames), ``fixations.csv`` or
``fixations.csv.gz`` (dataset, item, subject, onset_ms, duration_ms, x, y; x and y are fractions of width and height)
and the stimuli, ``<dataset>/<item>.jpg`` or ``.mp4``. An observer who did not see an item has no row there.
"""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from saliency_cli.errors import ReadError, UsageError

__all__ = [
    "SIGMA_STILL",
    "SIGMA_VIDEO",
    "Fixations",
    "GazeTable",
    "Item",
    "active",
    "density_map",
    "fixation_counts",
    "fixation_map",
]

# One degree of visual angle, roughly, as a share of the picture's height
SIGMA_STILL = 1 / 25
SIGMA_VIDEO = 1 / 22

Kind = Literal["image", "video"]

KINDS: dict[str, Kind] = {"image": "image", "video": "video"}
SUFFIXES: dict[Kind, str] = {"image": ".jpg", "video": ".mp4"}
ITEM_COLUMNS = ("dataset", "item", "kind", "source_width", "source_height", "fps", "frames")
FIXATION_COLUMNS = ("dataset", "item", "subject", "onset_ms", "duration_ms", "x", "y")


@dataclass(frozen=True, slots=True)
class Item:
    """One stimulus. ``width`` and ``height`` are the source's; ``position`` counts from 0 within its dataset."""

    dataset: str
    name: str
    kind: Kind
    width: int
    height: int
    rate: float | None  # frames per second, possibly rounded: never a clock
    frames: int | None
    position: int


@dataclass(frozen=True, slots=True, eq=False)
class Fixations:
    """N fixations on one stimulus, in file order.

    ``subject``: strings (N,). ``onset`` and ``duration``: milliseconds (N,), NaN where the recording has none; the
    onset is on the container's clock. ``points``: (N, 2), x and y as fractions of width and height.
    """

    subject: NDArray[np.str_]
    onset: NDArray[np.float64]
    duration: NDArray[np.float64]
    points: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.points)

    def __repr__(self) -> str:
        return f"Fixations({len(self)} of {len(self.subjects)} observers)"

    @property
    def subjects(self) -> tuple[str, ...]:
        """The observers who have at least one fixation here, sorted."""
        return tuple(str(subject) for subject in np.unique(self.subject))

    def where(self, mask: NDArray[np.bool_]) -> Fixations:
        """The fixations at which ``mask`` (N,) is True."""
        return Fixations(self.subject[mask], self.onset[mask], self.duration[mask], self.points[mask])


class GazeTable:
    """The items and fixations of a folder in the form above."""

    def __init__(self, folder: Path, items: tuple[Item, ...], fixations: Mapping[tuple[str, str], Fixations]) -> None:
        self.folder = folder
        self._items = {(item.dataset, item.name): item for item in items}
        self._fixations = fixations

    @classmethod
    def load(cls, folder: str | Path) -> GazeTable:
        """Read the folder's two tables, once. Raises ReadError if one is missing or damaged."""
        folder = Path(folder)
        packed, plain = folder / "fixations.csv.gz", folder / "fixations.csv"
        return cls(folder, _read_items(folder / "items.csv"), _read_fixations(packed if packed.exists() else plain))

    def __repr__(self) -> str:
        return f"GazeTable({str(self.folder)!r}, {len(self._items)} items)"

    def items(self, dataset: str | None = None) -> tuple[Item, ...]:
        """All items, or those of one dataset, in file order. Raises UsageError for a dataset that is not there."""
        if dataset is None:
            return tuple(self._items.values())
        found = tuple(item for item in self._items.values() if item.dataset == dataset)
        if not found:
            known = ", ".join(dict.fromkeys(item.dataset for item in self._items.values()))
            raise UsageError(f"{self.folder / 'items.csv'} has no dataset {dataset!r}: choose one of {known}")
        return found

    def item(self, dataset: str, name: str) -> Item:
        """One item. Raises UsageError if it is not there."""
        try:
            return self._items[dataset, name]
        except KeyError:
            table = self.folder / "items.csv"
            raise UsageError(f"{table} has no item {name!r} in dataset {dataset!r}: choose one it lists") from None

    def fixations(self, dataset: str, name: str) -> Fixations:
        """The fixations on one item, possibly none. Raises UsageError if the item is not there."""
        self.item(dataset, name)
        return self._fixations.get((dataset, name), _NONE)

    def stimulus_path(self, dataset: str, name: str) -> Path:
        """Where the item's picture or video lies. Raises UsageError for an unknown item, ReadError if it is missing."""
        path = self.folder / dataset / f"{name}{SUFFIXES[self.item(dataset, name).kind]}"
        if not path.is_file():
            raise ReadError(f"{path} is missing though items.csv lists it: put the stimulus there")
        return path


_NONE = Fixations(np.empty(0, np.str_), np.empty(0), np.empty(0), np.empty((0, 2)))


def _read_columns(path: Path, header: tuple[str, ...]) -> list[list[str]]:
    """The table's columns without their header. Raises ReadError."""
    # One flat list, as a quarter of a million row lists keep the garbage collector busy for longer than the parsing.
    cells: list[str] = []
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8", newline="") as stream:
            reader = csv.reader(stream)
            if tuple(next(reader, ())) != header:
                raise ReadError(
                    f"{path} does not start with the header {','.join(header)}: add it or name another folder"
                )
            for row in reader:
                if len(row) != len(header):
                    line = reader.line_num
                    raise ReadError(f"{path} has {len(row)} cells, not {len(header)}, in line {line}: mend that line")
                cells.extend(row)
    except FileNotFoundError:
        raise ReadError(f"{path} is missing: name a folder that holds items.csv and fixations.csv.gz") from None
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise ReadError(f"{path} cannot be read ({error}): restore the table from its source") from error
    return [cells[column :: len(header)] for column in range(len(header))]


def _read_items(path: Path) -> tuple[Item, ...]:
    items: list[Item] = []
    seen: dict[str, int] = {}
    rows = zip(*_read_columns(path, ITEM_COLUMNS), strict=True)
    for line, (dataset, name, kind, width, height, rate, frames) in enumerate(rows, start=2):
        if kind not in KINDS:
            raise ReadError(f"{path} names the kind {kind!r} in line {line}: write image or video there")
        position = seen.get(dataset, 0)
        seen[dataset] = position + 1
        try:
            item = Item(
                dataset=dataset,
                name=name,
                kind=KINDS[kind],
                width=int(width),
                height=int(height),
                rate=float(rate) if rate else None,
                frames=int(frames) if frames else None,
                position=position,
            )
        except ValueError as error:
            raise ReadError(f"{path} holds no number where one belongs in line {line} ({error}): mend it") from None
        items.append(item)
    return tuple(items)


def _read_fixations(path: Path) -> dict[tuple[str, str], Fixations]:
    datasets, names, subjects, *cells = _read_columns(path, FIXATION_COLUMNS)
    try:
        numbers = np.array([[float(cell or "nan") for cell in column] for column in cells]).T  # (N, 4)
    except ValueError as error:
        raise ReadError(f"{path} holds text where a number belongs ({error}): mend that line") from None
    homeless = ~np.isfinite(numbers[:, 2:]).all(axis=1)
    if homeless.any():
        line = int(np.argmax(homeless)) + 2
        raise ReadError(f"{path} has a fixation without a place in line {line}: give it x and y, or remove the line")
    lines: dict[tuple[str, str], list[int]] = {}
    for index, key in enumerate(zip(datasets, names, strict=True)):
        lines.setdefault(key, []).append(index)
    subject = np.array(subjects)
    return {
        key: Fixations(subject[index], numbers[index, 0], numbers[index, 1], numbers[index, 2:])
        for key, index in lines.items()
    }


def active(fixations: Fixations, seconds: float) -> NDArray[np.float64]:
    """Where people look in the frame that is presented at ``seconds`` of the container's clock: points (M, 2).

    A fixation is active when onset <= 1000 · seconds <= onset + duration, both ends included. Fixations without an
    onset, as in recordings on stills, are never active: take ``fixations.points`` there.
    """
    now = round(1000 * seconds, 6)  # 1000 · 1.001 s is 1000.9999999999999 in floating point, which 1001 ms is not
    return fixations.points[(fixations.onset <= now) & (now <= fixations.onset + fixations.duration)]


def fixation_counts(points: NDArray[np.float64], height: int, width: int) -> NDArray[np.int64]:
    """How many fixations fall on each pixel: (H, W).

    ``points``: (N, 2), x and y as fractions of width and height. Pixel (r, c) takes x in [c/W, (c+1)/W) and y alike;
    the far edges, x = 1 and y = 1, belong to the last pixels; points beyond the picture count nowhere.
    Raises ValueError for another shape of points or a size below 1.
    """
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"points must have the shape (N, 2), not {points.shape}")
    if height < 1 or width < 1:
        raise ValueError(f"a map has at least one pixel, not {width}x{height}")
    inside = points[((points >= 0) & (points <= 1)).all(axis=1)]
    column = np.minimum((inside[:, 0] * width).astype(np.int64), width - 1)
    row = np.minimum((inside[:, 1] * height).astype(np.int64), height - 1)
    return np.bincount(row * width + column, minlength=height * width).reshape(height, width)


def fixation_map(points: NDArray[np.float64], height: int, width: int) -> NDArray[np.bool_]:
    """True where at least one of ``points`` (N, 2) falls: (H, W). See :func:`fixation_counts`."""
    return fixation_counts(points, height, width) > 0


def density_map(fixations: NDArray[Any], sigma: float) -> NDArray[np.float32]:
    """The density of fixations: ``fixations`` (H, W), binary or counts, blurred with a Gaussian of ``sigma`` pixels.

    Beyond the edges is nothing: mass is lost there, none is mirrored. ``sigma`` is one degree of visual angle:
    ``height * SIGMA_VIDEO`` or ``height * SIGMA_STILL``. Raises ValueError for another shape, or sigma not above 0.
    """
    if fixations.ndim != 2 or fixations.size == 0:
        raise ValueError(f"fixations must be a map of shape (height, width), not {fixations.shape}")
    if not sigma > 0:
        raise ValueError(f"sigma must be above 0 pixels, not {sigma}")
    counts = fixations.astype(np.float32)
    blurred = cv2.GaussianBlur(counts, (0, 0), sigmaX=sigma, sigmaY=sigma, borderType=cv2.BORDER_CONSTANT)
    return np.asarray(blurred, dtype=np.float32)
