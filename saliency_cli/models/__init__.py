"""The networks, their checkpoints, and where those come from.

Importing this package imports no torch: the names below are brought in when they are first used, so that
``saliency_cli.models.manifest`` can list and download weights without it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from saliency_cli.models.checkpoint import (
        Checkpoint,
        convert,
        load_s3d_encoder,
        load_strictly,
        read_checkpoint,
        save_checkpoint,
    )
    from saliency_cli.models.config import ModelConfig
    from saliency_cli.models.registry import DEFAULTS, LoadedModel, build, load_model

__all__ = [
    "DEFAULTS",
    "Checkpoint",
    "LoadedModel",
    "ModelConfig",
    "build",
    "convert",
    "load_model",
    "load_s3d_encoder",
    "load_strictly",
    "read_checkpoint",
    "save_checkpoint",
]

_HOMES = {
    "checkpoint": ("Checkpoint", "convert", "load_s3d_encoder", "load_strictly", "read_checkpoint", "save_checkpoint"),
    "config": ("ModelConfig",),
    "registry": ("DEFAULTS", "LoadedModel", "build", "load_model"),
}


def __getattr__(name: str) -> object:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
