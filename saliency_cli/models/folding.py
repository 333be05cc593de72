"""Batch normalisations folded into the convolutions before them: in inference both are one linear map."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ["fold_batch_norm", "folded_copy"]

M = TypeVar("M", bound=nn.Module)


def fold_batch_norm(weight: Tensor, bias: Tensor | None, norm: _BatchNorm) -> tuple[Tensor, Tensor]:
    """Weight (C_out, C_in, …) and bias (C_out) of the convolution that equals ``norm`` after the given one.

    Computed in float64, as the variances of some channels are tiny, and given in the dtype of ``weight``. Of transposed
    convolutions, bring the output channels to the front before.

    Raises ValueError if ``norm`` keeps no running statistics.
    """
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError("a batch normalisation without running statistics cannot be folded")
    scale = (norm.running_var.double() + norm.eps).rsqrt()  # (C_out,)
    if norm.weight is not None:
        scale = scale * norm.weight.double()
    shift = -norm.running_mean.double() * scale
    if norm.bias is not None:
        shift = shift + norm.bias.double()
    if bias is not None:
        shift = shift + bias.double() * scale
    folded = weight.double() * scale.reshape(-1, *[1] * (weight.ndim - 1))
    return folded.to(weight.dtype).detach(), shift.to(weight.dtype).detach()


def folded_copy(module: M) -> M:
    """A copy of a network for inference alone, which computes the same but for rounding, in fewer steps.

    In each plain chain of layers (``nn.Sequential``), a 2-D convolution takes in the batch normalisation right after
    it, and the zeros padded right before it. Layers lose their names with that: checkpoints belong to the original.
    """
    result = copy.deepcopy(module).eval().requires_grad_(False)
    _fold_chains(result)
    return result


def _fold_chains(module: nn.Module) -> None:
    for name, child in module.named_children():
        _fold_chains(child)
        if type(child).forward is nn.Sequential.forward:
            setattr(module, name, nn.Sequential(*_folded(list(child.children()))))


def _folded(layers: list[nn.Module]) -> list[nn.Module]:
    """The layers of a chain, with padding and normalisations in the convolutions between them, which are changed."""
    result: list[nn.Module] = []
    for layer in layers:
        before = result[-1] if result else None
        if isinstance(layer, nn.BatchNorm2d) and isinstance(before, nn.Conv2d):
            weight, bias = fold_batch_norm(before.weight, before.bias, layer)
            before.weight, before.bias = _fixed(weight), _fixed(bias)
            continue
        if isinstance(layer, nn.Conv2d) and isinstance(before, nn.ZeroPad2d) and _can_pad(layer):
            _pad(layer, before)
            result.pop()
        result.append(layer)
    return result


def _can_pad(layer: nn.Conv2d) -> bool:
    return layer.padding == (0, 0) and layer.dilation == (1, 1) and layer.padding_mode == "zeros"


def _pad(layer: nn.Conv2d, pad: nn.ZeroPad2d) -> None:
    """Make a convolution pad by itself: alike on opposite sides, with zeros in its kernel for what is too much.

    The larger kernel costs less than a padded copy of its input.
    """
    left, right, top, bottom = pad.padding
    # With more padding at the left than was there, the kernel begins earlier, by zeros; so at the other sides
    zeros = [max(b - a, 0) for a, b in ((left, right), (right, left), (top, bottom), (bottom, top))]
    layer.weight = _fixed(F.pad(layer.weight, zeros))
    layer.kernel_size = tuple(layer.weight.shape[2:])
    layer.padding = (max(top, bottom), max(left, right))


def _fixed(values: Tensor) -> nn.Parameter:
    return nn.Parameter(values.detach(), requires_grad=False)
