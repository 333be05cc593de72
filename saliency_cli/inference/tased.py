"""TASED-Net on a stream: the rest of the encoder and the decoder, on the windows that ``S3DStream`` gives.

Shapes in comments are (…, height, width, channels); B windows at a time, D = T/8 times in the decoder.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from saliency_cli.inference.features import (
    double_places,
    max_over_groups,
    max_pool_halving,
    max_pool_halving_time,
    stacked,
    switches,
    unpool,
)
from saliency_cli.inference.folded import Convolution, folded
from saliency_cli.inference.s3d import InceptionBlock, Window
from saliency_cli.models.s3d import Inception
from saliency_cli.models.tased import TASEDNet, TransposedUpsampling, TrilinearUpsampling, Unpooling

__all__ = ["TASEDTop", "TASEDWindow"]


@dataclass(frozen=True, slots=True)
class TASEDWindow:
    """What of a window the layers from ``maxp3`` on need."""

    pooled: Tensor  # (T/4, H/16, W/16, 480)
    switches: tuple[Tensor, ...]  # of levels 2 and 1, (D, H/16, W/16, 480) and (D, H/8, W/8, 192); none if not unpooled


class TASEDTop:
    """Everything of TASED-Net above ``S3DStream``."""

    def __init__(self, network: TASEDNet, *, dtype: torch.dtype) -> None:
        config = network.config
        self._length = config.decoder_length  # D
        self._group = config.clip_length // 2 // self._length  # times of levels 1 and 2 that the decoder has as one
        self._joined = config.clip_length // 4 // self._length  # times of level 3
        self._unpools = config.upsampling == "unpool"
        self._base3, self._base4 = (
            [InceptionBlock(cast(Inception, block), dtype=dtype, whole=True) for block in base]
            for base in (network.base3, network.base4)
        )
        self._refine = [_steps(block, dtype) for block in (network.convtsp1, network.convtsp2, network.convtsp3)]
        self._upsample = [
            _upsampling(block, dtype) for block in (network.upsample1, network.upsample2, network.upsample3)
        ]
        # The last two layers have one channel in the end and stay in float32, as in the network (models/layers.py).
        self._last = _steps(cast(nn.Sequential, network.convtsp4[:-2]), dtype)
        head = cast(nn.Conv3d, network.convtsp4[-2])
        self._head = cast(Convolution, folded(head, None, dtype=torch.float32, relu=False))

    def take(self, window: Window) -> TASEDWindow:
        """Of a window, what :meth:`maps` needs, before the stream goes on."""
        memory, count = window.memory, window.inner2.count
        for begin, end in window.inner2.missing(fresh=window.fresh):
            memory.put("halved2", count, begin, max_pool_halving(window.level2[begin, end]))
        pooled = max_pool_halving_time(memory["halved2"][0, count][None])[0]  # (T/4, H/16, W/16, 480)
        if not self._unpools:
            return TASEDWindow(pooled, ())
        return TASEDWindow(
            pooled,
            tuple(
                switches(max_over_groups(level[0, count], self._group), 3) for level in (window.level2, window.level1)
            ),
        )

    def maps(self, windows: Sequence[TASEDWindow]) -> Tensor:
        """Probabilities (B, H, W) of the last frames of B windows, float32."""
        x = stacked([window.pooled for window in windows])  # (B, T/4, H/16, W/16, 480)
        places = [
            each[0] if len(each) == 1 else torch.cat(each)
            for each in zip(*(window.switches for window in windows), strict=True)
        ]
        for block in self._base3:
            x = block.whole(x)  # (B, T/4, H/16, W/16, 832)
        x = max_over_groups(x.flatten(0, 1), self._joined)  # (B·D, H/16, W/16, 832)
        pooled, indices = functional.max_pool2d(x.movedim(-1, 1), 2, return_indices=True)  # (B·D, 832, H/32, W/32)
        places.insert(0, indices.movedim(1, -1))  # (B·D, H/32, W/32, 832)
        x = torch.unflatten(pooled.movedim(1, -1), 0, (-1, self._length))
        for block in self._base4:
            x = block.whole(x)  # (B, D, H/32, W/32, 1024)
        x = x.flatten(0, 1)
        for level, (refine, upsample) in enumerate(zip(self._refine, self._upsample, strict=True)):
            for step in refine:
                x = step(x)  # (B·D, h, w, 832 / 480 / 192)
            x = upsample(x) if upsample else unpool(x, places[level], overlapping=level > 0)  # (B·D, 2h, 2w, …)
        for step in self._last:
            x = step(x)  # (B, H, W, 4) in the end
        return torch.sigmoid(self._head(x.float()))[..., 0]  # (B, H, W)


def _steps(layers: nn.Sequential, dtype: torch.dtype) -> list[Callable[[Tensor], Tensor]]:
    """A row of convolutions, each with what follows it, on (B·t, h, w, C)."""
    steps: list[Callable[[Tensor], Tensor]] = []
    row = list(layers)
    for number, layer in enumerate(row):
        if not isinstance(layer, nn.Conv3d | nn.ConvTranspose3d):
            continue
        following = row[number + 1 : number + 3]
        norm = next((each for each in following[:1] if isinstance(each, nn.BatchNorm3d)), None)
        relu = any(isinstance(each, nn.ReLU) for each in (following[1:] if norm else following[:1]))
        step = folded(layer, norm, dtype=dtype, relu=relu)
        if layer.kernel_size[0] > 1:
            steps.append(partial(_join, cast(Convolution, step), layer.kernel_size[0]))
        else:
            steps.append(step)
    return steps


def _join(convolution: Convolution, times: int, x: Tensor) -> Tensor:
    """One frame from every ``times``: (B·t, h, w, C) to (B·t / times, h, w, C)."""
    return convolution.over_time(torch.unflatten(x, 0, (-1, times)))[:, 0]


def _upsampling(block: nn.Module, dtype: torch.dtype) -> Callable[[Tensor], Tensor] | None:
    """The upsampling between two levels, (B·D, h, w, C) to (B·D, 2h, 2w, C); None for max-unpooling."""
    match block:
        case Unpooling():
            return None
        case TransposedUpsampling():
            (step,) = _steps(block.layers, dtype)
            return step
        case TrilinearUpsampling():  # in space alone
            return double_places
    raise ValueError(f"no upsampling: {block}")
