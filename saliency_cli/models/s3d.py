"""S3D, the encoder of TASED-Net and TSFP-Net: Inception's blocks with separable spatiotemporal convolutions.

Cut into the four blocks whose outputs the decoders use (TASED-Net, figure 2; TSFP-Net, figure 1). Layers are named as
in the published TASED-Net checkpoint. Shapes in comments are (channels, time, height, width) for a clip of T frames.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = [
    "LEVEL_CHANNELS",
    "BasicConv3d",
    "Inception",
    "S3DEncoder",
    "SeparableConv3d",
    "base1",
    "base2",
    "base3",
    "base4",
]

EPS = 1e-3  # of every batch normalisation in S3D and in the decoders on top of it
LEVEL_CHANNELS = (192, 480, 832, 1024)  # of the outputs of base1..4


class BasicConv3d(nn.Module):
    """1x1x1 convolution, batch normalisation, ReLU."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(channels_in, channels_out, kernel_size=1, bias=False)
        self.bn = nn.BatchNorm3d(channels_out, eps=EPS)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.relu(self.bn(self.conv(x)))  # (C_out, T, H, W)
        return result


class SeparableConv3d(nn.Module):
    """A k x k convolution of each frame, then one over k frames; batch normalisation and ReLU after both."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, *, stride: int = 1) -> None:
        super().__init__()
        k, s, p = kernel, stride, kernel // 2
        self.conv_s = nn.Conv3d(channels_in, channels_out, (1, k, k), (1, s, s), (0, p, p), bias=False)
        self.bn_s = nn.BatchNorm3d(channels_out, eps=EPS)
        self.conv_t = nn.Conv3d(channels_out, channels_out, (k, 1, 1), (s, 1, 1), (p, 0, 0), bias=False)
        self.bn_t = nn.BatchNorm3d(channels_out, eps=EPS)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn_s(self.conv_s(x)))  # (C_out, T, H/stride, W/stride)
        x = self.relu(self.bn_t(self.conv_t(x)))  # (C_out, T/stride, H/stride, W/stride)
        return x


class Inception(nn.Module):
    """Four branches side by side, joined along the channels; time and size stay.

    ``branch1`` and ``branch2`` are (channels after the 1x1x1 convolution, channels after the separable 3x3x3 one).
    """

    def __init__(
        self, channels_in: int, branch0: int, branch1: tuple[int, int], branch2: tuple[int, int], branch3: int
    ) -> None:
        super().__init__()
        self.branch0 = nn.Sequential(BasicConv3d(channels_in, branch0))
        self.branch1 = nn.Sequential(BasicConv3d(channels_in, branch1[0]), SeparableConv3d(*branch1, kernel=3))
        self.branch2 = nn.Sequential(BasicConv3d(channels_in, branch2[0]), SeparableConv3d(*branch2, kernel=3))
        self.branch3 = nn.Sequential(nn.MaxPool3d(3, stride=1, padding=1), BasicConv3d(channels_in, branch3))

    def forward(self, x: Tensor) -> Tensor:
        branches = (self.branch0, self.branch1, self.branch2, self.branch3)
        return torch.cat([branch(x) for branch in branches], dim=1)  # (branch0 + … + branch3, T, H, W)


def base1() -> nn.Sequential:
    """The stem: (3, T, H, W) to (192, T/2, H/4, W/4)."""
    return nn.Sequential(
        SeparableConv3d(3, 64, kernel=7, stride=2),  # (64, T/2, H/2, W/2)
        nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1)),  # (64, T/2, H/4, W/4)
        BasicConv3d(64, 64),  # (64, T/2, H/4, W/4)
        SeparableConv3d(64, 192, kernel=3),  # (192, T/2, H/4, W/4)
    )


def base2() -> nn.Sequential:
    """Mixed 3b and 3c: (192, T/2, H/8, W/8) to (480, T/2, H/8, W/8)."""
    return nn.Sequential(
        Inception(192, 64, (96, 128), (16, 32), 32),  # (256, T/2, H/8, W/8)
        Inception(256, 128, (128, 192), (32, 96), 64),  # (480, T/2, H/8, W/8)
    )


def base3() -> nn.Sequential:
    """Mixed 4b to 4f: (480, T/4, H/16, W/16) to (832, T/4, H/16, W/16)."""
    return nn.Sequential(
        Inception(480, 192, (96, 208), (16, 48), 64),  # (512, T/4, H/16, W/16)
        Inception(512, 160, (112, 224), (24, 64), 64),  # (512, T/4, H/16, W/16)
        Inception(512, 128, (128, 256), (24, 64), 64),  # (512, T/4, H/16, W/16)
        Inception(512, 112, (144, 288), (32, 64), 64),  # (528, T/4, H/16, W/16)
        Inception(528, 256, (160, 320), (32, 128), 128),  # (832, T/4, H/16, W/16)
    )


def base4() -> nn.Sequential:
    """Mixed 5b and 5c: (832, T/8, H/32, W/32) to (1024, T/8, H/32, W/32)."""
    return nn.Sequential(
        Inception(832, 256, (160, 320), (32, 128), 128),  # (832, T/8, H/32, W/32)
        Inception(832, 384, (192, 384), (48, 128), 128),  # (1024, T/8, H/32, W/32)
    )


class S3DEncoder(nn.Module):
    """S3D up to its last block, giving the features of four levels."""

    def __init__(self) -> None:
        super().__init__()
        self.base1 = base1()
        self.maxp2 = nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1))
        self.base2 = base2()
        self.maxp3 = nn.MaxPool3d(3, stride=2, padding=1)
        self.base3 = base3()
        self.maxp4 = nn.MaxPool3d(2, stride=2)
        self.base4 = base4()

    def forward(self, clip: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(B, 3, T, H, W) to the outputs of base1..4; T is a multiple of 8, H and W of 32."""
        level1 = self.base1(clip)  # (B, 192, T/2, H/4, W/4)
        level2 = self.base2(self.maxp2(level1))  # (B, 480, T/2, H/8, W/8)
        level3 = self.base3(self.maxp3(level2))  # (B, 832, T/4, H/16, W/16)
        level4 = self.base4(self.maxp4(level3))  # (B, 1024, T/8, H/32, W/32)
        return level1, level2, level3, level4
