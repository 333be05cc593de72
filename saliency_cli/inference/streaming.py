"""The embedded model on a stream: each frame is seen once, with what moves and, if asked for, what is heard."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from saliency_cli.inference.device import DTYPES, Precision
from saliency_cli.inference.hearing import Ears, Listen
from saliency_cli.inference.motion import MotionMeter
from saliency_cli.inference.overlap import overlapped, share, single_thread
from saliency_cli.inference.preparing import computing, prepare
from saliency_cli.models.config import ModelConfig
from saliency_cli.models.streaming import StreamingTSFPNet, StreamState, faded, input_size_for
from saliency_cli.models.streaming_sound import SoundBranch
from saliency_cli.types import Frame, SaliencyFrame

__all__ = ["CHUNK", "Memory", "StreamingPredictor"]

STILL_SCALES = (1.0, 1.25)  # of the embedded model's budget for photographs
METER = "meter."  # what the motion's meter remembers, among the rest
CHUNK = 2  # frames that the network takes at once; the maps do not depend on it

Memory = Mapping[str, Tensor]
"""What is remembered of a video after some frame, on the CPU; empty, nothing."""


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Consecutive frames, S of them.

    ``seconds``, ``since``: (1, S). ``pixels``: S full-size pictures, (H, W, 3). ``motion``: (1, S, 6, h, w). ``heard``:
    (1, S, 1024), or None. ``size``: (height, width) of the network's input. ``meter``: what the motion's meter
    remembers after them, or None where nobody asks.
    """

    numbers: list[int]
    seconds: Tensor
    pixels: list[NDArray[np.uint8]]
    size: tuple[int, int]
    motion: Tensor
    since: Tensor
    heard: Tensor | None
    meter: Memory | None


class StreamingPredictor:
    """Runs the embedded model.

    ``module`` lies on ``device`` already; ``precision`` is one that the device has.
    """

    def __init__(self, module: nn.Module, config: ModelConfig, *, device: torch.device, precision: Precision) -> None:
        self.config, self.device, self.precision = config, device, precision
        # The module itself stays as its checkpoint has it.
        self._module = module.for_inference(DTYPES[precision]) if isinstance(module, StreamingTSFPNet) else module

    def photographs(self, frames: Iterable[Frame]) -> Iterator[SaliencyFrame]:
        """Densities of photographs, each for itself, (h, w) at the finest look's size.

        Each is looked at in two sizes, as it is and mirrored, and the densities averaged: a still is soon done.
        """
        height, width = self.config.still_size
        for frame in frames:
            looks = []
            for scale in STILL_SCALES:
                size = self._fitted(frame, (round(scale * height), round(scale * width)))
                pixels = prepare(frame, self.config, size, cv2.INTER_AREA).pixels.to(self.device)
                with computing(self.device, self.precision):
                    both = torch.stack([pixels, pixels.flip(-1)])  # (2, 3, H, W)
                    log_density, _ = self._module(both[None])  # (1, 2, h, w)
                one, mirrored = _density(log_density)
                looks.append((one + mirrored[:, ::-1]) / 2)
            shape = looks[-1].shape[::-1]  # the finest look's
            saliency = np.mean([cv2.resize(look, shape, interpolation=cv2.INTER_LINEAR) for look in looks], axis=0)
            yield SaliencyFrame(frame.index, frame.seconds, saliency / saliency.sum())

    def video(
        self,
        frames: Iterable[Frame],
        listen: Listen | None,
        *,
        memory: Memory | None = None,
        every: int | None = None,
    ) -> Iterator[tuple[SaliencyFrame, Memory | None]]:
        """Densities of a video's consecutive frames, (h, w) each; with ``listen``, heard as well as seen.

        After ``every`` so many frames, a multiple of ``CHUNK``, comes the memory with which another call goes on from
        there, with the same densities as if it had not been interrupted.

        What moves and what is heard is measured in the caller's thread, frame after frame, while several workers look
        at the frames before; smoothing over time, in order again, comes last.
        """
        state = StreamState(memory["density"].to(self.device), memory["seconds"]) if memory else None
        workers, threads = share(self.device)
        for chunk, log_density in overlapped(
            self._look, self._chunks(frames, listen, memory, every), workers=workers, threads=threads
        ):
            with single_thread(), computing(self.device, self.precision):
                smooth, state = faded(log_density, chunk.seconds, chunk.since, state)  # (1, S, h, w)
                maps = _density(smooth)
            times = chunk.seconds[0].tolist()
            found = [SaliencyFrame(*each) for each in zip(chunk.numbers, times, maps, strict=True)]
            yield from ((each, None) for each in found[:-1])
            yield found[-1], None if chunk.meter is None else _memory(chunk.meter, state)

    def _chunks(
        self, frames: Iterable[Frame], listen: Listen | None, memory: Memory | None, every: int | None
    ) -> Iterator[_Chunk]:
        """A few frames at a time, with what moves and what is heard."""
        stream, meter, done = iter(frames), MotionMeter(), 0
        if memory:
            meter.go_on({name.removeprefix(METER): value for name, value in memory.items() if name.startswith(METER)})
        ears = None if listen is None else Ears(cast(SoundBranch, self._module.get_submodule("sound")), listen)
        size: tuple[int, int] | None = None
        while some := list(islice(stream, CHUNK)):
            size = size or self._fitted(some[0], self.config.input_size)
            motion = [meter.measure(frame.pixels, frame.seconds) for frame in some]
            with single_thread():
                heard = None if ears is None else ears.hear(frame.seconds for frame in some)[None]
            done += len(some)
            chunk = _Chunk(
                numbers=[frame.index for frame in some],
                seconds=torch.tensor([[frame.seconds for frame in some]], dtype=torch.float64),
                pixels=[frame.pixels for frame in some],
                size=size,
                motion=torch.from_numpy(np.stack([each.maps for each in motion]))[None],
                since=torch.tensor([[each.since for each in motion]], dtype=torch.float32),
                heard=heard,
                meter=meter.memory() if every is not None and done % every == 0 else None,
            )
            del some
            yield chunk

    def _look(self, chunk: _Chunk) -> tuple[_Chunk, Tensor]:
        """The chunk, and log densities (1, S, h, w) of its frames, not smoothed. On any thread."""
        height, width = chunk.size
        small = [cv2.resize(each, (width, height), interpolation=cv2.INTER_AREA) for each in chunk.pixels]
        chunk.pixels.clear()  # full-size pictures are large
        mean, std = 255 * self.config.mean, 255 * self.config.std
        with computing(self.device, self.precision):
            clip = torch.from_numpy(np.stack(small)).to(self.device)  # (S, H, W, 3)
            clip = clip.float().sub_(mean).div_(std).permute(0, 3, 1, 2)[None]  # (1, S, 3, H, W), channels last
            motion, since = chunk.motion.to(self.device), chunk.since.to(self.device)
            log_density, _ = self._module(clip, None, motion, since, None, chunk.heard)
        return chunk, log_density

    @staticmethod
    def _fitted(frame: Frame, budget: tuple[int, int]) -> tuple[int, int]:
        height, width = frame.pixels.shape[:2]
        return input_size_for(width, height, budget=budget)


def _memory(meter: Memory, state: StreamState) -> Memory:
    held = {"density": state.density, "seconds": state.seconds}
    return {name: value.cpu() for name, value in held.items()} | {METER + name: value for name, value in meter.items()}


def _density(log_density: Tensor) -> NDArray[np.float32]:
    """(1, S, h, w) logarithms → (S, h, w) densities."""
    return np.asarray(log_density[0].float().exp().cpu().numpy())
