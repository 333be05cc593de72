"""The embedded model on a stream: each frame is seen once, with what moves and, if asked for, what is heard."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from saliency_cli.inference.device import Precision
from saliency_cli.inference.hearing import Ears, Listen
from saliency_cli.inference.motion import Motion, MotionMeter
from saliency_cli.inference.preparing import Prepared, computing, prepare
from saliency_cli.models.config import ModelConfig
from saliency_cli.models.streaming import StreamState, input_size_for
from saliency_cli.models.streaming_sound import SoundBranch
from saliency_cli.types import Frame, SaliencyFrame

__all__ = ["StreamingPredictor"]

STILL_SCALES = (1.0, 1.25)  # of the embedded model's budget for photographs
CHUNK = 4  # frames that the embedded model takes at once; the maps do not depend on it


class StreamingPredictor:
    """Runs the embedded model.

    ``module`` lies on ``device`` already; ``precision`` is one that the device has.
    """

    def __init__(self, module: nn.Module, config: ModelConfig, *, device: torch.device, precision: Precision) -> None:
        self.config, self.device, self.precision = config, device, precision
        # 2-D convolutions are faster by half with the channels last
        self._module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

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

    def video(self, frames: Iterable[Frame], listen: Listen | None) -> Iterator[SaliencyFrame]:
        """Densities of a video's consecutive frames, (h, w) each; with ``listen``, heard as well as seen."""
        stream, state, meter = iter(frames), None, MotionMeter()
        ears = None if listen is None else Ears(cast(SoundBranch, self._module.get_submodule("sound")), listen)
        size: tuple[int, int] | None = None
        while chunk := list(islice(stream, CHUNK)):
            size = size or self._fitted(chunk[0], self.config.input_size)
            prepared = [prepare(frame, self.config, size, cv2.INTER_AREA) for frame in chunk]
            motion = [meter.measure(frame.pixels, frame.seconds) for frame in chunk]
            del chunk  # full-size pictures are large
            maps, state = self._run(prepared, motion, state, ears)
            for frame, saliency in zip(prepared, maps, strict=True):
                yield SaliencyFrame(frame.number, frame.seconds, saliency)

    def _run(
        self, chunk: Sequence[Prepared], motion: Sequence[Motion], state: StreamState | None, ears: Ears | None
    ) -> tuple[list[NDArray[np.float32]], StreamState]:
        """Densities of a chunk, (h, w) each, and the network's memory after it."""
        with computing(self.device, self.precision):
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


def _density(log_density: Tensor) -> NDArray[np.float32]:
    """(1, S, h, w) logarithms → (S, h, w) densities."""
    return np.asarray(log_density[0].float().exp().cpu().numpy())
