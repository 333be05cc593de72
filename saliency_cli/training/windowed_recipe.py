"""How a network with a window, TSFP-Net on S3D or TASED-Net, is trained: the tables of its recipe.

Every value of the papers' runs (TSFP-Net, section 4.2; TASED-Net, section 4.1) is one of these, and so are their
ablations. Where neither paper says anything, the default is ours, and the field's description says so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal, get_args

from saliency_cli.errors import UsageError
from saliency_cli.models.config import ModelConfig
from saliency_cli.training.losses import LossWeights
from saliency_cli.training.tables import NAME, build

__all__ = ["DataPlan", "OptimiserPlan", "Part", "SchedulePlan", "Start", "WindowedRecipe", "windowed_recipe"]

Part = Literal["encoder", "decoder", "sound"]
"""S3D; what stands on it; SoundNet. Where sound and picture are fused belongs to the decoder."""

Start = Literal["encoder", "checkpoint", "scratch"]
"""From S3D trained on Kinetics (both papers); from a whole network (fine-tuning); from random weights."""


@dataclass(frozen=True, slots=True)
class DataPlan:
    """What is learnt from, and what it is held against.

    ``train`` and ``validation`` name splits of the data set; without a ``validation`` the last weights are the result.
    Of each validation video the first ``validation_frames`` frames count (0: all), and of the clips that predict them
    ``validation_clips``, spread evenly (0: all). A video of fewer than T frames gets its first one repeated in front
    (TSFP-Net) or is looped to 2T-1 (TASED-Net). ``flip`` mirrors every other clip: neither paper speaks of it.
    """

    train: str = "train"
    validation: str = "validation"
    validation_frames: int = 0
    validation_clips: int = 0
    short_videos: Literal["repeat-first", "loop"] = "repeat-first"
    flip: bool = False


@dataclass(frozen=True, slots=True)
class OptimiserPlan:
    """Adam, or SGD with ``momentum``. A rate of 0 freezes a part, its batch norms included.

    ``rate`` is the decoder's; the others' are the same unless given. Weight decay and a limit to the gradient's norm
    (0: none) are in neither paper. TSFP-Net's does not say whether SoundNet learns along; in our recipe it does not.
    """

    kind: Literal["adam", "sgd"] = "adam"
    rate: float = 1e-4
    encoder_rate: float | None = None
    sound_rate: float | None = None
    momentum: float = 0.9
    weight_decay: float = 0.0
    gradient_limit: float = 0.0

    def rate_of(self, part: Part) -> float:
        """The part's learning rate at the beginning."""
        own = {"encoder": self.encoder_rate, "sound": self.sound_rate, "decoder": None}[part]
        return self.rate if own is None else own


@dataclass(frozen=True, slots=True)
class SchedulePlan:
    """How long, in what portions, and when the rates fall.

    ``length``, ``falls_at`` and ``validate_every`` count in ``unit``; in an epoch every training video gives one clip.
    A step learns from ``batch`` clips, of which ``at_once`` go through the network together (batch norms see these);
    the gradients of all are added up before the weights change. The rates of the ``falling`` parts are multiplied by
    ``falls_by`` as each unit of ``falls_at``, counted from 1, begins. With ``patience`` the run ends after so many
    validations without a better NSS; 0 goes on to the end. Either way the best weights are the result.
    ``checkpoint_every`` counts steps; each validation makes a checkpoint too.
    """

    length: int
    unit: Literal["epoch", "step"] = "epoch"
    batch: int = 16
    at_once: int = 4
    falls_at: tuple[int, ...] = ()
    falls_by: float = 0.1
    falling: tuple[Part, ...] = ("encoder", "decoder", "sound")
    validate_every: int = 1
    patience: int = 0
    checkpoint_every: int = 50


@dataclass(frozen=True, slots=True)
class WindowedRecipe:
    """A whole run. ``name`` names the result's file, ``licence`` is the result's, ``text`` the recipe file's."""

    name: str
    seed: int
    start: Start
    model: ModelConfig
    data: DataPlan
    loss: LossWeights
    optimiser: OptimiserPlan
    schedule: SchedulePlan
    text: str
    licence: str = ""


def windowed_recipe(table: dict[str, Any], text: str, source: str) -> WindowedRecipe:
    """The recipe of a TOML file's tables.

    Raises:
        UsageError: a key is unknown, missing, of the wrong type, or no run could be made with it.
    """

    kinds = {"data": DataPlan, "loss": LossWeights, "model": ModelConfig}
    kinds |= {"optimiser": OptimiserPlan, "schedule": SchedulePlan}
    parts: dict[str, Any] = {
        name: build(kind, table.pop(name, {}), f"{source}: [{name}]") for name, kind in kinds.items()
    }
    recipe = build(WindowedRecipe, table, source, **parts, text=text)
    if fault := _fault(recipe):
        raise UsageError(f"{source}: {fault}.")
    return recipe


def _fault(recipe: WindowedRecipe) -> str | None:
    """The first value that no run could be made with."""
    data, optimiser, schedule = recipe.data, recipe.optimiser, recipe.schedule
    if not re.fullmatch(NAME, recipe.name):
        return f"name {recipe.name!r} names a file: use letters, digits, dots and dashes"
    if recipe.seed < 0:
        return "seed must not be negative"
    if recipe.model.encoder != "s3d":
        return f"[model] trains networks on s3d; {recipe.model.encoder} is trained by [stills], [videos] and [sound]"
    if not data.train or data.train == data.validation:
        return "[data] needs a split to train on, and another one to validate"
    if min(data.validation_frames, data.validation_clips, schedule.patience) < 0:
        return "validation_frames, validation_clips and patience must not be negative"
    counts = (schedule.length, schedule.batch, schedule.at_once, schedule.validate_every, schedule.checkpoint_every)
    if min(counts) < 1:
        return "length, batch, at_once, validate_every and checkpoint_every must be at least 1"
    if schedule.batch % schedule.at_once:
        return f"a batch of {schedule.batch} cannot be made of portions of {schedule.at_once} (at_once)"
    if list(schedule.falls_at) != sorted(set(schedule.falls_at)) or min(schedule.falls_at, default=1) < 1:
        return "falls_at must rise, from 1 or above"
    rates = [optimiser.rate_of(part) for part in get_args(Part)]
    if min(*rates, optimiser.weight_decay, optimiser.gradient_limit) < 0 or not schedule.falls_by > 0:
        return "a rate, weight_decay or gradient_limit is negative, or falls_by is not above 0"
    if not 0 <= optimiser.momentum < 1:
        return "momentum must be at least 0, and below 1"
    if not any(rates[: 3 if recipe.model.audio else 2]):
        return "the rates freeze everything: give one of them a value above 0"
    return None
