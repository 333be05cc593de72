"""Reading videos: the right frames, each once, upright, at their times, whatever the file."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from clips import Tags, Tone, box_range, cut_clip, make_clip, overwrite, read_number

from saliency_cli.errors import ReadError, UsageError
from saliency_cli.media import Source, open_source
from saliency_cli.media.decode_decord import DecordStopError
from saliency_cli.media.decode_pyav import _Clock

Make = Callable[[Path], Path]


def numbers(source: Source) -> list[int | None]:
    return [read_number(frame.pixels) for frame in source]


@pytest.mark.parametrize("decoder", ["decord", "pyav"])
@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_rotation_is_applied_once(tmp_path: Path, rotation: int, decoder: Literal["decord", "pyav"]) -> None:
    path = make_clip(tmp_path / "clip.mp4", size=(96, 64), rotation=rotation, frames=6)
    source = open_source(path, decoder=decoder)
    assert source.decoder == decoder
    assert numbers(source) == list(range(6))
    assert (source.info.width, source.info.height) == (96, 64)


@pytest.mark.parametrize("tags", [None, Tags(1, 1), Tags(1, 2), Tags(5, 1), Tags(5, 2)])
def test_colours_follow_the_tags_in_both_decoders(tmp_path: Path, tags: Tags | None) -> None:
    colours = {"dark": (200, 30, 40), "bright": (60, 220, 230)}
    path = make_clip(tmp_path / "clip.mp4", frames=2, size=(160, 96), tags=tags, options={"crf": "4"}, **colours)
    first = [next(iter(open_source(path, decoder=decoder))).pixels for decoder in ("decord", "pyav")]
    assert np.abs(first[0].astype(int) - first[1]).max() <= 2
    for colour in colours.values():
        assert np.abs(first[1].astype(int) - colour).sum(axis=2).min() <= 12


def test_late_start_is_on_the_containers_clock(tmp_path: Path) -> None:
    source = open_source(make_clip(tmp_path / "clip.mp4", start=Fraction(1, 2), sound=Tone(seconds=1.5)))
    assert source.info.start == Fraction(1, 2)
    assert source.info.audio is not None
    assert source.info.audio.start == 0
    assert next(iter(source)).seconds == 0.5


@pytest.mark.parametrize("decoder", ["auto", "pyav"])
@pytest.mark.parametrize("begin_at", [0, 0.5])
def test_part_of_a_video(tmp_path: Path, decoder: Literal["auto", "pyav"], begin_at: float) -> None:
    path = make_clip(tmp_path / "clip.mp4", frames=50, start=begin_at)
    with open_source(path, decoder=decoder, start=0.4, end=1.2) as source:
        frames = list(source)
    assert [frame.index for frame in frames] == list(range(10, 30))
    assert [read_number(frame.pixels) for frame in frames] == list(range(10, 30))
    assert source.expected == 20
    assert source.info.frames == 50
    assert source.warnings == []


def test_part_that_does_not_exist(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mp4", frames=10)
    with pytest.raises(UsageError, match=r"lasts 0\.400 s"):
        open_source(path, start=3)
    for start, end in ((-1.0, None), (1.0, 0.5), (0.2, 0.2), (float("nan"), None)):
        with pytest.raises(UsageError, match="start is at least 0"):
            open_source(path, start=start, end=end)


def test_a_source_can_be_read_again(tmp_path: Path) -> None:
    source = open_source(make_clip(tmp_path / "clip.mp4"))
    first = iter(source)
    next(first)
    assert numbers(source) == list(range(20))
    assert list(first) == []
    source.close()
    source.close()


@pytest.mark.parametrize("decoder", ["auto", "pyav"])
@pytest.mark.parametrize("seed", range(3))
def test_damaged_middle_costs_only_what_is_damaged(tmp_path: Path, seed: int, decoder: Literal["auto", "pyav"]) -> None:
    path = make_clip(tmp_path / "clip.mp4", frames=120, gop=12, size=(96, 64))
    data = box_range(path, b"mdat")
    middle = data.start + len(data) * (seed + 3) // 8
    overwrite(path, range(middle, middle + 150), seed=seed)
    source = open_source(path, decoder=decoder)
    frames = list(source)
    assert source.decoder == "pyav"
    times = [round(frame.seconds * 25) for frame in frames]
    assert times == sorted(set(times))  # none twice, none out of order
    assert [frame.index for frame in frames] == list(range(len(frames)))
    right = [read_number(frame.pixels) == time for frame, time in zip(frames, times, strict=True)]
    assert 100 <= len(frames) < 120
    assert right.count(False) <= 12  # up to the next key frame the picture may be smeared
    assert source.warnings[-1] == f"{120 - len(frames)} of 120 frames of {path} could not be decoded."
    assert ("decord" in source.warnings[0]) is (decoder == "auto")


def test_decord_that_shows_something_else_is_not_believed(tmp_path: Path) -> None:
    path = cut_clip(make_clip(tmp_path / "long.mp4", frames=60, gop=10), tmp_path / "cut.mp4", after=0.68)
    with pytest.raises(ReadError, match="use --decoder pyav"):
        list(open_source(path, decoder="decord"))


def test_decord_that_fails_at_once_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import decord

    def fail(*_: object, **__: object) -> None:
        raise decord.DECORDError("no")

    monkeypatch.setattr(decord, "VideoReader", fail)
    path = make_clip(tmp_path / "clip.mp4")
    source = open_source(path)
    assert source.decoder == "decord"
    assert numbers(source) == list(range(20))
    assert (source.decoder, source.reason) == ("pyav", "decord gave up at frame 0")
    assert source.warnings == [f"{path} cannot be opened by decord: PyAV reads the frames from there on."]
    with pytest.raises(ReadError, match="cannot be opened by decord"):
        list(open_source(path, decoder="decord"))


def test_without_decord(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("saliency_cli.media.reader.has_decord", lambda: False)
    path = make_clip(tmp_path / "clip.mp4")
    source = open_source(path)
    assert (source.decoder, source.reason) == ("pyav", "decord is not installed")
    assert numbers(source) == list(range(20))
    with pytest.raises(UsageError, match="not installed"):
        open_source(path, decoder="decord")


@pytest.mark.parametrize(
    ("given", "damaged", "times"),
    [
        ([0, 10, 20, 30], False, [0, 10, 20, 30]),
        ([None, None, None], False, [0, 10, 20]),
        ([0, 10, 10, 20], False, [0, 10, 11, 20]),
        ([40, 50, 30, 60], True, [40, 50, None, 60]),
        ([5000, 5010, 0, 10], False, [5000, 5010, 5020, 5030]),
    ],
)
def test_times_always_rise(given: list[int | None], damaged: bool, times: list[int | None]) -> None:
    clock = _Clock(step=10, time_base=Fraction(1, 250), last=None)
    assert [clock.time_of(pts, damaged=damaged) for pts in given] == times


@pytest.mark.parametrize(
    ("changes", "given", "times"),
    [
        ({"begin": -20}, [None, None, 0, 10], [-20, -10, 0, 10]),  # no times before 0
        ({"reset": 10}, [0, 40, 50, 10, 20], [0, 40, 50, 60, 70]),  # a recording that overlaps the one before
        ({"reset": 10}, [0, 40, 35, 50], [0, 40, 41, 50]),
        ({}, [0, 40, 50, 10, 60], [0, 40, 50, 51, 60]),  # one frame with a wrong time
        ({"leap": 1000}, [0, 10, 5000, 5010], [0, 10, 20, 30]),
        ({}, [0, 10, 5000, 5010], [0, 10, 5000, 5010]),
    ],
)
def test_clocks_that_jump(changes: dict[str, int], given: list[int | None], times: list[int]) -> None:
    clock = _Clock(step=10, time_base=Fraction(1, 250), last=None, **changes)
    assert [clock.time_of(pts, damaged=False) for pts in given] == times


def test_no_frame_comes_twice_where_decord_stops_without_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import decord

    path = make_clip(tmp_path / "clip.mp4", b_frames=0)
    content = bytearray(path.read_bytes())
    entry = content.index(b"stts") + 16
    content[entry : entry + 4] = bytes(4)
    path.write_bytes(content)
    plain = decord.VideoReader.next

    def stop(self: decord.VideoReader) -> object:
        if self.seen == 7:
            raise decord.DECORDError("no")
        self.seen += 1
        return plain(self)

    monkeypatch.setattr(decord.VideoReader, "seen", 0, raising=False)
    monkeypatch.setattr(decord.VideoReader, "next", stop)
    source = open_source(path, decoder="decord")
    frames = list(source)
    assert source.decoder == "pyav"
    assert [read_number(frame.pixels) for frame in frames] == list(range(20))
    assert [frame.pts * frame.time_base for frame in frames] == [Fraction(index, 25) for index in range(20)]


def test_relative_path_with_a_leading_dash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_clip(tmp_path / "-clip.mp4")
    monkeypatch.chdir(tmp_path)
    for decoder in ("decord", "pyav"):
        assert numbers(open_source("-clip.mp4", decoder=decoder)) == list(range(20))


def test_repr_is_short(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mp4")
    assert repr(open_source(path)) == f"Source('{path}', 64x48, 20 frames, decord)"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' file names are always valid Unicode")
def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    path = Path(os.fsdecode(bytes(tmp_path) + b"/caf\xe9.mp4"))
    make_clip(tmp_path / "clip.mp4", frames=5).rename(path)
    with open_source(path) as source:
        assert (source.decoder, source.reason) == (
            "pyav",
            "the file's name is not valid UTF-8, which decord cannot open",
        )
        assert numbers(source) == list(range(5))
    with pytest.raises(ReadError, match=r"cannot be opened by decord; use --decoder pyav\.$"):
        list(open_source(path, decoder="decord"))


def test_a_start_beyond_the_end_is_said_plainly(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mp4", frames=5)
    with pytest.raises(UsageError, match="no frame from 100 s to the end; choose"):
        open_source(path, start=100)
    with pytest.raises(UsageError, match="no frame from 100 s to 101 s; choose"):
        open_source(path, start=100, end=101)
    with pytest.raises(UsageError, match="read from -1 s to the end;"):
        open_source(path, start=-1)


def test_no_message_names_what_does_not_exist(tmp_path: Path) -> None:
    """A raw stream has no times, so that only reading tells that nothing lies there."""
    source = open_source(make_clip(tmp_path / "clip.h264", frames=5), start=100)
    with pytest.raises(ReadError, match="no frame lies between the start and end asked for; choose others"):
        list(source)


def test_why_decord_stopped_is_not_taken_from_a_message(tmp_path: Path) -> None:
    error = DecordStopError("a; use b.mp4 stops decord at frame 3")
    assert error.reason == "a; use b.mp4 stops decord at frame 3"
    assert str(error) == "a; use b.mp4 stops decord at frame 3; use --decoder pyav."
