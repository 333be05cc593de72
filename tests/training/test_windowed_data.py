"""Clips for networks with a window: which frames they hold, and that gaze and sound belong to them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from clips import Tone, make_clip, read_number
from hypothesis import given
from hypothesis import strategies as st
from tiny_gaze import LATE, RATE, make_gaze
from tiny_layouts import FRAMES, gaze_at, make_clips, make_dhf1k
from tiny_recipes import windowed

from saliency_cli.datasets import Recording, open_dataset
from saliency_cli.media import read_sound, sound_window
from saliency_cli.training.frames import FrameStore
from saliency_cli.training.windowed_data import Portion, TrainingClips, ValidationClips, training_window
from saliency_cli.windows import window_indices

SIZE = (48, 64)  # of the tiny layouts' pictures


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dhf1k(tmp_path_factory.mktemp("set") / "dhf1k", (1, 2, 3, 601, 602))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FrameStore:
    return FrameStore(tmp_path_factory.mktemp("cache"), SIZE)


@pytest.fixture(scope="module")
def videos(root: Path) -> tuple[Recording, ...]:
    return open_dataset(root).part("train")


@pytest.fixture(scope="module")
def held_out(root: Path) -> tuple[Recording, ...]:
    return open_dataset(root).part("validation")


def shown(portion: Portion, clip: int) -> list[int | None]:
    """The numbers of a clip's frames, mirrored or not."""
    pictures = portion.frames[clip].numpy()
    found = [read_number(picture) for picture in pictures]
    return [read_number(picture[:, ::-1]) for picture in pictures] if None in found else found


@given(st.integers(1, 70), st.integers(1, 90), st.integers(0, 2**32 - 1), st.sampled_from(["repeat-first", "loop"]))
def test_windows_for_training(length: int, count: int, seed: int, short: str) -> None:
    window = training_window(np.random.default_rng(seed), length=length, count=count, short=short)
    assert len(window) == length
    assert all(0 <= index < count for index in window)
    steps = set(np.diff(window).tolist())
    if count >= length:
        assert steps <= {1}
    elif short == "repeat-first":
        assert steps <= {0, 1}
        assert window[0] == 0
        assert 0 not in np.diff(window[window.count(0) - 1 :])
    else:
        assert steps <= {1, 1 - count}


@pytest.mark.parametrize("short", ["repeat-first", "loop"])
def test_every_frame_can_be_the_last(short: str) -> None:
    windows = [training_window(np.random.default_rng(n), length=8, count=5, short=short) for n in range(200)]
    assert {window[-1] for window in windows} == set(range(5))
    long = [training_window(np.random.default_rng(n), length=3, count=5, short=short) for n in range(200)]
    assert {window[-1] for window in long} == {2, 3, 4}


def test_an_epoch_shows_each_video_once(videos: tuple[Recording, ...], store: FrameStore) -> None:
    clips = TrainingClips(videos, store, windowed("schedule.at_once=1", "schedule.batch=4"))
    orders = [tuple(clips._order(epoch).tolist()) for epoch in range(8)]
    assert all(sorted(order) == [0, 1, 2] for order in orders)
    assert len(set(orders)) > 1
    assert len(clips) == 3


def test_a_clip_and_where_its_last_frame_was_looked_at(videos: tuple[Recording, ...], store: FrameStore) -> None:
    recipe = windowed("data.flip=false", "model.input_size=[64, 64]", "schedule.at_once=3", "schedule.batch=3")
    clips = TrainingClips(videos, store, recipe)
    lasts = set()
    for step in range(8):
        portion = clips.portion(3 * step)
        assert portion.frames.shape == (3, 4, *SIZE, 3)
        assert portion.target.shape == portion.fixated.shape == (3, *SIZE)
        assert portion.target.dtype == portion.fixated.dtype == torch.float32
        torch.testing.assert_close(portion.target.sum((1, 2)), torch.ones(3))
        for clip in range(3):
            found = shown(portion, clip)
            last = found[-1]
            assert last is not None
            assert found == list(range(last - 3, last + 1))
            lasts.add(last)
            ((row, column),) = portion.fixated[clip].nonzero().tolist()
            assert (row, column - gaze_at(last)[1]) in {(gaze_at(last)[0], shift) for shift in (1, 2, 3)}
            peak = int(portion.target[clip].flatten().argmax())
            assert divmod(peak, SIZE[1]) == (row, column)
    assert lasts == {3, 4}


def test_flips_mirror_pictures_and_gaze_alike(videos: tuple[Recording, ...], store: FrameStore) -> None:
    clips = TrainingClips(videos[:1], store, windowed("schedule.at_once=1", "schedule.batch=1"))
    sides = set()
    for number in range(16):
        portion = clips.portion(number)
        flipped = read_number(portion.frames[0, 0].numpy()) is None
        last = shown(portion, 0)[-1]
        assert last is not None
        ((row, column),) = portion.fixated[0].nonzero().tolist()
        expected = gaze_at(last, 1)
        assert (row, SIZE[1] - 1 - column if flipped else column) == expected
        assert divmod(int(portion.target[0].flatten().argmax()), SIZE[1]) == (row, column)
        sides.add(flipped)
    assert sides == {True, False}


def test_short_videos_repeat_their_first_frame(videos: tuple[Recording, ...], store: FrameStore) -> None:
    recipe = windowed("model.clip_length=8", "data.flip=false", "schedule.at_once=1", "schedule.batch=1")
    for number in range(6):
        found = shown(TrainingClips(videos, store, recipe).portion(number), 0)
        last = found[-1]
        assert last is not None
        assert found == [0] * (7 - last) + list(range(last + 1))


