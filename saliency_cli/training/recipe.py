"""A training run as a TOML file: all that decides the result, besides the gaze data and the encoder's first weights.

The file's text is stored in the checkpoint, so that a model can always say how it came to be.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from saliency_cli.errors import ReadError, UsageError
from saliency_cli.models.config import ModelConfig
from saliency_cli.models.efficientnet import MEAN, STD
from saliency_cli.training.losses import LossWeights

__all__ = ["Recipe", "Stage", "load_recipe", "parse_recipe"]

Material = Literal["stills", "videos"]
NAME = r"[\w.-]+"


@dataclass(frozen=True, slots=True)
class Stage:
    """One part of the run, with an optimiser and a one-cycle schedule of its own.

    ``steps`` optimiser steps are shared among ``materials`` in turn. A batch has ``batch`` stills, or ``clips`` clips
    of ``clip_frames`` frames that stand ``clip_spacing`` seconds apart (a value drawn evenly between the two).
    Learning rates are the peaks; 0 freezes the part, its batch norms included. ``average_decay`` is the share of the
    averaged weights that a step keeps. ``blend`` is how far encoder and pyramid go, in the end, from where the stage
    found them to where it took them: below 1, what the stage before taught is kept in part (interpolation of weights,
    as in Wortsman et al. 2022, "Robust fine-tuning of zero-shot models"). ``checkpoint_every`` counts steps; the
    stage's last one is saved in any case.
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
    blend: float = 1.0
    checkpoint_every: int = 100


@dataclass(frozen=True, slots=True)
class Recipe:
    """A whole run.

    ``input_size`` is the budget of area (height, width) that pictures of any shape are fitted into, and goes with the
    checkpoint; each batch multiplies both sides by one of ``scales``. ``name`` names the result's file, ``licence`` is
    the result's. ``text`` is the recipe file's, to be stored with the result.
    """

    name: str
    architecture: Literal["tsfp"]
    encoder: Literal["efficientnet-lite0"]
    seed: int
    input_size: tuple[int, int]
    scales: tuple[float, ...]
    loss: LossWeights
    stages: tuple[Stage, ...]
    text: str
    licence: str = ""

    @property
    def model_config(self) -> ModelConfig:
        """The network that comes of it. Raises UsageError for an input size that is none."""
        return ModelConfig(
            architecture=self.architecture, encoder=self.encoder, input_size=self.input_size, mean=MEAN, std=STD
        )


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
    recipe = _build(Recipe, table, source, loss=loss, stages=built, text=text)
    if fault := _fault(recipe):
        raise UsageError(f"{source}: {fault}.")
    try:
        _ = recipe.model_config
    except UsageError as error:
        raise UsageError(f"{source}: {error}") from error
    return recipe


def _fault(recipe: Recipe) -> str | None:
    """The first value that no run could be made with."""
    if not re.fullmatch(NAME, recipe.name):
        return f"name {recipe.name!r} names a file: use letters, digits, dots and dashes"
    if recipe.seed < 0 or not recipe.scales or min(recipe.scales) <= 0:
        return "seed must not be negative, and scales needs at least one value above 0"
    names = [stage.name for stage in recipe.stages]
    if len(set(names)) < len(names) or not all(re.fullmatch(NAME, name) for name in names):
        return "every stage needs a name of its own, of letters, digits, dots and dashes"
    for stage in recipe.stages:
        counts = (stage.steps, stage.batch, stage.clips, stage.clip_frames, stage.checkpoint_every)
        rates = (stage.encoder_rate, stage.pyramid_rate, stage.temporal_rate)
        if min(counts) < 1 or not stage.materials:
            return f"stage {stage.name!r} needs at least one of steps, materials, and all else that is counted"
        if not 0 <= stage.clip_spacing[0] <= stage.clip_spacing[1]:
            return f"clip_spacing of stage {stage.name!r} must rise, from 0 or above"
        if min(*rates, stage.weight_decay) < 0 or not 0 <= stage.average_decay < 1:
            return f"stage {stage.name!r} has a negative rate or decay, or an average_decay that is not below 1"
        if not 0 < stage.blend <= 1:
            return f"blend of stage {stage.name!r} must lie above 0, and not above 1"
        if not any(rates):
            return f"stage {stage.name!r} freezes everything: give one of its rates a value above 0"
    return None


def _build(kind: type[T], table: Any, source: str, **given: Any) -> T:
    """A frozen dataclass from a TOML table and what is ``given`` besides; lists become tuples."""
    if not isinstance(table, dict):
        raise UsageError(f"{source}: must be a table.")
    hints = {name: hint for name, hint in get_type_hints(kind).items() if name not in given}
    if unknown := sorted(set(table) - set(hints)):
        raise UsageError(f"{source}: unknown keys {', '.join(unknown)}; known are {', '.join(sorted(hints))}.")
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in table.items()}
    for name, value in values.items():
        if not _fits(value, hints[name]):
            wanted = hints[name].__name__ if isinstance(hints[name], type) else hints[name]
            raise UsageError(f"{source}: {name} = {table[name]!r} does not fit; it must be {wanted}.")
    try:
        return kind(**values, **given)
    except TypeError as error:  # a key without a default is missing; Python's own message names it
        raise UsageError(f"{source}: {error}.") from error


def _fits(value: object, hint: Any) -> bool:
    """Whether a value of TOML is of a type: str, int, float, a Literal or a tuple of these."""
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    if get_origin(hint) is tuple:
        if not isinstance(value, tuple):
            return False
        inside = get_args(hint)
        hints = inside[:1] * len(value) if inside[-1] is Ellipsis else inside
        return len(hints) == len(value) and all(map(_fits, value, hints))
    if isinstance(value, bool):
        return False
    return isinstance(value, (int, float) if hint is float else hint)
