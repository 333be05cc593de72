"""Matrices from MATLAB's files up to version 7. Nothing in a file is ever executed: only numbers are taken."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saliency_cli.errors import ReadError

__all__ = ["read_matrix"]

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
HDF5_OFFSETS = (0, 512)  # MATLAB puts a text of 512 bytes in front
NUMBERS = "biuf"  # NumPy's kinds: truth values, integers, real numbers


def read_matrix(path: Path, variable: str) -> NDArray[Any]:
    """The numeric matrix (H, W) of that name in a ``.mat`` file, sparse ones made full.

    Raises ReadError for a file that is missing or damaged, of version 7.3, or without such a matrix.
    """
    # Slow to import, and most data sets do without
    from scipy.io import loadmat, whosmat
    from scipy.sparse import issparse

    try:
        with path.open("rb") as file:
            head = file.read(HDF5_OFFSETS[-1] + len(HDF5_SIGNATURE))
    except OSError as error:
        raise ReadError(f"{path} cannot be read ({error.strerror}); check the file and its folder.") from None
    if head.startswith(b"MATLAB 7.3") or any(head.startswith(HDF5_SIGNATURE, offset) for offset in HDF5_OFFSETS):
        raise ReadError(f"{path} is of MATLAB's version 7.3 (HDF5), which is not read here; save it with -v7.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about variables that are not asked for
            values = loadmat(path, variable_names=[variable]).get(variable)
            present = [] if values is not None else [name for name, *_ in whosmat(path)]
    except Exception as error:  # damaged files make the parser fail in any way, with KeyError and MemoryError too
        raise ReadError(f"{path} is no MATLAB file that can be read ({error}); copy the annotation again.") from error
    if values is None:
        names = ", ".join(present) or "nothing"
        raise ReadError(f"{path} has no variable {variable!r} but {names}; it belongs to another data set.")
    matrix = values.toarray() if issparse(values) else np.asarray(values)
    if matrix.ndim != 2 or matrix.size == 0 or matrix.dtype.kind not in NUMBERS:
        raise ReadError(
            f"{path} holds in {variable!r} no matrix of numbers but {matrix.dtype} of shape {matrix.shape}; copy the "
            "annotation again."
        )
    return matrix
