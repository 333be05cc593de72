"""TSFP-Net: a temporal-spatial feature pyramid on S3D, decoded level by level (TSFP-Net, sections 3.1 and 4.5).

The authors published neither code nor weights; this is a reconstruction. From the paper: the encoder and its four
taps, the pyramid of top-down sums, a decoder per level, trilinear upsampling throughout, one 3-D convolution that
reduces time and channels, bilinear upsampling and sigmoid; and how sound is fused. Not in the paper, decided here: 192
channels, 3x3x3 convolutions (on the summed levels 2..4; in the decoders one for levels 2 and 3, two for level 4), time
never longer than level 1's, and the sizes of the fusion. So decided, the network has 15.37 million parameters, 58.6
MiB in float32; the paper says 58.4 (table 3).

The ablations of table 8: "multi-level" leaves the pyramid out (neither top-down sums nor the convolutions on them);
"final-level" decodes level 4 alone, by its own two convolutions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor, nn
from torch.nn import functional

from saliency_cli.errors import UsageError
from saliency_cli.models.config import Decoding, ModelConfig
from saliency_cli.models.layers import Resizing, check_clip, in_full_precision, without_autocast
from saliency_cli.models.s3d import EPS, LEVEL_CHANNELS, S3DEncoder
from saliency_cli.models.soundnet import SOUND_CHANNELS, SoundNet

__all__ = ["SoundAttention", "TSFPConfig", "TSFPNet"]

CHANNELS = 192  # of the pyramid and the decoders
FUSION_CHANNELS = 128  # that pictures and sound are projected to before they meet


@dataclass(frozen=True, slots=True, kw_only=True)
class TSFPConfig:
    """Which TSFP-Net: the defaults are the paper's best. Raises ``UsageError`` for what does not exist."""

    clip_length: int = 32  # T, table 1
    decoding: Decoding = "pyramid+hierarchical"  # table 8
    audio: bool = False

    def __post_init__(self) -> None:
        ModelConfig(  # has the checks
            architecture="tsfp",
            clip_length=self.clip_length,
            decoding=self.decoding,
            audio=self.audio,
        )


