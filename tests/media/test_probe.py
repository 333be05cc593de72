"""The packet scan, and the choice of decoder that rests on it."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from clips import Tags, Tone, make_clip, read_number

from saliency_cli.errors import ReadError
from saliency_cli.media import Probe, choose_decoder, dimensions, probe
from saliency_cli.media.choice import DECORD_BYTES
from saliency_cli.media.orientation import Orientation, orientation_of


def test_scan_of_a_plain_clip(tmp_path: Path) -> None:
    found = probe(make_clip(tmp_path / "clip.mp4", frames=20, rate=Fraction(30000, 1001), size=(64, 48)))
    info = found.info
    assert (info.kind, info.width, info.height, info.frames, info.codec) == ("video", 64, 48, 20, "h264")
    assert info.rate == Fraction(30000, 1001)
    assert info.start == 0
    assert info.audio is None
    assert (found.packets, found.announced, found.discarded, found.corrupt, found.untimed) == (20, 20, 0, 0, 0)
    assert [pts * info.time_base for pts in found.pts] == [Fraction(1001 * index, 30000) for index in range(20)]
    assert found.first is not None
    assert read_number(found.first) == 0


def test_variable_rate_is_the_average(tmp_path: Path) -> None:
    times = [0, 0.04, 0.08, 0.2, 0.24, 0.5, 0.52, 0.6]
    found = probe(make_clip(tmp_path / "clip.mkv", times=times))
    assert [float(pts * found.info.time_base) for pts in found.pts] == pytest.approx(times, abs=1e-3)
    assert found.info.rate == pytest.approx(7 / 0.6, rel=0.01)


def test_audio_stream_is_described(tmp_path: Path) -> None:
    sound = Tone(seconds=0.5, start=0.3, rate=48000, codec="libopus", channels=2)
    audio = probe(make_clip(tmp_path / "clip.mkv", sound=sound)).info.audio
    assert audio is not None
    assert (audio.codec, audio.rate, audio.channels) == ("opus", 48000, 2)
    assert float(audio.start) == pytest.approx(0.3, abs=0.02)


def test_colour_tags_are_kept(tmp_path: Path) -> None:
    colour = probe(make_clip(tmp_path / "clip.mp4", tags=Tags(space=1, range=2))).info.colour
    assert (colour.space, colour.range) == (1, 2)
    assert probe(make_clip(tmp_path / "plain.mp4")).info.colour.space == 2


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_rotation_and_upright_size(tmp_path: Path, rotation: int) -> None:
    info = probe(make_clip(tmp_path / "clip.mp4", frames=2, size=(96, 64), rotation=rotation)).info
    assert info.rotation == rotation
    assert (info.width, info.height) == (96, 64)


@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("mirror_x", [False, True])
@pytest.mark.parametrize("mirror_y", [False, True])
def test_all_eight_orientations(transpose: bool, mirror_x: bool, mirror_y: bool) -> None:
    stored = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    orientation = Orientation(transpose, mirror_x, mirror_y)
    upright = orientation.apply(stored)
    assert upright.shape == ((3, 2, 3) if transpose else (2, 3, 3))
    turned = np.rot90(stored, orientation.rotation // 90)
    assert np.array_equal(upright, turned) is not orientation.mirrored


@pytest.mark.parametrize("rotation", [0, 90, 180, -90, -180])
def test_orientation_where_pyav_does_not_know_the_side_data(rotation: int) -> None:
    """It fails at kinds of side data that are newer than itself; the angle can still be asked for."""

    class Unknown:
        def get(self, name: str) -> None:
            raise ValueError("31 is not a valid Type")

    frame: Any = SimpleNamespace(side_data=Unknown(), rotation=rotation)
    orientation = orientation_of(frame)
    assert (orientation.rotation, orientation.mirrored) == (rotation % 360, False)


def test_pauses_do_not_slow_the_average_rate(tmp_path: Path) -> None:
    times = [*(index / 25 for index in range(10)), *(7200 + index / 25 for index in range(10))]
    for suffix in ("mp4", "mkv"):
        assert probe(make_clip(tmp_path / f"clip.{suffix}", times=times)).info.rate == 25


def plain(folder: Path) -> Path:
    return make_clip(folder / "clip.mp4")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"corrupt": 1}, "damaged"),
        ({"announced": 21}, "announces 21 frames but holds 20"),
        ({"untimed": 1}, "timestamp"),
        ({"backward": 1}, "jumps back"),
        ({"duplicates": 2}, "carry the time of another: 2"),
        ({"unshown": 2}, "not to be shown (2)"),
        ({"spoilt": True}, "damaged frames at the beginning"),
        ({"first": None}, "damaged frames at the beginning"),
        ({"claimed": 10**9}, "reserve memory for the 1,000,000,000 frames"),
    ],
)
def test_each_doubt_alone_takes_pyav(tmp_path: Path, change: dict[str, object], reason: str) -> None:
    found: Probe = dataclasses.replace(probe(plain(tmp_path)), **change)  # type: ignore[arg-type]
    chosen, why = choose_decoder(found)
    assert chosen == "pyav"
    assert reason in why


def test_long_videos_take_pyav(tmp_path: Path) -> None:
    found = probe(make_clip(tmp_path / "clip.mp4", frames=3, size=(64, 48)))
    most = DECORD_BYTES // (64 * 48 * 3)
    short = dataclasses.replace(found, packets=most, announced=most)
    assert choose_decoder(short)[0] == "decord"
    chosen, why = choose_decoder(dataclasses.replace(found, packets=most + 1, announced=most + 1))
    assert chosen == "pyav"
    assert "512 MiB" in why


def test_a_decoder_asked_for_is_taken(tmp_path: Path) -> None:
    found = probe(plain(tmp_path))
    assert choose_decoder(found, "pyav") == ("pyav", "asked for")
    assert choose_decoder(found, "decord") == ("decord", "asked for")
    chosen, why = choose_decoder(dataclasses.replace(found, corrupt=2), "decord")
    assert chosen == "decord"
    assert "in spite of this: damaged packets: 2" in why


def test_file_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = plain(tmp_path)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # permission bits do not stop every user who runs tests
    with pytest.raises(ReadError, match="may not be read"):
        probe(path)


def test_absurd_size_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = plain(tmp_path)
    monkeypatch.setattr(dimensions, "MAX_SIDE", 60)
    with pytest.raises(ReadError, match="64x48 pixels"):
        probe(path)


def test_special_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="not a regular file"):
        probe(tmp_path)


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_pixel_aspect_is_that_of_the_upright_picture(tmp_path: Path, suffix: str, rotation: int) -> None:
    aspect = Fraction(64, 45)
    path = make_clip(tmp_path / f"clip.{suffix}", frames=2, pixel_aspect=aspect, rotation=rotation)
    assert probe(path).info.pixel_aspect == (1 / aspect if rotation in (90, 270) else aspect)


def test_pixels_are_square_where_nothing_is_said(tmp_path: Path) -> None:
    assert probe(make_clip(tmp_path / "clip.mp4", frames=2)).info.pixel_aspect == 1


@pytest.mark.parametrize(("codec", "suffix", "pix_fmt"), [("ffv1", "mkv", "bgr0"), ("gif", "gif", "rgb8")])
def test_rgb_is_known_without_a_tag(tmp_path: Path, codec: str, suffix: str, pix_fmt: str) -> None:
    assert probe(make_clip(tmp_path / f"clip.{suffix}", frames=2, codec=codec, pix_fmt=pix_fmt)).info.colour.space == 0
