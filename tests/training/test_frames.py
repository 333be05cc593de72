"""Frames in any order: the right ones, at their times, decoded once."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from clips import Tone, make_clip, read_number
from tiny_gaze import LATE, RATE, VIDEO_FRAMES, make_gaze
from tiny_layouts import FRAMES, make_clips, make_dhf1k, make_stavis

from saliency_cli.datasets import Recording, open_dataset
from saliency_cli.errors import ReadError, WriteError
from saliency_cli.media import open_source
from saliency_cli.training import frames as module
from saliency_cli.training.frames import FrameStore

SIZE = (32, 64)


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """A video that begins late on the container's clock."""
    dataset = open_dataset(make_gaze(tmp_path_factory.mktemp("gaze") / "gaze"))
    return next(recording for recording in dataset.recordings if recording.name == "Moved")


def numbers(pictures: np.ndarray) -> list[int | None]:
    return [read_number(picture) for picture in pictures]


def test_a_videos_frames_in_any_order(moved: Recording, tmp_path: Path) -> None:
    footage = FrameStore(tmp_path / "deep" / "cache", SIZE).open(moved)
    assert len(footage) == VIDEO_FRAMES
    np.testing.assert_allclose(footage.seconds, float(LATE) + np.arange(VIDEO_FRAMES) / RATE, atol=1e-9)
    assert footage.interval == pytest.approx(1 / RATE)
    found = footage.pixels([7, 0, 7, 11])
    assert (found.shape, found.dtype) == ((4, *SIZE, 3), np.uint8)
    assert numbers(found) == [7, 0, 7, 11]
    assert footage.hear() is None


def test_frames_are_those_that_a_predictor_makes(moved: Recording, tmp_path: Path) -> None:
    found = FrameStore(tmp_path, SIZE).open(moved).pixels(range(VIDEO_FRAMES))
    assert moved.stimulus is not None
    with open_source(moved.stimulus) as source:
        for number, frame in enumerate(source):
            expected = cv2.resize(frame.pixels, SIZE[::-1], interpolation=cv2.INTER_LINEAR)
            np.testing.assert_array_equal(found[number], expected)


def test_a_video_is_decoded_once(moved: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = FrameStore(tmp_path, SIZE).open(moved).pixels([3])
    monkeypatch.setattr(module, "open_source", lambda path: pytest.fail("decoded again"))
    np.testing.assert_array_equal(FrameStore(tmp_path, SIZE).open(moved).pixels([3]), before)
    monkeypatch.undo()
    other = FrameStore(tmp_path, (64, 32)).open(moved).pixels([3])
    assert other.shape == (1, 64, 32, 3)
    assert not list(tmp_path.glob("*.part"))


def test_a_changed_video_is_decoded_again(tmp_path: Path) -> None:
    root = make_dhf1k(tmp_path / "set", (1,))
    (recording,) = open_dataset(root).recordings
    FrameStore(tmp_path / "cache", SIZE).open(recording)
    assert recording.stimulus is not None
    make_clip(recording.stimulus, frames=3, size=(64, 48), codec="mpeg4", container="avi")
    os.utime(recording.stimulus, (1, 1))
    assert len(FrameStore(tmp_path / "cache", SIZE).open(recording)) == 3


def test_the_first_frames_alone(moved: Recording, tmp_path: Path) -> None:
    footage = FrameStore(tmp_path, SIZE).open(moved, limit=4)
    assert len(footage) == 4
    assert numbers(footage.pixels(range(4))) == [0, 1, 2, 3]
    (file,) = tmp_path.glob("*.rgb")
    assert file.stat().st_size == 4 * SIZE[0] * SIZE[1] * 3


def test_a_folder_of_frames_needs_no_cache(tmp_path: Path) -> None:
    root = make_clips(tmp_path / "ucf", {"training": ["Run-Side-001"]})
    (recording,) = open_dataset(root).recordings
    footage = FrameStore(tmp_path / "cache", SIZE).open(recording)
    assert numbers(footage.pixels([4, 0, 2])) == [4, 0, 2]
    assert len(FrameStore(tmp_path / "cache", SIZE).open(recording, limit=3)) == 3
    assert len(footage) == FRAMES
    assert not (tmp_path / "cache").exists()


def test_a_folders_rate_and_sound_are_the_data_sets(tmp_path: Path) -> None:
    root = make_stavis(tmp_path / "av", {"AVAD": ["V1", "V2", "V3"]})
    sound = root / "video_audio" / "AVAD" / "V1" / "V1.wav"
    sound.parent.mkdir(parents=True)
    from clips import make_sound

    make_sound(sound, Tone(seconds=0.5, rate=22050, codec="pcm_s16le"))
    recording = open_dataset(root).recordings[0]
    footage = FrameStore(tmp_path, SIZE, listen=True).open(recording)
    assert footage.interval == pytest.approx(1 / 29.9997)
    np.testing.assert_allclose(footage.seconds, np.arange(FRAMES) / 29.9997)
    heard = footage.hear()
    assert heard is not None
    assert len(heard.samples) == pytest.approx(11025, abs=2)
    assert FrameStore(tmp_path, SIZE).open(recording).hear() is None


def test_a_video_brings_its_sound(tmp_path: Path) -> None:
    root = make_dhf1k(tmp_path / "set", (1, 2))
    loud = next((root / "video").glob("001*"))
    make_clip(loud, frames=5, size=(64, 48), codec="mpeg4", container="avi", sound=Tone(seconds=0.2, codec="mp3"))
    one, two = open_dataset(root).recordings
    store = FrameStore(tmp_path / "cache", SIZE, listen=True)
    assert store.open(one).hear() is not None
    assert store.open(two).hear() is None


def test_what_cannot_be_read_or_written(moved: Recording, tmp_path: Path) -> None:
    root = make_dhf1k(tmp_path / "set", (1,))
    (recording,) = open_dataset(root).recordings
    assert recording.stimulus is not None
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match=r"cannot hold the frames of 001\.AVI .*--cache"):
        FrameStore(tmp_path / "file" / "cache", SIZE).open(recording)
    recording.stimulus.write_bytes(b"\x00" * 500)
    with pytest.raises(ReadError, match=r"001\.AVI"):
        FrameStore(tmp_path / "cache", SIZE).open(recording)
    assert not list((tmp_path / "cache").glob("*.rgb"))


def test_times_may_vary(tmp_path: Path) -> None:
    root = make_gaze(tmp_path / "gaze")
    times = [Fraction(n * n, 100) for n in range(5)]
    make_clip(root / "hevc" / "Moved.mp4", size=(96, 64), times=times)
    moved = next(r for r in open_dataset(root).recordings if r.name == "Moved")
    np.testing.assert_allclose(
        FrameStore(tmp_path / "c", SIZE).open(moved).seconds, [float(t) for t in times], atol=1e-4
    )
