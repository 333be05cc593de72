"""Kernels over time between stages of a training: before anything moves, when it begins to, and when clips get longer.

In a state dict a kernel is (C_out, C_in, taps, h, w).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from saliency_cli.errors import UsageError

__all__ = ["begin_to_move", "hold_still", "spread"]

FAINT = 0.01  # deviation of taps that begin to learn, as a share of that of the middle ones


def hold_still(module: nn.Module) -> None:
    """Let convolutions over time alone pass on what they get, as far as inputs and outputs are as many.

    A deep network of random kernels over time learns far more slowly from pictures, for which they do nothing.
    """
    for convolution in _over_time(module):
        size = convolution.kernel_size
        if size[1:] != (1, 1) or convolution.in_channels != convolution.out_channels:
            continue
        taps = [size[0] // 2] if convolution.padding[0] else range(size[0])
        with torch.no_grad():
            convolution.weight.zero_()
            for tap in taps:
                convolution.weight[:, :, tap, 0, 0] = torch.eye(convolution.in_channels) / len(taps)


def begin_to_move(module: nn.Module, generator: torch.Generator) -> None:
    """Faint noise in the taps that pictures left untouched: in padded kernels over time all but the middle one."""
    for convolution in _over_time(module):
        if not convolution.padding[0]:
            continue
        weight, middle = convolution.weight, convolution.kernel_size[0] // 2
        with torch.no_grad():
            deviation = FAINT * float(weight[:, :, middle].std())
            for tap in range(weight.shape[2]):
                if tap != middle:
                    noise = torch.randn(weight[:, :, tap].shape, generator=generator)
                    weight[:, :, tap] = (deviation * noise).to(weight)


def spread(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``state`` with kernels over time as long as those of ``wanted``, the state of the same network for other clips.

    A tap of a shorter kernel is shared evenly by those that take its place in a longer one, and the other way round
    added up, so that a clip in which nothing moves gives the same. What differs otherwise is left as it is.

    Raises:
        UsageError: one length is no multiple of the other.
    """
    result = {}
    for name, value in state.items():
        goal = wanted.get(name)
        if goal is not None and value.ndim == goal.ndim == 5 and value.shape[2] != goal.shape[2]:
            before, after = value.shape[2], goal.shape[2]
            if max(before, after) % min(before, after):
                raise UsageError(
                    f"{name} spans {before} frames and cannot be spread over {after}: choose clip lengths of which "
                    "one is a multiple of the other."
                )
            if after > before:
                value = value.repeat_interleave(after // before, 2) / (after // before)
            else:
                outputs, inputs, _, *size = value.shape
                value = value.reshape(outputs, inputs, after, before // after, *size).sum(3)
        result[name] = value
    return result


def _over_time(module: nn.Module) -> Iterator[nn.Conv3d]:
    for each in module.modules():
        if isinstance(each, nn.Conv3d) and each.kernel_size[0] > 1:
            yield each
