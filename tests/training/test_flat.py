"""Three-dimensional modules in two-dimensional forms: the same results, the same gradients, and bf16's are right."""

from __future__ import annotations

import copy
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from saliency_cli.models.config import Aggregation, Decoding, Upsampling
from saliency_cli.models.layers import Resizing
from saliency_cli.models.tased import TASEDConfig, TASEDNet, Unpooling
from saliency_cli.models.tsfp import TSFPConfig, TSFPNet
from saliency_cli.training.flat import PictureNetwork, Taps, as_picture_network, flatten

TIGHT = {"rtol": 1e-9, "atol": 1e-9}


def same(module: nn.Module, *inputs: Tensor) -> None:
    """Outputs, gradients and statistics are those of the module itself, in float64."""
    module = module.double()
    flat = flatten(copy.deepcopy(module))
    found = []
    for each in (module, flat):
        given = [x.detach().double().requires_grad_(x.is_floating_point()) for x in inputs]
        output = each(*given)
        weights = torch.linspace(-1, 1, output.numel(), dtype=torch.float64).view_as(output)
        (output * weights).sum().backward()
        gradients = {name: parameter.grad for name, parameter in each.named_parameters()}
        found.append((output, [x.grad for x in given], gradients, dict(each.named_buffers())))
    assert type(flat) is not type(module) or list(flat.children())
    assert flat.state_dict().keys() == module.state_dict().keys()
    torch.testing.assert_close(found[1], found[0], **TIGHT)


def clip(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).contiguous(
        memory_format=torch.channels_last_3d
    )


@pytest.mark.parametrize(
    "module",
    [
        nn.Conv3d(4, 6, 1),
        nn.Conv3d(4, 6, (1, 7, 7), (1, 2, 2), (0, 3, 3), bias=False),
        nn.Conv3d(4, 6, (7, 1, 1), (2, 1, 1), (3, 0, 0), bias=False),
        nn.Conv3d(4, 6, (2, 1, 1), (2, 1, 1)),
        nn.Conv3d(4, 1, (8, 1, 1)),
        nn.Conv3d(4, 6, 3, padding=1, bias=False),
        nn.Conv3d(4, 6, 3, stride=2, padding=1),  # in no network: left to torch
        nn.ConvTranspose3d(4, 6, (1, 4, 4), (1, 2, 2), (0, 1, 1)),
        nn.ConvTranspose3d(4, 6, 1, bias=False),
        nn.MaxPool3d(3, stride=1, padding=1),
        nn.MaxPool3d(3, stride=2, padding=1),
        nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1)),
        nn.MaxPool3d((2, 1, 1)),
        nn.BatchNorm3d(4, eps=1e-3),
    ],
    ids=str,
)
@pytest.mark.parametrize("ordered", [True, False])
def test_modules(module: nn.Module, ordered: bool) -> None:
    x = clip(2, 4, 8, 6, 10).relu()  # zeros in a pooling's window: which is the maximum decides its gradient
    same(copy.deepcopy(module), x if ordered else x.contiguous())


@pytest.mark.parametrize(
    "module",
    [
        nn.Conv3d(4, 4, 3, padding=1, groups=2),
        nn.Conv3d(4, 4, 3, dilation=2, padding=2),
        nn.Conv3d(4, 4, 3, padding="same"),
        nn.ConvTranspose3d(4, 4, (1, 4, 4), groups=2),
        nn.ConvTranspose3d(4, 4, 3, 2),
        nn.MaxPool3d(2, ceil_mode=True),
        nn.MaxPool3d(2, dilation=2),
    ],
    ids=str,
)
def test_what_has_no_flat_form_computes_as_ever(module: nn.Module) -> None:
    x = clip(1, 4, 7, 7, 7)
    assert torch.equal(flatten(copy.deepcopy(module))(x), module(x))


def test_relu_is_out_of_place_and_its_gradient_lies_in_order() -> None:
    x = clip(2, 4, 3, 6, 10).requires_grad_()
    before = x.detach().clone()
    result = flatten(nn.ReLU(inplace=True))(x * 1)
    assert torch.equal(result, before.relu())
    result.backward(torch.randn_like(result).contiguous())
    assert torch.equal(x.detach(), before)
    assert x.grad is not None
    row = torch.randn(3, 5)
    assert torch.equal(flatten(nn.ReLU())(row), row.relu())


class Sized(nn.Module):
    def __init__(self, size: tuple[int, int, int]) -> None:
        super().__init__()
        self.size, self.resize = size, Resizing()

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.resize(x, self.size)
        return result


@settings(max_examples=20, deadline=None)
@given(st.tuples(*[st.integers(1, 7)] * 3), st.tuples(*[st.integers(1, 14)] * 3))
def test_trilinear(before: tuple[int, int, int], after: tuple[int, int, int]) -> None:
    same(Sized(after), clip(2, 3, *before))


@pytest.mark.parametrize(("frames", "kernel"), [(2, 2), (2, 3), (1, 3)])
def test_unpooling(frames: int, kernel: int) -> None:
    """Windows that overlap name places twice: the last counts, in both."""
    for seed in range(5):
        level = clip(2, 4, 2 * frames, 8, 12, seed=seed).round()  # with equal values
        same(Unpooling(frames, kernel), clip(2, 4, 2, 4, 6, seed=seed + 9), level)


NETWORKS: list[tuple[str, TSFPConfig | TASEDConfig]] = [
    *((decoding, TSFPConfig(clip_length=16, decoding=decoding)) for decoding in get_args(Decoding)),
    *((way, TASEDConfig(clip_length=16, aggregation=way)) for way in get_args(Aggregation)),
    *((way, TASEDConfig(clip_length=16, upsampling=way)) for way in get_args(Upsampling)),
]


