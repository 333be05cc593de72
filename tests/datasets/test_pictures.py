"""Sizes come from headers and agree with what decoding says; gray values survive."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from clips import make_clip

import saliency_cli.datasets.pictures as pictures
from saliency_cli.datasets.pictures import picture_size, read_gray, stimulus_size
from saliency_cli.errors import ReadError
from saliency_cli.media import open_source, read_picture

PICTURE = np.random.default_rng(0).integers(0, 255, (30, 52, 3), dtype=np.uint8)
# APP1 with a little-endian TIFF of one entry: orientation 6, to be turned by a quarter
EXIF = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"


def encode(path: Path, picture: np.ndarray = PICTURE, *options: int) -> Path:
    assert cv2.imwrite(str(path), picture, options)
    return path


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "A.JPEG", "a.bmp", "a.webp", "a.tif"])
def test_size_of_a_picture(tmp_path: Path, name: str) -> None:
    path = encode(tmp_path / name)
    assert picture_size(path) == stimulus_size(path) == (30, 52)


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_size_without_decoding(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = encode(tmp_path / name, PICTURE[:, :, 0])
    monkeypatch.setattr(pictures, "read_picture", lambda path: pytest.fail("decoded"))
    assert picture_size(path) == (30, 52)


def test_size_of_a_progressive_jpeg(tmp_path: Path) -> None:
    assert picture_size(encode(tmp_path / "a.jpg", PICTURE, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)) == (30, 52)


def test_a_picture_that_exif_turns(tmp_path: Path) -> None:
    content = encode(tmp_path / "a.jpg").read_bytes()
    path = tmp_path / "turned.jpg"
    path.write_bytes(content[:2] + b"\xff\xe1" + (len(EXIF) + 2).to_bytes(2, "big") + EXIF + content[2:])
    assert picture_size(path) == (52, 30) == read_picture(path).shape[:2]


def test_size_of_frames_and_of_a_video(tmp_path: Path) -> None:
    encode(tmp_path / "2.png", PICTURE[:10])
    encode(tmp_path / "10.png")
    assert stimulus_size(tmp_path) == (10, 52)
    clip = make_clip(tmp_path / "a.mp4", frames=2, size=(64, 48), rotation=90)
    with open_source(clip) as source:
        assert stimulus_size(clip) == (48, 64) == (source.info.height, source.info.width)


@pytest.mark.parametrize("content", [b"", b"\xff\xd8", b"\xff\xd8\xff\xe0\x00\x00", b"\x89PNG\r\n\x1a\n", b"text" * 9])
def test_a_damaged_picture_has_no_size(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(ReadError, match=r"a\.png"):
        picture_size(path)


def test_a_missing_picture(tmp_path: Path) -> None:
    for read in (picture_size, read_gray):
        with pytest.raises(ReadError, match=r"a\.png"):
            read(tmp_path / "a.png")


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_gray_values(tmp_path: Path, kind: type[np.unsignedinteger]) -> None:
    values = np.random.default_rng(1).integers(0, np.iinfo(kind).max, (9, 14)).astype(kind)
    read = read_gray(encode(tmp_path / "ä.png", values))
    assert read.dtype == kind
    np.testing.assert_array_equal(read, values)


def test_gray_values_of_a_picture_in_colour(tmp_path: Path) -> None:
    values = np.random.default_rng(1).integers(0, 255, (9, 14), dtype=np.uint8)
    np.testing.assert_array_equal(read_gray(encode(tmp_path / "a.png", np.dstack([values] * 3))), values)


def test_a_picture_cut_short(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.png")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ReadError, match=r"a\.png is no gray picture that can be decoded"):
        read_gray(path)


def test_a_picture_of_fractions_is_refused(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.tiff", np.full((4, 5), 0.5, np.float32))
    with pytest.raises(ReadError, match="no gray picture"):
        read_gray(path)
