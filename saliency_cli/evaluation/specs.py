"""Sources by name, as the command line and a comparison name them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast, get_args

from saliency_cli.errors import UsageError
from saliency_cli.evaluation.sources import CENTRE, OBSERVERS, Centre, MapSource, Observers, PredictedMaps
from saliency_cli.evaluation.stored import StoredMaps
from saliency_cli.models.checkpoint import read_checkpoint
from saliency_cli.models.registry import resolve_weights
from saliency_cli.options import Model, PredictOptions

__all__ = ["RESULT_SUFFIX", "is_result", "open_predictions"]

RESULT_SUFFIX = ".json"
MODEL = "model:"
BASELINES: dict[str, Callable[[], MapSource]] = {CENTRE: Centre, OBSERVERS: Observers}
CHECKPOINTS = (".safetensors", ".pt", ".pth", ".tar")


def is_result(spec: str) -> bool:
    """Whether ``spec`` is an earlier result, as ``vsal evaluate --json`` writes it."""
    return Path(spec).suffix.lower() == RESULT_SUFFIX and not Path(spec).is_dir()


def open_predictions(spec: str | None, options: PredictOptions | None = None) -> MapSource:
    """The source that ``spec`` names.

    None is the model of ``options``; ``model:NAME`` an architecture (``tsfp``, ``tased``) with its own weights, or
    weights by name; a checkpoint's path that network; ``baseline:center`` and ``baseline:observers`` what knows no
    picture; anything else a folder or file of maps. Whatever runs takes device, precision and the like from
    ``options``, and its architecture from the weights' header.

    Raises:
        UsageError: a baseline that does not exist, or options that do not fit.
        ReadError: there is nothing at a path.
        WeightsError, DeviceError: the model cannot be loaded.
    """
    options = options or PredictOptions()
    if spec is None:
        return PredictedMaps(options)
    if spec in BASELINES:
        return BASELINES[spec]()
    if spec.startswith("baseline:"):
        raise UsageError(f"{spec}: there is no such baseline; use {' or '.join(BASELINES)}.")
    if spec.startswith(MODEL):
        name = spec.removeprefix(MODEL)
        if name in get_args(Model):
            return PredictedMaps(replace(options, model=cast(Model, name), weights=None), name=spec)
        return PredictedMaps(_of_weights(name, options), name=spec)
    if Path(spec).suffix.lower() in CHECKPOINTS:
        return PredictedMaps(_of_weights(spec, options), name=spec)
    if not spec:
        raise UsageError("the name of the predictions is empty: give a folder, model:NAME or baseline:center.")
    return StoredMaps(spec)


def _of_weights(weights: str, options: PredictOptions) -> PredictOptions:
    """Options for these weights; the architecture is what their header says, if it says something."""
    path, _ = resolve_weights(weights)
    found = read_checkpoint(path).metadata.get("architecture", options.model)
    model = found if found in get_args(Model) else options.model
    return replace(options, model=cast(Model, model), weights=weights)
