"""Networks with their normalisations folded in: the same outputs, fewer layers, and an original left alone."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from stand_ins import check_close
from tiny_networks import awake, measured
from torch import Tensor, nn

from saliency_cli.models.efficientnet import EfficientNetLite0
from saliency_cli.models.folding import folded_copy
from saliency_cli.models.streaming import MOTION_CHANNELS, StreamingTSFPNet

SIDES = st.integers(0, 4)


def layers_of(module: nn.Module, kind: type[nn.Module]) -> int:
    return sum(isinstance(layer, kind) for layer in module.modules())


@torch.inference_mode()
def check(module: nn.Module, x: Tensor) -> nn.Module:
    """The folded copy, which gives what the module gives."""
    folded = folded_copy(module)
    torch.testing.assert_close(folded(x), module.eval()(x), rtol=1e-4, atol=1e-4)
    return folded


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("groups", [1, 4])
def test_a_normalisation_becomes_part_of_its_convolution(bias: bool, groups: int) -> None:
    torch.manual_seed(0)
    chain = nn.Sequential(
        nn.Conv2d(4, 8, 3, padding=1, groups=groups, bias=bias), measured(nn.BatchNorm2d(8, eps=0.1)), nn.ReLU6()
    )
    folded = check(nn.Sequential(chain), torch.randn(2, 4, 9, 11))
    assert [type(layer) for layer in folded.get_submodule("0").children()] == [nn.Conv2d, nn.ReLU6]


@given(
    pad=st.tuples(SIDES, SIDES, SIDES, SIDES),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.integers(1, 3),
    size=st.tuples(st.integers(4, 12), st.integers(4, 12)),
)
def test_padding_of_any_sides_becomes_part_of_its_convolution(
    pad: tuple[int, int, int, int], kernel: tuple[int, int], stride: int, size: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    chain = nn.Sequential(nn.ZeroPad2d(pad), nn.Conv2d(2, 3, kernel, stride), measured(nn.BatchNorm2d(3)))
    folded = check(nn.Sequential(chain), torch.randn(1, 2, *size))
    assert layers_of(folded, nn.Module) == 3  # the two chains, and one convolution


@pytest.mark.parametrize(("dilation", "mode"), [(2, "zeros"), (1, "reflect")])
def test_padding_that_a_convolution_cannot_do_stays(dilation: int, mode: Literal["zeros", "reflect"]) -> None:
    conv = nn.Conv2d(2, 3, 3, dilation=dilation, padding_mode=mode)
    folded = check(nn.Sequential(nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), conv)), torch.randn(1, 2, 8, 9))
    assert layers_of(folded, nn.ZeroPad2d) == 1


def test_normalisations_of_something_else_stay() -> None:
    chain = nn.Sequential(measured(nn.BatchNorm2d(3)), nn.Conv2d(3, 3, 1), nn.ReLU(), measured(nn.BatchNorm2d(3)))
    folded = check(nn.Sequential(chain), torch.randn(2, 3, 5, 5))
    assert layers_of(folded, nn.BatchNorm2d) == 2


def test_the_encoder_loses_all_normalisations_and_paddings_and_the_original_none() -> None:
    network = awake(StreamingTSFPNet()).encoder
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    frames = torch.randn(2, 3, 64, 96)
    folded = folded_copy(network.train())
    network.eval()
    with torch.inference_mode():
        for one, other in zip(folded(frames), network(frames), strict=True):
            check_close(one, other)
    assert layers_of(folded, nn.BatchNorm2d) == layers_of(folded, nn.ZeroPad2d) == 0
    assert not any(parameter.requires_grad for parameter in folded.parameters())
    assert isinstance(folded, EfficientNetLite0)
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert layers_of(network, nn.BatchNorm2d) == 48
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name])


@pytest.mark.parametrize("audio", [False, True])
def test_the_embedded_network_for_inference_gives_the_same_maps(audio: bool) -> None:
    torch.manual_seed(2)
    network = awake(StreamingTSFPNet(audio=audio))
    frames, motion = torch.randn(1, 3, 3, 64, 96), 0.2 * torch.rand(1, 3, MOTION_CHANNELS, 27, 40)
    seconds, since = torch.arange(3, dtype=torch.float64)[None] / 25, torch.arange(3)[None] / 25
    heard = torch.randn(1, 3, 1024) if audio else None
    with torch.inference_mode():
        expected, _ = network(frames, seconds, motion, since, None, heard)
        found, _ = network.for_inference(torch.float32)(frames, seconds, motion, since, None, heard)
        torch.testing.assert_close(found, expected, rtol=0, atol=2e-3)
        lower = network.for_inference(torch.bfloat16)
        with torch.autocast("cpu", torch.bfloat16):
            found, _ = lower(frames, seconds, motion, since, None, heard)
    assert found.dtype == torch.float32
    assert lower.head.weight.dtype == lower.prior.dtype == torch.float32
    for one, other in zip(found.exp()[0], expected.exp()[0], strict=True):
        assert float(torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1]) > 0.98
