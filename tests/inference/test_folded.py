"""Layers in their folded, 2-D form against the modules that they are made from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from tiny_networks import measured
from torch import Tensor, nn

from saliency_cli.inference import folded as folding
from saliency_cli.inference.folded import Convolution, Doubling, folded, weights

BOUNDS = {torch.float32: 1e-5, torch.bfloat16: 2e-2}  # of the greatest value


@pytest.fixture(params=["fused", "two steps"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every test runs with oneDNN's fused convolutions, where there are any, and without."""
    if request.param != "fused":
        monkeypatch.setattr(folding, "_fused", lambda *_: None)
    return str(request.param)


def check_close(found: Tensor, expected: Tensor, dtype: torch.dtype) -> None:
    assert found.dtype == dtype
    assert found.shape == expected.shape
    scale = float(expected.abs().max())
    assert scale > 0.1
    torch.testing.assert_close(found.float(), expected, rtol=0, atol=BOUNDS[dtype] * scale)


SPATIAL: list[Callable[[bool], nn.Module]] = [
    lambda bias: nn.Conv3d(5, 7, 1, bias=bias),
    lambda bias: nn.Conv3d(16, 32, (1, 3, 3), padding=(0, 1, 1), bias=bias),
    lambda bias: nn.Conv3d(3, 64, (1, 7, 7), (1, 2, 2), (0, 3, 3), bias=bias),
    lambda bias: nn.Conv3d(4, 1, 1, bias=bias),
    lambda bias: nn.ConvTranspose3d(6, 4, 1, bias=bias),
    lambda bias: nn.ConvTranspose3d(12, 9, (1, 3, 3), padding=(0, 1, 1), bias=bias),
    lambda bias: nn.ConvTranspose3d(16, 32, (1, 4, 4), (1, 2, 2), (0, 1, 1), bias=bias),
    lambda bias: nn.ConvTranspose3d(4, 4, (1, 4, 4), (1, 2, 2), (0, 1, 1), bias=bias),
]
TEMPORAL: list[Callable[[bool], nn.Module]] = [
    lambda bias: nn.Conv3d(64, 64, (7, 1, 1), (2, 1, 1), (3, 0, 0), bias=bias),
    lambda bias: nn.Conv3d(16, 16, (3, 1, 1), padding=(1, 0, 0), bias=bias),
    lambda bias: nn.Conv3d(64, 64, (2, 1, 1), (2, 1, 1), bias=bias),
    lambda bias: nn.Conv3d(4, 4, (8, 1, 1), (8, 1, 1), bias=bias),
]


def case(make: Callable[[bool], nn.Module], *, bias: bool, norm: bool, relu: bool) -> tuple[Any, Any, nn.Module]:
    """A layer, its normalisation, and both with what follows as a module."""
    torch.manual_seed(1)
    layer: Any = make(bias)
    batch_norm = cast(nn.BatchNorm3d, measured(nn.BatchNorm3d(layer.out_channels, eps=1e-3))) if norm else None
    follows = [*([batch_norm] if batch_norm else []), *([nn.ReLU()] if relu else [])]
    return layer, batch_norm, nn.Sequential(layer, *follows)


@pytest.mark.parametrize("dtype", list(BOUNDS))
@pytest.mark.parametrize(("bias", "norm", "relu"), [(False, True, True), (True, False, False), (True, True, False)])
@pytest.mark.parametrize("make", SPATIAL)
@torch.inference_mode()
def test_a_convolution_of_each_frame(
    make: Callable[[bool], nn.Module], bias: bool, norm: bool, relu: bool, dtype: torch.dtype
) -> None:
    layer, batch_norm, module = case(make, bias=bias, norm=norm, relu=relu)
    step = folded(layer, batch_norm, dtype=dtype, relu=relu)
    for frames in (3, 1, 8):  # weights are laid out for the first
        x = torch.randn(frames, 6, 10, layer.in_channels).to(dtype)
        kept = x.clone()
        expected = module(x.float().permute(3, 0, 1, 2)[None])[0].permute(1, 2, 3, 0)
        check_close(step(x), expected, dtype)
        assert torch.equal(x, kept)
    # A part of the channels of something wider, as the branches of an Inception block have it.
    wide = torch.randn(2, 6, 10, layer.in_channels + 5).to(dtype)
    part = wide[..., 2 : 2 + layer.in_channels]
    assert torch.equal(step(part), step(part.contiguous()))


@pytest.mark.parametrize("dtype", list(BOUNDS))
@pytest.mark.parametrize(("bias", "norm", "relu"), [(False, True, True), (True, False, False)])
@pytest.mark.parametrize("make", TEMPORAL)
@torch.inference_mode()
def test_a_convolution_over_time(
    make: Callable[[bool], nn.Module], bias: bool, norm: bool, relu: bool, dtype: torch.dtype
) -> None:
    layer, batch_norm, module = case(make, bias=bias, norm=norm, relu=relu)
    step = folded(layer, batch_norm, dtype=dtype, relu=relu)
    assert isinstance(step, Convolution)
    for windows, times in ((1, 8), (3, 8), (2, 16)):
        x = torch.randn(windows, times, 3, 5, layer.in_channels).to(dtype)
        check_close(step.over_time(x), module(x.float().movedim(-1, 1)).movedim(1, -1), dtype)


