"""Recipes small enough for tests."""

from __future__ import annotations

from saliency_cli.training.recipe import parse_recipe
from saliency_cli.training.streaming_recipe import StreamingRecipe
from saliency_cli.training.tables import with_changes
from saliency_cli.training.windowed_recipe import WindowedRecipe

__all__ = ["STREAMING", "WINDOWED", "streaming", "windowed"]

STREAMING = """
name = "tiny"
architecture = "tsfp"
encoder = "efficientnet-lite0"
seed = 1
input_size = [64, 96]
still_size = [64, 96]

[stills]
steps = 3
batch = 2
checkpoint_every = 2

[videos]
steps = 3
batch = 2
checkpoint_every = 2
"""

WINDOWED = """
name = "tiny"
seed = 1
start = "scratch"

[model]
architecture = "tased"
clip_length = 4
input_size = [32, 32]

[data]
flip = true

[loss]
kl = 1.0
cc = 0.5
nss = 0.1

[optimiser]
kind = "adam"
rate = 1e-3

[schedule]
unit = "step"
length = 5
batch = 4
at_once = 2
falls_at = [4]
validate_every = 3
checkpoint_every = 3
"""


def streaming(text: str = STREAMING) -> StreamingRecipe:
    """The embedded model's recipe, parsed."""
    recipe = parse_recipe(text, "tiny.toml")
    assert isinstance(recipe, StreamingRecipe)
    return recipe


def windowed(*changes: str) -> WindowedRecipe:
    """TASED-Net's recipe at its smallest, with changes as ``--set`` takes them."""
    recipe = parse_recipe(with_changes(WINDOWED, changes, "tiny.toml"), "tiny.toml")
    assert isinstance(recipe, WindowedRecipe)
    return recipe
