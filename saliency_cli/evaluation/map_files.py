"""Maps that somebody stored: folders of pictures, single pictures, arrays and gray videos, read one map at a time."""

from __future__ import annotations

import re
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, ClassVar, cast

import cv2
import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from saliency_cli.errors import ReadError
from saliency_cli.evaluation.timeline import presentation_times
from saliency_cli.media import PICTURE_SUFFIXES, list_frames, open_source

__all__ = ["VIDEO_SUFFIXES", "MapFile", "open_maps"]

VIDEO_SUFFIXES = (".mp4", ".mkv", ".mov", ".m4v", ".avi", ".webm")
COLOUR = 24  # levels that the channels of a gray picture may differ by, after lossy coding
NPZ_NAMES = ("saliency", "maps", "arr_0")


class MapFile(ABC):
    """The maps of one video or still, (h, w) of any real type, in the order of its frames.

    ``frames``: the number from 0 of each map's frame, ``seconds``: its presentation time, ``numbers``: what stands in
    the names of pictures; None where the file does not say. ``form`` is what is stored, such as ``8-bit pictures``.
    """

    coarse: bool = False  # 8 bits a map
    form: str

    def __init__(self, path: Path, count: int) -> None:
        self.path, self.count = path, count
        self.frames: tuple[int, ...] | None = None
        self.seconds: tuple[float, ...] | None = None
        self.numbers: tuple[int, ...] | None = None

    def __len__(self) -> int:
        return self.count

    @abstractmethod
    def __iter__(self) -> Iterator[NDArray[Any]]:
        """The maps, one in memory at a time. Raises ReadError for a damaged one."""


def open_maps(path: Path, *, still: bool) -> MapFile:
    """The maps at ``path``; of a ``still`` there is one, of which the picture's name says nothing.

    Raises:
        ReadError: it is missing, damaged, or holds no maps.
    """
    suffix = path.suffix.lower()
    if path.is_dir():
        return _Pictures(path, list_frames(path), numbered=not still)
    if suffix in PICTURE_SUFFIXES:
        return _Pictures(path, [path], numbered=False)
    if suffix == ".npy":
        return _Npy(path, still=still)
    if suffix == ".npz":
        return _Npz(path, still=still)
    return _GrayVideo(path)


class _Pictures(MapFile):
    def __init__(self, path: Path, pictures: Sequence[Path], *, numbered: bool) -> None:
        super().__init__(path, len(pictures))
        self._pictures = pictures
        depth = _read_gray(pictures[0]).dtype.itemsize * 8
        self.coarse, self.form = depth == 8, f"{depth}-bit pictures"
        if numbered:
            self._sort_by_number()

    def _sort_by_number(self) -> None:
        """Frames are numbered by the last digits of the name, from 1 on, or from 0 if there is a 0."""
        found: dict[int, Path] = {}
        for picture in self._pictures:
            digits = re.findall(r"\d+", picture.stem)
            if not digits:
                raise ReadError(f"{picture} does not say which frame it belongs to: name maps 0001.png, 0002.png …")
            if other := found.get(int(digits[-1])):
                raise ReadError(f"{other} and {picture.name} are maps of one frame: leave one of them.")
            found[int(digits[-1])] = picture
        first = 0 if 0 in found else 1
        self._pictures = [found[number] for number in sorted(found)]
        self.numbers = tuple(sorted(found))
        self.frames = tuple(number - first for number in self.numbers)

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return (_read_gray(picture) for picture in self._pictures)


def _read_gray(path: Path) -> NDArray[Any]:
    """A picture's values, (h, w), of 8 or 16 bits or floating point. Raises ReadError."""
    try:
        pixels = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    except (OSError, cv2.error):
        pixels = None
    if pixels is None:
        raise ReadError(f"{path} is no picture that can be decoded: write it again.")
    if pixels.ndim == 3:
        return _one_channel(pixels[:, :, :3], path)
    return cast(NDArray[Any], pixels)


def _one_channel(pixels: NDArray[Any], path: Path) -> NDArray[Any]:
    """The gray values of a picture (h, w, 3) whose channels say the same. Raises ReadError if they do not."""
    limit = COLOUR * (257 if pixels.dtype == np.uint16 else 1)
    if int(np.ptp(pixels.astype(np.float32), axis=2).max()) > limit:
        raise ReadError(
            f"{path} is coloured, as overlays and heatmaps are: give gray maps (vsal predict --write maps)."
        )
    return np.ascontiguousarray(pixels[:, :, 1])


