"""S3D on a stream of frames: what windows share is computed once.

Windows whose beginnings differ by two share what the encoder's first two blocks compute in their interior, as the first
temporal convolution has stride 2. So the even windows have one ``Memory``, and the odd ones another. From the third
block on next to nothing is interior, and windows are computed whole.

Shapes in comments are (times, height, width, channels); T is the clip length, H and W the input's size.
"""

from __future__ import annotations

from copy import copy
from itertools import accumulate
from typing import cast

import torch
from torch import Tensor, nn

from saliency_cli.inference.features import max_of_three, max_pool, max_pool_halving
from saliency_cli.inference.folded import Convolution, folded, weights
from saliency_cli.inference.rings import Interior, Memory, Ring, Span
from saliency_cli.models.s3d import BasicConv3d, Inception, SeparableConv3d

__all__ = ["InceptionBlock", "S3DStream", "Separable", "Window"]


class Separable:
    """A convolution of each frame (``spatial``), and one over time, for windows in a ring or whole."""

    def __init__(self, block: SeparableConv3d, *, dtype: torch.dtype) -> None:
        self.spatial = cast(Convolution, folded(block.conv_s, block.bn_s, dtype=dtype))
        weight, bias = weights(block.conv_t, block.bn_t)
        weight = weight[..., 0]  # (C_out, C_in, k, 1)
        self.kernel, self.stride = weight.shape[2], block.conv_t.stride[0]
        self.reach = self.kernel // 2
        self.channels = len(weight)
        stride = (self.stride, 1)
        self._whole = Convolution(weight, bias, dtype=dtype, stride=stride, padding=(self.reach, 0))
        # Positions at a window's ends see fewer times: the taps that would meet zeros are cut off.
        self._cut = {
            (before, after): Convolution(weight[:, :, before : self.kernel - after], bias, dtype=dtype, stride=stride)
            for before in range(self.reach + 1)
            for after in range(self.reach + 1)
        }

    def at(self, span: Span, times: Ring, *, count: int) -> list[tuple[int, Tensor]]:
        """The temporal convolution at a span of positions, from what a ring has of ``count`` times.

        Gives runs of positions: the first of each, and its features (m, h, w, C).
        """
        runs: list[tuple[int, int, int, int]] = []  # begin, end, taps cut off before, and after
        for position in range(*span):
            centre = position * self.stride
            before, after = max(self.reach - centre, 0), max(centre + self.reach - count + 1, 0)
            if runs and runs[-1][2:] == (0, 0) == (before, after):
                runs[-1] = (runs[-1][0], position + 1, 0, 0)
            else:
                runs.append((position, position + 1, before, after))
        results = []
        for begin, end, before, after in runs:
            first = begin * self.stride - self.reach + before
            last = (end - 1) * self.stride + self.reach - after
            results.append((begin, self._cut[before, after].over_time(times[first, last + 1][None])[0]))
        return results

    def whole(self, x: Tensor) -> Tensor:
        """The temporal convolution of whole windows: (B, t, h, w, C) stays of its shape, but for its stride."""
        return self._whole.over_time(x)


class InceptionBlock:
    """Four branches side by side, joined along the channels; the 1x1 convolutions of three of them are one."""

    def __init__(self, block: Inception, *, dtype: torch.dtype) -> None:
        entries = [cast(BasicConv3d, branch[0]) for branch in (block.branch0, block.branch1, block.branch2)]
        folds = [weights(entry.conv, entry.bn) for entry in entries]
        weight, bias = torch.cat([w for w, _ in folds])[:, :, 0], torch.cat([b for _, b in folds])
        self._entry = Convolution(weight, bias, dtype=dtype)
        self._widths = [len(b) for _, b in folds]
        self._separables = [
            Separable(cast(SeparableConv3d, branch[1]), dtype=dtype) for branch in (block.branch1, block.branch2)
        ]
        last = cast(BasicConv3d, block.branch3[1])
        self._last = cast(Convolution, folded(last.conv, last.bn, dtype=dtype))
        self._outputs = [self._widths[0], *(each.channels for each in self._separables), self._last.channels]
        self._offsets = [0, *accumulate(self._outputs)]

    def whole(self, x: Tensor) -> Tensor:
        """Whole windows: (B, t, h, w, C_in) to (B, t, h, w, C_out)."""
        windows = x.shape[:2]
        frames = x.flatten(0, 1)  # (B·t, h, w, C_in)
        entries = torch.split(self._entry(frames), self._widths, dim=-1)
        result = x.new_empty(*frames.shape[:-1], self._offsets[-1])  # (B·t, h, w, C_out)
        parts = torch.split(result, self._outputs, dim=-1)
        parts[0].copy_(entries[0])
        for separable, entry, part in zip(self._separables, entries[1:], parts[1:], strict=False):
            part.copy_(separable.whole(torch.unflatten(separable.spatial(entry), 0, windows)).flatten(0, 1))
        pooled = max_of_three(torch.unflatten(max_pool(frames), 0, windows), 1)
        parts[3].copy_(self._last(pooled.flatten(0, 1)))
        return torch.unflatten(result, 0, windows)

    def step(self, memory: Memory, name: str, source: Ring, inner: Interior) -> Interior:
        """The next window of a stream: from the times of ``source`` to the ring ``name`` of the memory.

        ``inner`` tells which positions of the source are interior; returned is which of the result are.
        """
        count, fresh, width = inner.count, memory.age == 0, self._offsets[-1]
        for begin, end in inner.missing(fresh=fresh):
            x = source[begin, end]  # (m, h, w, C_in)
            entries = torch.split(self._entry(x), self._widths, dim=-1)
            memory.put(name, count, begin, entries[0], width=width)
            for number, (separable, entry) in enumerate(zip(self._separables, entries[1:], strict=True), 1):
                memory.put(f"{name}.branch{number}", count, begin, separable.spatial(entry))
            memory.put(f"{name}.branch3", count, begin, max_pool(x))
        outer = inner.after(3)
        for span in outer.missing(fresh=fresh):
            for number, separable in enumerate(self._separables, 1):
                for begin, features in separable.at(span, memory[f"{name}.branch{number}"], count=count):
                    memory.put(name, count, begin, features, at=self._offsets[number], width=width)
            low, high = max(span.begin - 1, 0), min(span.end + 1, count)
            pooled = max_of_three(memory[f"{name}.branch3"][low, high], 0)[span.begin - low :][: span.end - span.begin]
            memory.put(name, count, span.begin, self._last(pooled), at=self._offsets[3], width=width)
        return outer


