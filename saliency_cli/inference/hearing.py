"""What a video sounds like at each frame, for the embedded model: SoundNet's features, on a grid of time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saliency_cli.models.soundnet import SOUND_CHANNELS
from saliency_cli.models.streaming_sound import SOUND_SECONDS, SoundBranch, instant_before

__all__ = ["Ears", "Listen"]

Listen = Callable[[Sequence[float], bool], NDArray[np.float32]]
"""From the presentation times of a window and whether it is reversed to its waveform, (70560,).

The embedded model, whose windows are stretches of time and not of frames, asks with a stretch's two ends.
"""


class Ears:
    """Hears one video, whose frames come in their order.

    Args:
        branch: of the network, on the device where it is to compute.
        listen: gives the sound between two presentation times.
    """

    def __init__(self, branch: SoundBranch, listen: Listen) -> None:
        self._branch, self._listen = branch, listen
        self._instant = math.nan
        self._heard = branch.mean.new_zeros(SOUND_CHANNELS)

    def hear(self, times: Iterable[float]) -> Tensor:
        """Features (S, 1024) of the sound before each of S presentation times; zeros where nothing is to be heard."""
        return torch.stack([self._at(instant_before(seconds)) for seconds in times])

    def _at(self, instant: float) -> Tensor:
        if instant != self._instant:
            waveform = self._listen([instant - SOUND_SECONDS, instant], False)
            if waveform.any():
                self._heard = self._branch.hear(torch.from_numpy(waveform)[None].to(self._branch.mean.device))[0]
            else:
                self._heard = torch.zeros_like(self._heard)
            self._instant = instant
        return self._heard
