"""A distillation from a recipe to a checkpoint: opens the data, asks the teacher, trains, writes the average."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from saliency_cli._version import __version__
from saliency_cli.datasets import Dataset, Layout, Recording, open_dataset
from saliency_cli.errors import UsageError
from saliency_cli.inference.device import DTYPES, choose_device, choose_precision
from saliency_cli.models.checkpoint import (
    S3D_BLOCKS,
    load_strictly,
    read_checkpoint,
    s3d_encoder_state,
    save_checkpoint,
)
from saliency_cli.training.distilled import DistilledTrainer, network_for
from saliency_cli.training.distilled_material import VIDEO_SIZE, load_material, pictures_in
from saliency_cli.training.distilled_recipe import DistilledRecipe
from saliency_cli.training.distilled_validation import HeldOut
from saliency_cli.training.frames import FrameStore
from saliency_cli.training.saving import LAST
from saliency_cli.training.start import resolved
from saliency_cli.training.taps import hold_still, spread
from saliency_cli.training.teacher import Teacher

__all__ = ["run_distilled"]

TRAIN, VALIDATION = "train", "validation"  # parts of the data set


def run_distilled(
    recipe: DistilledRecipe,
    *,
    gaze: Path,
    layout: Layout | Literal["auto"],
    folder: Path,
    encoder: str | None,
    init: str | None,
    pictures: Path | None,
    cache: Path,
    resume: bool,
    device: str,
    precision: str,
    board: Path | None,
    on_step: Callable[[int, int | None], None] | None,
) -> Path:
    """Train and write ``<folder>/<recipe's name>.safetensors``, in half precision; its path.

    Arguments and errors are those of :func:`saliency_cli.training.run.run_recipe`.
    """
    place, _ = choose_device(device)
    chosen, _ = choose_precision(precision, place)
    if chosen == "fp16":
        raise UsageError("--precision fp16: gradients vanish in it; train in bf16 or fp32.")
    resumes = resume and (folder / LAST).exists()
    if not resumes:
        _check_start(recipe, encoder=encoder, init=init)
    unlabelled = [] if pictures is None else pictures_in(pictures)
    dataset = open_dataset(gaze, layout=layout)
    recordings = _learnt_from(dataset)
    teacher = Teacher(recipe.teacher.weights, device=place, precision=chosen)
    start, origin = (None, "") if resumes else _start(recipe, encoder=encoder, init=init)

    store = FrameStore(cache, VIDEO_SIZE)
    material = load_material(recordings, unlabelled, store, teacher)
    held_out = HeldOut(dataset.part(VALIDATION) if VALIDATION in dataset.splits else (), store)
    trainer = DistilledTrainer(
        recipe,
        start,
        material,
        teacher,
        held_out,
        folder,
        data_name=_name_of(dataset, recordings, unlabelled, teacher),
        started_from=origin,
        resume=resume,
        device=place,
        autocast=None if chosen == "fp32" else DTYPES[chosen],
        board=board,
    )
    average = trainer.run(on_step=on_step)
    header = {
        "name": recipe.name,
        "recipe": recipe.text,
        "training_data": f"{material.spelt}; {_names(recordings)}, {TRAIN}",
        "started_from": trainer.started_from,
        "teacher": f"{teacher.name}, SHA-256 {teacher.sha256}",
        "made_with": f"vsal {__version__}, torch {torch.__version__}, {chosen}",
        "licence": recipe.licence,
    }
    if trainer.scores is not None:
        header["validation_scores"] = f"{trainer.scores}; {_names(dataset.part(VALIDATION))}, {VALIDATION}"
    return save_checkpoint(folder / f"{recipe.name}.safetensors", average, recipe.model, header)


def _check_start(recipe: DistilledRecipe, *, encoder: str | None, init: str | None) -> None:
    """Raise UsageError if the weights given are not those that the recipe starts from."""
    wanted = {"--encoder": (encoder, "encoder"), "--init": (init, "checkpoint")}
    for flag, (given, kind) in wanted.items():
        if given is not None and recipe.start != kind:
            raise UsageError(
                f"{flag} {given}: the recipe {recipe.name} has start = {recipe.start!r}; "
                f"leave it out, or add --set start={kind}."
            )
        if given is None and recipe.start == kind:
            what = "an S3D encoder, or a TSFP-Net that has one," if kind == "encoder" else "a trained network"
            raise UsageError(f"the recipe {recipe.name} starts from {what}: name its weights with {flag}.")


def _start(recipe: DistilledRecipe, *, encoder: str | None, init: str | None) -> tuple[dict[str, Tensor], str]:
    """The state that the first stage starts from, and where it comes from."""
    torch.manual_seed(recipe.seed)
    network = network_for(recipe, 0)
    loaded: list[str] = []
    if init is not None:
        path = resolved(init, loaded)
        load_strictly(network, spread(read_checkpoint(path).state, network.state_dict()), path)
    else:
        hold_still(network)
    if encoder is not None:
        path = resolved(encoder, loaded)
        parts = getattr(network, "encoder", network)
        blocks = nn.ModuleDict({block: getattr(parts, block) for block in S3D_BLOCKS})
        state = read_checkpoint(path).state
        inside = {name.removeprefix("encoder."): value for name, value in state.items() if name.startswith("encoder.")}
        load_strictly(blocks, inside or s3d_encoder_state(state), path)
    return network.state_dict(), ", ".join(loaded) or "random weights"


def _learnt_from(dataset: Dataset) -> tuple[Recording, ...]:
    """The stills and videos of the training part that are there to be seen.

    Raises:
        UsageError: there are no videos among them.
    """
    found = tuple(recording for recording in dataset.part(TRAIN) if recording.stimulus is not None)
    if not any(recording.kind == "video" for recording in found):
        raise UsageError(f"{dataset.root} has no videos to train on in its part {TRAIN!r}; add some with their gaze.")
    return found


def _names(recordings: Sequence[Recording]) -> str:
    return ", ".join(sorted({recording.dataset for recording in recordings}))


def _name_of(dataset: Dataset, recordings: Sequence[Recording], unlabelled: Sequence[Path], teacher: Teacher) -> str:
    """The layout and a digest of what is learnt from: a run is resumed on the same alone."""
    names = [f"{recording.dataset}/{recording.name}" for recording in recordings]
    names += [path.name for path in unlabelled] + [teacher.sha256]
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]
    return f"{dataset.layout}, {len(recordings)} items, {len(unlabelled)} pictures, {digest}"
