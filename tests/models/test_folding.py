"""A normalisation folded into the weights before it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from saliency_cli.models.folding import fold_batch_norm


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@torch.no_grad()
def test_one_convolution_gives_what_two_layers_give(axes: int, affine: bool, bias: bool) -> None:
    torch.manual_seed(1)
    make, kind = ((nn.Conv1d, nn.BatchNorm1d), (nn.Conv2d, nn.BatchNorm2d), (nn.Conv3d, nn.BatchNorm3d))[axes - 1]
    layer, norm = make(3, 5, 2, bias=bias).double(), kind(5, eps=0.1, affine=affine).double().eval()
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.normal_()
    norm.running_var.uniform_(1e-3, 3)
    if affine:
        norm.weight.normal_()
        norm.bias.normal_()
    x = torch.randn(2, 3, *[4] * axes).double()
    expected = norm(layer(x))
    weight, shift = fold_batch_norm(layer.weight, layer.bias, norm)
    layer.weight = nn.Parameter(weight)
    layer.bias = nn.Parameter(shift)
    torch.testing.assert_close(layer(x), expected, rtol=1e-10, atol=1e-10)


def test_tiny_variances_do_not_lose_precision() -> None:
    weight, norm = torch.full((1, 1, 1), 1.0), nn.BatchNorm1d(1, eps=0).eval()
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_var.fill_(1e-12)
    norm.running_mean.fill_(1 + 1e-6)
    folded, shift = fold_batch_norm(weight, torch.ones(1), norm)
    # 1 + x - mean, all times 1e6: what is left of the difference are the bits of `mean` beyond 1.
    expected = (1 - norm.running_mean.double()) / norm.running_var.double().sqrt()
    torch.testing.assert_close(shift.double(), expected, rtol=1e-6, atol=0)
    assert folded.item() == pytest.approx(1e6, rel=1e-6)
    assert folded.dtype == shift.dtype == torch.float32
    assert not shift.requires_grad


def test_without_statistics_there_is_nothing_to_fold() -> None:
    with pytest.raises(ValueError, match="without running statistics"):
        fold_batch_norm(torch.ones(2, 1, 1), None, nn.BatchNorm1d(2, track_running_stats=False))
