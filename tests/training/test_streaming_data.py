"""Training data of the embedded model: the clock, motion, and batches that a seed decides."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from clips import make_clip, read_number
from tiny_gaze import LATE, RATE, VIDEO_FRAMES, make_gaze
from torch import Tensor

from saliency_cli.inference.motion import MotionMeter
from saliency_cli.media import open_source
from saliency_cli.metrics import SIGMA_VIDEO, GazeTable, active, density_map, fixation_counts
from saliency_cli.training.streaming_data import (
    Clip,
    Glances,
    Still,
    glance_batch,
    glances_of,
    load_clips,
    load_stills,
    still_batch,
    to_network,
)

BUDGET = (64, 96)
MAP = (16, 24)


@pytest.fixture(scope="module")
def gaze(tmp_path_factory: pytest.TempPathFactory) -> GazeTable:
    return GazeTable.load(make_gaze(tmp_path_factory.mktemp("gaze") / "gaze"))


@pytest.fixture(scope="module")
def stills(gaze: GazeTable) -> list[Still]:
    return load_stills(gaze, gaze.items())


@pytest.fixture(scope="module")
def clips(gaze: GazeTable) -> list[Clip]:
    return load_clips(gaze, gaze.items())


def seen(clip: Clip, *, seed: int = 0) -> Glances:
    """A clip as a network sees it whose features and logits say which frame it was, and where the left is."""
    count = len(clip.frames)
    ramp = torch.linspace(-1, 1, MAP[1]).expand(count, 1, *MAP) + 10 * torch.arange(count)[:, None, None, None]
    return glances_of(clip, ramp[..., ::2, ::2].expand(-1, 3, -1, -1) + seed, ramp)


def test_items_are_what_is_asked_for_in_order(gaze: GazeTable, stills: list[Still], clips: list[Clip]) -> None:
    assert [still.name for still in stills] == [f"photos/{n:02}" for n in range(12)]
    assert [clip.name for clip in clips] == ["hevc/Moved", "hevc/Yan"]
    some = [item for item in gaze.items() if item.name in ("03", "Yan")]
    assert [still.name for still in load_stills(gaze, some)] == ["photos/03"]
    assert [clip.name for clip in load_clips(gaze, some)] == ["hevc/Yan"]


def test_what_nobody_looked_at_teaches_nothing(gaze: GazeTable) -> None:
    lines = {key: value for key, value in gaze._fixations.items() if key[1] not in ("03", "Moved")}
    silent = GazeTable(gaze.folder, gaze.items(), lines)
    assert {f"photos/{n:02}" for n in range(12)} - {s.name for s in load_stills(silent, silent.items())} == {
        "photos/03"
    }
    assert [clip.name for clip in load_clips(silent, silent.items())] == ["hevc/Yan"]


def test_frames_have_the_containers_clock(clips: list[Clip]) -> None:
    moved, _ = clips
    np.testing.assert_allclose(moved.seconds, float(LATE) + np.arange(VIDEO_FRAMES) / RATE, atol=1e-6)
    assert [read_number(frame) for frame in moved.frames] == list(range(VIDEO_FRAMES))


def test_motion_is_the_predictors(gaze: GazeTable, clips: list[Clip]) -> None:
    moved, _ = clips
    meter = MotionMeter()
    with open_source(gaze.stimulus_path("hevc", "Moved")) as source:
        expected = [meter.measure(frame.pixels, frame.seconds) for frame in source]
    assert moved.motion.dtype == np.float16
    assert moved.since.dtype == np.float32
    assert len(moved.frames) == len(moved.motion) == len(moved.since) == VIDEO_FRAMES
    np.testing.assert_allclose(moved.motion, [each.maps for each in expected], rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(moved.since, [each.since for each in expected], atol=1e-6)


def test_of_fast_videos_every_frame_is_measured_and_some_are_kept(tmp_path: Path) -> None:
    folder = make_gaze(tmp_path / "gaze")
    make_clip(folder / "hevc" / "Moved.mp4", frames=24, size=(96, 64), rate=100, start=LATE)
    gaze = GazeTable.load(folder)
    moved = load_clips(gaze, gaze.items())[0]
    numbers = [read_number(frame) for frame in moved.frames]
    assert numbers == [0, 4, 8, 12, 16, 20]
    meter = MotionMeter()
    with open_source(gaze.stimulus_path("hevc", "Moved")) as source:
        every = [meter.measure(frame.pixels, frame.seconds) for frame in source]
    np.testing.assert_allclose(moved.motion, [every[n].maps for n in (0, 4, 8, 12, 16, 20)], rtol=1e-3, atol=1e-6)


def test_large_pictures_are_kept_small(tmp_path: Path) -> None:
    folder = make_gaze(tmp_path / "gaze")
    cv2.imwrite(str(folder / "photos" / "01.jpg"), np.zeros((600, 900, 3), np.uint8))
    gaze = GazeTable.load(folder)
    first, second, third, *_ = load_stills(gaze, gaze.items())
    assert second.pixels.shape == (288, 432, 3)
    assert first.pixels.shape == third.pixels.shape == (64, 96, 3)


def test_a_batch_of_stills(stills: list[Still]) -> None:
    batch = still_batch(stills, np.random.default_rng(0), size=3, budget=BUDGET)
    assert batch.pictures.shape == (3, 3, 64, 96)
    assert batch.pictures.dtype == torch.float32
    assert batch.pictures.min() >= 0
    assert 200 < batch.pictures.max() <= 255
    assert batch.target.shape == batch.counts.shape == (3, *MAP)
    torch.testing.assert_close(batch.target.sum((1, 2)), torch.ones(3))
    assert (batch.counts.sum((1, 2)) == 4).all()


def test_flips_mirror_picture_and_fixations_alike(stills: list[Still]) -> None:
    """People look at the bright disc; it must stay so, on whichever side it comes to lie."""
    sides = set()
    (still,) = [s for s in stills if abs(s.points[:, 0].mean() - 0.5) > 0.2][:1]
    for seed in range(12):
        batch = still_batch([still], np.random.default_rng(seed), size=1, budget=BUDGET)
        bright = (batch.pictures[0].mean(0) > 150).nonzero().float().mean(0) / torch.tensor([64, 96])
        looked = (batch.counts[0].nonzero().float().mean(0) + 0.5) / torch.tensor(MAP)
        peak = batch.target[0].flatten().argmax()
        assert (bright - looked).abs().max() < 0.06
        assert abs(float(peak % 24 + 0.5) / 24 - float(bright[1])) < 0.08
        sides.add(bool(bright[1] > 0.5))
    assert sides == {True, False}


def test_shapes_are_not_mixed(stills: list[Still]) -> None:
    tall = [Still(s.name, np.ascontiguousarray(s.pixels.swapaxes(0, 1)), s.points[:, ::-1]) for s in stills]
    shapes = {
        tuple(still_batch([*stills, *tall], np.random.default_rng(n), size=2, budget=BUDGET).pictures.shape[-2:])
        for n in range(8)
    }
    assert shapes == {(64, 96), (96, 64)}


def test_a_batch_may_be_larger_than_the_set(stills: list[Still]) -> None:
    assert len(still_batch(stills[:2], np.random.default_rng(0), size=5, budget=BUDGET).pictures) == 5


def test_the_budget_scales_the_picture(stills: list[Still]) -> None:
    batch = still_batch(stills, np.random.default_rng(0), size=1, budget=(128, 192))
    assert batch.pictures.shape == (1, 3, 128, 192)
    assert batch.target.shape == (1, 32, 48)


def test_frames_are_scaled_as_the_predictor_does(clips: list[Clip]) -> None:
    frames = clips[0].frames[:2]
    small = to_network(frames, height=32, width=64)
    assert (small.shape, small.dtype) == ((2, 3, 32, 64), torch.float32)
    expected = cv2.resize(frames[1], (64, 32), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(small[1].permute(1, 2, 0), expected)


def test_glances_have_the_fixations_of_the_containers_time(clips: list[Clip]) -> None:
    """All look to the left until 0.2 s after the first frame, which is shown late, and then to the right."""
    moved, yan = clips
    glances = seen(moved)
    assert glances.features.dtype == torch.float16
    assert glances.logits.dtype == glances.counts.dtype == glances.target.dtype == torch.float32
    assert glances.logits.shape == (VIDEO_FRAMES, 1, *MAP)
    assert glances.counts.shape == glances.target.shape == (VIDEO_FRAMES, *MAP)
    assert (glances.counts.sum((1, 2)) == 3).all()
    left = glances.counts[:, :, :12].sum((1, 2)) > 0
    assert left.tolist() == [n < 5 for n in range(VIDEO_FRAMES)]
    torch.testing.assert_close(glances.target.sum((1, 2)), torch.ones(VIDEO_FRAMES))
    counts = fixation_counts(active(moved.fixations, moved.seconds[7]), *MAP)
    density = density_map(counts, SIGMA_VIDEO * MAP[0])
    np.testing.assert_allclose(glances.target[7], density / density.sum(), rtol=1e-5, atol=1e-9)
    # Nobody looks at Yan's first two frames
    others = seen(yan)
    assert others.counts.sum((1, 2)).tolist() == [0, 0] + [3] * (VIDEO_FRAMES - 2)
    assert not others.target[:2].any()


def numbers_of(batch: Glances) -> list[int]:
    return [round(float(logits.mean()) / 10) for logits in batch.logits]


def flipped(batch: Glances) -> list[bool]:
    return [bool(logits[0, 0, 0] > logits[0, 0, -1]) for logits in batch.logits]


def test_a_batch_of_glances_belongs_together(clips: list[Clip]) -> None:
    """Features, map, motion, time and fixations of one frame, all flipped or none."""
    moved, _ = clips
    whole = seen(moved)
    batch = glance_batch([whole], np.random.default_rng(2), size=40)
    assert {part.shape[0] for part in (batch.features, batch.logits, batch.motion, batch.since, batch.target)} == {40}
    assert all(
        part.dtype == torch.float32
        for part in (batch.features, batch.logits, batch.motion, batch.since, batch.counts, batch.target)
    )
    numbers, mirrored = numbers_of(batch), flipped(batch)
    assert len(set(numbers)) > 8
    assert set(mirrored) == {True, False}
    for row, (number, flip) in enumerate(zip(numbers, mirrored, strict=True)):

        def as_shown(values: Tensor, flip: bool = flip) -> Tensor:
            return values.float().flip(-1) if flip else values.float()

        for name in ("features", "logits", "counts", "target", "motion"):
            assert torch.equal(getattr(batch, name)[row], as_shown(getattr(whole, name)[number])), name
        assert batch.since[row] == whole.since[number]


def test_frames_that_nobody_looked_at_are_not_drawn(clips: list[Clip]) -> None:
    _, yan = clips
    batch = glance_batch([seen(yan)], np.random.default_rng(0), size=60)
    assert set(numbers_of(batch)) == set(range(2, VIDEO_FRAMES))
    assert batch.counts.sum((1, 2)).min() > 0


def test_videos_are_drawn_alike_and_unwatched_ones_not_at_all(clips: list[Clip]) -> None:
    """However long they are."""
    moved, yan = clips
    short = replace(yan, frames=yan.frames[5:7], seconds=yan.seconds[5:7], motion=yan.motion[5:7], since=yan.since[5:7])
    nobody = replace(yan, frames=yan.frames[:2], seconds=yan.seconds[:2], motion=yan.motion[:2], since=yan.since[:2])
    glances = [seen(moved), seen(short, seed=1), seen(nobody, seed=2)]
    batch = glance_batch(glances, np.random.default_rng(0), size=200)
    which = [round(float(f.mean() - x.mean())) for f, x in zip(batch.features, batch.logits, strict=True)]
    assert set(which) == {0, 1}
    assert 60 < sum(which) < 140


def test_glances_of_one_shape_make_a_batch(clips: list[Clip]) -> None:
    moved, yan = clips
    tall = glances_of(yan, torch.zeros(VIDEO_FRAMES, 3, 12, 8), torch.zeros(VIDEO_FRAMES, 1, 24, 16))
    shapes = {
        tuple(glance_batch([seen(moved), tall], np.random.default_rng(n), size=6).logits.shape) for n in range(10)
    }
    assert shapes == {(6, 1, 16, 24), (6, 1, 24, 16)}


def test_a_seed_decides_the_batch(stills: list[Still], clips: list[Clip]) -> None:
    glances = [seen(clip) for clip in clips]

    def both(seed: int) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng([1, 0, seed])
        still = still_batch(stills, rng, size=2, budget=BUDGET)
        return still.pictures, glance_batch(glances, rng, size=6).logits

    for one, same, other in zip(both(5), both(5), both(8), strict=True):
        assert torch.equal(one, same)
        assert not torch.equal(one, other)
