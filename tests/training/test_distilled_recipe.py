"""Recipes with a teacher: the project's own, and how wrong ones are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from saliency_cli.errors import UsageError
from saliency_cli.models.registry import build
from saliency_cli.training.distilled_recipe import DistilledRecipe, Stage
from saliency_cli.training.losses import LossWeights
from saliency_cli.training.recipe import load_recipe

RECIPES = Path(__file__).resolve().parents[2] / "recipes"


def project(name: str, *changes: str) -> DistilledRecipe:
    recipe = load_recipe(RECIPES / f"{name}.toml", changes)
    assert isinstance(recipe, DistilledRecipe)
    return recipe


def test_tsfp_net_learns_from_nothing_but_a_teacher() -> None:
    recipe = project("tsfp-s3d-open")
    assert (recipe.start, recipe.model.architecture, recipe.model.clip_length) == ("scratch", "tsfp", 32)
    assert (recipe.teacher.weights, recipe.teacher.share, recipe.teacher.features) == ("tsfp-lite0", 0.5, 1)
    assert recipe.loss == LossWeights(kl=1, cc=0.5, nss=0)
    kinds = [(stage.kind, stage.size, stage.clip_length) for stage in recipe.stages]
    pictures = [("pictures", (96, 160), 1), ("pictures", (160, 256), 1)]
    assert kinds == [*pictures, ("clips", (128, 224), 16), ("clips", (192, 352), 32)]
    assert [recipe.length_at(number) for number in range(4)] == [16, 16, 16, 32]
    assert [stage.norms for stage in recipe.stages] == ["learn", "learn", "learn", "freeze"]
    build(recipe.model)


def test_tased_net_learns_on_the_encoder_of_tsfp_net() -> None:
    recipe = project("tased-open")
    assert (recipe.start, recipe.model.input_size) == ("encoder", (224, 384))
    first, *others = recipe.stages
    assert (first.taps, first.encoder_share) == ("sum", 0)
    assert [stage.encoder_share for stage in others] == [0.5, 1]


def test_nss_weighs_nothing_unless_it_is_asked_for(tmp_path: Path) -> None:
    text = (RECIPES / "tsfp-s3d-open.toml").read_text().replace("nss = 0.0", "")
    (tmp_path / "recipe.toml").write_text(text)
    recipe = load_recipe(tmp_path / "recipe.toml")
    assert recipe.text == text
    assert isinstance(recipe, DistilledRecipe)
    assert recipe.loss.nss == 0
    assert project("tsfp-s3d-open", "loss.nss=0.1").loss.nss == 0.1


def test_rates() -> None:
    stage = Stage("clips", (32, 32), batch=2, steps=11, rate=1.0, last_rate=0.5, warm_up=4, encoder_rate=0.25)
    assert [stage.rate_at(step) for step in (0, 1, 3)] == pytest.approx([0.25, 0.475, 0.85])
    assert [stage.rate_at(step) for step in (4, 5, 10)] == pytest.approx([0.8, 0.75, 0.5])
    assert stage.encoder_share == 0.25
    assert Stage("clips", (32, 32), batch=2, steps=1, rate=1.0, last_rate=0.5, warm_up=0).rate_at(0) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("name=a/b", "names a file"),
        ("seed=-1", "seed must not be negative"),
        ("start=nowhere", "start = 'nowhere' does not fit"),
        ("model.encoder=efficientnet-lite0", "is a network on s3d without audio"),
        ("model.audio=true", "is a network on s3d without audio"),
        ("teacher.share=1.5", "a share from 0 to 1"),
        ("teacher.features=-1", "features not below 0"),
        ("teacher.name=x", r"\[teacher\]: unknown keys name"),
        ("loss.ssim=1", r"\[loss\]: unknown keys ssim"),
        ("model.clip_length=16", "the last of .* must be of clips of 16 frames of 192x352"),
        ("model.input_size=[96, 160]", "the last of .* must be of clips of 32 frames of 96x160"),
        ("stages.3.kind=pictures", "the last of .* must be of clips"),
        ("stages=[]", "the last of .* must be of clips"),
        ("stages=3", r"\[\[stages\]\] must be a list of tables"),
        ("stages=[3]", "stage 1: must be a table"),
        ("stages.0.kind=sounds", "stage 1: kind = 'sounds' does not fit"),
        ("stages.0.pace=3", "stage 1: unknown keys pace"),
        ("stages.0.clip_length=16", "stage 1: pictures of 16 frames do not fit tsfp; it takes 1"),
        ("stages.2.clip_length=8", "stage 3: clips of 8 frames do not fit tsfp; it takes 16, 32, 48"),
        ("stages.2.clip_length=48", "stage 4: clips of 48 and of 32 frames are no multiples"),
        ("stages.2.kind=pictures", "stage 3: pictures of 16 frames"),
        ("stages.0.size=[100, 160]", "a size of 100x160 does not fit: both sides must be multiples of 32"),
        ("stages.0.steps=0", "steps and checkpoint_every must be at least 1"),
        ("stages.0.rate=0", "rate and last_rate must be above 0"),
        ("stages.0.encoder_rate=-1.0", "encoder_rate and weight_decay not below"),
        ("stages.0.gradient_limit=0.0", "gradient_limit must be above 0"),
        ("stages.0.average_decay=1.0", "average_decay at least 0 and below 1"),
        ("start=encoder", 'stage 1: its pictures would forget what kernels know of time; add taps = "sum"'),
    ],
)
def test_no_run_could_be_made(change: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        project("tsfp-s3d-open", change)


def test_a_single_small_picture() -> None:
    with pytest.raises(UsageError, match=r"stage 1: batch = 1 leaves batch norms one value"):
        project("tsfp-s3d-open", "stages.0.batch=1", "stages.0.size=[32, 32]")


def test_frozen_norms_need_no_other_clip() -> None:
    assert project("tsfp-s3d-open", "stages.3.batch=1", "stages.3.norms=freeze").stages[3].batch == 1
    with pytest.raises(UsageError, match="norms = 'melt' does not fit"):
        project("tsfp-s3d-open", "stages.3.norms=melt")


def test_a_key_that_is_missing(tmp_path: Path) -> None:
    text = (RECIPES / "tased-open.toml").read_text().replace("steps = 800", "")
    (tmp_path / "recipe.toml").write_text(text)
    with pytest.raises(UsageError, match=r"stage 1: .*missing 1 required positional argument: 'steps'"):
        load_recipe(tmp_path / "recipe.toml")
