"""Uncompressed video: what another program reads back, bit for bit where it can be, and its times and sound."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from clips import Tone, make_clip, read_number
from fakes import video_facts
from numpy.typing import NDArray
from piped import frames_of, stdout_in_memory

from saliency_cli.errors import WriteError
from saliency_cli.media import StreamWriter, VideoWriter, open_source
from saliency_cli.types import VideoInfo

pytestmark = pytest.mark.timeout(30)

INFO = VideoInfo(
    path="clip",
    kind="video",
    width=66,
    height=48,
    frames=None,
    rate=Fraction(25),
    time_base=Fraction(1, 1000),
    start=Fraction(0),
    codec="none",
    pixel_aspect=Fraction(4, 3),
)
SHAPE = (48, 66)


def maps(count: int, dtype: Any = np.uint8) -> list[NDArray[Any]]:
    rng = np.random.default_rng(3)
    return [rng.integers(0, np.iinfo(dtype).max, SHAPE, dtype, endpoint=True) for _ in range(count)]


@pytest.mark.parametrize("bits", [8, 16])
def test_maps_come_back_to_the_bit(monkeypatch: pytest.MonkeyPatch, bits: int) -> None:
    pictures = maps(4, np.uint16 if bits == 16 else np.uint8)
    times = [0, 41, 85, 1000]
    for form in ("nut", "y4m", "gray"):
        how: Any = {"form": form, "info": INFO, "width": 66, "height": 48, "gray": True, "bits": bits}
        with stdout_in_memory(monkeypatch) as stdout, StreamWriter(None, **how) as writer:
            for picture, pts in zip(pictures, times, strict=True):
                before = stdout.tell()
                writer.write(picture, pts)
                assert stdout.tell() >= before + picture.nbytes  # at once
        content = stdout.getvalue()
        if form == "gray":
            assert content == b"".join(picture.astype("<u2" if bits == 16 else "u1").tobytes() for picture in pictures)
            assert writer.notes == []
            continue
        stored = frames_of(content)
        assert (stored.codec, stored.pix_fmt) == ("rawvideo", "gray16le" if bits == 16 else "gray")
        np.testing.assert_array_equal(stored.pictures, pictures)
        if form == "nut":
            assert stored.times == [Fraction(pts, 1000) for pts in times]
            assert writer.notes == ["-: the source's pixels are not square, which is not told here."]
        else:
            assert stored.times == [Fraction(number, 25) for number in range(4)]
            assert stored.rate == 25
            assert writer.notes[1:] == [
                "-: the source's rate varies, and y4m shows 25 frames a second; NUT keeps the times."
            ]


def test_pictures_are_rgb_in_nut_and_full_chroma_in_y4m(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (*SHAPE, 3), np.uint8)
    for form in ("nut", "y4m"):
        path = tmp_path / f"o.{form}"
        how: Any = {"form": form, "info": INFO, "width": 66, "height": 48, "gray": False}
        with StreamWriter(path, **how) as writer:
            writer.write(picture, 0)
            assert not path.exists()
        assert frames_of(path).pix_fmt == {"nut": "rgb24", "y4m": "yuv444p"}[form]
        with av.open(str(path)) as file:
            shown = next(file.decode(video=0)).to_ndarray(format="rgb24")
        assert np.abs(shown.astype(int) - picture).max() <= {"nut": 0, "y4m": 4}[form]
    with open_source(tmp_path / "o.nut") as source:
        np.testing.assert_array_equal(next(iter(source)).pixels, picture)


@pytest.mark.parametrize("codec", ["aac", "pcm_s16le", "mp2", "flac"])
def test_sound_goes_along_with_its_offset(tmp_path: Path, codec: str) -> None:
    clip = make_clip(tmp_path / "clip.mkv", frames=20, start=0.5, sound=Tone(start=0.7, seconds=0.6, codec=codec))
    with open_source(clip) as source:
        how: Any = {"form": "nut", "info": source.info, "width": 64, "height": 48, "gray": False}
        with StreamWriter(tmp_path / "o.nut", source=source.sound, **how) as writer:
            for frame in source:
                writer.write(frame.pixels, frame.pts)
    before, after = video_facts(clip), video_facts(tmp_path / "o.nut")
    assert after.times == before.times
    assert (after.audio, after.sound) == (before.audio, before.sound)
    assert after.sound_start is not None
    assert before.sound_start is not None
    assert abs(after.sound_start - before.sound_start) < Fraction(1, 1000)
    assert [read_number(frame) for frame in frames_of(tmp_path / "o.nut").pictures] == list(range(20))


def test_an_encoder_s_run_in_does_not_move_the_picture(tmp_path: Path) -> None:
    """AAC begins a frame before 0, where NUT has no times."""
    clip = make_clip(tmp_path / "clip.mkv", frames=10, sound=Tone(seconds=0.4))
    before = video_facts(clip)
    assert before.sound_start is not None
    assert before.sound_start < 0
    with open_source(clip) as source:
        how: Any = {"form": "nut", "info": source.info, "width": 64, "height": 48, "gray": False}
        with StreamWriter(tmp_path / "o.nut", source=source.sound, **how) as writer:
            for frame in source:
                writer.write(frame.pixels, frame.pts)
    after = video_facts(tmp_path / "o.nut")
    assert after.times == before.times
    assert after.sound_start == 0
    assert before.sound.endswith(after.sound)


def test_a_cut_begins_when_the_source_does(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mkv", frames=20, sound=Tone(seconds=0.8))
    with open_source(clip, start=0.4) as source:
        how: Any = {"form": "nut", "info": source.info, "width": 64, "height": 48, "gray": False}
        with StreamWriter(tmp_path / "o.nut", source=source.sound, **how) as writer:
            for frame in source:
                writer.write(frame.pixels, frame.pts)
    facts = video_facts(tmp_path / "o.nut")
    assert (facts.times[0], len(facts.times)) == (0, 10)
    assert facts.sound_start is not None
    assert 0 <= facts.sound_start < Fraction(1, 40)


def test_nothing_is_left_of_what_fails(tmp_path: Path) -> None:
    how: Any = {"form": "nut", "info": INFO, "width": 66, "height": 48, "gray": True}
    with pytest.raises(ZeroDivisionError), StreamWriter(tmp_path / "o.nut", **how) as writer:  # noqa: PT012
        writer.write(maps(1)[0], 0)
        raise ZeroDivisionError
    with pytest.raises(WriteError, match="there are no frames"), StreamWriter(tmp_path / "o.nut", **how):
        pass
    assert list(tmp_path.iterdir()) == []
    with StreamWriter(tmp_path / "o.nut", **how) as writer:
        writer.write(maps(1)[0], 5)
        with pytest.raises(ValueError, match="times must grow"):
            writer.write(maps(1)[0], 5)
        with pytest.raises(ValueError, match="a frame of shape"):
            writer.write(maps(1)[0][1:], 6)
    with pytest.raises(ValueError, match="bare bytes are for maps"):
        StreamWriter(None, form="gray", info=INFO, width=66, height=48, gray=False)


def test_matroska_to_stdout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mkv", frames=8, sound=Tone(seconds=0.32))
    with (
        open_source(clip) as source,
        stdout_in_memory(monkeypatch) as stdout,
        VideoWriter(None, info=source.info, width=64, height=48, source=clip) as writer,
    ):
        for frame in source:
            before = stdout.tell()
            writer.write(frame.pixels, frame.pts)
            assert stdout.tell() > before or frame.index < 2
    stored = frames_of(stdout.getvalue())
    assert stored.codec == "h264"
    assert stored.times == list(video_facts(clip).times)
    assert [read_number(picture[:48]) for picture in stored.pictures] == list(range(8))
