"""TSFP-Net on a stream: the rest of the encoder, the pyramid and the decoders, on the windows of ``S3DStream``.

The last layer, one convolution over all times and channels, and the upsampling in space before it are both linear, and
one works on times and channels, the other on places: they change places here. So nothing is enlarged but a single
channel, and level 1 is projected to one number for each time at which a frame can stand in a window, once.

Shapes in comments are (…, times, height, width, channels); B windows at a time, L = T/2 times at levels 1 and 2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from saliency_cli.inference.features import (
    double_places,
    double_time,
    max_pool_halving,
    max_pool_halving_time,
    stacked,
)
from saliency_cli.inference.folded import Convolution, folded, weights
from saliency_cli.inference.s3d import InceptionBlock, Window
from saliency_cli.models.s3d import Inception
from saliency_cli.models.tsfp import LevelDecoder, TSFPNet

__all__ = ["TSFPTop", "TSFPWindow"]

FINEST = "level1"


@dataclass(frozen=True, slots=True)
class TSFPWindow:
    """What of a window the layers from ``maxp3`` on need."""

    pooled: Tensor  # (T/4, H/16, W/16, 480)
    lateral2: Tensor | None  # (L, H/8, W/8, 192), if level 2 is decoded
    finest: Tensor | None  # (H/4, W/4), what level 1 itself adds to the last layer's result, if it is decoded


class TSFPTop:
    """Everything of TSFP-Net above ``S3DStream``."""

    def __init__(self, network: TSFPNet, *, dtype: torch.dtype) -> None:
        self._network = network
        encoder = network.encoder
        self._base3, self._base4 = (
            [InceptionBlock(cast(Inception, block), dtype=dtype, whole=True) for block in base]
            for base in (encoder.base3, encoder.base4)
        )
        self._top_down = network.config.decoding == "pyramid+hierarchical"
        laterals = {name: cast(nn.Conv3d, layer) for name, layer in network.laterals.items()}
        self._laterals = {
            name: cast(Convolution, folded(layer, None, dtype=dtype, relu=False))
            for name, layer in laterals.items()
            if name != FINEST
        }
        self._smooth = {name: _volume(block, dtype) for name, block in network.smooth.items()}
        self._decoders = {
            name: [_volume(block, dtype) for block in cast(LevelDecoder, decoder).convs]
            for name, decoder in network.decoders.items()
            if name != FINEST
        }
        head = network.head.weight.detach().float()[0, :, :, 0, 0].T  # (L, 192)
        self._bias = cast(Tensor, network.head.bias).detach().float().clone()  # (1,)
        # Enlarging in time, from L/2, is one linear map more.
        half = torch.eye(len(head) // 2, device=head.device)[None, :, None, None]  # (1, L/2, 1, 1, L/2)
        self._projections = {
            len(weight): _linear(weight, weight.new_zeros(len(weight)), dtype)
            for weight in (head, double_time(half)[0, :, 0, 0].T @ head)
        }
        self._project: Convolution | None = None
        if FINEST in laterals:
            # Level 1 goes through its lateral convolution and the last layer alone: one linear map.
            weight, bias = weights(laterals[FINEST], None)
            self._project = _linear(head @ weight[:, :, 0, 0, 0], head @ bias, dtype)

    def take(self, window: Window) -> TSFPWindow:
        """Of a window, what :meth:`maps` needs, before the stream goes on."""
        memory, count = window.memory, window.inner2.count
        lateral = self._laterals.get("level2")
        for begin, end in window.inner2.missing(fresh=window.fresh):
            level2 = window.level2[begin, end]  # (m, H/8, W/8, 480)
            memory.put("halved2", count, begin, max_pool_halving(level2))  # (m, H/16, W/16, 480)
            if lateral is not None:
                memory.put("lateral2", count, begin, lateral(level2))  # (m, H/8, W/8, 192)
        finest = None
        if self._project is not None:
            for begin, end in window.inner1.missing(fresh=window.fresh):
                projected = self._project(window.level1[begin, end])  # (m, H/4, W/4, L)
                memory.put("projected", count, begin, projected)
            # Of each time, the number for the place in the window at which it stands.
            own = torch.diagonal(memory["projected"][0, count], dim1=0, dim2=3)  # (H/4, W/4, L)
            finest = own.sum(-1, dtype=torch.float32)  # (H/4, W/4)
        pooled = max_pool_halving_time(memory["halved2"][0, count][None])[0]  # (T/4, H/16, W/16, 480)
        return TSFPWindow(pooled, None if lateral is None else memory["lateral2"][0, count].clone(), finest)

    def maps(self, windows: Sequence[TSFPWindow], sound: Tensor | None = None) -> Tensor:
        """Probabilities (B, H, W) of the last frames of B windows, float32.

        ``sound`` is (B, 70560), as in ``TSFPNet``.
        """
        x = stacked([window.pooled for window in windows])  # (B, T/4, H/16, W/16, 480)
        for block in self._base3:
            x = block.whole(x)  # (B, T/4, H/16, W/16, 832)
        level3 = x
        x = torch.maximum(x[:, 0::2], x[:, 1::2])  # (B, T/8, H/16, W/16, 832)
        x = functional.max_pool2d(x.flatten(0, 1).movedim(-1, 1), 2).movedim(1, -1)  # (B·T/8, H/32, W/32, 832)
        x = torch.unflatten(x, 0, (len(windows), -1))
        for block in self._base4:
            x = block.whole(x)  # (B, T/8, H/32, W/32, 1024)
        total = self._decoded({"level3": level3, "level4": x}, windows)  # (B, H/4, W/4)
        if sound is not None:
            heard = self._network.soundnet(sound)  # (B, 1024, 3)
            attention = self._network.attention(level3.movedim(-1, 1), heard, total.shape[1:])  # (B, 1, H/4, W/4)
            total = total * (1 + attention[:, 0])
        total = functional.interpolate(
            (total + self._bias)[:, None], scale_factor=4, mode="bilinear", align_corners=False
        )
        return torch.sigmoid(total[:, 0])  # (B, H, W)

    def _decoded(self, levels: dict[str, Tensor], windows: Sequence[TSFPWindow]) -> Tensor:
        """What the last layer, without its bias, gives of the sum of all levels: (B, H/4, W/4), float32."""
        x = {name: _of_frames(self._laterals[name], level) for name, level in levels.items() if name in self._laterals}
        if "level2" in self._laterals:
            x["level2"] = stacked([cast(Tensor, window.lateral2) for window in windows])  # (B, L, H/8, W/8, 192)
        if self._top_down:
            for finer, coarser in (("level3", "level4"), ("level2", "level3")):
                x[finer] = x[finer] + _doubled_all(x[coarser])
        eighth: list[Tensor] = []  # what the last layer gives, (B, H/8, W/8)
        sixteenth: list[Tensor] = []  # (B, H/16, W/16)
        if self._top_down:
            eighth.append(self._last(x["level2"]))  # level 2 as it goes down to level 1
        for name, convolutions in self._decoders.items():
            y = self._smooth[name](x[name]) if name in self._smooth else x[name]
            y = convolutions[0](y)  # (B, t, h, w, 192)
            for convolution in convolutions[1:]:
                y = convolution(_doubled_all(y))  # (B, 2t, 2h, 2w, 192)
            (eighth if name == "level2" else sixteenth).append(self._last(y))
        below = [_doubled(torch.stack(sixteenth).sum(0))] if sixteenth else []
        total = _doubled(torch.stack(eighth + below).sum(0))  # (B, H/4, W/4)
        finest = [window.finest for window in windows]
        return total if finest[0] is None else total + torch.stack(cast("list[Tensor]", finest))

    def _last(self, x: Tensor) -> Tensor:
        """The last layer without its bias, before the enlarging in time and space: (B, t, h, w, 192) to (B, h, w).

        Each time is projected to numbers for all times, of which its own is taken: one output channel alone would be
        broken in bfloat16 (models/layers.py).
        """
        projected = _of_frames(self._projections[x.shape[1]], x)  # (B, t, h, w, t)
        return torch.diagonal(projected, dim1=1, dim2=4).sum(-1, dtype=torch.float32)


def _linear(weight: Tensor, bias: Tensor, dtype: torch.dtype) -> Convolution:
    """A linear map (C_out, C_in) at each place."""
    return Convolution(weight[..., None, None], bias, dtype=dtype, relu=False)


def _of_frames(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """A function of (N, h, w, C), of each of (B, t, h, w, C)."""
    return torch.unflatten(function(x.flatten(0, 1)), 0, x.shape[:2])


def _doubled_all(x: Tensor) -> Tensor:
    """Trilinear, to twice the size: (B, t, h, w, C) to (B, 2t, 2h, 2w, C)."""
    return _of_frames(double_places, double_time(x))


def _doubled(x: Tensor) -> Tensor:
    """Bilinear, to twice the size: (B, h, w) to (B, 2h, 2w)."""
    return functional.interpolate(x[:, None], scale_factor=2, mode="bilinear", align_corners=False)[:, 0]


def _volume(block: nn.Module, dtype: torch.dtype) -> Convolution:
    """3x3x3 convolution, normalisation, ReLU: (B, t, h, w, C) stays of its size."""
    layer, norm, _ = cast(nn.Sequential, block)
    weight, bias = weights(cast(nn.Conv3d, layer), cast(nn.BatchNorm3d, norm))
    return Convolution(weight, bias, dtype=dtype, padding=1)
