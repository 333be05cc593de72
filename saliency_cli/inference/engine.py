"""TASED-Net and TSFP-Net on S3D over a stream of frames: the maps of the sliding window without its waste.

Each frame is seen once, windows take from earlier ones what they share (``S3DStream``), and only what lies above that
is computed for each window. A video begins with reversed windows: these are the same engine, run over frames
2T-3 … 0 (``windows``: frame t < T-1 sees t+T-1 … t). Their maps come out last to first, so that the first map needs
2T-2 frames.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saliency_cli.inference.device import DTYPES, Precision
from saliency_cli.inference.hearing import Listen
from saliency_cli.inference.overlap import overlapped
from saliency_cli.inference.preparing import Prepared, computing, is_memory_error
from saliency_cli.inference.s3d import S3DLayers, S3DStream, Step, Window
from saliency_cli.inference.tased import TASEDTop
from saliency_cli.inference.tsfp import TSFPTop
from saliency_cli.models.config import ModelConfig
from saliency_cli.models.tased import TASEDNet
from saliency_cli.models.tsfp import TSFPNet
from saliency_cli.types import SaliencyFrame
from saliency_cli.windows import reversed_stream

__all__ = ["WindowEngine", "windows_at_once"]

log = logging.getLogger(__name__)

MOST_AT_ONCE = 8  # windows; more of them fill no GPU better
# That the layers above the stream hold of a window of 32 frames of 224x384, a little more than was counted.
WINDOW_VALUES = 64e6


class _Top(Protocol):
    """The part of a network above ``S3DStream``."""

    def take(self, window: Window) -> object:
        """What :meth:`maps` needs of a window."""

    def maps(self, windows: Sequence[object], sound: Tensor | None = None) -> Tensor:
        """Probabilities (B, H, W) of B windows' last frames; ``sound`` (B, samples)."""


@dataclass(frozen=True, slots=True)
class _Due:
    """A window whose map is to be computed: that of its last frame."""

    number: int
    seconds: float
    step: Step
    sound: NDArray[np.float32] | None


