"""The teacher of a distillation: a trained network without a window, asked for its maps and for what it sees."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saliency_cli.errors import UsageError, WeightsError
from saliency_cli.inference.device import DTYPES, Precision
from saliency_cli.inference.predictor import SaliencyPredictor
from saliency_cli.media import open_source
from saliency_cli.models.efficientnet import TAP_CHANNELS
from saliency_cli.models.registry import load_model
from saliency_cli.models.streaming import StreamingTSFPNet
from saliency_cli.types import Frame, SaliencyFrame

__all__ = ["MAP_SIZE", "TAP_CHANNELS", "Teacher"]

MAP_SIZE = (128, 216)  # (height, width) at which its maps are kept: twice what it sees in


class Teacher:
    """The embedded model, or another of its kind.

    ``name`` is the file's, ``sha256`` its digest in hexadecimal; ``precision`` is what it computes in.

    Args:
        weights: a name of the manifest, or a path.

    Raises:
        UsageError: the weights are of a network that sees windows.
        WeightsError: they are missing or damaged.
    """

    def __init__(self, weights: str, *, device: torch.device, precision: Precision) -> None:
        try:
            self._model = load_model("tsfp", weights=weights)
        except WeightsError as error:
            raise WeightsError(f"the teacher cannot be asked: {error}") from error
        if self._model.config.encoder == "s3d":
            raise UsageError(
                f"{weights} cannot be the teacher, as it sees windows: name weights of the embedded model in [teacher]."
            )
        self.device, self.precision = device, precision
        self.name, self.sha256 = self._model.weights.name, self._model.sha256
        module = cast(StreamingTSFPNet, self._model.module.to(device))
        self._dtype = DTYPES[precision]
        self._encoder = module.for_inference(self._dtype).encoder.eval()
        self._predictor = SaliencyPredictor(self._model, device=str(device), precision=precision)

    def photographs(self, pictures: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.float16]]:
        """Maps of pictures, uint8 (H, W, 3) RGB, each for itself: float16 (128, 216), 1 where it looks most."""
        frames = (Frame(0, picture, 0, Fraction(1)) for picture in pictures)
        return map(_kept, self._predictor.predict(frames, still=True))

    def video(self, path: Path) -> Iterator[NDArray[np.float16]]:
        """The same of a video's frames, in their order, with what moves between them.

        Raises:
            ReadError: the video cannot be read.
        """
        with open_source(path) as source:
            yield from map(_kept, self._predictor.predict(source))

    @torch.no_grad()
    def features(self, pictures: Tensor) -> list[Tensor]:
        """What its encoder sees in pictures (B, 3, H, W) of values 0 … 1, H and W multiples of 32.

        Returns:
            float32 (B, 24 / 40 / 112 / 320, H/4 … H/32, W/4 … W/32).
        """
        config = self._model.config
        seen = ((pictures - config.mean) / config.std).to(self._dtype).contiguous(memory_format=torch.channels_last)
        return [level.float() for level in self._encoder(seen)]


def _kept(found: SaliencyFrame) -> NDArray[np.float16]:
    """A density at the size at which it is kept, scaled to 1: float16 has few digits for what sums to 1."""
    height, width = MAP_SIZE
    resized = np.maximum(cv2.resize(found.saliency, (width, height), interpolation=cv2.INTER_LINEAR), 0)
    return np.asarray(resized / max(float(resized.max()), 1e-12), np.float16)
