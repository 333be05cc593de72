"""SoundNet up to conv7: what TSFP-Net (with audio) hears (Aytar, Vondrick and Torralba, 2016; eight-layer form)."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from saliency_cli.errors import UsageError

__all__ = ["SAMPLES", "SOUND_CHANNELS", "SoundNet", "soundnet_state"]

SAMPLES = 70_560  # 3.2 s at 22,050 Hz: one window of sound, which conv7 turns into three positions
SOUND_CHANNELS = 1024  # of conv7

# SoundNet's two last layers, objects and scenes, of no use here: as PyTorch and as TensorFlow name them.
CLASSIFIERS = ("conv8_objs.", "conv8_scns.", "conv8.", "conv8_2.")

# What TensorFlow's port (sound8.npy) calls what belongs to layer N, and what it is here.
PORTED = {
    "weights": "conv{}.weight",
    "biases": "conv{}.bias",
    "gamma": "batchnorm{}.weight",
    "beta": "batchnorm{}.bias",
    "mean": "batchnorm{}.running_mean",
    "var": "batchnorm{}.running_var",
}


def soundnet_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The published SoundNet's state dict without its two classifiers (conv8), which this network does not have.

    ``state`` comes from PyTorch, or from the authors' network as it was ported to TensorFlow, ``sound8.npy``: there,
    kernels are (time, 1, in, out), and batch norm belongs to its convolution. Names of neither stay as they are.
    """
    result = {}
    for name, tensor in state.items():
        if name.startswith(CLASSIFIERS):
            continue
        ported = re.fullmatch(r"conv(\d)\.(\w+)", name)
        if ported is None or ported[2] not in PORTED:
            result[name] = tensor
            continue
        if ported[2] == "weights" and tensor.ndim == 4:
            tensor = tensor.permute(3, 2, 0, 1)  # (out, in, time, 1)
        elif ported[2] == "var":
            result[f"batchnorm{ported[1]}.num_batches_tracked"] = torch.tensor(0)  # nobody has counted
        result[PORTED[ported[2]].format(ported[1])] = tensor.contiguous()
    return result


class SoundNet(nn.Module):
    """Seven convolutions along time, written in 2-D with a width of one, as the published checkpoint has them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, (64, 1), stride=(2, 1), padding=(32, 0))
        self.batchnorm1 = nn.BatchNorm2d(16)
        self.maxpool1 = nn.MaxPool2d((8, 1))
        self.conv2 = nn.Conv2d(16, 32, (32, 1), stride=(2, 1), padding=(16, 0))
        self.batchnorm2 = nn.BatchNorm2d(32)
        self.maxpool2 = nn.MaxPool2d((8, 1))
        self.conv3 = nn.Conv2d(32, 64, (16, 1), stride=(2, 1), padding=(8, 0))
        self.batchnorm3 = nn.BatchNorm2d(64)
        self.conv4 = nn.Conv2d(64, 128, (8, 1), stride=(2, 1), padding=(4, 0))
        self.batchnorm4 = nn.BatchNorm2d(128)
        self.conv5 = nn.Conv2d(128, 256, (4, 1), stride=(2, 1), padding=(2, 0))
        self.batchnorm5 = nn.BatchNorm2d(256)
        self.maxpool5 = nn.MaxPool2d((4, 1))
        self.conv6 = nn.Conv2d(256, 512, (4, 1), stride=(2, 1), padding=(2, 0))
        self.batchnorm6 = nn.BatchNorm2d(512)
        self.conv7 = nn.Conv2d(512, 1024, (4, 1), stride=(2, 1), padding=(2, 0))
        self.batchnorm7 = nn.BatchNorm2d(1024)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, sound: Tensor) -> Tensor:
        """Mono waveform (B, N) at 22,050 Hz, in -256..256, to features (B, 1024, n); N = 70,560 gives n = 3.

        Raises ``UsageError`` for another shape.
        """
        if sound.ndim != 2:
            raise UsageError(f"a sound of shape {tuple(sound.shape)} does not fit SoundNet: it takes (B, samples).")
        x = sound[:, None, :, None]  # (B, 1, N, 1)
        x = self.maxpool1(self.relu(self.batchnorm1(self.conv1(x))))  # (B, 16, N/16, 1), 4410
        x = self.maxpool2(self.relu(self.batchnorm2(self.conv2(x))))  # (B, 32, N/256, 1), 275
        x = self.relu(self.batchnorm3(self.conv3(x)))  # (B, 64, N/512, 1), 138
        x = self.relu(self.batchnorm4(self.conv4(x)))  # (B, 128, N/1024, 1), 70
        x = self.maxpool5(self.relu(self.batchnorm5(self.conv5(x))))  # (B, 256, N/8192, 1), 9
        x = self.relu(self.batchnorm6(self.conv6(x)))  # (B, 512, N/16384, 1), 5
        x = self.relu(self.batchnorm7(self.conv7(x)))  # (B, 1024, N/32768, 1), 3
        features: Tensor = x.squeeze(-1)  # (B, 1024, 3)
        return features
