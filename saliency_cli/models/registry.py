"""From a name to a network ready to predict."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

from torch import nn

from saliency_cli.errors import UsageError, WeightsError
from saliency_cli.models import manifest
from saliency_cli.models.checkpoint import ENCODER_ONLY, SOUND_ONLY, Checkpoint, load_strictly, read_checkpoint
from saliency_cli.models.config import Architecture, ModelConfig
from saliency_cli.models.tased import TASEDConfig, TASEDNet
from saliency_cli.models.tsfp import TSFPConfig, TSFPNet

__all__ = ["DEFAULTS", "LoadedModel", "build", "config_of", "default_weights", "load_model", "resolve_weights"]

DEFAULTS: Mapping[Architecture, tuple[str, ...]] = {
    "tsfp": ("tsfp-lite0",),
    "tased": ("tased-dhf1k", "tased-open"),  # the authors' own before ours, once a user has them
}
"""The weights that an architecture takes unless others are named: the first that are on this machine."""


@dataclass(frozen=True, slots=True, eq=False)
class LoadedModel:
    """A network in evaluation mode, and where its weights come from."""

    module: nn.Module
    config: ModelConfig
    weights: Path
    sha256: str  # of the file, in hexadecimal
    metadata: Mapping[str, str]  # the checkpoint's header; empty for .pt files

    def __repr__(self) -> str:
        return f"LoadedModel({self.config.architecture} on {self.config.encoder}, {self.weights.name})"


def build(config: ModelConfig) -> nn.Module:
    """The network that ``config`` names, freshly initialised."""
    if config.architecture == "tased":
        return TASEDNet(
            TASEDConfig(clip_length=config.clip_length, aggregation=config.aggregation, upsampling=config.upsampling)
        )
    if config.encoder == "efficientnet-lite0":
        from saliency_cli.models.streaming import StreamingTSFPNet  # only who runs it pays for its import

        return StreamingTSFPNet(lateral_channels=config.lateral_channels, audio=config.audio)
    return TSFPNet(TSFPConfig(clip_length=config.clip_length, decoding=config.decoding, audio=config.audio))


def load_model(name: str = "tsfp", *, weights: str | os.PathLike[str] | None = None) -> LoadedModel:
    """Build an architecture, ``"tsfp"`` or ``"tased"``, and load its weights.

    ``weights`` is a name of the manifest or a path; by default :func:`default_weights`. A ``.pt``
    file does not say which network it belongs to: it is taken for the released TASED-Net if that was asked for.
    Raises ``UsageError`` for an unknown name, ``WeightsError`` if the weights are missing, damaged, other than the
    manifest says, or those of another network.
    """
    if name not in get_args(Architecture):
        raise UsageError(f"{name!r} is no model: use one of {', '.join(get_args(Architecture))}.")
    architecture = cast(Architecture, name)
    path, sha256 = resolve_weights(default_weights(architecture) if weights is None else weights)
    checkpoint = read_checkpoint(path)
    config = config_of(checkpoint, architecture, source=str(path))
    module = build(config)
    load_strictly(module, checkpoint.state, path)
    return LoadedModel(module.eval(), config, path, sha256, checkpoint.metadata)


def default_weights(architecture: Architecture) -> str:
    """The name of the first of the architecture's :data:`DEFAULTS` that is on this machine.

    Files that are there count, whatever is in them: damaged ones are complained of, not passed over.
    Raises ``WeightsError`` if there are none, and says how to get each.
    """
    names = DEFAULTS[architecture]
    found = manifest.first_here(names)
    if found is None:
        raise WeightsError("; or, ".join(manifest.how_to_get(name).removesuffix(".") for name in names) + ".")
    return found


def resolve_weights(weights: str | os.PathLike[str]) -> tuple[Path, str]:
    """The file that a name of the manifest, or a path, stands for, and its SHA-256.

    Raises ``WeightsError`` if there is none, or a named one is not what the manifest says.
    """
    if isinstance(weights, str) and weights in manifest.entries():
        verified = manifest.verify(weights)
        return verified.path, verified.sha256
    path = Path(weights).expanduser()
    if not path.is_file():
        raise WeightsError(
            f"{weights} is neither a file nor a name of weights: use a path, or one of {', '.join(manifest.entries())}."
        )
    return path, manifest.sha256_of(path)


def config_of(checkpoint: Checkpoint, architecture: Architecture, *, source: str) -> ModelConfig:
    """Which network a checkpoint belongs to: what its header says, or, without one, the released TASED-Net.

    Raises ``WeightsError`` if it says another architecture than the one asked for, or nothing where it must.
    """
    if checkpoint.metadata.get("architecture") == ENCODER_ONLY or "base.0.conv_s.weight" in checkpoint.state:
        raise WeightsError(
            f"{source} holds the S3D encoder alone, to start a training from: give the weights of a whole network."
        )
    if checkpoint.metadata.get("architecture") == SOUND_ONLY or "batchnorm7.weight" in checkpoint.state:
        raise WeightsError(
            f"{source} holds SoundNet alone, a part of TSFP-Net with audio: give the weights of a whole network."
        )
    if "architecture" in checkpoint.metadata:
        config = ModelConfig.from_metadata(checkpoint.metadata, source=source)
        if config.architecture != architecture:
            raise WeightsError(
                f"{source} holds weights of {config.architecture}, not of {architecture}: "
                f"use --model {config.architecture}, or other weights."
            )
        return config
    if architecture == "tased":
        return ModelConfig.tased()
    raise WeightsError(
        f"{source} does not say which encoder, input size and normalisation it was trained with: "
        "use a safetensors file with a header, as `vsal models convert` writes it."
    )
