"""How a network with a window learns from a trained one that needs none: the tables of a distillation's recipe.

The teacher is the embedded model, or another of its kind. First pictures, which cost little, then clips, small and
short ones before those of the network's own size. What such a run is made of is our own; no paper describes it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from saliency_cli.errors import UsageError
from saliency_cli.models.config import CLIP_LENGTHS, ModelConfig
from saliency_cli.training.flat import Taps
from saliency_cli.training.losses import LossWeights
from saliency_cli.training.tables import NAME, build
from saliency_cli.training.windowed_recipe import Start

__all__ = ["DistilledRecipe", "Stage", "TeacherPlan", "distilled_recipe"]


@dataclass(frozen=True, slots=True)
class TeacherPlan:
    """Who is learnt from, and how much.

    ``weights`` of the embedded model, by path or by a name of the manifest. ``share`` is what its map makes of the
    target; the rest is the density of recorded fixations. Where nobody looked, all of it is the teacher's.
    ``features`` weighs, against the map's loss, how far what the encoder sees in pictures is from what the teacher's
    does.
    """

    weights: str
    share: float = 0.5
    features: float = 1.0


@dataclass(frozen=True, slots=True)
class Stage:
    """``steps`` of AdamW, each on ``batch`` pictures or clips of ``clip_length`` frames, of ``size`` (height, width).

    The rate rises to ``rate`` over ``warm_up`` steps and falls linearly to ``last_rate``; ``encoder_rate`` is the
    encoder's own ``rate``, and 0 freezes it, its batch norms included. ``norms`` = "freeze" lets all batch norms use
    the statistics they have, of which a few clips would be a poor sample; their scales go on learning. ``weight_decay``
    is that of kernels, all else has none. The gradient's norm is limited to ``gradient_limit``. The averaged weights,
    which the next stage goes on from, keep ``average_decay`` of what they were every four steps. ``taps`` says what
    pictures see of the kernels over time: "middle" where these have learnt nothing yet, "sum" where they have.
    ``validate_every`` (0: at the stage's end alone) and ``checkpoint_every`` count steps.
    """

    kind: Literal["pictures", "clips"]
    size: tuple[int, int]
    batch: int
    steps: int
    rate: float
    last_rate: float
    clip_length: int = 1
    encoder_rate: float | None = None
    weight_decay: float = 2e-2
    warm_up: int = 60
    gradient_limit: float = 5.0
    average_decay: float = 0.99
    taps: Taps = "middle"
    norms: Literal["learn", "freeze"] = "learn"
    validate_every: int = 0
    checkpoint_every: int = 200

    def rate_at(self, step: int) -> float:
        """The decoder's rate in a step, counted from 0."""
        now = self.rate + (self.last_rate - self.rate) * step / max(self.steps - 1, 1)
        return now * min(1.0, (step + 1) / max(self.warm_up, 1))

    @property
    def encoder_share(self) -> float:
        """The encoder's rate as a multiple of the decoder's."""
        return 1.0 if self.encoder_rate is None else self.encoder_rate / self.rate


@dataclass(frozen=True, slots=True)
class DistilledRecipe:
    """A whole run. ``name`` names the result's file, ``licence`` is the result's, ``text`` the recipe file's.

    ``start``: "scratch"; "encoder", S3D or the encoder of a trained network; "checkpoint", a whole network.
    """

    name: str
    seed: int
    start: Start
    model: ModelConfig
    teacher: TeacherPlan
    loss: LossWeights
    stages: tuple[Stage, ...]
    text: str
    licence: str = ""

    def length_at(self, number: int) -> int:
        """The clip length of the network in a stage: in one of pictures that of the clips to come."""
        return next(stage.clip_length for stage in self.stages[number:] if stage.kind == "clips")


def distilled_recipe(table: dict[str, Any], text: str, source: str) -> DistilledRecipe:
    """The recipe of a TOML file's tables.

    Raises:
        UsageError: a key is unknown, missing, of the wrong type, or no run could be made with it.
    """
    model = build(ModelConfig, table.pop("model", {}), f"{source}: [model]")
    teacher = build(TeacherPlan, table.pop("teacher", {}), f"{source}: [teacher]")
    terms = table.pop("loss", {})
    silent = {"nss": 0.0, **terms} if isinstance(terms, dict) else terms  # the teacher's maps hold more than points
    loss = build(LossWeights, silent, f"{source}: [loss]")
    stages = table.pop("stages", [])
    if not isinstance(stages, list):
        raise UsageError(f"{source}: [[stages]] must be a list of tables.")
    built = tuple(build(Stage, stage, f"{source}: stage {n}") for n, stage in enumerate(stages, 1))
    recipe = build(DistilledRecipe, table, source, model=model, teacher=teacher, loss=loss, stages=built, text=text)
    if fault := _fault(recipe):
        raise UsageError(f"{source}: {fault}.")
    return recipe


def _fault(recipe: DistilledRecipe) -> str | None:
    """The first value that no run could be made with."""
    model, stages = recipe.model, recipe.stages
    if not re.fullmatch(NAME, recipe.name):
        return f"name {recipe.name!r} names a file: use letters, digits, dots and dashes"
    if recipe.seed < 0:
        return "seed must not be negative"
    if model.encoder != "s3d" or model.audio:
        return "[model] of a recipe with [teacher] is a network on s3d without audio"
    if not 0 <= recipe.teacher.share <= 1 or recipe.teacher.features < 0:
        return "[teacher] needs a share from 0 to 1, and features not below 0"
    if not stages or (stages[-1].kind, stages[-1].clip_length, stages[-1].size) != (
        "clips",
        model.clip_length,
        model.input_size,
    ):
        return (
            f"the last of [[stages]] must be of clips of {model.clip_length} frames of "
            f"{model.input_size[0]}x{model.input_size[1]}, as [model] has them"
        )
    before = 0
    for number, stage in enumerate(stages, 1):
        if fault := _stage_fault(stage, model):
            return f"stage {number}: {fault}"
        if stage.kind == "clips":
            if before and max(before, stage.clip_length) % min(before, stage.clip_length):
                return f"stage {number}: clips of {before} and of {stage.clip_length} frames are no multiples"
            before = stage.clip_length
        elif stage.taps == "middle" and (before or recipe.start != "scratch"):
            return f'stage {number}: its pictures would forget what kernels know of time; add taps = "sum"'
    return None


def _stage_fault(stage: Stage, model: ModelConfig) -> str | None:
    height, width = stage.size
    lengths = (1,) if stage.kind == "pictures" else CLIP_LENGTHS[model.architecture]
    if stage.clip_length not in lengths:
        known = ", ".join(map(str, lengths))
        return f"{stage.kind} of {stage.clip_length} frames do not fit {model.architecture}; it takes {known}"
    if min(height, width) < 32 or height % 32 or width % 32:
        return f"a size of {height}x{width} does not fit: both sides must be multiples of 32"
    if min(stage.batch, stage.steps, stage.checkpoint_every) < 1 or min(stage.validate_every, stage.warm_up) < 0:
        return "batch, steps and checkpoint_every must be at least 1, validate_every and warm_up not negative"
    if stage.norms == "learn" and stage.batch * max(stage.clip_length // 8, 1) * (height // 32) * (width // 32) < 2:
        return "batch = 1 leaves batch norms one value of so small a picture; use 2 or more"
    if min(stage.rate, stage.last_rate) <= 0 or (stage.encoder_rate or 0) < 0 or stage.weight_decay < 0:
        return "rate and last_rate must be above 0, encoder_rate and weight_decay not below"
    if not stage.gradient_limit > 0 or not 0 <= stage.average_decay < 1:
        return "gradient_limit must be above 0, and average_decay at least 0 and below 1"
    return None
