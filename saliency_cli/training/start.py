"""What a run starts from: S3D trained on Kinetics, a whole network, SoundNet."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from saliency_cli.errors import UsageError, WeightsError
from saliency_cli.models import manifest
from saliency_cli.models.checkpoint import load_s3d_encoder, load_strictly, read_checkpoint
from saliency_cli.models.registry import resolve_weights
from saliency_cli.models.soundnet import soundnet_state
from saliency_cli.training.windowed_recipe import WindowedRecipe

__all__ = ["S3D", "SOUNDNET", "check_start", "load_start", "resolved"]

S3D = "s3d-kinetics400"  # names of the manifest that are looked for by default
SOUNDNET = "soundnet"
LISTENING = ("soundnet.", "attention.")  # parts that a visual network's checkpoint does not have


def check_start(recipe: WindowedRecipe, *, encoder: str | None, init: str | None, soundnet: str | None) -> None:
    """Raise :class:`UsageError` if the weights given are not those that the recipe starts from."""
    for flag, given, wanted in (("--encoder", encoder, "encoder"), ("--init", init, "checkpoint")):
        if given is not None and recipe.start != wanted:
            raise UsageError(
                f"{flag} {given}: the recipe {recipe.name} has start = {recipe.start!r}; "
                f"leave it out, or add --set start={wanted}."
            )
    if recipe.start == "checkpoint" and init is None:
        raise UsageError(f"the recipe {recipe.name} goes on from a trained network: name its weights with --init.")
    if recipe.start == "encoder" and encoder is None and S3D not in manifest.entries():
        raise UsageError(
            f"the recipe {recipe.name} starts from S3D trained on Kinetics: give its checkpoint with --encoder, "
            "or do without by --set start=scratch."
        )
    if soundnet is not None and not recipe.model.audio:
        raise UsageError(f"--soundnet {soundnet}: the recipe {recipe.name} has no sound; add --set model.audio=true.")


def load_start(
    module: nn.Module, recipe: WindowedRecipe, *, encoder: str | None, init: str | None, soundnet: str | None
) -> str:
    """Load the weights that the recipe starts from, paths or names of the manifest; what they were, for the result.

    Raises:
        UsageError: see :func:`check_start`; or nothing gives a network with sound its SoundNet.
        WeightsError: a file is missing, damaged, or of another network.
    """
    check_start(recipe, encoder=encoder, init=init, soundnet=soundnet)
    loaded: list[str] = []
    hears = False
    if recipe.start == "encoder":
        path = resolved(encoder or S3D, loaded)
        load_s3d_encoder(module, path)
    elif init is not None:
        path = resolved(init, loaded)
        state = read_checkpoint(path).state
        hears = any(name.startswith("soundnet.") for name in state)
        if recipe.model.audio:  # a visual network learns to listen: what it lacks begins at random
            own = module.state_dict()
            missing = [name for name in own if name.startswith(LISTENING) and name not in state]
            state = {**state, **{name: own[name] for name in missing}}
        load_strictly(module, state, path)
    if recipe.model.audio:
        if soundnet is None and not hears and SOUNDNET in manifest.entries():
            soundnet = SOUNDNET
        if soundnet is not None:
            path = resolved(soundnet, loaded)
            load_strictly(module.get_submodule("soundnet"), soundnet_state(read_checkpoint(path).state), path)
        elif not hears and recipe.start != "scratch":
            raise UsageError(f"the recipe {recipe.name} listens: give SoundNet's weights with --soundnet.")
    return ", ".join(loaded) or "random weights"


def resolved(weights: str, loaded: list[str]) -> Path:
    """The file, noted in ``loaded`` by its name and the beginning of its SHA-256."""
    try:
        path, sha256 = resolve_weights(weights)
    except WeightsError as error:
        raise WeightsError(f"training cannot start from {weights}: {error}") from error
    loaded.append(f"{path.name} ({sha256[:16]})")
    return path
