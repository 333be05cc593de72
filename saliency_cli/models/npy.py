"""Weights that were saved with ``np.save`` as a dictionary of layers, such as SoundNet's ``sound8.npy``.

Such a file is a pickle, and ``np.load`` would run whatever it says. Here it builds nothing but inert notes of arrays:
the three names that it may mention stand for classes of this module, and numbers alone become arrays afterwards. Not
even numpy's own constructors are called, which trust what a pickle tells them about memory.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from saliency_cli.errors import WeightsError

__all__ = ["read_arrays"]

NUMBERS = ("f2", "f4", "f8", "i4", "i8")
DEPTH = 4  # of dictionaries in dictionaries


class _Anything:
    """``numpy.ndarray``, which a pickle only mentions."""

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("an array is described in a way that numpy does not use")


class _Type:
    """``numpy.dtype``: its name, as in ``f4``, and its byte order."""

    def __init__(self, name: object = "", *_: object) -> None:
        self.name, self.order = name, "|"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1]


class _Array:
    """What ``numpy.core.multiarray._reconstruct`` would make an array of."""

    def __init__(self, *_: object) -> None:
        self.state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state

    def content(self) -> object:
        """The array, or, of one that holds a single object, this object."""
        _, shape, kind, columns_first, data = self.state
        if not isinstance(kind, _Type):
            raise pickle.UnpicklingError("an array has no type")
        if kind.name in ("O8", "O4", "O") and shape == () and isinstance(data, list) and len(data) == 1:
            return data[0]
        if kind.name not in NUMBERS or kind.order not in ("<", ">", "|", "="):
            raise pickle.UnpicklingError(f"an array holds {kind.name!r} instead of numbers")
        raw = data.encode("latin-1") if isinstance(data, str) else bytes(data)  # Python 2 wrote text
        flat: NDArray[Any] = np.frombuffer(raw, np.dtype(f"{kind.order}{kind.name}"))
        native = flat.astype(flat.dtype.newbyteorder("="))
        return native.reshape(shape, order="F" if columns_first else "C")


class _Reader(pickle.Unpickler):
    """Knows three names and runs nothing."""

    def find_class(self, module: str, name: str) -> type:
        if name == "_reconstruct" and module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            return _Array
        if module == "numpy" and name in ("ndarray", "dtype"):
            return _Type if name == "dtype" else _Anything
        raise _RefusedError(f"{module}.{name}")


class _RefusedError(Exception):
    """A pickle names something that is no array."""


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a ``.npy`` file that holds a dictionary, also of dictionaries: ``layer.name`` to its numbers.

    Raises ``WeightsError`` if the file cannot be read, holds anything else, or would run code.
    """
    try:
        with path.open("rb") as file:
            _skip_header(file)
            # Python 2 wrote arrays as text of the first 256 characters, which latin-1 gives back byte by byte.
            loaded = _Reader(file, encoding="latin-1").load()
        if isinstance(loaded, _Array):
            loaded = loaded.content()
        return dict(_flat(loaded))
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({error.strerror or error}): check its permissions.") from error
    except _RefusedError as error:
        raise WeightsError(
            f"{path} holds more than arrays ({error}) and would run code when loaded, which vsal refuses: "
            "use a file of arrays alone."
        ) from error
    except Exception as error:  # a damaged pickle can fail in any way
        raise WeightsError(f"{path} is damaged or holds no dictionary of arrays: fetch it again.") from error


def _skip_header(file: BinaryIO) -> None:
    """Go to the pickle. Raises ValueError for a file of numpy's that has none."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, kind = read(file)
    if shape != () or not kind.hasobject:
        raise ValueError("an array of numbers, not a dictionary")


def _flat(value: object, prefix: str = "", depth: int = DEPTH) -> Iterator[tuple[str, NDArray[Any]]]:
    if not isinstance(value, dict) or not depth:
        raise ValueError("no dictionary of arrays")
    for name, item in value.items():
        if not isinstance(name, str):
            raise ValueError("a name is no text")
        content = item.content() if isinstance(item, _Array) else item
        if isinstance(content, np.ndarray):
            yield prefix + name, content
        else:
            yield from _flat(content, f"{prefix}{name}.", depth - 1)
