"""MATLAB's files: matrices of numbers come out, all else is refused in one sentence."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat
from scipy.sparse import csc_matrix

from saliency_cli.datasets.matlab import read_matrix
from saliency_cli.errors import ReadError


@pytest.mark.parametrize("values", [np.eye(3, 5), np.eye(3, 5, dtype=np.uint8), np.eye(3, 5, dtype=np.bool_)])
@pytest.mark.parametrize("compressed", [False, True])
def test_a_matrix(tmp_path: Path, values: np.ndarray, compressed: bool) -> None:
    savemat(tmp_path / "a.mat", {"I": values, "x": "text"}, do_compression=compressed)
    matrix = read_matrix(tmp_path / "a.mat", "I")
    np.testing.assert_array_equal(matrix, values)


def test_a_matrix_of_version_4(tmp_path: Path) -> None:
    savemat(tmp_path / "a.mat", {"I": np.eye(3, 5)}, format="4")
    np.testing.assert_array_equal(read_matrix(tmp_path / "a.mat", "I"), np.eye(3, 5))


def test_a_sparse_matrix(tmp_path: Path) -> None:
    savemat(tmp_path / "a.mat", {"I": csc_matrix(np.eye(4, 6))})
    np.testing.assert_array_equal(read_matrix(tmp_path / "a.mat", "I"), np.eye(4, 6))


def test_another_variable(tmp_path: Path) -> None:
    savemat(tmp_path / "a.mat", {"map": np.eye(2), "note": "x"})
    with pytest.raises(ReadError, match=r"a\.mat has no variable 'I' but map, note"):
        read_matrix(tmp_path / "a.mat", "I")


@pytest.mark.parametrize(
    "value", ["text", {"field": 1.0}, np.array([[1, "a"]], dtype=object), np.zeros((2, 2, 2)), np.zeros((0, 3)), 1j]
)
def test_what_is_no_matrix_of_numbers(tmp_path: Path, value: object) -> None:
    savemat(tmp_path / "a.mat", {"I": value})
    with pytest.raises(ReadError, match="no matrix of numbers"):
        read_matrix(tmp_path / "a.mat", "I")


@pytest.mark.parametrize("offset", [0, 512])
def test_version_7_3_is_told_apart(tmp_path: Path, offset: int) -> None:
    text = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512) if offset else b""
    (tmp_path / "a.mat").write_bytes(text + b"\x89HDF\r\n\x1a\n" + bytes(200))
    with pytest.raises(
        ReadError, match=r"a\.mat is of MATLAB's version 7\.3 \(HDF5\), which is not read here; save it"
    ):
        read_matrix(tmp_path / "a.mat", "I")


@pytest.mark.parametrize("keep", [0, 1, 60, 130, 180, 240])
@pytest.mark.parametrize("compressed", [False, True])
def test_a_file_cut_short(tmp_path: Path, keep: int, compressed: bool) -> None:
    path = tmp_path / "a.mat"
    savemat(path, {"I": np.random.default_rng(0).random((30, 40))}, do_compression=compressed)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ReadError, match=r"a\.mat"):
        read_matrix(path, "I")


@pytest.mark.parametrize("seed", range(20))
def test_noise_is_an_error_or_a_matrix(tmp_path: Path, seed: int) -> None:
    path, rng = tmp_path / "a.mat", np.random.default_rng(seed)
    savemat(path, {"I": rng.random((30, 40))}, do_compression=seed % 2 == 0)
    content = bytearray(path.read_bytes())
    place = int(rng.integers(128, 190))
    content[place : place + 16] = rng.bytes(16)
    path.write_bytes(bytes(content))
    with suppress(ReadError):
        assert read_matrix(path, "I").ndim == 2


def test_a_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=r"a\.mat cannot be read \(No such file"):
        read_matrix(tmp_path / "a.mat", "I")
