"""How the embedded model is trained: on photographs, then, what it learnt frozen, on videos, and on sound."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from saliency_cli.errors import UsageError
from saliency_cli.metrics.split import FOLDS
from saliency_cli.models.config import ModelConfig
from saliency_cli.models.efficientnet import MEAN, STD
from saliency_cli.training.losses import LossWeights
from saliency_cli.training.tables import NAME, build

__all__ = [
    "STAGES",
    "SoundStage",
    "Stage",
    "StillsStage",
    "StreamingRecipe",
    "VideosStage",
    "stage_name",
    "streaming_recipe",
]


@dataclass(frozen=True, slots=True)
class StillsStage:
    """What draws the eye in a picture: encoder and pyramid learn from photographs.

    ``steps`` of an AdamW optimiser on one cycle, each on ``batch`` photographs. Rates are the peaks. ``scales``
    multiply the recipe's ``still_size``, one drawn for each batch. ``average_decay`` is the share of the averaged
    weights, which are the result, that a step keeps. A checkpoint is written after ``checkpoint_every`` steps. ``loss``
    is the recipe's, or a table of its own.
    """

    loss: LossWeights
    steps: int
    batch: int = 8
    scales: tuple[float, ...] = (1.0,)
    encoder_rate: float = 3e-4
    pyramid_rate: float = 2e-3
    weight_decay: float = 1e-2
    average_decay: float = 0.995
    checkpoint_every: int = 50


@dataclass(frozen=True, slots=True)
class VideosStage:
    """What movement changes: the motion branch learns from single frames of videos, the rest stays as it is.

    Each of ``steps`` takes ``batch`` frames, drawn from all videos alike. The rest is as for photographs.
    """

    loss: LossWeights
    steps: int
    batch: int = 16
    rate: float = 2e-3
    weight_decay: float = 1e-2
    average_decay: float = 0.99
    checkpoint_every: int = 100


@dataclass(frozen=True, slots=True)
class SoundStage:
    """What sound changes: the fusion learns from single frames of the videos that have sound, the rest stays as it is.

    As there are few of them, the rate is low and the decay of weights high. ``study`` is a sentence on what the branch
    was found to be good for, which goes with the checkpoint and is said when sound is used. The rest is as for videos.
    """

    loss: LossWeights
    steps: int
    batch: int = 16
    rate: float = 1e-3
    weight_decay: float = 1e-1
    average_decay: float = 0.99
    checkpoint_every: int = 100
    study: str = ""


Stage: TypeAlias = StillsStage | VideosStage | SoundStage
STAGES: Mapping[str, type[Stage]] = {"stills": StillsStage, "videos": VideosStage, "sound": SoundStage}


def stage_name(stage: Stage) -> str:
    """The table in the recipe: stills, videos or sound."""
    return next(name for name, kind in STAGES.items() if isinstance(stage, kind))


@dataclass(frozen=True, slots=True)
class StreamingRecipe:
    """A whole run of the embedded model.

    ``input_size`` and ``still_size`` are the budgets of area (height, width) that frames and photographs of any shape
    are fitted into, and go with the checkpoint. ``name`` names the result's file, ``licence`` is the result's. Without
    ``[stills]`` the run goes on from another one's weights; without ``[videos]`` movement is not learnt; without
    ``[sound]`` the network has no sound branch. ``fold``, from 1 to 5, leaves out a fifth of the videos, to be tested
    on, instead of those that validate. ``text`` is the recipe file's, to be stored with the result.
    """

    name: str
    architecture: Literal["tsfp"]
    encoder: Literal["efficientnet-lite0"]
    seed: int
    input_size: tuple[int, int]
    still_size: tuple[int, int]
    stills: StillsStage | None
    videos: VideosStage | None
    text: str
    sound: SoundStage | None = None
    licence: str = ""
    fold: int = 0

    @property
    def model_config(self) -> ModelConfig:
        """The network that comes of it. Raises UsageError for an input size that is none."""
        return ModelConfig(
            architecture=self.architecture,
            encoder=self.encoder,
            input_size=self.input_size,
            still_size=self.still_size,
            mean=MEAN,
            std=STD,
            audio=self.sound is not None,
        )

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Those that the recipe has, in their order."""
        return tuple(stage for stage in (self.stills, self.videos, self.sound) if stage is not None)


def streaming_recipe(table: dict[str, Any], text: str, source: str) -> StreamingRecipe:
    """The recipe of a TOML file's tables.

    Raises:
        UsageError: a key is unknown, missing, of the wrong type, or no run could be made with it.
    """
    shared = table.pop("loss", {})
    parts: dict[str, Any] = {}
    for name, kind in STAGES.items():
        stage = table.pop(name, None)
        own = stage.pop("loss", shared) if isinstance(stage, dict) else shared
        loss = build(LossWeights, own, f"{source}: [loss]")
        parts[name] = None if stage is None else build(kind, stage, f"{source}: [{name}]", loss=loss)
    if not any(parts.values()):
        raise UsageError(
            f"{source}: a recipe needs a table [model], or at least one of [stills], [videos] and [sound]."
        )
    recipe = build(StreamingRecipe, table, source, text=text, **parts)
    if fault := _fault(recipe):
        raise UsageError(f"{source}: {fault}.")
    try:
        _ = recipe.model_config
    except UsageError as error:
        raise UsageError(f"{source}: {error}") from error
    return recipe


def _fault(recipe: StreamingRecipe) -> str | None:
    """The first value that no run could be made with."""
    if not re.fullmatch(NAME, recipe.name):
        return f"name {recipe.name!r} names a file: use letters, digits, dots and dashes"
    if recipe.seed < 0:
        return "seed must not be negative"
    if not 0 <= recipe.fold <= FOLDS:
        return f"fold must be one of 1 to {FOLDS}, or 0 for none"
    for stage in recipe.stages:
        name = stage_name(stage)
        rates = (stage.encoder_rate, stage.pyramid_rate) if isinstance(stage, StillsStage) else (stage.rate,)
        if min(stage.steps, stage.batch, stage.checkpoint_every) < 1:
            return f"[{name}] needs at least one of all that is counted"
        if min(rates) <= 0 or stage.weight_decay < 0 or not 0 <= stage.average_decay < 1:
            return f"[{name}] has a rate that is not above 0, or a decay below 0 or an average_decay not below 1"
        if isinstance(stage, StillsStage) and (not stage.scales or min(stage.scales) <= 0):
            return "scales of [stills] needs at least one value above 0"
    return None
