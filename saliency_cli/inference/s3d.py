"""S3D on a stream of frames: what windows share is computed once.

Windows whose beginnings differ by two share what the encoder's first two blocks compute in their interior, as the first
temporal convolution has stride 2. So the even windows have one ``Memory``, and the odd ones another. From the third
block on next to nothing is interior, and windows are computed whole.

Shapes in comments are (times, height, width, channels); T is the clip length, H and W the input's size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import accumulate
from threading import Condition, Lock
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

from saliency_cli.inference.features import max_of_three, max_pool, max_pool_halving
from saliency_cli.inference.folded import Convolution, folded, weights
from saliency_cli.inference.rings import Interior, Memory, Ring, Span
from saliency_cli.models.s3d import BasicConv3d, Inception, SeparableConv3d

__all__ = ["Half", "InceptionBlock", "S3DLayers", "S3DStream", "Seen", "Separable", "Step", "Window"]


T = TypeVar("T")


class Separable:
    """A convolution of each frame (``spatial``), and one over time, of windows that lie in rings or are ``whole``."""

    def __init__(self, block: SeparableConv3d, *, dtype: torch.dtype, whole: bool = False) -> None:
        self.spatial = cast(Convolution, folded(block.conv_s, block.bn_s, dtype=dtype))
        weight, bias = weights(block.conv_t, block.bn_t)
        weight = weight[..., 0]  # (C_out, C_in, k, 1)
        self.kernel, self.stride = weight.shape[2], block.conv_t.stride[0]
        self.reach = self.kernel // 2
        self.channels = len(weight)
        stride = (self.stride, 1)
        if whole:
            self._whole = Convolution(weight, bias, dtype=dtype, stride=stride, padding=(self.reach, 0))
            return
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
    """Four branches side by side, joined along the channels; the 1x1 convolutions of three of them are one.

    For windows that lie in rings (:meth:`step`), or that are ``whole`` (:meth:`whole`).
    """

    def __init__(self, block: Inception, *, dtype: torch.dtype, whole: bool = False) -> None:
        entries = [cast(BasicConv3d, branch[0]) for branch in (block.branch0, block.branch1, block.branch2)]
        folds = [weights(entry.conv, entry.bn) for entry in entries]
        weight, bias = torch.cat([w for w, _ in folds])[:, :, 0], torch.cat([b for _, b in folds])
        self._entry = Convolution(weight, bias, dtype=dtype)
        self._widths = [len(b) for _, b in folds]
        self._separables = [
            Separable(cast(SeparableConv3d, branch[1]), dtype=dtype, whole=whole)
            for branch in (block.branch1, block.branch2)
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

    def step(self, memory: Memory, name: str, source: Ring, inner: Interior, *, whole: bool) -> Interior:
        """The next window of a stream: from the times of ``source`` to the ring ``name`` of the memory.

        ``inner`` tells which positions of the source are interior; returned is which of the result are. ``whole``: the
        result will be read whole.
        """
        count, fresh, width, outer = inner.count, memory.age == 0, self._offsets[-1], inner.after(3)
        longest = None if whole else outer.longest
        for begin, end in inner.missing(fresh=fresh):
            x = source[begin, end]  # (m, h, w, C_in)
            entries = torch.split(self._entry(x), self._widths, dim=-1)
            memory.put(name, count, begin, entries[0], width=width, longest=longest)
            for number, (separable, entry) in enumerate(zip(self._separables, entries[1:], strict=True), 1):
                memory.put(f"{name}.branch{number}", count, begin, separable.spatial(entry), longest=outer.longest)
            memory.put(f"{name}.branch3", count, begin, max_pool(x), longest=outer.longest)
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


class Seen:
    """A frame of a stream: its features are computed when the first window asks for them, and once.

    ``pixels``: (H, W, 3), normalised.
    """

    def __init__(self, pixels: Tensor, compute: Callable[[Tensor], Tensor]) -> None:
        self._pixels: Tensor | None = pixels
        self._compute, self._lock = compute, Lock()
        self._features: Tensor | None = None

    def features(self) -> Tensor:
        """(1, H/2, W/2, 64), after the first convolution."""
        with self._lock:
            if self._features is None:
                self._features = self._compute(cast(Tensor, self._pixels))
                self._pixels = None
            return self._features


@dataclass(frozen=True, slots=True)
class Step:
    """A half's next window: its number among the half's, and the frames that the half has not seen yet."""

    half: Half
    number: int
    frames: tuple[Seen, ...]


class Half:
    """Every second window of a stream, one after the other.

    Two halves know nothing of each other and may be computed at the same time, in two threads.
    """

    def __init__(self, layers: S3DLayers) -> None:
        self._layers = layers
        self._frames, self._memory = Memory(), Memory()
        self._turn = Condition()
        self.forget()

    def forget(self) -> None:
        """Begin another stream; the memory claimed is used again."""
        self._frames.forget()
        self._memory.forget()
        self._done, self._failed = 0, False

    def run(self, step: Step, take: Callable[[Window], T]) -> T:
        """What ``take`` gives of a step's window. Steps called for by several threads wait for their turn.

        Raises RuntimeError if an earlier step has failed.
        """
        with self._turn:
            self._turn.wait_for(lambda: self._done == step.number or self._failed)
            if self._failed:
                raise RuntimeError("an earlier window of the stream has failed")
            try:
                result = take(self._next(step.frames))
                self._done += 1
            except BaseException:
                self._failed = True
                raise
            finally:
                self._turn.notify_all()
            return result

    def abandon(self) -> None:
        """Raise RuntimeError in all that wait for their turn, or will: a step before theirs will never be run."""
        with self._turn:
            self._failed = True
            self._turn.notify_all()

    def _next(self, frames: Iterable[Seen]) -> Window:
        """The window that ends with the last of these frames; before are those of earlier steps."""
        length = self._layers.length
        for frame in frames:
            self._frames.advance()
            self._frames.put("frames", length, length - 1, frame.features(), longest=self._layers.longest)
        self._memory.advance()
        return self._layers.window(self._frames["frames"], self._memory)


class S3DStream:
    """The windows of a stream, one after the other, in two halves: the even ones and the odd ones."""

    def __init__(self, layers: S3DLayers) -> None:
        self._layers = layers
        self._halves = (Half(layers), Half(layers))
        self.forget()

    def forget(self) -> None:
        """Begin again with other frames; the memory claimed is used again."""
        self._count = 0
        self._unseen: tuple[list[Seen], list[Seen]] = ([], [])
        for half in self._halves:
            half.forget()

    def push(self, frame: Tensor) -> Step | None:
        """Take the next frame (H, W, 3); once there are T of them, what leads to the window that ends with it."""
        seen = Seen(frame, self._layers.see)
        number = self._count - self._layers.length + 1  # of the window that ends with this frame
        self._count += 1
        for which, unseen in enumerate(self._unseen):
            if self._count > which:  # the odd windows begin with the second frame
                unseen.append(seen)
        if number < 0:
            return None
        frames = tuple(self._unseen[number % 2])
        self._unseen[number % 2].clear()
        return Step(self._halves[number % 2], number // 2, frames)


class S3DLayers:
    """The encoder's first two blocks.

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
        self.length, self._dtype, self._device = length, dtype, narrow.conv.weight.device
        self._inner = Interior(length, 0, length - 1).after(self._stem.kernel, self._stem.stride)
        # Frames that are read at a time once a stream runs: those of one position.
        self.longest = self._stem.kernel if self._inner.first < self._inner.last else length

    def see(self, frame: Tensor) -> Tensor:
        """The convolution of each frame: (H, W, 3) to (1, H/2, W/2, 64)."""
        return self._stem.spatial(frame[None].to(self._device, self._dtype))

    def window(self, frames: Ring, memory: Memory) -> Window:
        """A half's next window, from its T frames (H/2, W/2, 64) and what earlier windows left in the memory."""
        fresh, length, half = memory.age == 0, self.length, self.length // 2
        inner, inner1 = self._inner, self._inner.after(3)
        for span in inner.missing(fresh=fresh):
            for begin, features in self._stem.at(span, frames, count=length):  # (m, H/2, W/2, 64)
                x = self._narrow(max_pool_halving(features))  # (m, H/4, W/4, 64)
                memory.put("widened", half, begin, self._widen.spatial(x), longest=inner1.longest)  # (m, H/4, W/4, 192)
        for span in inner1.missing(fresh=fresh):
            for begin, features in self._widen.at(span, memory["widened"], count=half):  # (m, H/4, W/4, 192)
                memory.put("level1", half, begin, features)
                pooled = max_pool_halving(features)  # (m, H/8, W/8, 192)
                memory.put("pooled", half, begin, pooled, longest=inner1.longest)
        inner2 = self._mixed[0].step(memory, "mixed3b", memory["pooled"], inner1, whole=False)  # T/2 of (H/8, W/8, 256)
        inner2 = self._mixed[1].step(memory, "level2", memory["mixed3b"], inner2, whole=True)  # T/2 of (H/8, W/8, 480)
        return Window(memory, inner1, inner2)