class _Array(MapFile):
    form = "arrays"
    wanted: ClassVar[str] = "frames × height × width"

    def _check(self, shape: tuple[int, ...], dtype: np.dtype[Any], *, still: bool) -> tuple[int, ...]:
        """The shape with a first axis for frames. Raises ReadError."""
        whole = (1, *shape) if still and len(shape) == 2 else shape
        if len(whole) != 3 or 0 in whole:
            raise ReadError(f"{self.path} holds an array of shape {shape}: maps are {self.wanted}, as numbers.")
        if dtype.kind not in "fiub":
            raise ReadError(f"{self.path} holds {dtype} values: maps are {self.wanted}, as numbers.")
        self.coarse = dtype.itemsize == 1
        self.form = f"{dtype} arrays"
        return whole


class _Npy(_Array):
    def __init__(self, path: Path, *, still: bool) -> None:
        try:
            maps = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise ReadError(f"{path} is no array that can be read ({error}): write it again.") from None
        super().__init__(path, 0)
        if not isinstance(maps, np.ndarray):
            raise ReadError(f"{path} holds several arrays: call it .npz.")
        shape = self._check(maps.shape, maps.dtype, still=still)
        self._maps, self.count = maps.reshape(shape), shape[0]

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return (np.array(one) for one in self._maps)


class _Npz(_Array):
    """Maps are read from the archive one after the other: ``numpy.load`` would take all of them at once."""

    def __init__(self, path: Path, *, still: bool) -> None:
        super().__init__(path, 0)
        try:
            with zipfile.ZipFile(path) as archive:
                names = [name.removesuffix(".npy") for name in archive.namelist()]
                known = [name for name in NPZ_NAMES if name in names] or (names if len(names) == 1 else [])
                if not known:
                    raise ReadError(f"{path} holds {', '.join(names) or 'nothing'}: call the maps saliency.")
                self._member = f"{known[0]}.npy"
                with archive.open(self._member) as stream:
                    shape, columns_first, self._dtype = _header(stream)
                if columns_first:
                    raise ReadError(f"{path} holds maps in Fortran order: write them with numpy.ascontiguousarray.")
                self._shape = self._check(shape, self._dtype, still=still)
                self.count = self._shape[0]
                seconds = _member(archive, "seconds", names)
                frames = _member(archive, "frame", names)
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
            raise ReadError(f"{path} is no archive of arrays that can be read ({error}): write it again.") from None
        for name, values in (("seconds", seconds), ("frame", frames)):
            if values is not None and values.shape != (self.count,):
                raise ReadError(f"{path} holds {self.count} maps, but {values.shape} of {name}: give one for each map.")
        if seconds is not None:
            if seconds.dtype.kind not in "fiu" or not np.isfinite(seconds).all():
                raise ReadError(f"{path} holds seconds that are no times: give each map that of its frame.")
            self.seconds = tuple(float(value) for value in seconds)
        if frames is not None:
            if frames.dtype.kind not in "fiu" or not np.array_equal(frames, np.round(frames)):  # NaN differs as well
                raise ReadError(f"{path} holds values of frame that are no whole numbers: number frames from 0.")
            if len(np.unique(frames)) < self.count:
                raise ReadError(f"{path} has several maps of one frame, by its values of frame: leave one of each.")
            self.frames = tuple(int(value) for value in frames)

    def __iter__(self) -> Iterator[NDArray[Any]]:
        size = int(np.prod(self._shape[1:])) * self._dtype.itemsize
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(self._member) as stream:
                _header(stream)
                for index in range(self.count):
                    content = stream.read(size)
                    if len(content) < size:
                        raise ReadError(f"{self.path} ends within map {index}: write it again.")
                    yield np.frombuffer(content, self._dtype).reshape(self._shape[1:])
        except (OSError, zipfile.BadZipFile, zlib.error) as error:
            raise ReadError(f"{self.path} is damaged ({error}): write it again.") from None


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = npy.read_magic(stream)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, columns_first, dtype = read(stream)
    return tuple(shape), bool(columns_first), dtype


def _member(archive: zipfile.ZipFile, name: str, names: Sequence[str]) -> NDArray[Any] | None:
    if name not in names:
        return None
    with archive.open(f"{name}.npy") as stream:
        return npy.read_array(stream, allow_pickle=False)


class _GrayVideo(MapFile):
    coarse, form = True, "gray video"

    def __init__(self, path: Path) -> None:
        times = presentation_times(path)
        super().__init__(path, len(times))
        self.seconds = times

    def __iter__(self) -> Iterator[NDArray[Any]]:
        count = 0
        with open_source(self.path) as source:
            for frame in source:
                count += 1
                yield _one_channel(frame.pixels, self.path)
        if count != self.count:
            raise ReadError(f"{self.path} has {self.count} maps, of which {count} could be decoded: write it again.")
