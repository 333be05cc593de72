"""Samples of a distillation: targets lie where the pictures show what was looked at, and all follows from the step."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from saliency_cli.datasets import Truth
from saliency_cli.metrics import density_map
from saliency_cli.training.distilled_data import _boxes, _cut, _target, _View, _window, draw_samples
from saliency_cli.training.distilled_material import Material, Picture, Video, _stored, pictures_in
from saliency_cli.training.distilled_recipe import DistilledRecipe, Stage
from saliency_cli.training.losses import LossWeights
from saliency_cli.training.recipe import load_recipe
from saliency_cli.training.teacher import MAP_SIZE

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
ALL = np.array([0.0, 0.0, 1.0, 1.0])


def spot(x: float, y: float, size: tuple[int, int]) -> NDArray[np.float32]:
    """A soft spot at (x, y), fractions of width and height, on nothing."""
    rows, columns = ((np.arange(n) + 0.5) / n for n in size)
    return np.exp(-((rows[:, None] - y) ** 2 + (columns - x) ** 2) / (2 * 0.05**2)).astype(np.float32)


def truth_at(x: float, y: float) -> Truth:
    counts = np.zeros(MAP_SIZE, np.int64)
    counts[int(y * MAP_SIZE[0]), int(x * MAP_SIZE[1])] = 3
    return Truth(counts, density_map(counts, 5.0))


def picture_at(x: float, y: float, *, known: bool = True) -> Picture:
    pixels = np.repeat((20 + 230 * spot(x, y, (256, 416)))[:, :, None], 3, 2).astype(np.uint8)
    return Picture(pixels, spot(x, y, MAP_SIZE).astype(np.float16), lambda: truth_at(x, y) if known else None)


@dataclass
class MovingSpot:
    """A video of a spot that goes from left to right, which everybody follows."""

    count: int = 40

    def __len__(self) -> int:
        return self.count

    def place(self, index: int) -> float:
        return 0.3 + 0.4 * index / self.count

    @property
    def footage(self) -> Any:
        return self

    def pixels(self, indices: list[int]) -> NDArray[np.uint8]:
        return np.stack([picture_at(self.place(index), 0.5).pixels for index in indices])

    def saliency(self, index: int) -> NDArray[np.float16]:
        return picture_at(self.place(index), 0.5).saliency

    def truth(self, index: int) -> Truth | None:
        return truth_at(self.place(index), 0.5)


def material(*, stills: bool = True, videos: bool = True, extra: bool = True) -> Material:
    places = ((0.4, 0.5), (0.5, 0.4), (0.6, 0.55))
    return Material(
        [picture_at(x, y) for x, y in places] if stills else [],
        [cast(Video, MovingSpot())] if videos else [],
        [picture_at(y, x, known=False) for x, y in places] if extra else [],
    )


def recipe_of(**changes: Any) -> DistilledRecipe:
    recipe = load_recipe(RECIPES / "tsfp-s3d-open.toml")
    assert isinstance(recipe, DistilledRecipe)
    stages = (
        Stage("pictures", (96, 160), batch=12, steps=5, rate=1e-3, last_rate=1e-3),
        Stage("clips", (64, 96), batch=8, steps=5, rate=1e-3, last_rate=1e-3, clip_length=16),
        Stage("clips", (64, 96), batch=3, steps=5, rate=1e-3, last_rate=1e-3, clip_length=32),
    )
    return replace(recipe, stages=stages, loss=LossWeights(), **changes)


def centre(values: torch.Tensor) -> torch.Tensor:
    """x and y of the middle of what stands out in a map (h, w), fractions of width and height."""
    weights = (values - values.median()).clamp_min(0) ** 2
    weights = weights / weights.sum()
    y, x = ((torch.arange(n) + 0.5) / n for n in values.shape)
    return torch.stack([(weights.sum(0) * x).sum(), (weights.sum(1) * y).sum()])


@pytest.mark.parametrize("number", [0, 1, 2])
def test_targets_lie_where_the_last_frame_shows_them(number: int) -> None:
    recipe = recipe_of()
    for step in range(2):
        samples = draw_samples(material(), recipe, number, step)
        stage = recipe.stages[number]
        assert samples.clips.shape == (stage.batch, 3, stage.clip_length, *stage.size)
        assert samples.clips.is_contiguous(memory_format=torch.channels_last_3d)
        assert samples.clips.amin() >= 0
        assert samples.clips.amax() <= 1
        height, width = stage.size
        half = 1 if stage.kind == "pictures" else 2
        assert samples.target.shape == samples.counts.shape == (stage.batch, height // half, width // half)
        torch.testing.assert_close(samples.target.sum((1, 2)), torch.ones(stage.batch))
        for row in range(stage.batch):
            shown = centre(samples.clips[row, :, -1].mean(0))
            torch.testing.assert_close(centre(samples.target[row]), shown, atol=0.05, rtol=0)
            if samples.counts[row].any():
                assert samples.counts[row].sum() == 3
                torch.testing.assert_close(centre(samples.counts[row]), shown, atol=0.05, rtol=0)


def test_samples_follow_from_the_step() -> None:
    recipe = recipe_of()
    for number in (0, 1):
        one, same, next_step = (draw_samples(material(), recipe, number, step) for step in (3, 3, 4))
        assert torch.equal(one.clips, same.clips)
        assert torch.equal(one.target, same.target)
        assert not torch.equal(one.clips, next_step.clips)
        other = draw_samples(material(), replace(recipe, seed=9), number, 3)
        assert not torch.equal(one.clips, other.clips)
        assert not torch.equal(one.clips[0], one.clips[1])


@pytest.mark.parametrize("there", [{"stills": True}, {"videos": True}, {"extra": True}])
def test_what_is_not_there_is_not_asked_for(there: dict[str, bool]) -> None:
    only = material(**{kind: there.get(kind, False) for kind in ("stills", "videos", "extra")})
    for number in (0, 1):
        samples = draw_samples(only, recipe_of(), number, 0)
        assert samples.counts.any() == ("extra" not in there)  # nobody's gaze is known of these
        assert samples.target.isfinite().all()


def test_some_clips_move_and_some_do_not() -> None:
    recipe = recipe_of()
    clips = torch.cat([draw_samples(material(), recipe, 1, step).clips for step in range(3)])
    still = [bool((clip == clip[:, :1]).all()) for clip in clips]
    assert 0 < sum(still) < len(still)


def test_the_share_of_the_teacher() -> None:
    """Its map and the fixations lie apart here."""
    view = _View([], spot(0.2, 0.5, MAP_SIZE).astype(np.float16), truth_at(0.8, 0.5))
    for share in (0.0, 0.25, 1.0):
        target, counts = _target(view, ALL, (64, 96), share)
        assert target.sum() == pytest.approx(1, abs=1e-5)
        assert target[:, :48].sum() == pytest.approx(share, abs=1e-3)
        assert counts[:, 48:].sum() == 3
    left, none = _target(view, np.array([0.0, 0.0, 0.5, 1.0]), (64, 96), 0.25)  # where nobody looked
    assert left.sum() == pytest.approx(1, abs=1e-5)
    assert left[32, 38] == left.max()
    assert not none.any()
    unseen, _ = _target(replace(view, truth=None), ALL, (64, 96), 0.25)
    assert unseen[:, :48].sum() == pytest.approx(1, abs=1e-3)
    nothing, _ = _target(_View([], np.zeros(MAP_SIZE, np.float16), None), ALL, (64, 96), 0.5)
    assert nothing.min() == nothing.max() > 0


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 80), st.sampled_from([4, 16, 32]), st.integers(0, 10**6))
def test_windows(count: int, length: int, seed: int) -> None:
    window = _window(count, length, np.random.default_rng(seed))
    assert len(window) == length
    assert min(window) >= 0
    assert max(window) < count
    paces = set(np.diff(window).tolist())
    allowed = {0, 1, 2} if length <= 16 else {0, 1}
    assert paces <= allowed or {-pace for pace in paces} <= allowed
    if count >= 2 * length:
        assert 0 not in paces


def test_boxes_stay_in_the_picture() -> None:
    for seed in range(200):
        boxes = _boxes(16, np.random.default_rng(seed), moving=seed % 2 == 0)
        assert boxes.shape == (16, 4)
        assert (boxes >= 0).all()
        assert (boxes[:, :2] + boxes[:, 2:] <= 1 + 1e-9).all()
        assert (boxes[0] != boxes[-1]).any() == (seed % 2 == 0)


def test_a_cut_is_the_part_enlarged() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (40, 80, 3)).astype(np.uint8)
    exact = _cut(picture, np.array([0.25, 0.5, 0.5, 0.5]), (20, 40))
    assert np.array_equal(exact, picture[20:, 20:60].astype(np.float32))
    smooth = cv2.GaussianBlur(picture, (0, 0), 4)
    part = _cut(smooth, np.array([0.25, 0.25, 0.5, 0.5]), (60, 120))
    expected = cv2.resize(smooth[10:30, 20:60], (120, 60), interpolation=cv2.INTER_LINEAR)
    assert np.abs(part[6:-6, 6:-6] - expected[6:-6, 6:-6]).max() <= 1


def test_pictures_of_a_folder(tmp_path: Path) -> None:
    for name in ("b.jpg", "a/c.PNG", "a/.d.png", ".e/f.png", "g.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [path.relative_to(tmp_path).as_posix() for path in pictures_in(tmp_path)] == ["a/c.PNG", "b.jpg"]


def test_files_are_whole_or_absent(tmp_path: Path) -> None:
    def interrupted() -> Any:
        yield np.ones(3, np.uint8)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _stored(tmp_path / "some", interrupted)
    assert not list(tmp_path.iterdir())
    made = _stored(tmp_path / "some", lambda: [np.ones(3, np.uint8), np.zeros(2, np.uint8)])
    assert made.read_bytes() == b"\1\1\1\0\0"
    assert _stored(tmp_path / "some", interrupted) == made
