"""Recordings with one density and one map of fixations a frame, in files that carry the frame's number.

A fixation is what is above zero in a PNG (some sets write 1, some 255) or a matrix. In a JPEG it is what is above half
of full white, since compression leaves a halo of small values around each fixated pixel.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from saliency_cli.datasets.base import Recording, Truth
from saliency_cli.datasets.matlab import read_matrix
from saliency_cli.datasets.pictures import picture_size, read_gray
from saliency_cli.datasets.resample import move_counts, resize_density
from saliency_cli.errors import ReadError

__all__ = [
    "FrameFiles",
    "FrameRecording",
    "Numbered",
    "Size",
    "check_unique",
    "in_order",
    "line_up",
    "numbered_files",
    "subfolders",
    "trailing_number",
]

PICTURES = (".png", ".jpg", ".jpeg", ".bmp")
LOSSY = frozenset({".jpg", ".jpeg"})
HALF_WHITE = 127

Size = tuple[int, int]  # height, width


@dataclass(frozen=True, slots=True)
class FrameFiles:
    """One file a frame, named ``prefix`` + digits + ``suffix``; ``digits[i]`` is None where frame i has none."""

    folder: Path
    prefix: str
    suffix: str
    digits: tuple[str | None, ...]

    def __len__(self) -> int:
        return len(self.digits)

    def __repr__(self) -> str:
        return f"FrameFiles({str(self.folder / (self.prefix + '*' + self.suffix))!r}, {len(self)} frames)"

    def path(self, index: int) -> Path | None:
        """The file of frame ``index``, None where there is none."""
        if not 0 <= index < len(self.digits) or (digits := self.digits[index]) is None:
            return None
        return self.folder / f"{self.prefix}{digits}{self.suffix}"


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameRecording(Recording):
    """A recording whose annotations are read from disk frame by frame. Scored at the size of its densities.

    ``variable`` names the matrix in ``.mat`` files. ``rate`` is that of a folder of frames, in frames per second, and
    ``sound`` the file with its sound, both None where the set does not say.
    """

    maps: FrameFiles
    fixations: FrameFiles
    variable: str
    rate: float | None = None
    sound: Path | None = None

    def truth(self, index: int, seconds: float, size: Size | None = None) -> Truth | None:
        density, fixations = self.maps.path(index), self.fixations.path(index)
        if density is None or fixations is None:
            return None
        height, width = size or (self.height, self.width)
        return Truth(
            move_counts(self._read_fixations(fixations), height, width),
            resize_density(read_gray(density), height, width),
        )

    def fixated(self, height: int, width: int) -> NDArray[np.bool_]:
        pixels = np.unpackbits(self._fixated_bits, count=self.height * self.width).reshape(self.height, self.width)
        return move_counts(pixels, height, width) > 0

    @cached_property
    def _fixated_bits(self) -> NDArray[np.uint8]:
        """One bit a pixel: reading all frames takes seconds, and a recording is drawn for many others."""
        union = np.zeros((self.height, self.width), np.bool_)
        for index in range(len(self.fixations)):
            if (path := self.fixations.path(index)) is not None:
                union |= move_counts(self._read_fixations(path), self.height, self.width) > 0
        return np.packbits(union)

    def _read_fixations(self, path: Path) -> NDArray[np.bool_]:
        if path.suffix.lower() == ".mat":
            return read_matrix(path, self.variable) > 0
        values = read_gray(path)
        return np.asarray(values > (HALF_WHITE if path.suffix.lower() in LOSSY else 0))


@dataclass(frozen=True, slots=True)
class Numbered:
    """The files of one folder that differ in their number only; ``digits``: the number to how it is written."""

    folder: Path
    prefix: str
    suffix: str
    digits: Mapping[int, str]

    def pick(self, numbers: Iterable[int]) -> FrameFiles:
        """The files of these numbers, one a frame."""
        return FrameFiles(self.folder, self.prefix, self.suffix, tuple(self.digits.get(number) for number in numbers))


def trailing_number(stem: str) -> tuple[str, str] | None:
    """What stands before the digits at a name's end, and these: ``("clip_", "0012")``; None without digits."""
    found = re.fullmatch(r"(.*?)([0-9]+)", stem, re.DOTALL)
    return (found[1], found[2]) if found else None


def numbered_files(folder: Path, suffixes: Sequence[str] = PICTURES, *, prefix: str | None = None) -> Numbered | None:
    """The files of a folder that are numbered; None without any, or without the folder.

    ``suffixes`` are in lower case, and capitals are as good. If names begin in several ways, or end so, the most
    frequent way counts, or ``prefix`` if given. Raises ReadError for a folder that may not be read.
    """
    kinds: dict[tuple[str, str], dict[int, str]] = {}
    try:
        names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    except OSError as error:
        raise ReadError(f"{folder} cannot be read ({error.strerror}); check its permissions.") from None
    for name in names:
        stem, dot, ending = name.rpartition(".")
        if name.startswith(".") or (dot + ending).lower() not in suffixes or (parts := trailing_number(stem)) is None:
            continue
        if prefix is None or parts[0] == prefix:
            # Digits recur from video to video: kept once for all
            kinds.setdefault((parts[0], dot + ending), {})[int(parts[1])] = sys.intern(parts[1])
    if not kinds:
        return None
    begin, end = max(kinds, key=lambda kind: (len(kinds[kind]), kind))
    return Numbered(folder, begin, end, kinds[begin, end])


def line_up(
    maps: Numbered | None, fixations: Numbered | None, numbers: Sequence[int] | None, *, where: Path
) -> tuple[FrameFiles, FrameFiles, Size] | None:
    """The densities and fixations of a recording, frame by frame, and the size of the first density.

    ``numbers`` are those of the frames, in order; by default they run from 1 to the last annotated. A frame counts as
    annotated where it has both files. None if the recording has no annotation at all.
    Raises ReadError if it has densities without fixations, the other way round, or both for none of ``numbers``.
    """
    if maps is None and fixations is None:
        return None
    both = maps.digits.keys() & fixations.digits.keys() if maps and fixations else set()
    if maps is None or fixations is None or not both:
        has, lacks = ("fixations", "densities") if maps is None else ("densities", "fixations")
        raise ReadError(f"{where} has {has} but no {lacks} for the same frames; copy its annotations again.")
    frames = [number if number in both else -1 for number in numbers or range(1, max(both) + 1)]
    lined_up = maps.pick(frames)
    first = next((path for index in range(len(frames)) if (path := lined_up.path(index)) is not None), None)
    if first is None:
        raise ReadError(f"{where} has annotations for none of its frames: their numbers differ; copy it again.")
    return lined_up, fixations.pick(frames), picture_size(first)


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder, hidden ones left out, in natural order; none if it is missing. Raises ReadError."""
    try:
        entries = list(folder.iterdir()) if folder.is_dir() else []
        return sorted((e for e in entries if not e.name.startswith(".") and e.is_dir()), key=lambda e: in_order(e.name))
    except OSError as error:
        raise ReadError(f"{folder} cannot be read ({error.strerror}); check its permissions.") from None


def in_order(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """A key to sort names by in which numbers count as numbers."""
    parts = [part for part in re.split(r"([0-9]+)", name.casefold()) if part]
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts], name


def check_unique(names: Iterable[str], *, where: Path) -> None:
    """Raise ReadError if a name occurs twice."""
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise ReadError(f"{where} has {twice[0]} in two of its parts; remove one, or scores would be of seen clips.")
