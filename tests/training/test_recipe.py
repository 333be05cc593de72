"""Recipes: what they hold, and how they are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from saliency_cli.errors import ReadError, UsageError
from saliency_cli.training.losses import LossWeights
from saliency_cli.training.recipe import load_recipe, parse_recipe

ROOT = Path(__file__).resolve().parents[2]

TEXT = """
name = "tiny"
architecture = "tsfp"
encoder = "efficientnet-lite0"
seed = 1
input_size = [64, 96]
scales = [1, 1.5]

[loss]
nss = 0.2

[[stages]]
name = "stills"
materials = ["stills"]
steps = 3
temporal_rate = 0

[[stages]]
name = "videos"
materials = ["videos", "stills"]
steps = 2
clip_spacing = [0.1, 0.2]
"""


def test_a_recipe() -> None:
    recipe = parse_recipe(TEXT, "tiny.toml")
    assert (recipe.name, recipe.seed, recipe.input_size, recipe.scales) == ("tiny", 1, (64, 96), (1, 1.5))
    assert recipe.loss == LossWeights(kl=1, cc=0.5, nss=0.2)
    assert [stage.name for stage in recipe.stages] == ["stills", "videos"]
    assert recipe.stages[0].temporal_rate == 0
    assert recipe.stages[1].materials == ("videos", "stills")
    assert recipe.stages[1].clip_spacing == (0.1, 0.2)
    assert recipe.text == TEXT
    config = recipe.model_config
    assert (config.architecture, config.encoder, config.input_size) == ("tsfp", "efficientnet-lite0", (64, 96))
    assert (config.mean, config.std) == (0.498, 0.502)


def test_loading(tmp_path: Path) -> None:
    path = tmp_path / "tiny.toml"
    with pytest.raises(ReadError, match=r"tiny\.toml: the recipe cannot be read"):
        load_recipe(path)
    path.write_text(TEXT, encoding="utf-8")
    assert load_recipe(path) == parse_recipe(TEXT, "")
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ReadError):
        load_recipe(path)


def test_the_projects_recipes_are_recipes() -> None:
    for path in (ROOT / "recipes").glob("*.toml"):
        assert load_recipe(path).name == path.stem


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "tiny"', "name = ", "not TOML"),
        ("seed = 1", "", "'seed'"),
        ("seed = 1", "seed = 1\nspeed = 2", "unknown keys speed; known are architecture, encoder"),
        ("seed = 1", 'seed = 1\ntext = "x"', "unknown keys text"),
        ("seed = 1", 'seed = "one"', "seed = 'one' does not fit; it must be int"),
        ("seed = 1", "seed = true", "seed = True does not fit"),
        ("seed = 1", "seed = -1", "seed must not be negative"),
        ("[64, 96]", "[64]", r"input_size = \[64\] does not fit"),
        ("[64, 96]", "[64, 90]", "multiples of 32"),
        ("[1, 1.5]", "[]", "scales needs"),
        ("[1, 1.5]", "[1, 0]", "scales needs"),
        ("[1, 1.5]", "1.0", "scales = 1.0 does not fit"),
        ('"tiny"', '"../tiny"', "names a file"),
        ('"tsfp"', '"tased"', "architecture = 'tased' does not fit"),
        ('"efficientnet-lite0"', '"s3d"', "encoder = 's3d' does not fit"),
        ("[loss]\nnss = 0.2", "loss = 3", r"\[loss\]: must be a table"),
        ("nss = 0.2", "sim = 0.2", r"\[loss\]: unknown keys sim; known are cc, kl, nss"),
        ("nss = 0.2", 'nss = "much"', "nss = 'much' does not fit; it must be float"),
        ("steps = 3", "steps = 0", "'stills' needs at least one of steps"),
        ("steps = 3", "", r"\[\[stages\]\] 1: .*'steps'"),
        ("steps = 3", "steps = 2.5", "steps = 2.5 does not fit"),
        ("steps = 3", "steps = 3\nbatch = 0", "counted"),
        ("steps = 3", "steps = 3\ncheckpoint_every = 0", "counted"),
        ("steps = 3", "steps = 3\nencoder_rate = -1.0", "negative rate"),
        ("steps = 3", "steps = 3\naverage_decay = 1.0", "not below 1"),
        ("steps = 3", "steps = 3\nencoder_rate = 0\npyramid_rate = 0", "freezes everything"),
        ('["stills"]', '["sounds"]', r"materials = \['sounds'\] does not fit"),
        ('["stills"]', '"stills"', "materials = 'stills' does not fit"),
        ('["stills"]', "[]", "materials"),
        ("[0.1, 0.2]", "[0.2, 0.1]", "must rise"),
        ('name = "videos"', 'name = "stills"', "a name of its own"),
    ],
)
def test_what_is_wrong_is_said(old: str, new: str, message: str) -> None:
    assert TEXT.count(old) >= 1
    with pytest.raises(UsageError, match=rf"^tiny\.toml: .*{message}") as caught:
        parse_recipe(TEXT.replace(old, new, 1), "tiny.toml")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("stages", ["", "stages = 3", "stages = []"])
def test_a_recipe_needs_stages(stages: str) -> None:
    with pytest.raises(UsageError, match="at least one"):
        parse_recipe(stages + "\n" + TEXT.partition("[[stages]]")[0], "tiny.toml")
