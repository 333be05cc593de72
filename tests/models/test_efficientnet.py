"""EfficientNet-Lite0: its taps, its padding, and the published names."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saliency_cli.errors import WeightsError
from saliency_cli.models.efficientnet import (
    STAGES,
    TAP_CHANNELS,
    TAPS,
    ConvNorm,
    EfficientNetLite0,
    imagenet_state,
)


def published_names() -> list[str]:
    """The names of the published checkpoint, counted from its blocks and not from our module."""
    leaves = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    names = ["_conv_stem.weight", *(f"_bn0.{leaf}" for leaf in leaves)]
    expansions = [stage.expansion for stage in STAGES for _ in range(stage.repeats)]
    for number, expansion in enumerate(expansions):
        parts = [("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2")]
        if expansion > 1:
            parts.insert(0, ("_expand_conv", "_bn0"))
        for convolution, norm in parts:
            names += [f"_blocks.{number}.{convolution}.weight", *(f"_blocks.{number}.{norm}.{leaf}" for leaf in leaves)]
    return names


def published_state() -> dict[str, Tensor]:
    """A checkpoint as published, of random values: ours in the published order, and a classifier."""
    ours = EfficientNetLite0().state_dict()
    names = published_names()
    assert len(names) == len(ours)
    state = {name: torch.randn_like(value.float()) for name, value in zip(names, ours.values(), strict=True)}
    state |= {name: torch.tensor(7) for name in names if name.endswith("num_batches_tracked")}
    return state | {"_conv_head.weight": torch.zeros(1), "_bn1.weight": torch.zeros(1), "_fc.bias": torch.zeros(1)}


def test_number_of_parameters() -> None:
    encoder = EfficientNetLite0()
    assert sum(stage.repeats for stage in STAGES) == len(encoder.blocks) == 16
    # The published network has 4,652,008; its head 320→1280 with norm and the classifier 1280→1000 are left out.
    head = 320 * 1280 + 2 * 1280 + 1280 * 1000 + 1000
    assert sum(parameter.numel() for parameter in encoder.parameters()) == 4_652_008 - head


@pytest.mark.parametrize(("height", "width"), [(64, 96), (96, 64), (32, 32)])
def test_taps(height: int, width: int) -> None:
    taps = EfficientNetLite0().eval()(torch.randn(2, 3, height, width))
    assert [tuple(tap.shape) for tap in taps] == [
        (2, channels, height // stride, width // stride)
        for channels, stride in zip(TAP_CHANNELS, (4, 8, 16, 32), strict=True)
    ]


def test_taps_are_the_last_blocks_of_their_strides() -> None:
    strides = [1 if repeat else stage.stride for stage in STAGES for repeat in range(stage.repeats)]
    reached, stride = [], 2  # the stem's
    for step in strides:
        stride *= step
        reached.append(stride)
    assert tuple(max(n for n, s in enumerate(reached) if s == wanted) for wanted in (4, 8, 16, 32)) == TAPS


def same_padding(x: Tensor, weight: Tensor, stride: int, groups: int) -> Tensor:
    """TensorFlow's definition: ceil(n / stride) outputs, and the padding that this takes, more of it at the end."""
    pads: list[int] = []
    for n, k in zip(x.shape[:1:-1], weight.shape[:1:-1], strict=True):  # the last axis first, as F.pad wants it
        total = max((-(-n // stride) - 1) * stride + k - n, 0)
        pads += [total // 2, total - total // 2]
    return F.conv2d(F.pad(x, pads), weight, stride=stride, groups=groups)


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("stride", [1, 2])
def test_padding_is_tensorflows(kernel: int, stride: int) -> None:
    if kernel == 1 and stride == 2:
        return  # the network has no such layer
    layer = ConvNorm(6, 6, kernel, stride=stride, groups=6, activate=False).eval()
    x = torch.randn(2, 6, 16, 24)
    (convolution,) = [part for part in layer if isinstance(part, nn.Conv2d)]
    expected = same_padding(x, convolution.weight, stride, 6) / (1 + 1e-3) ** 0.5  # the fresh norm's variance is 1
    with torch.no_grad():
        torch.testing.assert_close(layer(x), expected)


def test_activation_is_relu6() -> None:
    result = ConvNorm(3, 4, 1).eval()(100 * torch.randn(1, 3, 8, 8))
    assert result.min() == 0
    assert result.max() == 6


def test_residuals_only_where_shapes_allow() -> None:
    residual = [block.residual for block in EfficientNetLite0().blocks]
    assert residual == [
        False,
        False,
        True,
        False,
        True,
        False,
        True,
        True,
        False,
        True,
        True,
        False,
        *[True] * 3,
        False,
    ]


def test_published_names_become_ours() -> None:
    published = published_state()
    encoder = EfficientNetLite0()
    encoder.load_state_dict(imagenet_state(published))
    assert torch.equal(encoder.stem[1].weight, published["_conv_stem.weight"])
    assert torch.equal(encoder.blocks[0].depthwise[0].weight, published["_blocks.0._depthwise_conv.weight"])
    assert torch.equal(encoder.blocks[3].depthwise[2].running_var, published["_blocks.3._bn1.running_var"])
    assert torch.equal(encoder.blocks[15].project[1].bias, published["_blocks.15._bn2.bias"])


@pytest.mark.parametrize(
    ("gone", "more", "message"),
    [
        ("_blocks.3._bn1.bias", None, "1 names are missing, such as _blocks.3._bn1.bias"),
        (None, "_blocks.2._se_reduce.weight", "1 names are unknown, such as _blocks.2._se_reduce.weight"),  # B0
        (None, "_blocks.16._expand_conv.weight", "1 names are unknown"),  # Lite1 and larger
    ],
)
def test_other_networks_are_refused(gone: str | None, more: str | None, message: str) -> None:
    state = published_state()
    state.pop(gone or "", None)
    if more:
        state[more] = torch.zeros(1)
    with pytest.raises(WeightsError, match=message):
        imagenet_state(state)
