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
from saliency_cli.inference.preparing import Prepared, computing, is_memory_error
from saliency_cli.inference.s3d import S3DStream, Window
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
WINDOW_VALUES = (
    64e6  # that the layers above the stream hold of a window of 32 frames of 224x384, a little more than measured
)


class _Top(Protocol):
    """The part of a network above ``S3DStream``."""

    def take(self, window: Window) -> object:
        """What :meth:`maps` needs of a window."""

    def maps(self, windows: Sequence[object], sound: Tensor | None = None) -> Tensor:
        """Probabilities (B, H, W) of B windows' last frames; ``sound`` (B, samples)."""


@dataclass(frozen=True, slots=True)
class _Taken:
    """A window whose map is still to be computed."""

    number: int
    seconds: float
    features: object
    sound: NDArray[np.float32] | None


class WindowEngine:
    """Maps of TASED-Net or TSFP-Net, each frame once.

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
            self._stream = S3DStream(encoder.base1, encoder.base2, length=self._length, dtype=dtype)
            top = TASEDTop(network, dtype=dtype) if isinstance(network, TASEDNet) else TSFPTop(network, dtype=dtype)
            self._top = cast(_Top, top)
        self.at_once = windows_at_once(device, config, dtype)

    def maps(self, frames: Iterable[Prepared], listen: Listen | None = None) -> Iterator[SaliencyFrame]:
        """Probabilities (H, W) of a video's consecutive frames, one for each and in their order.

        ``listen`` gives the sound of a window, for networks that hear.

        Raises:
            DeviceError: the device's memory does not suffice even for one window at a time.
        """
        source = iter(frames)
        first = deque(islice(source, 2 * self._length - 2))
        stream = self._stream.another()
        backwards = list(self._slide(stream, reversed_stream(first, length=self._length), listen, reverse=True))
        yield from reversed(backwards)
        stream.forget()
        yield from self._slide(stream, _drained(first, source), listen, reverse=False)

    def _slide(
        self, stream: S3DStream, frames: Iterable[Prepared], listen: Listen | None, *, reverse: bool
    ) -> Iterator[SaliencyFrame]:
        """The map of each window of a stream, in the stream's order: that of the window's last frame."""
        seconds: deque[float] = deque(maxlen=self._length)
        waiting: list[_Taken] = []
        for frame in frames:
            seconds.append(frame.seconds)
            with computing(self._device, "fp32"):
                window = stream.push(frame.pixels.to(self._device).permute(1, 2, 0))
                features = None if window is None else self._top.take(window)
            if features is None:
                continue
            sound = None if listen is None else listen(list(seconds), reverse)
            waiting.append(_Taken(frame.number, frame.seconds, features, sound))
            if len(waiting) >= self.at_once:
                yield from self._finished(waiting)
                waiting = []
        yield from self._finished(waiting)

    def _finished(self, taken: Sequence[_Taken]) -> Iterator[SaliencyFrame]:
        """The maps of some windows, as many at a time as memory has been found to hold."""
        done = 0
        while done < len(taken):
            some = taken[done : done + self.at_once]
            maps = self._computed(some)
            if maps is None:
                self.at_once = max(len(some) // 2, 1)
                log.warning(
                    "%s: memory does not suffice for %d windows at a time; now %d",
                    self._device,
                    len(some),
                    self.at_once,
                )
                continue
            done += len(some)
            for window, saliency in zip(some, maps, strict=True):
                yield SaliencyFrame(window.number, window.seconds, saliency)

    def _computed(self, taken: Sequence[_Taken]) -> NDArray[np.float32] | None:
        """The maps of windows, together; None if memory does not suffice and they are several."""
        with computing(self._device, "fp32"):
            sound = None
            if taken[0].sound is not None:
                waveforms = np.stack([cast(NDArray[np.float32], window.sound) for window in taken])
                sound = torch.from_numpy(waveforms).to(self._device)  # (B, samples)
            try:
                maps = self._top.maps([window.features for window in taken], *([] if sound is None else [sound]))
                return np.asarray(maps.float().cpu().numpy())
            except RuntimeError as error:
                if len(taken) == 1 or not is_memory_error(error):
                    raise
        # Only here, outside, nothing of the attempt is held any more.
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        return None


def windows_at_once(device: torch.device, config: ModelConfig, dtype: torch.dtype) -> int:
    """How many windows are computed together above the stream: one on CPUs, where more gain nothing (docs/speed.md).

    On a GPU as many as half of its free memory holds, and no more than fill it; where that is not known, all.
    """
    if device.type == "cpu":
        return 1
    if device.type != "cuda":
        return MOST_AT_ONCE
    free, _ = torch.cuda.mem_get_info(device)
    height, width = config.input_size
    share = height * width * config.clip_length / (224 * 384 * 32)
    return int(min(max(free / 2 // (WINDOW_VALUES * share * dtype.itemsize), 1), MOST_AT_ONCE))


def _drained(first: deque[Prepared], rest: Iterator[Prepared]) -> Iterator[Prepared]:
    """The frames of both, none of which is held here once it is handed on."""
    while first:
        yield first.popleft()
    yield from rest
