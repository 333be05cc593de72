"""Convolutions as the engine runs them: normalisation folded in, 2-D, channels last.

Features are (frames, height, width, channels), contiguous: a run of frames is a view of a longer one. A convolution of
each frame runs as 2-D over frames; one over time as 2-D, too, with time as the height and all places of a picture as
the width. Both are faster than the 3-D form that the networks are written in (docs/speed.md).
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from saliency_cli.models.folding import fold_batch_norm

__all__ = ["Convolution", "Doubling", "Folded", "folded", "weights"]

Layer = nn.Conv3d | nn.ConvTranspose3d

PACKING = Lock()  # two threads may be the first to use a layer
LAYING_OUT = {
    "_convolution_pointwise": "_reorder_convolution_weight",
    "_convolution_transpose_pointwise": "_reorder_convolution_transpose_weight",
}


def _fused(name: str, weight: Tensor, dtype: torch.dtype) -> Callable[..., Tensor] | None:
    """One of oneDNN's convolutions with ReLU, on weights in its own layout, where it can compute in a precision.

    torch has no public name for them. Unlike torch's own they know no other way: on processors that oneDNN has no
    bfloat16 for they raise, and on ARM they are not made for its library.
    """
    if weight.device.type != "cpu" or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return None
    acl = getattr(torch.ops.mkldnn, "_is_mkldnn_acl_supported", None)
    if acl is not None and acl():
        return None
    lay_out, supported = LAYING_OUT[name], "_is_mkldnn_bf16_supported"
    if not all(hasattr(torch.ops.mkldnn, each) for each in (name, lay_out, supported)):  # another version of torch
        return None
    if dtype != torch.float32 and not (dtype == torch.bfloat16 and getattr(torch.ops.mkldnn, supported)()):
        return None
    return cast("Callable[..., Tensor]", getattr(torch.ops.mkldnn, name))


class Convolution:
    """A convolution in 2-D, or in 3-D, with bias and, unless said otherwise, ReLU.

    On CPUs with oneDNN the weights are kept in its own layout and the ReLU is part of the convolution; elsewhere the
    same is done in two steps.

    Args:
        weight: (C_out, C_in, height, width), or (C_out, C_in, time, height, width).
        bias: (C_out,).
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        *,
        dtype: torch.dtype,
        stride: int | tuple[int, ...] = 1,
        padding: int | tuple[int, ...] = 0,
        relu: bool = True,
    ) -> None:
        axes = weight.ndim - 2
        self._stride = stride if isinstance(stride, tuple) else (stride,) * axes
        self._padding = padding if isinstance(padding, tuple) else (padding,) * axes
        self._relu = relu
        self.channels = len(weight)
        self._format = torch.channels_last if axes == 2 else torch.channels_last_3d
        self._convolve = functional.conv2d if axes == 2 else functional.conv3d
        self._weight = weight.to(dtype).contiguous(memory_format=self._format)
        self._bias = bias.to(dtype)
        self._fused = _fused("_convolution_pointwise", weight, dtype)
        self._packed = False

    def __call__(self, x: Tensor) -> Tensor:
        """(N, …, C_in) to (N, …, C_out)."""
        x = x.movedim(-1, 1).contiguous(memory_format=self._format)  # (N, C_in, …); only a slice is copied
        if self._fused is None:
            y = self._convolve(x, self._weight, self._bias, self._stride, self._padding)  # (N, C_out, …)
            y = functional.relu_(y) if self._relu else y
        else:
            ones = (1,) * len(self._stride)
            shape: tuple[object, ...] = (self._padding, self._stride, ones, 1)  # with dilation, and groups
            with PACKING:
                if not self._packed:
                    pack = torch.ops.mkldnn._reorder_convolution_weight
                    self._weight, self._packed = pack(self._weight, *shape, list(x.shape)), True
            y = self._fused(x, self._weight, self._bias, *shape, "relu" if self._relu else "none", [], "")
        return y.movedim(1, -1)  # (N, …, C_out)

    def over_time(self, x: Tensor) -> Tensor:
        """(N, T, H, W, C_in) to (N, T', H, W, C_out), for kernels of height k and width 1."""
        n, t, h, w, c = x.shape
        y = self(x.reshape(n, t, h * w, c))  # (N, T', H·W, C_out)
        return y.reshape(n, y.shape[1], h, w, y.shape[-1])