@pytest.mark.parametrize("dtype", list(BOUNDS))
@torch.inference_mode()
def test_a_convolution_of_a_volume(dtype: torch.dtype) -> None:
    layer, batch_norm, module = case(
        lambda bias: nn.Conv3d(8, 8, 3, padding=1, bias=bias), bias=False, norm=True, relu=True
    )
    step = Convolution(*weights(layer, batch_norm), dtype=dtype, padding=1)
    assert step.channels == 8
    for windows, size in ((1, (4, 2, 3)), (2, (4, 2, 3)), (1, (2, 1, 1))):
        x = torch.randn(windows, *size, 8).to(dtype)
        check_close(step(x), module(x.float().movedim(-1, 1)).movedim(1, -1), dtype)


@torch.inference_mode()
def test_places_and_frames_do_not_depend_on_one_another(way: str) -> None:
    """To the last bit: what a frame's features are does not depend on how many others are computed with it."""
    for dtype in BOUNDS:
        layer, batch_norm, _ = case(SPATIAL[1], bias=False, norm=True, relu=True)
        step = folded(layer, batch_norm, dtype=dtype)
        x = torch.randn(9, 6, 10, 16).to(dtype)
        together = step(x)
        for frame in range(9):
            assert torch.equal(step(x[frame : frame + 1])[0], together[frame])


@torch.inference_mode()
def test_both_ways_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    for make in (*SPATIAL, *TEMPORAL):
        layer, batch_norm, _ = case(make, bias=False, norm=True, relu=True)
        x = torch.randn(2, 8, 4, layer.in_channels)
        one = folded(layer, batch_norm, dtype=torch.float32)
        with monkeypatch.context() as patch:
            patch.setattr(folding, "_fused", lambda *_: None)
            other = folded(layer, batch_norm, dtype=torch.float32)
        torch.testing.assert_close(one(x), other(x), rtol=1e-4, atol=1e-5)


def test_the_fused_convolutions_are_used_where_they_can_compute(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if way != "fused":
        return
    weight, name = torch.ones(1), "_convolution_pointwise"

    def used(dtype: torch.dtype) -> bool:
        return folding._fused(name, weight, dtype) is not None

    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    for name in ("_convolution_pointwise", "_convolution_transpose_pointwise"):
        monkeypatch.setattr(torch.ops.mkldnn, name, lambda *_: weight, raising=False)
        monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_acl_supported", lambda: False, raising=False)
        monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True, raising=False)
        assert used(torch.float32)
        assert used(torch.bfloat16)
        assert not used(torch.float16)
        assert folding._fused(name, torch.ones(1, device="meta"), torch.float32) is None
        monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
        assert used(torch.float32)
        assert not used(torch.bfloat16)  # it would raise
        monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_acl_supported", lambda: True)
        assert not used(torch.float32)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert not used(torch.float32)


def test_weights_are_copied() -> None:
    layer, batch_norm, _ = case(SPATIAL[1], bias=True, norm=False, relu=True)
    step = folded(layer, batch_norm, dtype=torch.float32)
    with torch.inference_mode():
        x = torch.randn(1, 4, 4, 16)
        before = step(x)
        assert torch.equal(folded(layer, None, dtype=torch.float32)(x), before)
    assert not weights(layer, None)[0].requires_grad
    assert layer.weight.requires_grad


@pytest.mark.parametrize(
    ("layer", "kind"),
    [
        (nn.Conv3d(2, 2, (1, 3, 3)), Convolution),
        (nn.ConvTranspose3d(2, 2, (1, 4, 4), (1, 2, 2), (0, 1, 1)), Doubling),
    ],
)
def test_forms(layer: Any, kind: type) -> None:
    assert type(folded(layer, None, dtype=torch.float32)) is kind


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv3d(2, 2, 3),
        nn.Conv3d(2, 2, (3, 1, 3)),
        nn.ConvTranspose3d(2, 2, (1, 4, 4), (1, 2, 2)),
        nn.ConvTranspose3d(2, 2, (1, 2, 2), (1, 2, 2)),
        nn.ConvTranspose3d(2, 2, (2, 1, 1), (2, 1, 1)),
        nn.ConvTranspose3d(2, 2, (3, 3, 3)),
    ],
)
def test_layers_without_a_form_in_2d_are_refused(layer: Any) -> None:
    with pytest.raises(ValueError, match="no form in 2-D"):
        folded(layer, None, dtype=torch.float32)


def test_a_torch_without_the_private_operations_is_no_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(folding.LAYING_OUT, "_convolution_pointwise", "no_such_operation")
    assert folding._fused("_convolution_pointwise", torch.ones(1), torch.float32) is None
