"""What the networks share beside the encoder: checks of their input, resizing, heads that must not run in bfloat16."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional

from saliency_cli.errors import UsageError

__all__ = ["Resizing", "check_clip", "in_full_precision", "without_autocast"]


def check_clip(clip: Tensor, length: int) -> None:
    """Raise ``UsageError`` unless ``clip`` is (B, 3, length, H, W) with H and W multiples of 32."""
    wanted = f"(B, 3, {length}, H, W) with H and W multiples of 32"
    if clip.ndim != 5 or clip.shape[1:3] != (3, length) or clip.shape[3] % 32 or clip.shape[4] % 32:
        raise UsageError(f"a clip of shape {tuple(clip.shape)} does not fit this network: it takes {wanted}.")


class Resizing(nn.Module):
    """Trilinear interpolation to a size that is known only in passing; a module, so that training can exchange it."""

    def forward(self, x: Tensor, size: Sequence[int]) -> Tensor:
        """(B, C, T, H, W) to (B, C, *size), ``size`` being (time, height, width)."""
        if x.shape[2:] == torch.Size(size):
            return x
        return functional.interpolate(x, size=list(size), mode="trilinear", align_corners=False)


def without_autocast(x: Tensor) -> AbstractContextManager[object]:
    """A context in which operations on the device of ``x`` keep the precision of their inputs."""
    kind = x.device.type
    return torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext()


def in_full_precision(head: nn.Module, x: Tensor) -> Tensor:
    """``head(x)`` outside autocast, in the precision of the head's own weights.

    Convolutions to one output channel are broken in bfloat16 on CPUs (torch 2.13: minutes in a reference kernel in
    3-D, a crash in the backward pass in 2-D). They cost next to nothing, so they run in full precision everywhere.
    """
    with without_autocast(x):
        result: Tensor = head(x.to(next(head.parameters()).dtype))
    return result
