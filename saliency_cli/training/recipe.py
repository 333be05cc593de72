"""A training run as a TOML file: all that decides the result, besides the gaze data and the first weights.

The text is stored in the checkpoint and in the result, so that a model can always say how it came to be.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from saliency_cli.errors import ReadError
from saliency_cli.training.distilled_recipe import DistilledRecipe, distilled_recipe
from saliency_cli.training.streaming_recipe import StreamingRecipe, streaming_recipe
from saliency_cli.training.tables import read_table, with_changes
from saliency_cli.training.windowed_recipe import WindowedRecipe, windowed_recipe

__all__ = ["Recipe", "load_recipe", "parse_recipe"]

Recipe: TypeAlias = StreamingRecipe | WindowedRecipe | DistilledRecipe


def load_recipe(path: Path, changes: Sequence[str] = ()) -> Recipe:
    """Read a recipe, with ``changes`` of the form ``key=value`` that become part of its text.

    Raises:
        ReadError: there is no such file.
        UsageError: it is not TOML, or a key is unknown, missing, of the wrong type, or makes no sense.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ReadError(f"{path}: the recipe cannot be read ({error}); give a TOML file.") from error
    return parse_recipe(with_changes(text, changes, str(path)), str(path))


def parse_recipe(text: str, source: str) -> Recipe:
    """A recipe from its text; ``source`` names it in errors.

    With a table ``[model]`` it trains a network that sees a window, from a teacher if there is a table ``[teacher]``;
    with ``[stills]``, ``[videos]`` or ``[sound]`` the embedded one.
    """
    table = read_table(text, source)
    if "teacher" in table:
        return distilled_recipe(table, text, source)
    if "model" in table:
        return windowed_recipe(table, text, source)
    return streaming_recipe(table, text, source)