def network_of(config: TSFPConfig | TASEDConfig) -> TSFPNet | TASEDNet:
    torch.manual_seed(0)
    return TSFPNet(config) if isinstance(config, TSFPConfig) else TASEDNet(config)


@pytest.mark.parametrize("config", [config for _, config in NETWORKS], ids=[name for name, _ in NETWORKS])
def test_networks(config: TSFPConfig | TASEDConfig) -> None:
    """In training mode, where batch statistics are part of it."""
    network = network_of(config).double()
    flat = flatten(copy.deepcopy(network))
    x = torch.randn(2, 3, 16, 32, 32, dtype=torch.float64)
    weights = torch.rand(2, 32, 32, dtype=torch.float64)
    outputs = []
    for each in (network, flat):
        each.train()
        outputs.append(each(x))
        (outputs[-1] * weights).sum().backward()
    torch.testing.assert_close(outputs[1], outputs[0], **TIGHT)
    for (name, one), (other_name, other) in zip(network.named_parameters(), flat.named_parameters(), strict=True):
        assert name == other_name
        assert one.grad is not None
        assert other.grad is not None
        scale = one.grad.abs().max()
        torch.testing.assert_close(other.grad / scale, one.grad / scale, **TIGHT, msg=name)
    for (name, was), (_, now) in zip(network.named_buffers(), flat.named_buffers(), strict=True):
        torch.testing.assert_close(now, was, **TIGHT, msg=name)


@pytest.mark.parametrize(
    "module",
    [
        nn.Conv3d(16, 24, (1, 3, 3), padding=(0, 1, 1), bias=False),
        nn.Conv3d(16, 24, (3, 1, 1), padding=(1, 0, 0), bias=False),
        nn.Conv3d(16, 24, 1),
        nn.Conv3d(16, 24, 3, padding=1, bias=False),
        nn.ConvTranspose3d(16, 24, (1, 4, 4), (1, 2, 2), (0, 1, 1), bias=False),
    ],
    ids=str,
)
def test_gradients_in_bf16_point_where_those_in_fp32_do(module: nn.Module) -> None:
    flat, x = flatten(copy.deepcopy(module)), clip(2, 16, 8, 12, 20)
    gradients = []
    for enabled in (False, True):
        flat.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            result = flat(x)
        torch.manual_seed(1)
        result.float().backward(torch.randn(result.shape))
        gradients.append([p.grad.clone() for p in flat.parameters() if p.grad is not None])
    for exact, near in zip(*gradients, strict=True):
        assert near.isfinite().all()
        assert functional.cosine_similarity(near.flatten(), exact.flatten(), dim=0) > 0.999


@pytest.mark.parametrize("config", [TSFPConfig(clip_length=16), TASEDConfig(clip_length=16)], ids=["tsfp", "tased"])
def test_whole_networks_in_bf16(config: TSFPConfig | TASEDConfig) -> None:
    """Every gradient is finite and in its place; near the map, where rounding has not moved maxima, it is fp32's."""
    network, x, weights = flatten(network_of(config)), clip(2, 3, 16, 32, 32), torch.rand(2, 32, 32)
    network.train()
    gradients = []
    for enabled in (False, True):
        network.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            (network(x).float() * weights).sum().backward()
        gradients.append({n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None})
    exact, near = gradients
    assert near.keys() == exact.keys() == dict(network.named_parameters()).keys()
    assert all(gradient.isfinite().all() and gradient.any() for gradient in near.values())
    last = "head.weight" if isinstance(config, TSFPConfig) else "convtsp4.12.weight"
    assert functional.cosine_similarity(near[last].flatten(), exact[last].flatten(), dim=0) > 0.95


def still(network: TSFPNet | TASEDNet) -> TSFPNet | TASEDNet:
    """The same network, which sees the middle of its padded kernels over time alone."""
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv3d) and module.padding[0]:
                middle = module.kernel_size[0] // 2
                for tap in set(range(module.kernel_size[0])) - {middle}:
                    module.weight[:, :, tap] = 0
    return network


@pytest.mark.parametrize("config", [config for _, config in NETWORKS], ids=[name for name, _ in NETWORKS])
def test_a_picture_is_a_clip_in_which_nothing_moves(config: TSFPConfig | TASEDConfig) -> None:
    """Exactly, where padded kernels have but a middle tap: the padding is then nowhere seen."""
    network = still(network_of(config).double())
    x = torch.randn(2, 3, 1, 64, 64, dtype=torch.float64)
    network.train()
    network(x.expand(-1, -1, 16, -1, -1))
    network.eval()
    expected = network(x.expand(-1, -1, 16, -1, -1))
    for taps in get_args(Taps):
        saliency, levels = PictureNetwork(copy.deepcopy(network), taps=taps)(x[:, :, 0])
        torch.testing.assert_close(saliency, expected, **TIGHT)
        assert [tuple(level.shape) for level in levels] == [
            (2, 192, 16, 16),
            (2, 480, 8, 8),
            (2, 832, 4, 4),
            (2, 1024, 2, 2),
        ]


def test_a_sum_of_taps_is_a_static_clip_far_from_its_ends() -> None:
    torch.manual_seed(0)
    block = nn.Conv3d(3, 4, (3, 1, 1), padding=(1, 0, 0)).double()
    x = torch.randn(1, 3, 1, 2, 2, dtype=torch.float64)
    long = block(x.expand(-1, -1, 8, -1, -1))
    middle = as_picture_network(copy.deepcopy(block))(x)
    summed = as_picture_network(copy.deepcopy(block), taps="sum")(x)
    torch.testing.assert_close(summed, long[:, :, 3:4])
    assert not torch.allclose(middle, long[:, :, 3:4])
    assert not torch.allclose(summed, long[:, :, :1])