class Doubling:
    """A transposed convolution of each frame that doubles height and width, with bias and perhaps ReLU."""

    def __init__(self, weight: Tensor, bias: Tensor, *, dtype: torch.dtype, relu: bool) -> None:
        self._weight = weight.to(dtype).contiguous(memory_format=torch.channels_last)  # (C_in, C_out, 4, 4)
        self._bias, self._relu = bias.to(dtype), relu
        self._fused = _fused("_convolution_transpose_pointwise", weight, dtype)
        self._packed = False

    def __call__(self, x: Tensor) -> Tensor:
        """(N, h, w, C_in) to (N, 2h, 2w, C_out)."""
        x = x.movedim(-1, 1)  # (N, C_in, h, w)
        if self._fused is None:
            y = functional.conv_transpose2d(x, self._weight, self._bias, stride=2, padding=1)
            y = functional.relu_(y) if self._relu else y
        else:
            # Padding, and more at the end; stride, dilation, groups.
            shape: tuple[object, ...] = ([1, 1], [0, 0], [2, 2], [1, 1], 1)
            with PACKING:
                if not self._packed:
                    pack = torch.ops.mkldnn._reorder_convolution_transpose_weight
                    self._weight, self._packed = pack(self._weight, *shape, list(x.shape)), True
            y = self._fused(x, self._weight, self._bias, *shape, "relu" if self._relu else "none", [], "")
        return y.movedim(1, -1).contiguous()  # (N, 2h, 2w, C_out)


Folded = Convolution | Doubling


def weights(layer: Layer, norm: nn.BatchNorm3d | None) -> tuple[Tensor, Tensor]:
    """Weight (C_out, C_in, k_t, k_h, k_w) and bias (C_out,) of a layer and the normalisation after it, float32."""
    weight = layer.weight.detach().float().clone()  # what is trained on, or loaded, later shall not reach the copy
    if isinstance(layer, nn.ConvTranspose3d):
        weight = weight.transpose(0, 1)
    bias = None if layer.bias is None else layer.bias.detach().float().clone()
    if norm is not None:
        return fold_batch_norm(weight, bias, norm)
    return weight, weight.new_zeros(len(weight)) if bias is None else bias


def folded(layer: Layer, norm: nn.BatchNorm3d | None, *, dtype: torch.dtype, relu: bool = True) -> Folded:
    """A layer with kernel (1, k, k) or (k, 1, 1), the normalisation after it and, if wanted, ReLU.

    Those over time are to be called by ``over_time``. Raises ValueError for other kernels.
    """
    weight, bias = weights(layer, norm)
    time, height, width = layer.kernel_size
    stride, padding = layer.stride, cast("tuple[int, ...]", layer.padding)
    if isinstance(layer, nn.ConvTranspose3d):
        if (time, height, width) == (1, 4, 4) and stride == (1, 2, 2) and padding == (0, 1, 1):
            return Doubling(weight[:, :, 0].transpose(0, 1), bias, dtype=dtype, relu=relu)
        if stride != (1, 1, 1):
            raise ValueError(f"no form in 2-D for {layer}")
        # Of stride 1 it is a convolution with its kernel turned round.
        weight = weight.flip(-1, -2, -3)
        padding = (time - 1 - padding[0], height - 1 - padding[1], width - 1 - padding[2])
    if time == 1:
        weight, stride, padding = weight[:, :, 0], stride[1:], padding[1:]  # (C_out, C_in, k, k)
    elif height == width == 1:
        weight, stride, padding = weight[..., 0], (stride[0], 1), (padding[0], 0)  # (C_out, C_in, k, 1)
    else:
        raise ValueError(f"no form in 2-D for {layer}")
    return Convolution(weight, bias, dtype=dtype, stride=stride, padding=padding, relu=relu)
