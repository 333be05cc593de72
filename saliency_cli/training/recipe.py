"""A training run as a TOML file: everything that decides the result, and nothing else.

The file's text is stored in the checkpoint, so that a model can always say how it came to be.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from saliency_cli.errors import ReadError, UsageError
from saliency_cli.training.losses import LossWeights

__all__ = ["Recipe", "Stage", "load_recipe", "parse_recipe"]

Material = Literal["stills", "videos"]


@dataclass(frozen=True, slots=True)
class Stage:
    """One part of the run, with an optimiser and a one-cycle schedule of its own.

    ``steps`` optimiser steps are shared among ``materials`` in turn. A batch has ``batch`` stills, or ``clips`` clips
    of ``clip_frames`` frames that stand ``clip_spacing`` seconds apart (a value drawn evenly between the two).
    Learning rates are the peaks; 0 freezes the part, its batch norms included.
    """

    name: str
    materials: tuple[Material, ...]
    steps: int
    batch: int = 8
    clips: int = 2
    clip_frames: int = 8
    clip_spacing: tuple[float, float] = (0.08, 0.2)
    encoder_rate: float = 3e-4
    pyramid_rate: float = 2e-3
    temporal_rate: float = 2e-3
    weight_decay: float = 1e-2
    average_decay: float = 0.998
    checkpoint_every: int = 100
    validate_every: int = 0


@dataclass(frozen=True, slots=True)
class Recipe:
    """A whole run. ``text`` is the file's, to be stored with the result."""

    name: str
    architecture: Literal["tsfp"]
    encoder: Literal["efficientnet-lite0"]
    seed: int
    input_size: tuple[int, int]
    scales: tuple[float, ...]
    loss: LossWeights
    stages: tuple[Stage, ...]
    text: str


T = TypeVar("T")


def load_recipe(path: Path) -> Recipe:
    """Read a recipe.

    Raises:
        ReadError: there is no such file.
        UsageError: it is not TOML, or a key is unknown, missing, or of the wrong type.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ReadError(f"{path}: the recipe cannot be read ({error}); give a TOML file.") from error
    return parse_recipe(text, str(path))


def parse_recipe(text: str, source: str) -> Recipe:
    """A recipe from its text; ``source`` names it in errors."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{source}: not TOML ({error}); see recipes/ for examples.") from error
    stages = table.pop("stages", None)
    if not isinstance(stages, list) or not stages:
        raise UsageError(f"{source}: a recipe needs at least one [[stages]] table.")
    loss = _build(LossWeights, table.pop("loss", {}), f"{source}: [loss]")
    built = tuple(_build(Stage, stage, f"{source}: [[stages]] {n}") for n, stage in enumerate(stages, 1))
    for stage in built:
        unknown = set(stage.materials) - set(get_args(Material))
        if unknown or not stage.materials:
            raise UsageError(f"{source}: materials of stage {stage.name!r} must be among {get_args(Material)}.")
        if stage.steps < 1:
            raise UsageError(f"{source}: stage {stage.name!r} needs at least one step.")
    recipe = _build(Recipe, {**table, "loss": loss, "stages": built, "text": text}, source)
    trainable: tuple[str, str] = ("tsfp", "efficientnet-lite0")
    if (recipe.architecture, recipe.encoder) != trainable:
        raise UsageError(
            f"{source}: only architecture 'tsfp' with encoder 'efficientnet-lite0' can be trained so far, "
            f"not {recipe.architecture!r} with {recipe.encoder!r}."
        )
    return recipe


def _build(kind: type[T], table: dict[str, Any], source: str) -> T:
    """A frozen dataclass from a TOML table, lists become tuples; unknown and missing keys are errors."""
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    if unknown := sorted(set(table) - known):
        raise UsageError(f"{source}: unknown keys {', '.join(unknown)}; known are {', '.join(sorted(known))}.")
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in table.items()}
    try:
        return kind(**values)
    except TypeError as error:
        raise UsageError(f"{source}: {error}.") from error
