"""Recipes: what they hold, and how they are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from saliency_cli.errors import ReadError, UsageError
from saliency_cli.training.losses import LossWeights
from saliency_cli.training.recipe import load_recipe, parse_recipe
from saliency_cli.training.streaming_recipe import StreamingRecipe

ROOT = Path(__file__).resolve().parents[2]

TEXT = """
name = "tiny"
architecture = "tsfp"
encoder = "efficientnet-lite0"
seed = 1
input_size = [64, 96]
still_size = [96, 128]

[loss]
nss = 0.2

[stills]
steps = 3
scales = [1, 1.5]

[videos]
steps = 2
rate = 1e-3

[videos.loss]
cc = 0.7
"""


def streaming(text: str) -> StreamingRecipe:
    recipe = parse_recipe(text, "tiny.toml")
    assert isinstance(recipe, StreamingRecipe)
    return recipe


def test_a_recipe() -> None:
    recipe = streaming(TEXT)
    assert (recipe.name, recipe.seed, recipe.input_size, recipe.still_size) == ("tiny", 1, (64, 96), (96, 128))
    assert (recipe.fold, recipe.licence) == (0, "")
    assert recipe.stills is not None
    assert recipe.videos is not None
    assert recipe.stages == (recipe.stills, recipe.videos)
    assert (recipe.stills.steps, recipe.stills.batch, recipe.stills.scales) == (3, 8, (1, 1.5))
    assert (recipe.videos.steps, recipe.videos.batch, recipe.videos.rate) == (2, 16, 1e-3)
    assert recipe.stills.loss == LossWeights(kl=1, cc=0.5, nss=0.2)
    assert recipe.videos.loss == LossWeights(kl=1, cc=0.7, nss=0.1)  # a table of its own, not a mixture
    assert recipe.text == TEXT
    config = recipe.model_config
    assert (config.architecture, config.encoder) == ("tsfp", "efficientnet-lite0")
    assert (config.input_size, config.still_size) == ((64, 96), (96, 128))
    assert (config.mean, config.std) == (0.498, 0.502)


@pytest.mark.parametrize("left", ["stills", "videos"])
def test_one_stage_may_be_left_out(left: str) -> None:
    tables = [table for table in TEXT.split("\n\n") if not table.startswith((f"[{left}]", f"[{left}."))]
    recipe = streaming("\n\n".join(tables))
    assert getattr(recipe, left) is None
    assert len(recipe.stages) == 1


def test_a_fold_can_be_set(tmp_path: Path) -> None:
    path = tmp_path / "tiny.toml"
    path.write_text(TEXT, encoding="utf-8")
    recipe = load_recipe(path, ["fold=4"])
    assert isinstance(recipe, StreamingRecipe)
    assert recipe.fold == 4
    assert recipe.text.endswith("\n[set]\nfold = 4\n")
    assert streaming(recipe.text) == recipe


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
        name = load_recipe(path).name
        assert path.stem == name or path.stem.startswith(f"{name}-")


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
        ("[96, 128]", "[96, 100]", "96x100.* multiples of 32"),
        ("still_size = [96, 128]", "", "'still_size'"),
        ("seed = 1", "seed = 1\nfold = 6", "fold must be one of 1 to 5, or 0"),
        ("seed = 1", "seed = 1\nfold = -1", "fold must be one of 1 to 5, or 0"),
        ("seed = 1", "seed = 1\nfold = true", "fold = True does not fit"),
        ("seed = 1", "seed = 1\nscales = [1.0]", "unknown keys scales"),
        ("[1, 1.5]", "[]", r"scales of \[stills\] needs"),
        ("[1, 1.5]", "[1, 0]", r"scales of \[stills\] needs"),
        ("[1, 1.5]", "1.0", "scales = 1.0 does not fit"),
        ('"tiny"', '"../tiny"', "names a file"),
        ('"tsfp"', '"tased"', "architecture = 'tased' does not fit"),
        ('"efficientnet-lite0"', '"s3d"', "encoder = 's3d' does not fit"),
        ("[loss]\nnss = 0.2", "loss = 3", r"\[loss\]: must be a table"),
        ("nss = 0.2", "sim = 0.2", r"\[loss\]: unknown keys sim; known are cc, kl, nss"),
        ("nss = 0.2", 'nss = "much"', "nss = 'much' does not fit; it must be float"),
        ("cc = 0.7", "sim = 0.2", r"loss\]: unknown keys sim; known are cc, kl, nss"),
        ("steps = 3", "steps = 0", r"\[stills\] needs at least one of all that is counted"),
        ("steps = 2", "steps = -2", r"\[videos\] needs at least one of all that is counted"),
        ("steps = 3", "", r"\[stills\]: .*'steps'"),
        ("steps = 2", "", r"\[videos\]: .*'steps'"),
        ("steps = 3", "steps = 2.5", "steps = 2.5 does not fit"),
        ("steps = 3", "steps = 3\nbatch = 0", "counted"),
        ("steps = 2", "steps = 2\ncheckpoint_every = 0", "counted"),
        ("steps = 3", "steps = 3\nencoder_rate = -1.0", r"\[stills\] has a rate that is not above 0"),
        ("steps = 3", "steps = 3\npyramid_rate = 0", r"\[stills\] has a rate that is not above 0"),
        ("rate = 1e-3", "rate = 0.0", r"\[videos\] has a rate that is not above 0"),
        ("steps = 3", "steps = 3\naverage_decay = 1.0", "not below 1"),
        ("steps = 2", "steps = 2\nweight_decay = -0.1", "decay below 0"),
        ("steps = 3", "steps = 3\nrate = 1e-3", r"\[stills\]: unknown keys rate"),
        ("steps = 2", "steps = 2\nscales = [1.0]", r"\[videos\]: unknown keys scales"),
        ("[stills]", "[still]", "unknown keys still"),
        ("[stills]", "[[stills]]", r"\[stills\]: must be a table"),
        ("[stills]", "[[stages]]", "unknown keys stages"),
    ],
)
def test_what_is_wrong_is_said(old: str, new: str, message: str) -> None:
    assert TEXT.count(old) >= 1
    with pytest.raises(UsageError, match=rf"^tiny\.toml: .*{message}") as caught:
        parse_recipe(TEXT.replace(old, new, 1), "tiny.toml")
    assert "\n" not in str(caught.value)


def test_a_recipe_needs_a_stage() -> None:
    with pytest.raises(UsageError, match=r"at least one of \[stills\]"):
        parse_recipe(TEXT.partition("[loss]")[0], "tiny.toml")