def _conv(channels: int) -> nn.Sequential:
    """3x3x3 convolution, batch normalisation, ReLU: (B, C, t, h, w) stays of its size."""
    return nn.Sequential(
        nn.Conv3d(channels, channels, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm3d(channels, eps=EPS),
        nn.ReLU(inplace=True),
    )


class LevelDecoder(nn.Module):
    """Some 3x3x3 convolutions, each followed by a doubling of time, up to a longest, and of space."""

    def __init__(self, convolutions: int, longest: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(_conv(CHANNELS) for _ in range(convolutions))
        self.longest = longest
        self.resize = Resizing()

    def forward(self, x: Tensor) -> Tensor:
        for conv in self.convs:
            _, _, t, h, w = x.shape
            x = self.resize(conv(x), (min(2 * t, self.longest), 2 * h, 2 * w))  # (B, 192, 2t, 2h, 2w)
        return x


class SoundAttention(nn.Module):
    """Where in the picture the sound comes from: a bilinear form of both at each place (section 3.1)."""

    def __init__(self) -> None:
        super().__init__()
        self.picture = nn.Linear(LEVEL_CHANNELS[2], FUSION_CHANNELS)
        self.sound = nn.Linear(SOUND_CHANNELS, FUSION_CHANNELS)
        self.bilinear = nn.Bilinear(FUSION_CHANNELS, FUSION_CHANNELS, 1)

    def forward(self, level3: Tensor, heard: Tensor, size: torch.Size) -> Tensor:
        """base3's features (B, 832, t, h, w) and conv7's (B, 1024, n) to attention (B, 1, *size) in 0..1.

        Always in the precision of its own weights: it costs next to nothing, and has one channel to the end.
        """
        dtype = self.bilinear.weight.dtype
        with without_autocast(level3):
            seen = self.picture(level3.to(dtype).mean(dim=2).movedim(1, -1))  # (B, h, w, 128)
            sound = self.sound(heard.to(dtype).mean(dim=2))[:, None, None].expand_as(seen)  # (B, h, w, 128)
            logits = self.bilinear(seen, sound.contiguous()).movedim(-1, 1)  # (B, 1, h, w)
            logits = functional.interpolate(logits, size, mode="bilinear", align_corners=False)  # (B, 1, *size)
            return torch.sigmoid(logits)


class TSFPNet(nn.Module):
    """TSFP-Net, figure 1; with ``TSFPConfig(audio=True)`` TSFP-Net (with audio)."""

    def __init__(self, config: TSFPConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or TSFPConfig()
        longest = config.clip_length // 2  # time at level 1
        used = (4,) if config.decoding == "final-level" else (1, 2, 3, 4)

        self.encoder = S3DEncoder()
        self.laterals = nn.ModuleDict({f"level{n}": nn.Conv3d(LEVEL_CHANNELS[n - 1], CHANNELS, 1) for n in used})
        pyramid = (2, 3, 4) if config.decoding == "pyramid+hierarchical" else ()
        self.smooth = nn.ModuleDict({f"level{n}": _conv(CHANNELS) for n in pyramid})
        convolutions = {1: 0, 2: 1, 3: 1, 4: 2}
        self.decoders = nn.ModuleDict({f"level{n}": LevelDecoder(convolutions[n], longest) for n in used})
        self.head = nn.Conv3d(CHANNELS, 1, (longest, 1, 1))
        self.resize = Resizing()
        if config.audio:
            self.soundnet = SoundNet()
            self.attention = SoundAttention()

    def forward(self, clip: Tensor, sound: Tensor | None = None) -> Tensor:
        """Saliency of a clip's last frame: normalised RGB (B, 3, T, H, W) to probabilities (B, H, W) in 0..1.

        ``sound`` is (B, 70560), mono at 22,050 Hz, in -256..256; without it the result is the visual network's.
        Raises ``UsageError`` if T is not the configured clip length, H or W no multiple of 32, or if sound is given to
        a network without a sound branch.
        """
        check_clip(clip, self.config.clip_length)
        levels = self.encoder(clip)  # (B, 192 / 480 / 832 / 1024, T/2 / T/2 / T/4 / T/8, H/4 … H/32, W/4 … W/32)
        features = self.decode(levels)  # (B, 192, T/2, H/4, W/4)
        if sound is not None:
            features = self.listen(features, levels[2], sound)  # (B, 192, T/2, H/4, W/4)
        return self.mapped(features)

    def mapped(self, features: Tensor) -> Tensor:
        """The last layers: (B, 192, T/2, H/4, W/4), as :meth:`decode` gives it, to probabilities (B, H, W)."""
        x = in_full_precision(self.head, features)[:, :, 0]  # (B, 1, H/4, W/4)
        x = functional.interpolate(x, scale_factor=4, mode="bilinear", align_corners=False)  # (B, 1, H, W)
        return torch.sigmoid(x)[:, 0]  # (B, H, W)

    def decode(self, levels: Sequence[Tensor]) -> Tensor:
        """The four levels' features to their sum at level 1's size, (B, 192, T/2, H/4, W/4)."""
        x = {name: lateral(levels[int(name[-1]) - 1]) for name, lateral in self.laterals.items()}  # (B, 192, …)
        if self.config.decoding == "pyramid+hierarchical":
            for finer, coarser in (("level3", "level4"), ("level2", "level3"), ("level1", "level2")):
                x[finer] = x[finer] + self.resize(x[coarser], x[finer].shape[2:])
            for name, conv in self.smooth.items():
                x[name] = conv(x[name])
        size = levels[0].shape[2:]  # T/2, H/4, W/4
        decoded = (self.resize(decoder(x[name]), size) for name, decoder in self.decoders.items())
        result: Tensor = reduce(torch.add, decoded)
        return result

    def listen(self, features: Tensor, level3: Tensor, sound: Tensor) -> Tensor:
        """F · A + F: the features are raised, up to double, where the sound seems to come from."""
        if not self.config.audio:
            raise UsageError("this TSFP-Net has no sound branch: load weights of TSFP-Net (with audio).")
        heard = self.soundnet(sound)  # (B, 1024, 3)
        attention: Tensor = self.attention(level3, heard, features.shape[-2:])  # (B, 1, H/4, W/4)
        return features * attention[:, :, None] + features  # (B, 192, T/2, H/4, W/4)
