"""What is told of an input, against clips whose properties are known."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from clips import Tags, Tone, cut_clip, make_clip

from saliency_cli.errors import ReadError, UsageError
from saliency_cli.inspection.looking import inspect_source
from saliency_cli.inspection.tables import inspection_lines


def test_a_plain_clip(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mp4", frames=20, sound=Tone(seconds=0.8), tags=Tags(space=1, range=1))
    found = inspect_source(path)
    assert (found.kind, found.codec, found.coded, found.shown) == ("video", "h264", (64, 48), (64, 48))
    assert (found.frames, found.packets, found.announced, found.unusual) == (20, 20, 20, {})
    assert (found.times.first, found.times.last, found.times.rate) == (0, pytest.approx(0.76), 25)
    assert (found.times.seconds, found.times.variable) == (pytest.approx(0.8), False)
    assert (found.colour["matrix"], found.colour["range"], found.colour["transfer"]) == ("bt709", "limited", None)
    assert found.treatment == "to RGB as the tags say"
    assert found.sound is not None
    assert found.sound.rate == 44100
    assert [(stream.kind, stream.used) for stream in found.streams] == [("video", True), ("audio", True)]
    assert (found.bytes, found.warnings) == (path.stat().st_size, ())
    assert found.decoder in found.reason or "plain h264" in found.reason


def test_a_turned_clip_with_long_pixels_and_another_video(tmp_path: Path) -> None:
    path = make_clip(
        tmp_path / "clip.mov", size=(48, 64), rotation=90, pixel_aspect=Fraction(4, 3), second_video=True, frames=4
    )
    found = inspect_source(path)
    assert (found.coded, found.shown, found.rotation) == ((64, 48), (48, 64), 90)
    assert found.pixel_aspect == Fraction(3, 4)
    assert [(stream.kind, stream.used) for stream in found.streams] == [("video", True), ("video", False)]
    assert (found.decoder, found.reason[:15]) == ("pyav", "2 video streams")
    pictures = dict(inspection_lines(found))["pictures"]
    assert "64x48, turned by 90° counter-clockwise, shown as 48x64, pixels 3:4" in pictures


def test_variable_times_that_begin_late(tmp_path: Path) -> None:
    found = inspect_source(make_clip(tmp_path / "clip.mkv", times=[1, 1.1, 1.2, 1.5, 1.6]))
    assert (found.times.first, found.times.last) == (pytest.approx(1), pytest.approx(1.6))
    assert found.times.variable
    assert (found.times.shortest, found.times.longest) == (pytest.approx(0.1, abs=2e-3), pytest.approx(0.3, abs=2e-3))
    assert "variable: 100.0 to 300.0 ms" in dict(inspection_lines(found))["times"]


def test_the_rounding_of_a_clock_is_no_variable_rate(tmp_path: Path) -> None:
    found = inspect_source(make_clip(tmp_path / "clip.mkv", frames=40, rate=Fraction(30000, 1001)))
    assert found.times.time_base == Fraction(1, 1000)
    assert found.times.longest != found.times.shortest
    assert found.times.variable is False


def test_high_dynamic_range(tmp_path: Path) -> None:
    path = make_clip(
        tmp_path / "clip.mkv", frames=3, codec="libx265", pix_fmt="yuv420p10le",
        options={"x265-params": "colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc:log-level=none"},
    )  # fmt: skip
    found = inspect_source(path)
    assert (found.hdr, found.colour["transfer"], found.colour["primaries"]) == ("pq", "pq", "bt2020")
    assert found.treatment == "PQ is tone-mapped to BT.709 from a peak of 1000 cd/m²"
    assert "decord does not map PQ" in found.reason


def test_hidden_frames_are_counted(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "whole.mp4", frames=40, gop=10, b_frames=0)
    found = inspect_source(cut_clip(source, tmp_path / "cut.mp4", after=0.5))
    assert found.frames is not None
    assert found.packets is not None
    assert found.unusual["hidden by an edit list"] == found.packets - found.frames > 0


def test_a_cut_off_file_says_what_will_be_missing(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mp4", frames=40, faststart=True)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    found = inspect_source(path)
    assert any("announced, but not there" in warning for warning in found.warnings)
    assert found.unusual["damaged"] == 1
    assert "The file is damaged in one place: frames there may be lost." in found.warnings


def test_a_small_file_has_a_size(tmp_path: Path) -> None:
    found = inspect_source(make_clip(tmp_path / "clip.mp4", frames=3))
    assert found.bytes is not None
    for size, told in ((found.bytes, f"{found.bytes / 1000:.1f} kB"), (2_340_000, "2.3 MB"), (5 * 10**9, "5.0 GB")):
        assert dict(inspection_lines(replace(found, bytes=size)))["input"].endswith(f", {told}")


def test_pictures(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(3):
        cv2.imwrite(str(folder / f"{number}.png"), np.zeros((6, 8, 3), np.uint8))
    found = inspect_source(folder, fps=10)
    assert (found.kind, found.frames, found.shown, found.streams) == ("frames", 3, (8, 6), ())
    assert (found.times.last, found.times.seconds, found.times.variable) == (0.2, pytest.approx(0.3), False)
    assert found.bytes == sum(path.stat().st_size for path in folder.iterdir())
    picture = inspect_source(folder / "0.png")
    assert (picture.kind, picture.frames, picture.times.shortest) == ("image", 1, None)


def test_a_photograph_that_exif_turns(tmp_path: Path) -> None:
    content = cv2.imencode(".jpg", np.zeros((90, 160, 3), np.uint8))[1].tobytes()
    tiff = b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", 0x0112, 3, 1, 6) + b"\0\0\0\0"
    exif = b"Exif\0\0" + tiff
    (tmp_path / "photo.jpg").write_bytes(
        content[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + content[2:]
    )
    found = inspect_source(tmp_path / "photo.jpg")
    assert (found.coded, found.shown) == ((160, 90), (90, 160))
    assert dict(inspection_lines(found))["pictures"] == "jpg, 160x90, shown as 90x160"


def test_the_record_is_json_and_holds_everything(tmp_path: Path) -> None:
    found = inspect_source(make_clip(tmp_path / "clip.mp4", frames=3, sound=Tone(seconds=0.1)))
    record = json.loads(json.dumps(found.record(), allow_nan=False))
    assert set(record) == set(type(found).__slots__)
    assert (record["times"]["rate"], record["shown"], record["sound"]["codec"]) == ("25/1", [64, 48], "aac")
    assert record["streams"][0]["colour"] == dict.fromkeys(("matrix", "range", "primaries", "transfer")) | {
        tag: name for tag, name in record["colour"].items() if name
    }


@pytest.mark.parametrize("content", [b"", b"no video", bytes(4000)])
def test_what_is_no_video(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "clip.mp4").write_bytes(content)
    with pytest.raises(ReadError, match=r"clip\.mp4"):
        inspect_source(tmp_path / "clip.mp4")


def test_times_that_make_no_sense(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read from"):
        inspect_source(tmp_path / "clip.mp4", start=2, end=1)