class Window:
    """The features of one window as they stand in the rings, until the next window is asked for."""

    def __init__(self, memory: Memory, inner1: Interior, inner2: Interior) -> None:
        self.memory = memory
        self.inner1, self.inner2 = inner1, inner2  # interior positions of levels 1 and 2
        self.level1 = memory["level1"]  # positions of (H/4, W/4, 192), T/2 of them
        self.level2 = memory["level2"]  # positions of (H/8, W/8, 480), T/2 of them

    @property
    def fresh(self) -> bool:
        """Whether there was no window before it in its memory."""
        return self.memory.age == 0


class S3DStream:
    """The encoder's first two blocks over all windows of a stream, one frame after the other.

    Args:
        base1, base2: those of the network.
        length: T, the number of frames of a window.
        dtype: of the computation and of what is remembered.
    """

    def __init__(self, base1: nn.Sequential, base2: nn.Sequential, *, length: int, dtype: torch.dtype) -> None:
        stem, _, narrow, widen = base1
        self._stem = Separable(cast(SeparableConv3d, stem), dtype=dtype)
        narrow = cast(BasicConv3d, narrow)
        self._narrow = cast(Convolution, folded(narrow.conv, narrow.bn, dtype=dtype))
        self._widen = Separable(cast(SeparableConv3d, widen), dtype=dtype)
        self._mixed = [InceptionBlock(cast(Inception, block), dtype=dtype) for block in base2]
        self._length, self._dtype = length, dtype
        self._frames, self._halves = Memory(), (Memory(), Memory())
        self._seen = 0

    def another(self) -> S3DStream:
        """A stream of its own, with the same layers."""
        stream = copy(self)
        stream._frames, stream._halves, stream._seen = Memory(), (Memory(), Memory()), 0
        return stream

    def forget(self) -> None:
        """Begin again with other frames; the memory claimed is used again."""
        self._seen = 0
        for memory in (self._frames, *self._halves):
            memory.forget()

    def push(self, frame: Tensor) -> Window | None:
        """Take the stream's next frame (H, W, 3), and give the window that ends with it once there are T frames."""
        self._frames.advance()
        features = self._stem.spatial(frame[None].to(self._dtype))  # (1, H/2, W/2, 64)
        self._frames.put("frames", self._length, self._length - 1, features)
        self._seen += 1
        if self._seen < self._length:
            return None
        memory = self._halves[(self._seen - self._length) % 2]
        memory.advance()
        return self._window(memory)

    def _window(self, memory: Memory) -> Window:
        fresh, length, half = memory.age == 0, self._length, self._length // 2
        inner = Interior(length, 0, length - 1).after(self._stem.kernel, self._stem.stride)
        for span in inner.missing(fresh=fresh):
            for begin, features in self._stem.at(span, self._frames["frames"], count=length):  # (m, H/2, W/2, 64)
                x = self._narrow(max_pool_halving(features))  # (m, H/4, W/4, 64)
                memory.put("widened", half, begin, self._widen.spatial(x))  # (m, H/4, W/4, 192)
        inner1 = inner.after(3)
        for span in inner1.missing(fresh=fresh):
            for begin, features in self._widen.at(span, memory["widened"], count=half):  # (m, H/4, W/4, 192)
                memory.put("level1", half, begin, features)
                memory.put("pooled", half, begin, max_pool_halving(features))  # (m, H/8, W/8, 192)
        inner2 = self._mixed[0].step(memory, "mixed3b", memory["pooled"], inner1)  # T/2 of (H/8, W/8, 256)
        inner2 = self._mixed[1].step(memory, "level2", memory["mixed3b"], inner2)  # T/2 of (H/8, W/8, 480)
        return Window(memory, inner1, inner2)
