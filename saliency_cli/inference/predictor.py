"""The predictor: a stream of frames in, one raw saliency map a frame out, in the same order.

Networks with a window (TASED-Net, TSFP-Net on S3D) see a clip of 32 frames for each map; the embedded model sees each
frame once and remembers. Both prepare a frame once, and hold no more of them than a window needs.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import NamedTuple, TypeVar, cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saliency_cli.errors import DeviceError, UsageError
from saliency_cli.inference.device import DTYPES, choose_device, choose_precision
from saliency_cli.inference.hearing import Ears, Listen
from saliency_cli.inference.motion import Motion, MotionMeter
from saliency_cli.models.registry import LoadedModel
from saliency_cli.models.streaming import StreamState, input_size_for
from saliency_cli.models.streaming_sound import SoundBranch
from saliency_cli.types import Frame, SaliencyFrame
from saliency_cli.windows import Window, sliding_windows

__all__ = ["Listen", "SaliencyPredictor"]

WORKERS = 4  # windows computed at a time with --exact; each takes about a gigabyte
STILL_SCALES = (1.0, 1.25)  # of the embedded model's budget for photographs
MEASURED_IN_BF16 = frozenset({"efficientnet-lite0"})  # encoders; see docs/models.md, "Precision"
CHUNK = 4  # frames that the embedded model takes at once; the maps do not depend on it

T = TypeVar("T")
R = TypeVar("R")


class _Prepared(NamedTuple):
    """A frame as the network takes it."""

    number: int
    seconds: float
    pixels: Tensor  # (3, H, W)


def _in_parallel(compute: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """``compute`` of each item, in order, each on one thread of torch's and as many at a time as there are threads.

    How many threads share a convolution decides the order in which it sums, and max-unpooling turns that rounding into
    jumps: on one thread each, maps do not depend on the number of cores.
    """
    workers = min(torch.get_num_threads(), WORKERS)
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(compute, item))
                if len(waiting) >= workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


class SaliencyPredictor:
    """Predicts the maps of a video, frame by frame, with one network on one device.

    Args:
        model: what ``load_model`` returned.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``.
        exact: the plain sliding window, one window at a time, in fp32: never anything that only comes close.

    Raises:
        UsageError: options that do not exist or do not fit.
        DeviceError: a device or precision that this machine does not have.
    """

    def __init__(
        self, model: LoadedModel, *, device: str = "auto", precision: str = "auto", exact: bool = False
    ) -> None:
        self.model = model
        self.device, self.device_reason = choose_device(device)
        self.precision, self.precision_reason = choose_precision(
            precision, self.device, exact=exact, measured=model.config.encoder in MEASURED_IN_BF16
        )
        self.exact = exact
        with _memory_errors(self.device):
            self._module = model.module.to(self.device).eval()
            if model.config.encoder != "s3d":  # 2-D convolutions are faster by half with the channels last
                self._module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def predict(
        self, frames: Iterable[Frame], *, still: bool = False, listen: Listen | None = None
    ) -> Iterator[SaliencyFrame]:
        """Raw maps of the network, at the network's size, float32 (h, w), one for each frame and in their order.

        TASED-Net and TSFP-Net give a sigmoid's values; the embedded model gives a density that sums to 1.

        Args:
            frames: consecutive frames of one video, in presentation order.
            still: they are photographs, each for itself. Only the embedded model tells these from videos.
            listen: gives the sound of a window; for networks with an audio branch. Photographs have none.

        Raises:
            UsageError: ``listen`` for a network without an audio branch.
            DeviceError: the device's memory does not suffice.
        """
        if listen is not None and not self.model.config.audio:
            raise UsageError(f"{self.model.weights.name} has no audio branch; predict without sound.")
        if self.model.config.encoder == "s3d":
            return self._windowed(frames, listen)
        return self._photographs(frames) if still else self._streaming(frames, listen)

    def _windowed(self, frames: Iterable[Frame], listen: Listen | None) -> Iterator[SaliencyFrame]:
        height, width = self.model.config.input_size
        # Bilinear even where it shrinks: the authors' choice, and part of the published result.
        prepared = (self._prepare(frame, height, width, cv2.INTER_LINEAR) for frame in frames)
        windows = sliding_windows(prepared, length=self.model.config.clip_length)
        if self.exact and self.device.type == "cpu":
            yield from _in_parallel(lambda window: self._map(window, listen), windows)
        else:
            for window in windows:
                yield self._map(window, listen)

    def _map(self, window: Window[_Prepared], listen: Listen | None) -> SaliencyFrame:
        """The map of a window's frame."""
        seen = window.frames[-1]
        with self._computing():
            clip = torch.stack([frame.pixels for frame in window.frames], 1)[None]  # (1, 3, T, H, W)
            clip = clip.to(self.device)
            if listen is None:
                saliency = self._module(clip)  # (1, H, W)
            else:
                waveform = listen([frame.seconds for frame in window.frames], window.reversed)
                saliency = self._module(clip, torch.from_numpy(waveform)[None].to(self.device))  # (1, H, W)
            return SaliencyFrame(seen.number, seen.seconds, saliency[0].float().cpu().numpy())

    def _photographs(self, frames: Iterable[Frame]) -> Iterator[SaliencyFrame]:
        """Each is looked at in two sizes, as it is and mirrored, and the densities averaged: a still is soon done."""
        height, width = self.model.config.still_size
        for frame in frames:
            looks = []
            for scale in STILL_SCALES:
                size = self._fitted(frame, (round(scale * height), round(scale * width)))
                pixels = self._prepare(frame, *size, cv2.INTER_AREA).pixels.to(self.device)
                with self._computing():
                    both = torch.stack([pixels, pixels.flip(-1)])  # (2, 3, H, W)
                    log_density, _ = self._module(both[None])  # (1, 2, h, w)
                one, mirrored = _density(log_density)
                looks.append((one + mirrored[:, ::-1]) / 2)
            shape = looks[-1].shape[::-1]  # the finest look's
            saliency = np.mean([cv2.resize(look, shape, interpolation=cv2.INTER_LINEAR) for look in looks], axis=0)
            yield SaliencyFrame(frame.index, frame.seconds, saliency / saliency.sum())

    def _streaming(self, frames: Iterable[Frame], listen: Listen | None) -> Iterator[SaliencyFrame]:
        stream, state, meter = iter(frames), None, MotionMeter()
        ears = None if listen is None else Ears(cast(SoundBranch, self._module.get_submodule("sound")), listen)
        size: tuple[int, int] | None = None
        while chunk := list(islice(stream, CHUNK)):
            size = size or self._fitted(chunk[0], self.model.config.input_size)
            prepared = [self._prepare(frame, *size, cv2.INTER_AREA) for frame in chunk]
            motion = [meter.measure(frame.pixels, frame.seconds) for frame in chunk]
            del chunk  # full-size pictures are large
            maps, state = self._run(prepared, motion, state, ears)
            for frame, saliency in zip(prepared, maps, strict=True):
                yield SaliencyFrame(frame.number, frame.seconds, saliency)

    def _run(
        self, chunk: Sequence[_Prepared], motion: Sequence[Motion], state: StreamState | None, ears: Ears | None
    ) -> tuple[list[NDArray[np.float32]], StreamState]:
        """Densities of a chunk, (h, w) each, and the network's memory after it."""
        with self._computing():
            clip = torch.stack([frame.pixels for frame in chunk]).to(self.device)  # (S, 3, H, W)
            clip = clip.contiguous(memory_format=torch.channels_last)[None]  # (1, S, 3, H, W)
            seconds = torch.tensor([[frame.seconds for frame in chunk]], dtype=torch.float64)  # (1, S)
            moving = torch.from_numpy(np.stack([each.maps for each in motion]))[None].to(self.device)  # (1, S, 6, …)
            since = torch.tensor([[each.since for each in motion]], dtype=torch.float32).to(self.device)  # (1, S)
            heard = None if ears is None else ears.hear(frame.seconds for frame in chunk)[None]  # (1, S, 1024)
            log_density, state = self._module(clip, seconds, moving, since, state, heard)  # (1, S, h, w)
            return list(_density(log_density)), state

    @staticmethod
    def _fitted(frame: Frame, budget: tuple[int, int]) -> tuple[int, int]:
        height, width = frame.pixels.shape[:2]
        return input_size_for(width, height, budget=budget)

    def _prepare(self, frame: Frame, height: int, width: int, interpolation: int) -> _Prepared:
        """Resized and normalised. TASED-Net's (2x − 255) / 255 is (x − 127.5) / 127.5 to the last bit."""
        small = cv2.resize(frame.pixels, (width, height), interpolation=interpolation)
        mean, std = np.float32(255 * self.model.config.mean), np.float32(255 * self.model.config.std)
        pixels = torch.from_numpy((small.astype(np.float32) - mean) / std).permute(2, 0, 1)  # (3, H, W)
        return _Prepared(frame.index, frame.seconds, pixels)

    @contextmanager
    def _computing(self) -> Iterator[None]:
        # Some devices warn of autocast to fp32 even where it is switched off: then no dtype is named.
        lower = DTYPES[self.precision] if self.precision != "fp32" else None
        with (
            torch.inference_mode(),
            torch.autocast(self.device.type, dtype=lower, enabled=lower is not None),
            _memory_errors(self.device),
        ):
            yield


def _density(log_density: Tensor) -> NDArray[np.float32]:
    """(1, S, h, w) logarithms → (S, h, w) densities."""
    return np.asarray(log_density[0].float().exp().cpu().numpy())


@contextmanager
def _memory_errors(device: torch.device) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # only CUDA has a class of its own for it
        if not re.search(r"out of memory|can't allocate memory", str(error)):
            raise
        remedy = "give it a machine with more" if device.type == "cpu" else "use --device cpu"
        raise DeviceError(f"{device}: its memory does not suffice for this network; {remedy}.") from error
