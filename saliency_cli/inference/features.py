"""Steps between convolutions on features (frames, height, width, channels): pooling, resizing, unpooling.

Poolings take values of at least 0, as ReLU leaves them: padding with nothing is then the same as with zeros.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

__all__ = [
    "double_places",
    "double_time",
    "max_of_three",
    "max_over_groups",
    "max_pool",
    "max_pool_halving",
    "max_pool_halving_time",
    "stacked",
    "switches",
    "unpool",
]


def _ordered(x: Tensor) -> Tensor:
    """What compares as ``x`` does, which is not negative, and faster: 16-bit floats seen as integers."""
    return x.view(torch.int16) if x.element_size() == 2 else x


def max_of_three(x: Tensor, dim: int) -> Tensor:
    """The maximum of each entry and its neighbours along a dimension, whose size stays."""
    size, dtype = x.shape[dim], x.dtype
    if size == 1:
        return x
    x = _ordered(x)
    pairs = torch.maximum(x.narrow(dim, 0, size - 1), x.narrow(dim, 1, size - 1))  # i and i+1
    result = torch.empty_like(x)
    result.narrow(dim, 0, 1).copy_(pairs.narrow(dim, 0, 1))
    result.narrow(dim, size - 1, 1).copy_(pairs.narrow(dim, size - 2, 1))
    if size > 2:
        inner = result.narrow(dim, 1, size - 2)
        torch.maximum(pairs.narrow(dim, 0, size - 2), pairs.narrow(dim, 1, size - 2), out=inner)
    return result.view(dtype)


def _every_second_of_three(x: Tensor, dim: int) -> Tensor:
    """The maximum of 2i−1, 2i and 2i+1 along a dimension of even size."""
    half = x.shape[dim] // 2
    pairs = torch.unflatten(_ordered(x), dim, (half, 2))
    even, odd = pairs.select(dim + 1, 0), pairs.select(dim + 1, 1)
    result = torch.maximum(even, odd)
    if half > 1:
        later = result.narrow(dim, 1, half - 1)
        torch.maximum(later, odd.narrow(dim, 0, half - 1), out=later)
    return result.view(x.dtype)


def max_pool(x: Tensor) -> Tensor:
    """3x3 max-pooling of each frame with stride 1: (N, h, w, C) stays of its size."""
    return max_of_three(max_of_three(x, 1), 2)


def max_pool_halving(x: Tensor) -> Tensor:
    """3x3 max-pooling of each frame with stride 2, padded by 1: (N, 2h, 2w, C) to (N, h, w, C)."""
    return _every_second_of_three(_every_second_of_three(x, 1), 2)


def max_pool_halving_time(x: Tensor) -> Tensor:
    """Max-pooling over three times with stride 2, padded by 1: (N, 2t, h, w, C) to (N, t, h, w, C)."""
    return _every_second_of_three(x, 1)


def stacked(tensors: Sequence[Tensor]) -> Tensor:
    """``torch.stack``, which does not copy a single tensor."""
    return tensors[0][None] if len(tensors) == 1 else torch.stack(list(tensors))


def double_time(x: Tensor) -> Tensor:
    """Twice as many times, linearly (``align_corners=False``): (N, t, h, w, C) to (N, 2t, h, w, C)."""
    before = torch.cat([x[:, :1], x[:, :-1]], dim=1)
    after = torch.cat([x[:, 1:], x[:, -1:]], dim=1)
    return torch.stack([torch.lerp(x, before, 0.25), torch.lerp(x, after, 0.25)], dim=2).flatten(1, 2)


def double_places(x: Tensor) -> Tensor:
    """Twice as high and wide, bilinear: (N, h, w, C) to (N, 2h, 2w, C)."""
    y = functional.interpolate(x.movedim(-1, 1), scale_factor=2, mode="bilinear", align_corners=False)
    return y.movedim(1, -1)


def max_over_groups(x: Tensor, size: int) -> Tensor:
    """The maximum over each ``size`` times: (t, h, w, C) to (t / size, h, w, C)."""
    result = _ordered(x)
    while size > 1 and size % 2 == 0:
        result, size = torch.maximum(result[0::2], result[1::2]), size // 2
    return (result if size == 1 else torch.unflatten(result, 0, (-1, size)).amax(1)).view(x.dtype)


def switches(x: Tensor, kernel: int) -> Tensor:
    """Where each maximum of a pooling with stride 2 was: (N, 2h, 2w, C) to indices into 2h·2w, (N, h, w, C).

    ``kernel`` is 2, or 3 with padding 1. Ties go to the first in raster order.
    """
    indices = functional.max_pool2d(x.movedim(-1, 1), kernel, 2, kernel // 3, return_indices=True)[1]
    return indices.movedim(1, -1)


def unpool(x: Tensor, where: Tensor, *, overlapping: bool) -> Tensor:
    """Max-unpooling: values (N, h, w, C) put to their ``switches``, zeros elsewhere: (N, 2h, 2w, C).

    ``overlapping`` windows, of 3x3, can have the same maximum; on a CPU then the last in raster order wins. torch
    shares the places among its threads, so that this holds only if none begins within a frame; else each channel's
    places are gone through by one thread, which takes twice as long. On a GPU any may win, as in the network itself.
    """
    n, h, w, c = x.shape
    alone = x.device.type == "cpu" and overlapping and n % torch.get_num_threads() != 0
    if alone or x.device.type == "mps":  # where earlier versions of torch have no max-unpooling
        result = x.new_zeros(n, 4 * h * w, c).scatter_(1, where.flatten(1, 2), x.flatten(1, 2))
        return result.reshape(n, 2 * h, 2 * w, c)
    values, places = x.movedim(-1, 1), where.movedim(-1, 1)  # (N, C, h, w)
    return functional.max_unpool2d(values, places, [2, 2], output_size=(2 * h, 2 * w)).movedim(1, -1)
