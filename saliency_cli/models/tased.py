"""TASED-Net: an S3D encoder and a decoder that unpools in space and aggregates in time (ICCV 2019).

The form is that of the published checkpoint, whose last block differs a little from the paper's: the second temporal
convolution stands before the second upsampling, with a 1x1x1 convolution to four channels in between. What the paper
leaves open for its variants is decided here and said where it is done:

- T < 16. q = T/16 would be less than one frame. After the encoder D = max(T/8, 1) frames are left; p = min(2, D) and
  q = D/p join them to one, which is the paper's (2, T/16) from T = 16 on. With T = 4, ``maxt4`` has one frame to pool
  and does nothing, and the auxiliary poolings join two frames instead of four.
- "early-two-step" keeps the released widths, its first temporal convolution has 192 channels; "late" reduces to four
  channels between its two upsamplings, and its only temporal convolution spans all D frames.
- "trilinear" doubles in space only; "transposed" has (1,4,4) kernels of unchanged width, as the last block has.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from saliency_cli.models.config import Aggregation, ModelConfig, Upsampling
from saliency_cli.models.layers import check_clip, in_full_precision
from saliency_cli.models.s3d import EPS, base1, base2, base3, base4

__all__ = ["TASEDConfig", "TASEDNet", "TransposedUpsampling", "TrilinearUpsampling", "Unpooling"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TASEDConfig:
    """Which TASED-Net: the defaults are the released one. Raises ``UsageError`` for what does not exist."""

    clip_length: int = 32  # T, table 5
    aggregation: Aggregation = "late-two-step"  # figure 4
    upsampling: Upsampling = "unpool"  # table 4

    def __post_init__(self) -> None:
        ModelConfig(  # has the checks
            architecture="tased",
            clip_length=self.clip_length,
            aggregation=self.aggregation,
            upsampling=self.upsampling,
        )

    @property
    def decoder_length(self) -> int:
        """D: how many frames the encoder leaves, and the decoder works on."""
        return max(self.clip_length // 8, 1)


class Unpooling(nn.Module):
    """Auxiliary pooling and max-unpooling (section 3.3): each value goes where the encoder had its maximum.

    The encoder's features are pooled over time to the decoder's length, then over space, only to learn where the
    maxima were ("switches"). ``kernel`` is the spatial pooling's: 3 with padding, or 2.
    """

    def __init__(self, frames: int, kernel: int) -> None:
        super().__init__()
        self.temporal = nn.MaxPool3d((frames, 1, 1))
        size, stride, padding = (1, kernel, kernel), (1, 2, 2), (0, kernel // 3, kernel // 3)
        self.spatial = nn.MaxPool3d(size, stride, padding, return_indices=True)
        self.unpool = nn.MaxUnpool3d(size, stride, padding)

    def switches(self, level: Tensor) -> tuple[Tensor, list[int]]:
        """(B, C, t, 2h, 2w) to the indices of the maxima (B, C, D, h, w), and the size to unpool to."""
        pooled = self.temporal(level)  # (B, C, D, 2h, 2w)
        return self.spatial(pooled)[1], list(pooled.shape[2:])

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """(B, C, D, h, w), and the encoder's (B, C, t, 2h, 2w), to (B, C, D, 2h, 2w)."""
        switches, size = self.switches(level)
        result: Tensor = self.unpool(x, switches, output_size=size)
        return result


class TrilinearUpsampling(nn.Module):
    """TASED-Net-tri: interpolation. The encoder's features are not looked at."""

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """(B, C, D, h, w) to (B, C, D, 2h, 2w)."""
        return functional.interpolate(x, scale_factor=(1, 2, 2), mode="trilinear", align_corners=False)


