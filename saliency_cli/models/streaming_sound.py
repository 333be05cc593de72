"""What the embedded model hears: SoundNet, and where in the picture its sound may come from.

A bilinear form of picture and sound at each place gives an attention A, as in TSFP-Net (2021, section 3.1). The paper
raises features, F·A + F; the embedded model has a density where the paper has features, and a density that is raised
and divided by its sum again is ``density · exp(gain · A)``: here A is added to the logarithm. What is ours: the sizes,
the sound centred on what it is on average, an A of either sign, and the gain, a scalar that starts at zero.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saliency_cli.models.efficientnet import TAP_CHANNELS
from saliency_cli.models.layers import without_autocast
from saliency_cli.models.soundnet import SOUND_CHANNELS, SoundNet

__all__ = ["SOUND_GRID", "SOUND_SECONDS", "SoundBranch", "instant_before"]

SOUND_SECONDS = 1.28  # heard before a frame: TSFP-Net's 32 frames, at the 25 frames per second of most videos
# A pass of SoundNet costs about two frames. It is made at multiples of this presentation time, whichever frames there
# are, so that neither the frame rate nor how frames are handed over matters. A quarter of what is heard.
SOUND_GRID = 0.32
FUSION_CHANNELS = 16  # that picture and sound are projected to: few, as there are few videos with sound to learn from
GAIN_LIMIT = math.log(2)  # F·A + F doubles at most


def instant_before(seconds: float) -> float:
    """The last instant, at or before a presentation time, at which the sound is heard anew."""
    return math.floor(seconds / SOUND_GRID + 1e-6) * SOUND_GRID


class SoundBranch(nn.Module):
    """Raises or lowers a map's places by the sound. Silence, a row of zeros, leaves a map as it is, to the last bit."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, *, channels: int = FUSION_CHANNELS) -> None:
        super().__init__()
        self.soundnet = SoundNet().requires_grad_(False)
        self.picture = nn.Conv2d(TAP_CHANNELS[2], channels, 1, bias=False)
        self.sound = nn.Linear(SOUND_CHANNELS, channels, bias=False)
        self.gain = nn.Parameter(torch.zeros(1))
        # Of the features of the sounds that were learnt from. Any two are alike, so what they share is removed.
        self.register_buffer("mean", torch.zeros(SOUND_CHANNELS))
        self.register_buffer("deviation", torch.ones(1))

    @torch.no_grad()
    def hear(self, waveform: Tensor) -> Tensor:
        """Mono waveforms (B, N) at 22,050 Hz, in -256..256 → conv7's mean over time, (B, 1024)."""
        self.soundnet.eval()
        with without_autocast(waveform):
            heard: Tensor = self.soundnet(waveform.float()).mean(2)  # (B, 1024, n) → (B, 1024)
        return heard

    @torch.no_grad()
    def measure(self, heard: Tensor) -> None:
        """Take mean and deviation from the sounds (N, 1024) that are to be learnt from; silence does not count."""
        heard = heard[heard.any(1)].float()
        self.mean.copy_(heard.mean(0))
        self.deviation.copy_((heard - self.mean).square().mean().sqrt().clamp_min(1e-6))

    def forward(self, logits: Tensor, level3: Tensor, heard: Tensor) -> Tensor:
        """Logits of where a frame is looked at, with its sound.

        Args:
            logits: (N, 1, h, w), float32, of the frames without sound.
            level3: (N, 112, any, any), the encoder's features at stride 16.
            heard: (N, 1024), see :meth:`hear`; zeros for silence.
        """
        with without_autocast(logits):
            change = GAIN_LIMIT * torch.tanh(self.gain / GAIN_LIMIT) * self.attention(level3, heard, logits.shape[-2:])
            return torch.where(heard.any(1)[:, None, None, None], logits + change, logits)

    def attention(self, level3: Tensor, heard: Tensor, size: torch.Size) -> Tensor:
        """A, (N, 1, *size), in -1..1: 0 for the average sound."""
        # Each place's features on one scale, as the encoder's have none: (N, 112, h, w)
        seen = F.layer_norm(level3.float().movedim(1, -1), level3.shape[1:2]).movedim(-1, 1)
        projected = self.picture(seen)  # (N, d, h, w)
        sound = self.sound((heard - self.mean) / self.deviation)[:, :, None, None]  # (N, d, 1, 1)
        form = (projected * sound).sum(1, keepdim=True) / math.sqrt(sound.shape[1])  # (N, 1, h, w)
        return torch.tanh(F.interpolate(form, size=tuple(size), mode="bilinear", align_corners=False))