def test_the_number_decides_the_clip(videos: tuple[Recording, ...], store: FrameStore) -> None:
    one, same = (TrainingClips(videos, store, windowed()) for _ in range(2))
    other = TrainingClips(videos, store, windowed("seed=2"))
    same.portion(40)  # what was read before must not matter
    assert all(torch.equal(one.portion(n).frames, same.portion(n).frames) for n in range(0, 12, 2))
    assert any(not torch.equal(one.portion(n).frames, other.portion(n).frames) for n in range(0, 12, 2))


def test_gaze_belongs_to_the_containers_time(tmp_path: Path) -> None:
    """All look to the left until 0.2 s after the first frame, which is shown late, and then to the right."""
    videos = [r for r in open_dataset(make_gaze(tmp_path / "gaze")).part("train") if r.kind == "video"]
    recipe = windowed("data.flip=false", "schedule.at_once=2", "schedule.batch=2")
    clips = TrainingClips(videos, FrameStore(tmp_path / "cache", (64, 96)), recipe)
    seen = set()
    for number in range(0, 24, 2):
        portion = clips.portion(number)
        for clip in range(2):
            last = shown(portion, clip)[-1]
            assert last is not None
            left = bool(portion.fixated[clip, :, :48].any())
            assert left != bool(portion.fixated[clip, :, 48:].any())
            assert left == (last / RATE < 0.1999)
            seen.add(left)
    assert seen == {True, False}


def test_frames_that_nobody_looked_at_are_drawn_again(tmp_path: Path) -> None:
    root = make_clips(tmp_path / "ucf", {"training": ["Run-Side-001"]}, missing=(3,))
    clips = TrainingClips(
        open_dataset(root).part("train"),
        FrameStore(tmp_path / "cache", SIZE),
        windowed("schedule.at_once=1", "schedule.batch=1"),
    )
    assert {shown(clips.portion(number), 0)[-1] for number in range(12)} == {4}


def test_sound_goes_with_the_frames(tmp_path: Path) -> None:
    root = make_gaze(tmp_path / "gaze")
    path = root / "hevc" / "Moved.mp4"
    make_clip(path, frames=12, size=(96, 64), rate=RATE, start=LATE, sound=Tone(seconds=2, frequency=300))
    videos = [r for r in open_dataset(root).part("train") if r.kind == "video"]
    store = FrameStore(tmp_path / "cache", (64, 96), listen=True)
    recipe = windowed("data.flip=false", "schedule.at_once=1", "schedule.batch=1")
    portion = TrainingClips(videos, store, recipe).portion(0)
    times = [float(LATE) + index / RATE for index in map(int, shown(portion, 0))]  # type: ignore[arg-type]
    sound = read_sound(path)
    assert sound is not None
    assert portion.sound is not None
    np.testing.assert_array_equal(portion.sound[0].numpy(), sound_window(sound, times, 1 / RATE))
    assert portion.sound.abs().max() > 10
    checked = ValidationClips(videos, store, windowed(), at_once=2)
    backwards = checked.portion(0).sound
    assert backwards is not None
    times = [float(LATE) + index / RATE for index in window_indices(0, length=4, count=12)]
    np.testing.assert_array_equal(backwards[0].numpy(), sound_window(sound, times, 1 / RATE, reverse=True))


def test_a_video_without_sound(tmp_path: Path) -> None:
    """Among others it is silent; on its own, in validation, it is predicted as by the visual network."""
    videos = [r for r in open_dataset(make_gaze(tmp_path / "gaze")).part("train") if r.kind == "video"]
    store = FrameStore(tmp_path / "cache", (64, 96), listen=True)
    sound = TrainingClips(videos, store, windowed()).portion(0).sound
    assert sound is not None
    assert sound.shape == (2, 70560)
    assert not sound.any()
    assert ValidationClips(videos, store, windowed(), at_once=2).portion(0).sound is None


def test_validation_sees_what_a_predictor_sees(held_out: tuple[Recording, ...], store: FrameStore) -> None:
    clips = ValidationClips(held_out, store, windowed(), at_once=3)
    assert len(clips) == 4  # five frames of each video, three at a time, never two videos together
    found = []
    for number in range(len(clips)):
        portion = clips.portion(number)
        assert len(portion.scored) == len(portion.frames)
        for clip, truth in enumerate(portion.scored):
            found.append(shown(portion, clip))
            assert truth.counts.shape == (held_out[0].height, held_out[0].width)
            np.testing.assert_array_equal(truth.counts > 0, portion.fixated[clip].numpy() > 0)  # of one size here
    assert found == 2 * [window_indices(frame, length=4, count=FRAMES) for frame in range(FRAMES)]


def test_validation_of_the_first_frames(held_out: tuple[Recording, ...], store: FrameStore) -> None:
    clips = ValidationClips(held_out, store, windowed("data.validation_frames=2"), at_once=3)
    assert [shown(clips.portion(n), c) for n in range(2) for c in range(2)] == 2 * [[3, 2, 1, 0], [4, 3, 2, 1]]
    assert len(clips) == 2


def test_validation_of_some_clips(held_out: tuple[Recording, ...], store: FrameStore) -> None:
    clips = ValidationClips(held_out, store, windowed("data.validation_clips=5"), at_once=9)
    lasts = [shown(clips.portion(n), c)[-1] for n in range(len(clips)) for c in range(len(clips.portion(n).scored))]
    assert lasts == [0, 2, 4, 1, 3]
