"""Kernels over time between stages."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from saliency_cli.errors import UsageError
from saliency_cli.models.tased import TASEDConfig, TASEDNet
from saliency_cli.models.tsfp import TSFPConfig, TSFPNet
from saliency_cli.training.taps import begin_to_move, hold_still, spread


def block(*, padding: int = 1, kernel: int = 3) -> nn.Conv3d:
    return nn.Conv3d(4, 4, (kernel, 1, 1), padding=(padding, 0, 0), bias=False)


@pytest.mark.parametrize(("kernel", "padding"), [(3, 1), (7, 3)])
def test_what_is_held_still_passes_on_what_it_gets(kernel: int, padding: int) -> None:
    held, x = block(kernel=kernel, padding=padding), torch.randn(2, 4, 8, 3, 5)
    hold_still(held)
    assert torch.equal(held(x), x)


def test_joined_frames_are_averaged() -> None:
    joined = nn.Conv3d(4, 4, (2, 1, 1), (2, 1, 1), bias=False)
    hold_still(joined)
    x = torch.randn(2, 4, 8, 3, 5)
    torch.testing.assert_close(joined(x), (x[:, :, ::2] + x[:, :, 1::2]) / 2)


def test_other_kernels_are_left_as_they_were() -> None:
    for other in (nn.Conv3d(4, 4, (1, 3, 3)), nn.Conv3d(4, 4, 3), nn.Conv3d(4, 1, (8, 1, 1))):
        before = copy.deepcopy(other)
        hold_still(other)
        assert torch.equal(other.weight, before.weight)


def test_taps_begin_faintly() -> None:
    volume = nn.Conv3d(32, 32, 3, padding=1)
    joined = nn.Conv3d(4, 4, (2, 1, 1), (2, 1, 1))
    before = copy.deepcopy((volume, joined))
    begin_to_move(nn.ModuleList([volume, joined]), torch.Generator().manual_seed(3))
    assert torch.equal(volume.weight[:, :, 1], before[0].weight[:, :, 1])
    assert torch.equal(joined.weight, before[1].weight)
    middle = float(volume.weight[:, :, 1].detach().std())
    for tap in (0, 2):
        assert float(volume.weight[:, :, tap].detach().std()) == pytest.approx(0.01 * middle, rel=0.05)
    again = copy.deepcopy(before[0])
    begin_to_move(nn.ModuleList([again]), torch.Generator().manual_seed(3))
    assert torch.equal(again.weight, volume.weight)


@pytest.mark.parametrize(("before", "after"), [(16, 32), (32, 16), (16, 48)])
def test_a_static_clip_of_another_length_gives_the_same_sums(before: int, after: int) -> None:
    torch.manual_seed(0)
    kinds = ((TSFPNet, TSFPConfig), (TASEDNet, TASEDConfig))
    for network, config in kinds:
        one, other = (network(config(clip_length=length)).double() for length in (before, after))
        state = spread(one.state_dict(), other.state_dict())
        assert {name: value.shape for name, value in state.items()} == {
            name: value.shape for name, value in other.state_dict().items()
        }
        for name, value in one.state_dict().items():
            if value.ndim == 5:
                torch.testing.assert_close(state[name].sum(2), value.sum(2))
            else:
                assert torch.equal(state[name], value)


def test_a_longer_kernel_sees_the_same_at_its_own_pace() -> None:
    """A tap is shared by its heirs."""
    short, long = nn.Conv3d(2, 2, (2, 1, 1), bias=False), nn.Conv3d(2, 2, (4, 1, 1), bias=False)
    long.load_state_dict(spread(short.state_dict(), long.state_dict()))
    x = torch.randn(1, 2, 2, 3, 3)
    torch.testing.assert_close(long(x.repeat_interleave(2, 2)), short(x))
    back = spread(long.state_dict(), short.state_dict())
    torch.testing.assert_close(back["weight"], short.weight)


def test_lengths_that_do_not_go_into_one_another() -> None:
    one, other = TSFPNet(TSFPConfig(clip_length=32)), TSFPNet(TSFPConfig(clip_length=48))
    with pytest.raises(UsageError, match=r"head\.weight spans 16 frames and cannot be spread over 24"):
        spread(one.state_dict(), other.state_dict())
