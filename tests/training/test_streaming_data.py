"""Training data: the split, the clock, and batches that a seed decides."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from clips import read_number
from tiny_gaze import LATE, RATE, VIDEO_FRAMES, make_gaze

from saliency_cli.metrics import GazeTable
from saliency_cli.training.streaming_data import Clip, Still, clip_batch, load_clips, load_stills, still_batch

BUDGET = (64, 96)


@pytest.fixture(scope="module")
def gaze(tmp_path_factory: pytest.TempPathFactory) -> GazeTable:
    return GazeTable.load(make_gaze(tmp_path_factory.mktemp("gaze") / "gaze"))


@pytest.fixture(scope="module")
def stills(gaze: GazeTable) -> list[Still]:
    return load_stills(gaze, validation=False)


@pytest.fixture(scope="module")
def clips(gaze: GazeTable) -> list[Clip]:
    return load_clips(gaze, validation=False)


def test_the_split(gaze: GazeTable, stills: list[Still], clips: list[Clip]) -> None:
    kept = {still.name for still in load_stills(gaze, validation=True)}
    assert kept == {"photos/00", "photos/10"}
    assert {still.name for still in stills} == {f"photos/{n:02}" for n in range(12)} - kept
    assert [clip.name for clip in clips] == ["hevc/Moved"]
    assert [clip.name for clip in load_clips(gaze, validation=True)] == ["hevc/Yan"]


def test_stills_without_fixations_teach_nothing(gaze: GazeTable, stills: list[Still]) -> None:
    lines = {key: value for key, value in gaze._fixations.items() if key != ("photos", "03")}
    silent = GazeTable(gaze.folder, gaze.items(), lines)
    assert {s.name for s in stills} - {s.name for s in load_stills(silent, validation=False)} == {"photos/03"}


def test_frames_have_the_containers_clock(clips: list[Clip]) -> None:
    (clip,) = clips
    np.testing.assert_allclose(clip.seconds, float(LATE) + np.arange(VIDEO_FRAMES) / RATE, atol=1e-6)
    assert [read_number(frame) for frame in clip.frames] == list(range(VIDEO_FRAMES))


def test_large_pictures_are_kept_small(tmp_path: Path) -> None:
    import cv2

    folder = make_gaze(tmp_path / "gaze")
    cv2.imwrite(str(folder / "photos" / "01.jpg"), np.zeros((600, 900, 3), np.uint8))
    first, second, *_ = load_stills(GazeTable.load(folder), validation=False)
    assert first.pixels.shape == (288, 432, 3)
    assert second.pixels.shape == (64, 96, 3)


def test_a_batch_of_stills(stills: list[Still]) -> None:
    batch = still_batch(stills, np.random.default_rng(0), size=3, budget=BUDGET)
    assert batch.frames.shape == (3, 1, 3, 64, 96)
    assert batch.frames.dtype == torch.float32
    assert batch.frames.min() >= 0
    assert 200 < batch.frames.max() <= 255
    assert batch.seconds.shape == (3, 1)
    assert batch.seconds.dtype == torch.float64
    assert batch.target.shape == batch.counts.shape == (3, 1, 16, 24)
    torch.testing.assert_close(batch.target.sum((2, 3)), torch.ones(3, 1))
    assert (batch.counts.sum((2, 3)) == 4).all()


def test_flips_mirror_picture_and_fixations_alike(stills: list[Still]) -> None:
    """People look at the bright disc; it must stay so, on whichever side it comes to lie."""
    sides = set()
    (still,) = [s for s in stills if abs(s.points[:, 0].mean() - 0.5) > 0.2][:1]
    for seed in range(12):
        batch = still_batch([still], np.random.default_rng(seed), size=1, budget=BUDGET)
        bright = (batch.frames[0, 0].mean(0) > 150).nonzero().float().mean(0) / torch.tensor([64, 96])
        looked = (batch.counts[0, 0].nonzero().float().mean(0) + 0.5) / torch.tensor([16, 24])
        peak = batch.target[0, 0].flatten().argmax()
        assert (bright - looked).abs().max() < 0.06
        assert abs(float(peak % 24 + 0.5) / 24 - float(bright[1])) < 0.08
        sides.add(bool(bright[1] > 0.5))
    assert sides == {True, False}


def test_a_batch_of_clips(clips: list[Clip]) -> None:
    batch = clip_batch(clips, np.random.default_rng(0), size=2, frames=4, spacing=(0.08, 0.1), budget=BUDGET)
    assert batch.frames.shape == (2, 4, 3, 64, 96)
    assert batch.target.shape == (2, 4, 16, 24)
    assert (batch.seconds.diff(dim=1) > 0).all()
    assert batch.seconds.min() >= float(LATE) - 1e-6
    assert batch.seconds.max() <= float(LATE) + VIDEO_FRAMES / RATE


@pytest.mark.parametrize("seed", range(6))
def test_fixations_belong_to_the_containers_time(clips: list[Clip], seed: int) -> None:
    """All look to the left until 0.2 s after the first frame, which is shown late, and then to the right."""
    batch = clip_batch(clips, np.random.default_rng(seed), size=1, frames=5, spacing=(0.08, 0.1), budget=BUDGET)
    left = batch.counts[0, :, :, :12].sum((1, 2))
    flipped = read_number(batch.frames[0, 0].permute(1, 2, 0).numpy()) is None  # a mirrored number is none
    before = batch.seconds[0] < float(LATE) + 0.1999
    assert before.any()
    assert not before.all()
    assert [bool(n > 0) for n in left] == [bool(b) != flipped for b in before]
    assert (batch.counts.sum((2, 3)) == 3).all()


def test_frames_are_those_of_their_times(clips: list[Clip]) -> None:
    for seed in range(8):
        batch = clip_batch(clips, np.random.default_rng(seed), size=1, frames=3, spacing=(0.04, 0.2), budget=BUDGET)
        pixels = batch.frames[0].permute(0, 2, 3, 1).numpy()
        numbers = [read_number(frame) for frame in pixels]
        if None in numbers:
            numbers = [read_number(frame[:, ::-1]) for frame in pixels]
        expected = (batch.seconds[0].numpy() - float(LATE)) * RATE
        np.testing.assert_allclose(np.array(numbers, float), expected, atol=1e-3)


def test_a_clip_longer_than_its_video_stays_inside(clips: list[Clip]) -> None:
    batch = clip_batch(clips, np.random.default_rng(0), size=1, frames=4, spacing=(5, 5), budget=BUDGET)
    assert batch.seconds[0, -1] == pytest.approx(clips[0].seconds[-1])
    assert (batch.seconds.diff(dim=1) >= 0).all()


def test_unwatched_frames_have_empty_targets(gaze: GazeTable) -> None:
    (clip,) = load_clips(gaze, validation=True)  # nobody looks at its first two frames
    start = Clip(clip.name, clip.frames[:2], clip.seconds[:2], clip.fixations)
    batch = clip_batch([start], np.random.default_rng(0), size=1, frames=2, spacing=(0.04, 0.04), budget=BUDGET)
    assert not batch.counts.any()
    assert not batch.target.any()


def test_a_seed_decides_the_batch(stills: list[Still], clips: list[Clip]) -> None:
    def both(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        rng = np.random.default_rng([1, 0, seed])
        still = still_batch(stills, rng, size=2, budget=BUDGET)
        return still.frames, clip_batch(clips, rng, size=1, frames=2, spacing=(0.1, 0.2), budget=BUDGET).seconds

    for one, same, other in zip(both(5), both(5), both(8), strict=True):
        assert torch.equal(one, same)
        assert not torch.equal(one, other)


def test_shapes_are_not_mixed(stills: list[Still]) -> None:
    tall = [Still(s.name, np.ascontiguousarray(s.pixels.swapaxes(0, 1)), s.points[:, ::-1]) for s in stills]
    shapes = {
        tuple(still_batch([*stills, *tall], np.random.default_rng(n), size=2, budget=BUDGET).frames.shape[-2:])
        for n in range(8)
    }
    assert shapes == {(64, 96), (96, 64)}
