"""Recipes of TSFP-Net and TASED-Net: the papers' runs, their ablations, and how wrong ones are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_recipes import WINDOWED, windowed

from saliency_cli.errors import UsageError
from saliency_cli.models.registry import build
from saliency_cli.training.losses import LossWeights
from saliency_cli.training.recipe import load_recipe, parse_recipe
from saliency_cli.training.windowed_recipe import WindowedRecipe

RECIPES = Path(__file__).resolve().parents[2] / "recipes"


def project(name: str, *changes: str) -> WindowedRecipe:
    recipe = load_recipe(RECIPES / f"{name}.toml", changes)
    assert isinstance(recipe, WindowedRecipe)
    return recipe


def test_tsfp_net_as_its_paper_trains_it() -> None:
    recipe = project("tsfp-s3d-dhf1k")
    assert (recipe.model.architecture, recipe.model.encoder, recipe.start) == ("tsfp", "s3d", "encoder")
    assert (recipe.model.clip_length, recipe.model.input_size) == (32, (192, 352))
    assert recipe.loss == LossWeights(kl=1, cc=0.5, nss=0.1)
    assert (recipe.optimiser.kind, recipe.optimiser.rate) == ("adam", 1e-4)
    assert recipe.optimiser.rate_of("encoder") == 1e-4
    schedule = recipe.schedule
    assert (schedule.unit, schedule.length, schedule.falls_at, schedule.falls_by) == ("epoch", 26, (22, 25, 26), 0.1)
    assert (schedule.batch, schedule.at_once) == (16, 4)
    assert (recipe.data.validation_frames, recipe.data.short_videos) == (80, "repeat-first")


def test_tased_net_as_its_paper_trains_it() -> None:
    recipe = project("tased-dhf1k")
    assert (recipe.model.architecture, recipe.start) == ("tased", "encoder")
    assert (recipe.model.clip_length, recipe.model.input_size) == (32, (224, 384))
    assert recipe.loss == LossWeights(kl=1, cc=0, nss=0)
    assert (recipe.optimiser.kind, recipe.optimiser.momentum) == ("sgd", 0.9)
    assert (recipe.optimiser.rate_of("decoder"), recipe.optimiser.rate_of("encoder")) == (0.1, 1e-3)
    schedule = recipe.schedule
    assert (schedule.unit, schedule.length, schedule.batch) == ("step", 1000, 40)
    assert (schedule.falls_at, schedule.falling) == ((750, 950), ("decoder",))
    assert (recipe.data.validation_clips, recipe.data.short_videos) == (2000, "loop")


def test_sound_comes_second() -> None:
    silent, heard = project("tsfp-s3d-av"), project("tsfp-s3d-av-sound")
    assert not silent.model.audio
    assert replace(silent.model, audio=True) == heard.model
    assert heard.optimiser.rate_of("sound") == 0
    assert silent.data == heard.data
    second = project("tsfp-s3d-av", "data.train=train-2", "data.validation=test-2")
    assert (second.data.train, second.data.validation) == ("train-2", "test-2")


@pytest.mark.parametrize(
    ("name", "change"),
    [
        *(("tsfp-s3d-dhf1k", f"model.clip_length={n}") for n in (16, 32, 48)),  # table 1
        *(("tsfp-s3d-dhf1k", f"model.decoding={d}") for d in ("multi-level", "final-level")),  # table 8
        *(("tased-dhf1k", f"model.aggregation={a}") for a in ("late", "early-two-step")),  # table 1
        *(("tased-dhf1k", f"model.upsampling={u}") for u in ("trilinear", "transposed")),  # table 4
        *(("tased-dhf1k", f"model.clip_length={n}") for n in (4, 8, 16, 48, 64)),  # table 5
    ],
)
def test_an_ablation_is_a_change(name: str, change: str) -> None:
    recipe = project(name, change)
    key, _, value = change.removeprefix("model.").partition("=")
    assert str(getattr(recipe.model, key)) == value
    assert parse_recipe(recipe.text, "") == recipe
    with torch.device("meta"):
        build(recipe.model)


def test_kl_alone() -> None:
    """Table 9."""
    assert project("tsfp-s3d-dhf1k", "loss.cc=0", "loss.nss=0").loss == LossWeights(kl=1, cc=0, nss=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("model.decodings=x", r"\[model\]: unknown keys decodings; known are aggregation"),
        ("model.decoding=x", r"\[model\]: decoding = 'x' does not fit"),
        ("model.clip_length=5", r"\[model\]: tased on s3d has no clip length 5: use one of 4, 8"),
        ("model.input_size=[30, 32]", r"\[model\]: .*multiples of 32"),
        ("model.audio=true", r"\[model\]: tased knows neither"),
        ("model.audio=1", r"audio = 1 does not fit; it must be bool"),
        ("model=3", r"\[model\]: must be a table"),
        ("data.flip=2", r"\[data\]: flip = 2 does not fit"),
        ("data.train=", "needs a split to train on"),
        ("data.train=validation", "and another one to validate"),
        ("data.validation_frames=-1", "must not be negative"),
        ("loss.sim=1", r"\[loss\]: unknown keys sim"),
        ("optimiser.kind=lion", r"\[optimiser\]: kind = 'lion' does not fit"),
        ("optimiser.encoder_rate=fast", r"\[optimiser\]: encoder_rate = 'fast' does not fit"),
        ("optimiser.rate=-1.0", "is negative"),
        ("optimiser.rate=0", "freeze everything"),
        ("optimiser.momentum=1.0", "below 1"),
        ("schedule.batch=5", r"a batch of 5 cannot be made of portions of 2 \(at_once\)"),
        ("schedule.length=0", "at least 1"),
        ("schedule.falls_at=[3, 2]", "falls_at must rise"),
        ("schedule.falls_at=[0]", "from 1 or above"),
        ("schedule.falling=[\"head\"]", r"falling = \['head'\] does not fit"),
        ("schedule.unit=hour", "unit = 'hour' does not fit"),
        ("start=nowhere", "start = 'nowhere' does not fit"),
        ("name=a/b", "names a file"),
        ("seed=-1", "seed must not be negative"),
        ("speed=1", "unknown keys speed"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(change: str, message: str) -> None:
    with pytest.raises(UsageError, match=rf"^tiny\.toml: .*{message}") as caught:
        windowed(change)
    assert "\n" not in str(caught.value)


def test_the_embedded_model_has_stages_of_its_own() -> None:
    text = WINDOWED.replace(
        'architecture = "tased"\nclip_length = 4', 'architecture="tsfp"\nencoder = "efficientnet-lite0"'
    )
    with pytest.raises(UsageError, match=r"efficientnet-lite0 is trained by \[stills\]"):
        parse_recipe(text, "tiny.toml")
    with pytest.raises(UsageError, match="missing 1 required"):
        parse_recipe(WINDOWED.replace("length = 5\n", "", 1), "tiny.toml")
