"""A network of two numbers, for tests of what surrounds the networks in training."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["Small"]


class Small(nn.Module):
    """A slope and an offset, the same at every pixel of a clip's last frame, under a name of TASED-Net's decoder.

    It computes in half precision on any device.
    """

    def __init__(self) -> None:
        super().__init__()
        self.convtsp1 = nn.Linear(1, 1)

    def forward(self, clip: Tensor) -> Tensor:
        """(B, 3, T, H, W) to (B, H, W)."""
        return torch.sigmoid(self.convtsp1(clip[:, 0, -1, :, :, None])[..., 0])
