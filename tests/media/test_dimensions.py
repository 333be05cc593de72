"""Headers that announce absurd pictures are refused before anything is decoded or memory taken."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from clips import draw_number, make_clip
from mutants import read_all

from saliency_cli.errors import ReadError
from saliency_cli.media import open_source
from saliency_cli.media.dimensions import MAX_SIDE, check_size, declared_size

SIDE = 100_000


def png(folder: Path) -> Path:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    path = folder / "a.png"
    rows = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100_000))) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + rows)
    return path


def picture(suffix: str, old: bytes, new: bytes) -> Callable[[Path], Path]:
    """A picture of 64 by 48 whose header is changed."""

    def make(folder: Path) -> Path:
        content = cv2.imencode(suffix, draw_number(3))[1].tobytes()
        assert old in content
        path = folder / f"a{suffix}"
        path.write_bytes(content.replace(old, new, 1))
        return path

    return make


def clip(name: str, old: bytes, new: bytes, **options: object) -> Callable[[Path], Path]:
    """A clip whose header is changed; as large as fits into its fields."""

    def make(folder: Path) -> Path:
        path = make_clip(folder / name, frames=2, **options)  # type: ignore[arg-type]
        content = path.read_bytes()
        assert old in content
        path.write_bytes(content.replace(old, new))
        return path

    return make


BITMAP = struct.pack("<ii", SIDE, SIDE)
ABSURD: dict[str, tuple[Callable[[Path], Path], str]] = {
    "png": (png, "100000x100000"),
    "jpg": (picture(".jpg", b"\x08\0\x30\0\x40\x03", b"\x08\xff\xdc\xff\xdc\x03"), "65500x65500"),
    "bmp": (picture(".bmp", struct.pack("<ii", 64, 48), BITMAP), "100000x100000"),
    "webp": (picture(".webp", struct.pack("<I", 63 | 47 << 14), struct.pack("<I", 0x3FFF | 0x3FFF << 14)), ""),
    "gif": (clip("a.gif", b"\x40\0\x30\0", b"\xff" * 4, codec="gif", pix_fmt="rgb8"), "65535x65535"),
    "y4m": (clip("a.y4m", b"W64 H48", b"W100000 H100000", codec="rawvideo"), "100000x100000"),
    "avi": (clip("a.avi", struct.pack("<ii", 64, 48), BITMAP, codec="mpeg4", b_frames=0), "100000x100000"),
    "raw avi": (
        clip("a.avi", struct.pack("<ii", 64, -48), BITMAP, codec="rawvideo", pix_fmt="bgr24"), "100000x100000",
    ),
    "mkv": (
        clip(
            "a.mkv", b"\xb0\x82\x04\x10\xba\x82\x04\x10", b"\xb0\x82\xff\xff\xba\x82\xff\xff", codec="ffv1",
            size=(1040, 1040),
        ), "gives no size of its pictures, or an impossible one",
    ),
    "mov": (
        clip("a.mov", b"\0\x40\0\x30\0\x48", b"\xff\xff\xff\xff\0\x48", codec="rawvideo", pix_fmt="rgb24"),
        "gives no size of its pictures, or an impossible one",
    ),
}  # fmt: skip


def test_absurd_headers_are_refused(tmp_path: Path) -> None:
    files = []
    for which, (make, phrase) in ABSURD.items():
        (tmp_path / which).mkdir()
        files.append(make(tmp_path / which))
        with pytest.raises(ReadError) as caught:
            list(open_source(files[-1]))
        assert phrase in str(caught.value), which
        assert str(caught.value).startswith(str(files[-1]))
    # A process whose memory hardly suffices for its libraries
    report = read_all(files, limit=20, memory=3 << 29)
    assert not report.faults
    assert all("auto refused" in outcome for outcome in report.outcomes)


@pytest.mark.parametrize(
    ("suffix", "size"), [(suffix, size) for suffix in (".png", ".jpg", ".bmp", ".tif", ".webp") for size in [(67, 49)]]
)
def test_the_size_that_a_picture_declares(suffix: str, size: tuple[int, int]) -> None:
    content = cv2.imencode(suffix, draw_number(3, size))[1].tobytes()
    assert declared_size(io.BytesIO(content)) == size
    for length in (0, 3, 12, 20, 30):
        declared_size(io.BytesIO(content[:length]))  # does not fail


def test_other_webp_files() -> None:
    lossless = cv2.imencode(".webp", draw_number(3, (67, 49)), [cv2.IMWRITE_WEBP_QUALITY, 101])[1].tobytes()
    assert declared_size(io.BytesIO(lossless)) == (67, 49)
    extended = b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0" + bytes(4) + (66).to_bytes(3, "little") + (48).to_bytes(3, "little")
    assert declared_size(io.BytesIO(extended)) == (67, 49)


@pytest.mark.parametrize("name", ["clip.avi", "clip.y4m", "clip.gif"])
def test_the_size_that_a_video_declares(tmp_path: Path, name: str) -> None:
    codec = {"clip.avi": "mpeg4", "clip.y4m": "rawvideo", "clip.gif": "gif"}[name]
    pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
    path = make_clip(tmp_path / name, frames=1, size=(66, 50), codec=codec, pix_fmt=pix_fmt, b_frames=0)
    with path.open("rb") as file:
        assert declared_size(file) == (66, 50)


def test_what_is_too_large() -> None:
    check_size("a", MAX_SIDE, 8192)
    for size in ((0, 10), (10, 0), (MAX_SIDE + 1, 1), (1, MAX_SIDE + 1), (MAX_SIDE, MAX_SIDE), (-5, 5)):
        with pytest.raises(ReadError, match=r"^a .*; it is damaged, or must be scaled down first\.$"):
            check_size("a", *size)


def test_a_jpeg_with_many_segments_is_not_searched_for_ever() -> None:
    assert declared_size(io.BytesIO(b"\xff\xd8" + b"\xff" * 1_000_000)) is None
    segments = b"\xff\xe1\0\x04ab" * 100
    frame = b"\xff\xc2\0\x0b\x08" + struct.pack(">HH", 49, 67)
    assert declared_size(io.BytesIO(b"\xff\xd8" + segments + frame)) == (67, 49)


def test_a_stream_that_grows_beyond_all_bounds_ends_there(tmp_path: Path) -> None:
    """The limit is the decoder's own, so that a second header is held to it as well."""
    from saliency_cli.media.opening import open_container
    from saliency_cli.media.probe import video_stream

    path = make_clip(tmp_path / "clip.mp4", frames=2)
    with open_container(path) as container:
        stream = video_stream(container, path)
        assert int(stream.codec_context.options["max_pixels"]) < 2**31 / 4
        assert np.prod(16384, dtype=np.int64) ** 2 == int(stream.codec_context.options["max_pixels"])
