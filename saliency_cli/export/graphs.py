"""The networks in a form that a graph of operations can hold.

Two things stand in the way. Max-unpooling is no operation of ONNX as these networks need it, with windows that overlap:
it is spelled out here, exactly. And the embedded model's motion is measured outside of its network, from frame to
frame: its graph is the network of photographs, which a video's frames can be shown to, one by one.
"""

from __future__ import annotations

import copy
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn import functional

from saliency_cli.errors import UsageError
from saliency_cli.models.registry import LoadedModel
from saliency_cli.models.streaming import StreamingTSFPNet
from saliency_cli.models.tased import TASEDNet, Unpooling

__all__ = ["Graph", "PictureNetwork", "SpelledUnpooling", "WindowNetwork", "graph_of"]

NOWHERE = -1  # no offset: of windows beyond the edge


class PictureNetwork(nn.Module):
    """The embedded model on photographs: normalised RGB (B, 3, H, W) to log densities (B, H/4, W/4).

    Their exponential sums to 1 over each map.
    """

    def __init__(self, network: StreamingTSFPNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, frames: Tensor) -> Tensor:
        _, logits, _ = self.network.seen(frames)  # (B, 1, H/4, W/4)
        return functional.log_softmax(logits.flatten(1), 1).view_as(logits)[:, 0]  # (B, H/4, W/4)


class WindowNetwork(nn.Module):
    """A network with a window: normalised RGB (B, 3, T, H, W) to the saliency of each clip's last frame (B, H, W)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, clip: Tensor) -> Tensor:
        result: Tensor = self.network(clip)
        return result


class SpelledUnpooling(nn.Module):
    """What :class:`Unpooling` does, with comparisons and choices alone.

    The maximum of a window lies at one of its offsets; going through these in raster order, the first of equal ones is
    kept, as in the pooling. A place of the output lies in one, two or four windows, depending on whether its row and
    its column are even; where several windows have their maximum there, the last in raster order counts, as in the
    unpooling on a CPU.
    """

    def __init__(self, original: Unpooling) -> None:
        super().__init__()
        self.temporal = original.temporal
        self.kernel = int(original.spatial.kernel_size[1])  # type: ignore[index]

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """(B, C, D, h, w), and the encoder's (B, C, t, 2h, 2w), to (B, C, D, 2h, 2w)."""
        offsets = self._offsets(self.temporal(level))  # (B, C, D, h, w)
        h, w = x.shape[-2:]
        zero = torch.zeros_like(x)
        rows = []
        for down, right in product((0, 1), repeat=2):  # the place's parities
            values = zero
            for i, j, offset in self._windows(down, right):
                there = _shifted(offsets, i, j, NOWHERE) == offset
                values = torch.where(there, _shifted(x, i, j, 0), values)
            rows.append(values)
        upper, lower = torch.stack(rows[:2], -1), torch.stack(rows[2:], -1)  # (B, C, D, h, w, 2)
        return torch.stack([upper.flatten(-2), lower.flatten(-2)], -2).reshape(*x.shape[:-2], 2 * h, 2 * w)

    def _offsets(self, level: Tensor) -> Tensor:
        """Where in each window the maximum is: (B, C, D, 2h, 2w) to row · kernel + column, (B, C, D, h, w)."""
        height, width = level.shape[-2:]
        if self.kernel == 3:
            level = functional.pad(level, (1, 1, 1, 1), value=float("-inf"))
        best: Tensor | None = None
        where: Tensor | None = None
        for row, column in product(range(self.kernel), repeat=2):
            candidate = level[..., row : row + height : 2, column : column + width : 2][
                ..., : height // 2, : width // 2
            ]
            offset = torch.full_like(candidate, row * self.kernel + column)
            if best is None or where is None:
                best, where = candidate, offset
                continue
            larger = candidate > best
            best, where = torch.where(larger, candidate, best), torch.where(larger, offset, where)
        assert where is not None
        return where

    def _windows(self, down: int, right: int) -> list[tuple[int, int, int]]:
        """Windows (i, j) further on that hold the place, in raster order, and its offset in each."""
        if self.kernel == 2:
            return [(0, 0, 2 * down + right)]
        # Window i has the rows 2i-1, 2i and 2i+1
        vertical = [(0, 1)] if not down else [(0, 2), (1, 0)]
        horizontal = [(0, 1)] if not right else [(0, 2), (1, 0)]
        return [(i, j, 3 * row + column) for i, row in vertical for j, column in horizontal]


def _shifted(x: Tensor, down: int, right: int, beyond: int) -> Tensor:
    """The entries so many rows and columns further on; ``beyond`` the edge."""
    if not (down or right):
        return x
    return functional.pad(x, (0, right, 0, down), value=beyond)[..., down:, right:]


class Graph:
    """A network to be exported, with what its inputs and outputs are called.

    ``takes``, ``gives``: in words. ``shape``: of one input, without the batch. ``unpools``: it puts values where maxima
    were, so that rounding can move a few of them far.
    """

    def __init__(self, model: LoadedModel) -> None:
        config = model.config
        module = copy.deepcopy(model.module).cpu().eval().requires_grad_(False)
        height, width = config.input_size
        self.unpools = isinstance(module, TASEDNet) and config.upsampling == "unpool"
        self.module: nn.Module
        self.shape: tuple[int, ...]
        if isinstance(module, StreamingTSFPNet):
            self.input, self.output = "frames", "log_density"
            self.module, self.shape = PictureNetwork(module).eval(), (3, height, width)
            self.takes = f"frames: float32 (batch, 3, {height}, {width}), RGB, (pixel / 255 - mean) / std"
            self.gives = (
                f"log_density: float32 (batch, {height // 4}, {width // 4}), whose exponential sums to 1 over each "
                "map: where a photograph is looked at, without motion, sound, or smoothing over time"
            )
        else:
            if self.unpools:
                for name in ("upsample1", "upsample2", "upsample3"):
                    setattr(module, name, SpelledUnpooling(getattr(module, name)))
            length = config.clip_length
            self.input, self.output = "clip", "saliency"
            self.module, self.shape = WindowNetwork(module).eval(), (3, length, height, width)
            self.takes = (
                f"clip: float32 (batch, 3, {length}, {height}, {width}), {length} consecutive frames, RGB, "
                "(pixel / 255 - mean) / std"
            )
            self.gives = f"saliency: float32 (batch, {height}, {width}), 0 to 1, of each clip's last frame"

    def example(self, batch: int, seed: int = 0) -> Tensor:
        """Something to look at: smooth noise, normalised."""
        generator = torch.Generator().manual_seed(seed)
        coarse = torch.randn(
            (batch * self.shape[0], 1, *(max(1, side // 16) for side in self.shape[1:])), generator=generator
        )
        mode = "bilinear" if coarse.ndim == 4 else "trilinear"
        smooth = functional.interpolate(coarse, self.shape[1:], mode=mode)
        return smooth.reshape(batch, *self.shape).clamp(-1, 1)


def graph_of(model: LoadedModel) -> Graph:
    """The graph of a model. Raises UsageError for a network that no graph can be made of."""
    if model.config.encoder == "efficientnet-lite0" and not isinstance(model.module, StreamingTSFPNet):
        raise UsageError(f"{model.weights.name} holds a network that cannot be exported; export tsfp or tased.")
    return Graph(model)