class TransposedUpsampling(nn.Module):
    """TASED-Net-trp: a transposed convolution. The encoder's features are not looked at."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = _double(channels, channels)

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """(B, C, D, h, w) to (B, C, D, 2h, 2w)."""
        result: Tensor = self.layers(x)
        return result


def _then_norm(convolution: nn.Conv3d | nn.ConvTranspose3d) -> nn.Sequential:
    return nn.Sequential(convolution, nn.BatchNorm3d(convolution.out_channels, eps=EPS), nn.ReLU(inplace=True))


def _double(channels_in: int, channels_out: int) -> nn.Sequential:
    """Twice the height and width."""
    return _then_norm(nn.ConvTranspose3d(channels_in, channels_out, (1, 4, 4), (1, 2, 2), (0, 1, 1), bias=False))


def _refine(channels_in: int, channels_out: int) -> nn.Sequential:
    """The same height and width."""
    return _then_norm(nn.ConvTranspose3d(channels_in, channels_out, (1, 3, 3), padding=(0, 1, 1), bias=False))


def _join(channels: int, frames: int) -> nn.Sequential:
    """One frame from every ``frames``."""
    return _then_norm(nn.Conv3d(channels, channels, (frames, 1, 1), (frames, 1, 1), bias=False))


def _narrow() -> nn.Sequential:
    """64 channels to four; written as a transposed convolution, as the published checkpoint has it."""
    return _then_norm(nn.ConvTranspose3d(64, 4, kernel_size=1, bias=False))


def _last_block(config: TASEDConfig) -> nn.Sequential:
    """Section 3.4: (192, D, H/4, W/4) to the map's (1, 1, H, W). All layers in one row, for the names' sake."""
    length = config.decoder_length
    p = min(2, length)
    q = length // p
    last_doubling = nn.ConvTranspose3d(4, 4, (1, 4, 4), (1, 2, 2), (0, 1, 1), bias=False)
    match config.aggregation:
        case "late-two-step":
            layers = [*_double(192, 64), *_join(64, p), *_narrow(), *_join(4, q), last_doubling]
        case "early-two-step":
            layers = [*_join(192, p), *_double(192, 64), *_narrow(), *_join(4, q), last_doubling]
        case "late":
            layers = [*_double(192, 64), *_narrow(), *_then_norm(last_doubling), *_join(4, length)]
    return nn.Sequential(*layers, nn.Conv3d(4, 1, kernel_size=1), nn.Sigmoid())


class TASEDNet(nn.Module):
    """TASED-Net, figure 2. ``TASEDConfig()`` has the names and shapes of the published ``TASED_updated.pt``."""

    def __init__(self, config: TASEDConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or TASEDConfig()
        length = config.decoder_length

        self.base1 = base1()
        self.maxp2 = nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1))
        self.base2 = base2()
        self.maxp3 = nn.MaxPool3d(3, stride=2, padding=1)
        self.base3 = base3()
        joined = config.clip_length // 4 // length  # 2, but 1 for T = 4
        self.maxt4 = nn.MaxPool3d((joined, 1, 1))
        self.maxp4 = nn.MaxPool3d((1, 2, 2))
        self.base4 = base4()

        self.convtsp1 = nn.Sequential(*_then_norm(nn.Conv3d(1024, 1024, 1, bias=False)), *_refine(1024, 832))
        self.convtsp2 = _refine(832, 480)
        self.convtsp3 = _refine(480, 192)
        self.convtsp4 = _last_block(config)

        self.upsample1: nn.Module
        self.upsample2: nn.Module
        self.upsample3: nn.Module
        match config.upsampling:
            case "unpool":
                self.upsample1 = Unpooling(joined, kernel=2)  # the same poolings as maxt4 and maxp4
                self.upsample2 = Unpooling(config.clip_length // 2 // length, kernel=3)
                self.upsample3 = Unpooling(config.clip_length // 2 // length, kernel=3)
            case "trilinear":
                self.upsample1 = self.upsample2 = self.upsample3 = TrilinearUpsampling()
            case "transposed":
                self.upsample1 = TransposedUpsampling(832)
                self.upsample2 = TransposedUpsampling(480)
                self.upsample3 = TransposedUpsampling(192)

    def forward(self, clip: Tensor) -> Tensor:
        """Saliency of a clip's last frame: normalised RGB (B, 3, T, H, W) to probabilities (B, H, W) in 0..1.

        Raises ``UsageError`` if T is not the configured clip length or H or W no multiple of 32.
        """
        check_clip(clip, self.config.clip_length)
        level1 = self.base1(clip)  # (B, 192, T/2, H/4, W/4)
        level2 = self.base2(self.maxp2(level1))  # (B, 480, T/2, H/8, W/8)
        level3 = self.base3(self.maxp3(level2))  # (B, 832, T/4, H/16, W/16)
        level4 = self.base4(self.maxp4(self.maxt4(level3)))  # (B, 1024, D, H/32, W/32), D = T/8
        return self.decode(level1, level2, level3, level4)

    def decode(self, level1: Tensor, level2: Tensor, level3: Tensor, level4: Tensor) -> Tensor:
        """The prediction network: what base1..4 gave, to probabilities (B, H, W)."""
        x = self.convtsp1(level4)  # (B, 832, D, H/32, W/32)
        x = self.upsample1(x, level3)  # (B, 832, D, H/16, W/16)
        x = self.convtsp2(x)  # (B, 480, D, H/16, W/16)
        x = self.upsample2(x, level2)  # (B, 480, D, H/8, W/8)
        x = self.convtsp3(x)  # (B, 192, D, H/8, W/8)
        x = self.upsample3(x, level1)  # (B, 192, D, H/4, W/4)
        x = self.convtsp4[:-2](x)  # (B, 4, 1, H, W)
        x = in_full_precision(self.convtsp4[-2:], x)  # (B, 1, 1, H, W)
        return x[:, 0, 0]  # (B, H, W)
