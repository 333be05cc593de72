"""Folders of frames and still images."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from clips import draw_number, make_clip, read_number

from saliency_cli.errors import ReadError, UsageError
from saliency_cli.media import list_frames, open_source, read_picture

SUFFIXES = ["png", "jpg", "jpeg", "bmp", "tif", "tiff", "webp", "PNG"]


def save(path: Path, pixels: np.ndarray) -> Path:
    """Write RGB, RGBA or gray pixels; through memory, so that any name will do."""
    if pixels.ndim == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGBA2BGRA if pixels.shape[2] == 4 else cv2.COLOR_RGB2BGR)
    done, content = cv2.imencode(path.suffix.lower(), pixels)
    assert done
    path.write_bytes(content.tobytes())
    return path


def with_exif_orientation(path: Path, orientation: int) -> Path:
    """Put an EXIF segment with nothing but an orientation behind the start of a JPEG file."""
    tiff = b"MM\0*\0\0\0\x08" + b"\0\x01" + b"\x01\x12\0\x03\0\0\0\x01" + bytes([0, orientation, 0, 0]) + b"\0\0\0\0"
    body = b"Exif\0\0" + tiff
    content = path.read_bytes()
    path.write_bytes(content[:2] + b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body + content[2:])
    return path


def test_frames_come_in_natural_order(tmp_path: Path) -> None:
    names = ["2.png", "10.png", "1.png", "frame 3.png", "frame 20.png", "Frame 4.png"]
    for name in names:
        save(tmp_path / name, draw_number(0))
    (tmp_path / ".5.png").write_bytes(b"hidden")
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "more.png").mkdir()
    order = [path.name for path in list_frames(tmp_path)]
    assert order == ["1.png", "2.png", "10.png", "frame 3.png", "Frame 4.png", "frame 20.png"]


def test_folder_as_a_source(tmp_path: Path) -> None:
    for index in range(12):
        save(tmp_path / f"{index}.png", draw_number(index))
    with open_source(tmp_path) as source:
        frames = list(source)
    assert [read_number(frame.pixels) for frame in frames] == list(range(12))
    assert [frame.index for frame in frames] == list(range(12))
    assert [frame.seconds for frame in frames] == pytest.approx([index / 30 for index in range(12)])
    info = source.info
    assert (info.kind, info.frames, info.rate, info.codec) == ("frames", 12, 30, "png")
    assert source.warnings == []


def test_folder_rate_and_part(tmp_path: Path) -> None:
    for index in range(10):
        save(tmp_path / f"{index}.png", draw_number(index))
    source = open_source(tmp_path, fps=Fraction(24000, 1001), start=0.1, end=0.3)
    assert source.info.rate == Fraction(24000, 1001)
    assert [frame.index for frame in source] == [3, 4, 5, 6, 7]
    assert source.expected == 5
    with pytest.raises(UsageError, match="above 0"):
        open_source(tmp_path, fps=0)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_formats(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"Bild übergroß 図.{suffix}", draw_number(77, (70, 50)))
    with open_source(path) as source:
        (frame,) = source
    assert source.info.kind == "image"
    assert frame.pixels.shape == (50, 70, 3)
    assert frame.pixels.dtype == np.uint8
    assert read_number(frame.pixels) == 77


def test_red_is_red(tmp_path: Path) -> None:
    picture = np.full((8, 8, 3), (200, 30, 10), dtype=np.uint8)
    assert read_picture(save(tmp_path / "red.png", picture))[4, 4].tolist() == [200, 30, 10]


def test_alpha_gray_and_16_bits(tmp_path: Path) -> None:
    rgb = draw_number(5)
    alpha = np.dstack([rgb, np.full(rgb.shape[:2], 3, dtype=np.uint8)])
    assert np.array_equal(read_picture(save(tmp_path / "alpha.png", alpha)), rgb)
    assert np.array_equal(read_picture(save(tmp_path / "gray.png", rgb[:, :, 0])), rgb)
    for suffix in ("png", "tif"):
        deep = save(tmp_path / f"deep.{suffix}", rgb.astype(np.uint16) * 257)
        assert np.array_equal(read_picture(deep), rgb)


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, 1), (8, 3)])
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int, turns: int) -> None:
    shown = draw_number(9, (96, 64))
    stored = np.ascontiguousarray(np.rot90(shown, turns))  # the camera was turned the other way
    path = with_exif_orientation(save(tmp_path / "phone.jpg", stored), orientation)
    pixels = read_picture(path)
    assert pixels.shape == (64, 96, 3)
    assert read_number(pixels) == 9


def test_bad_pictures(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="folder without pictures"):
        open_source(tmp_path)
    save(tmp_path / "1.png", draw_number(0))
    save(tmp_path / "2.png", draw_number(1, (64, 50)))
    with pytest.raises(ReadError, match=r"2\.png is 64x50, but 1\.png is 64x48"):
        list(open_source(tmp_path))
    (tmp_path / "2.png").write_bytes((tmp_path / "1.png").read_bytes()[:40])
    with pytest.raises(ReadError, match=r"2\.png is no picture"):
        list(open_source(tmp_path))
    (tmp_path / "1.png").write_bytes(b"")
    with pytest.raises(ReadError, match=r"1\.png is empty"):
        open_source(tmp_path)
    with pytest.raises(ReadError, match="does not exist"):
        open_source(tmp_path / "3.png")


def test_floating_point_pixels_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "float.tiff", np.zeros((8, 8, 3), dtype=np.float32))
    with pytest.raises(ReadError, match="float32"):
        read_picture(path)


def test_gif_is_a_video(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.gif", codec="gif", pix_fmt="rgb8", frames=6, rate=10)
    with open_source(path) as source:
        assert [read_number(frame.pixels) for frame in source] == list(range(6))
    assert source.info.kind == "video"
