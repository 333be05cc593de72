"""TSFP-Net and TASED-Net from a recipe to a checkpoint: opens the data, trains, writes the best weights."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from saliency_cli._version import __version__
from saliency_cli.datasets import Dataset, FrameRecording, Layout, Recording, open_dataset
from saliency_cli.errors import UsageError
from saliency_cli.inference.device import DTYPES, choose_device, choose_precision
from saliency_cli.media import probe
from saliency_cli.models.checkpoint import read_checkpoint, save_checkpoint
from saliency_cli.models.registry import build
from saliency_cli.training.flat import flatten
from saliency_cli.training.frames import FrameStore
from saliency_cli.training.ranks import Ranks
from saliency_cli.training.saving import LAST
from saliency_cli.training.start import check_start, load_start
from saliency_cli.training.validation import Scores
from saliency_cli.training.windowed import WindowedTrainer
from saliency_cli.training.windowed_data import TrainingClips, ValidationClips
from saliency_cli.training.windowed_recipe import WindowedRecipe

__all__ = ["BEST", "run_windowed"]

log = logging.getLogger(__name__)

BEST = "best.safetensors"


def run_windowed(
    recipe: WindowedRecipe,
    *,
    gaze: Path,
    layout: Layout | Literal["auto"],
    folder: Path,
    encoder: str | None,
    init: str | None,
    soundnet: str | None,
    cache: Path,
    resume: bool,
    ranks: Ranks,
    device: str,
    precision: str,
    board: Path | None,
    on_step: Callable[[int, int | None], None] | None,
) -> Path | None:
    """Train and write ``<folder>/<recipe's name>.safetensors``; its path, None in all but the first process.

    Arguments and errors are those of :func:`saliency_cli.training.run.run_recipe`.
    """
    place, _ = choose_device(device)
    chosen, _ = choose_precision(precision, place)
    resumes = resume and (folder / LAST).exists()
    if not resumes:
        check_start(recipe, encoder=encoder, init=init, soundnet=soundnet)
    dataset = open_dataset(gaze, layout=layout)
    videos = _videos(dataset, recipe.data.train)
    held_out = _videos(dataset, recipe.data.validation) if recipe.data.validation else ()
    store = FrameStore(cache, recipe.model.input_size, listen=recipe.model.audio)
    _check_sound(recipe, videos, gaze)

    torch.manual_seed(recipe.seed)
    module = build(recipe.model)
    if chosen == "bf16" and place.type == "cpu":
        flatten(module)  # a CPU's gradients of three-dimensional convolutions are wrong in bf16 (torch 2.13)
    started = "" if resumes else load_start(module, recipe, encoder=encoder, init=init, soundnet=soundnet)
    at_once = recipe.schedule.at_once
    trainer = WindowedTrainer(
        recipe,
        module,
        TrainingClips(videos, store, recipe),
        ValidationClips(held_out, store, recipe, at_once=at_once) if held_out else None,
        folder,
        data_name=_name_of(dataset, videos, held_out),
        started_from=started,
        resume=resume,
        device=place,
        autocast=None if chosen == "fp32" else DTYPES[chosen],
        ranks=ranks,
        board=board,
    )
    header = {
        "name": recipe.name,
        "recipe": recipe.text,
        "training_data": f"{_spell(videos)}, {recipe.data.train}",
        "started_from": trainer.started_from,
        "made_with": f"vsal {__version__}, torch {torch.__version__}, {chosen}",
        "licence": recipe.licence,
    }

    def keep(state: dict[str, Tensor], scores: Scores, step: int) -> None:
        said = f"NSS {scores.nss:.4f} on {scores.frames} frames of {_spell(held_out)}, {recipe.data.validation}"
        extra = {**header, "validation_scores": said, "step": str(step)}
        save_checkpoint(folder / BEST, state, recipe.model, extra, half=False)

    trainer.run(on_step=on_step, on_best=keep)
    if not ranks.first:
        return None
    goal = folder / f"{recipe.name}.safetensors"
    if not held_out:
        return save_checkpoint(goal, module, recipe.model, {**header, "step": str(trainer.step)}, half=False)
    best = read_checkpoint(folder / BEST)
    return save_checkpoint(goal, best.state, recipe.model, best.metadata, half=False)


def _videos(dataset: Dataset, split: str) -> tuple[Recording, ...]:
    """The videos of a part that are there to be seen.

    Raises:
        UsageError: there is no such part, or it has none.
    """
    videos = [recording for recording in dataset.part(split) if recording.kind == "video"]
    found = tuple(recording for recording in videos if recording.stimulus is not None)
    if not found:
        why = f"the {len(videos)} it has came without their frames" if videos else "it has stills alone"
        raise UsageError(f"{dataset.root} has no videos in its part {split!r} ({why}); add them, or name another part.")
    if len(found) < len(videos):
        log.warning("%d of %d videos of %s came without their frames.", len(videos) - len(found), len(videos), split)
    return found


def _check_sound(recipe: WindowedRecipe, videos: Sequence[Recording], gaze: Path) -> None:
    """Raise UsageError if a network is to listen where there is nothing to hear."""
    if recipe.model.audio and not any(_has_sound(recording) for recording in videos):
        raise UsageError(f"{gaze} has no video with sound, which the recipe {recipe.name} is to learn from.")


def _has_sound(recording: Recording) -> bool:
    if isinstance(recording, FrameRecording) and recording.sound is not None:
        return True
    path = recording.stimulus
    return path is not None and path.is_file() and probe(path).info.audio is not None


def _spell(videos: Sequence[Recording]) -> str:
    """``120 videos of AVAD, DIEM``."""
    return f"{len(videos)} videos of {', '.join(sorted({recording.dataset for recording in videos}))}"


def _name_of(dataset: Dataset, *parts: Sequence[Recording]) -> str:
    """The layout, and a digest of what is learnt from and held against: a run is resumed on the same alone."""
    names = "\n".join(f"{n} {r.dataset}/{r.name} {r.frames}" for n, part in enumerate(parts) for r in part)
    return f"{dataset.layout}, {_spell(parts[0])}, {hashlib.sha256(names.encode()).hexdigest()[:16]}"
