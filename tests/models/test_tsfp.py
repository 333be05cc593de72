"""TSFP-Net: its size, its variants, and what sound does to it."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from saliency_cli.errors import UsageError
from saliency_cli.models.config import CLIP_LENGTHS, Decoding
from saliency_cli.models.s3d import S3DEncoder
from saliency_cli.models.soundnet import SAMPLES
from saliency_cli.models.tsfp import TSFPConfig, TSFPNet


def test_size_is_the_papers() -> None:
    parameters = sum(parameter.numel() for parameter in TSFPNet().parameters())
    assert round(parameters / 1e6, 2) == 15.37
    assert round(parameters * 4 / 2**20, 1) == 58.6  # table 3 says 58.4


def test_cost_of_a_window() -> None:
    with torch.device("meta"):
        network, clip = TSFPNet().eval(), torch.empty(1, 3, 32, 192, 352)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(clip)
    assert round(counter.get_total_flops() / 2e9, 1) == 93.3


def test_levels_of_the_encoder() -> None:
    with torch.device("meta"):
        levels = S3DEncoder()(torch.empty(2, 3, 32, 192, 352))
    assert [tuple(level.shape) for level in levels] == [
        (2, 192, 16, 48, 88),
        (2, 480, 16, 24, 44),
        (2, 832, 8, 12, 22),
        (2, 1024, 4, 6, 11),
    ]


@pytest.mark.parametrize("decoding", get_args(Decoding))
@pytest.mark.parametrize("length", CLIP_LENGTHS["tsfp"])
def test_variants_give_a_map(decoding: Decoding, length: int) -> None:
    network = TSFPNet(TSFPConfig(clip_length=length, decoding=decoding)).eval()
    with torch.inference_mode():
        result = network(torch.randn(2, 3, length, 32, 64))
    assert result.shape == (2, 32, 64)
    assert ((result > 0) & (result < 1)).all()


def test_ablations_leave_layers_out() -> None:
    full, multi, final = (TSFPNet(TSFPConfig(decoding=decoding)) for decoding in get_args(Decoding))
    assert (len(full.smooth), len(full.decoders)) == (3, 4)
    assert (len(multi.smooth), len(multi.decoders)) == (0, 4)
    assert (len(final.smooth), list(final.decoders)) == (0, ["level4"])


def listening() -> TSFPNet:
    torch.manual_seed(1)
    return TSFPNet(TSFPConfig(clip_length=16, audio=True)).eval()


def test_without_sound_the_result_is_the_visual_networks() -> None:
    hearing, deaf = listening(), TSFPNet(TSFPConfig(clip_length=16)).eval()
    visual = {name: tensor for name, tensor in hearing.state_dict().items() if name in deaf.state_dict()}
    deaf.load_state_dict(visual)
    clip = torch.randn(1, 3, 16, 32, 64)
    with torch.inference_mode():
        assert torch.equal(hearing(clip), deaf(clip))


def test_sound_changes_the_result() -> None:
    network = listening()
    clip, sound = torch.randn(2, 3, 16, 32, 64), 100 * torch.randn(2, SAMPLES)
    with torch.inference_mode():
        quiet, loud = network(clip), network(clip, sound)
        other = network(clip, sound.flip(0))
    assert loud.shape == (2, 32, 64)
    assert not torch.equal(quiet, loud)
    assert not torch.equal(other, loud)


def test_attention_raises_features_up_to_double() -> None:
    network = listening()
    features, level3 = torch.rand(1, 192, 8, 8, 16) + 0.1, torch.randn(1, 832, 4, 2, 4)
    with torch.inference_mode():
        ratio = network.listen(features, level3, torch.randn(1, SAMPLES)) / features
    assert ((ratio > 1) & (ratio < 2)).all()
    assert torch.allclose(ratio[:, :1, :1].expand_as(ratio), ratio)  # one attention for all channels and times


def test_sound_for_a_network_without_ears_is_refused() -> None:
    with pytest.raises(UsageError, match="no sound branch"):
        TSFPNet(TSFPConfig(clip_length=16))(torch.randn(1, 3, 16, 32, 32), torch.zeros(1, SAMPLES))


def test_clips_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UsageError, match="it takes"):
        TSFPNet()(torch.zeros(1, 3, 16, 32, 32))
    with pytest.raises(UsageError, match="no clip length 8"):
        TSFPConfig(clip_length=8)


def test_it_learns_under_bfloat16_autocast() -> None:
    """Head and fusion must stay out of bfloat16, forward and backward."""
    network = listening().train()
    with torch.autocast("cpu", torch.bfloat16):
        result = network(torch.randn(2, 3, 16, 64, 64), 100 * torch.randn(2, SAMPLES))
    assert result.dtype == torch.float32
    result.sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