class WindowEngine:
    """Maps of TASED-Net or TSFP-Net, each frame once.

    On a CPU two windows are computed at a time, an even and an odd one, which share nothing but their frames; each has
    half of torch's threads. On a GPU they are computed one after the other, but several at once above the stream.

    Args:
        network: on its device, in evaluation mode. Its weights are copied, with normalisations folded in.
        config: of the network.
        precision: one that the device has.
    """

    def __init__(
        self, network: TASEDNet | TSFPNet, config: ModelConfig, *, device: torch.device, precision: Precision
    ) -> None:
        dtype = DTYPES[precision]
        self._device, self._length = device, config.clip_length
        with computing(device, "fp32"):
            encoder = network if isinstance(network, TASEDNet) else network.encoder
            self.layers = S3DLayers(encoder.base1, encoder.base2, length=self._length, dtype=dtype)
            top = TASEDTop(network, dtype=dtype) if isinstance(network, TASEDNet) else TSFPTop(network, dtype=dtype)
            self.top = cast(_Top, top)
        self.at_once = windows_at_once(device, config, dtype)

    def maps(self, frames: Iterable[Prepared], listen: Listen | None = None) -> Iterator[SaliencyFrame]:
        """Probabilities (H, W) of a video's consecutive frames, one for each and in their order.

        ``listen`` gives the sound of a window, for networks that hear.

        Raises:
            DeviceError: the device's memory does not suffice even for one window at a time.
        """
        source = iter(frames)
        first = deque(islice(source, 2 * self._length - 2))
        stream = S3DStream(self.layers)
        backwards = list(self._slide(stream, reversed_stream(first, length=self._length), listen, reverse=True))
        while backwards:
            yield backwards.pop()
        stream.forget()
        yield from self._slide(stream, _drained(first, source), listen, reverse=False)

    def _slide(
        self, stream: S3DStream, frames: Iterable[Prepared], listen: Listen | None, *, reverse: bool
    ) -> Iterator[SaliencyFrame]:
        """The map of each window of a stream, in the stream's order."""
        workers = min(2, torch.get_num_threads()) if self._device.type == "cpu" else 1
        due = self._batched(self._due(stream, frames, listen, reverse=reverse))
        threads = torch.get_num_threads() // workers
        for maps in overlapped(self._computed, due, workers=workers, threads=threads):
            yield from maps

    def _due(
        self, stream: S3DStream, frames: Iterable[Prepared], listen: Listen | None, *, reverse: bool
    ) -> Iterator[_Due]:
        seconds: deque[float] = deque(maxlen=self._length)
        for frame in frames:
            seconds.append(frame.seconds)
            step = stream.push(frame.pixels.permute(1, 2, 0))
            if step is not None:
                sound = None if listen is None else listen(list(seconds), reverse)
                yield _Due(frame.number, frame.seconds, step, sound)

    def _batched(self, due: Iterator[_Due]) -> Iterator[list[_Due]]:
        while batch := list(islice(due, self.at_once)):
            yield batch

    def _computed(self, due: Sequence[_Due]) -> list[SaliencyFrame]:
        """The maps of windows, as many at a time as memory has been found to hold."""
        with computing(self._device, "fp32"):
            try:
                taken = [window.step.half.run(window.step, self.top.take) for window in due]
            except BaseException:
                for window in due:  # of those after the one that failed, nothing was run: nobody must wait for them
                    window.step.half.abandon()
                raise
        maps: list[NDArray[np.float32]] = []
        while len(maps) < len(due):
            some = slice(len(maps), len(maps) + self.at_once)
            found = self._together(taken[some], [window.sound for window in due[some]])
            if found is None:
                tried = len(taken[some])
                self.at_once = max(tried // 2, 1)
                log.warning("%s: memory does not hold %d windows at a time; now %d", self._device, tried, self.at_once)
            else:
                maps += found
        return [
            SaliencyFrame(window.number, window.seconds, saliency) for window, saliency in zip(due, maps, strict=True)
        ]

    def _together(
        self, taken: Sequence[object], sounds: Sequence[NDArray[np.float32] | None]
    ) -> list[NDArray[np.float32]] | None:
        """The maps of some windows; None if memory does not suffice and they are several."""
        with computing(self._device, "fp32"):
            waveforms = [waveform for waveform in sounds if waveform is not None]
            heard = [torch.from_numpy(np.stack(waveforms)).to(self._device)] if waveforms else []  # (B, samples)
            try:
                return list(self.top.maps(taken, *heard).float().cpu().numpy())
            except (RuntimeError, MemoryError) as error:
                if len(taken) == 1 or not is_memory_error(error):
                    raise
        # Only here, outside, nothing of the attempt is held any more.
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        return None


def windows_at_once(device: torch.device, config: ModelConfig, dtype: torch.dtype) -> int:
    """How many windows are computed together above the stream: one on CPUs, where more gain nothing (docs/speed.md).

    On a GPU a power of two, as many as half of its free memory holds and no more than fill it; where that is not
    known, all.
    """
    if device.type == "cpu":
        return 1
    if device.type != "cuda":
        return MOST_AT_ONCE
    free, _ = torch.cuda.mem_get_info(device)
    height, width = config.input_size
    share = height * width * config.clip_length / (224 * 384 * 32)
    fitting = int(min(max(free / 2 // (WINDOW_VALUES * share * dtype.itemsize), 1), MOST_AT_ONCE))
    return 1 << (fitting.bit_length() - 1)


def _drained(first: deque[Prepared], rest: Iterator[Prepared]) -> Iterator[Prepared]:
    """The frames of both, none of which is held here once it is handed on."""
    while first:
        yield first.popleft()
    yield from rest
