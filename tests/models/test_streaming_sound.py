"""The sound branch: what it may change, by how much, and that silence changes nothing."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from saliency_cli.errors import UsageError
from saliency_cli.models.checkpoint import save_checkpoint
from saliency_cli.models.config import ModelConfig
from saliency_cli.models.registry import load_model
from saliency_cli.models.soundnet import SAMPLES
from saliency_cli.models.streaming import StreamingTSFPNet
from saliency_cli.models.streaming_sound import SOUND_GRID, SoundBranch, instant_before

FRAMES, HEIGHT, WIDTH = 3, 64, 96


@pytest.fixture(scope="module")
def network() -> StreamingTSFPNet:
    """With a sound branch that does something, as after a training."""
    torch.manual_seed(2)
    network = StreamingTSFPNet(audio=True).eval()
    assert network.sound is not None
    nn.init.constant_(network.sound.gain, 0.5)
    with torch.no_grad():  # an untrained encoder's features hardly differ between places
        network.sound.picture.weight.mul_(100)
    network.sound.mean.uniform_(0, 0.1)
    return network


def video() -> Tensor:
    return torch.randn(1, FRAMES, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))


def sounds(count: int = FRAMES) -> Tensor:
    return torch.rand(1, count, 1024, generator=torch.Generator().manual_seed(1))


@torch.inference_mode()
def maps(network: StreamingTSFPNet, heard: Tensor | None) -> Tensor:
    seconds = torch.arange(FRAMES, dtype=torch.float64)[None] / 5
    return network(video(), seconds, heard=heard)[0][0]


def test_silence_is_the_visual_network_to_the_last_bit(network: StreamingTSFPNet) -> None:
    deaf = maps(network, None)
    assert torch.equal(maps(network, torch.zeros(1, FRAMES, 1024)), deaf)
    heard = sounds()
    heard[:, 0] = 0  # and sound later on does not reach back to it
    some = maps(network, heard)
    assert torch.equal(some[0], deaf[0])
    assert (some[1] - deaf[1]).abs().max() > 1e-3


def test_a_new_branch_changes_nothing() -> None:
    network = StreamingTSFPNet(audio=True).eval()
    torch.testing.assert_close(maps(network, sounds()), maps(network, None), rtol=0, atol=0)


def test_maps_stay_densities(network: StreamingTSFPNet) -> None:
    torch.testing.assert_close(maps(network, sounds()).exp().sum((1, 2)), torch.ones(FRAMES), rtol=0, atol=1e-5)


@pytest.mark.parametrize("gain", [-100.0, 0.3, 100.0])
def test_no_place_more_than_doubles(gain: float) -> None:
    torch.manual_seed(0)
    branch = SoundBranch()
    with torch.no_grad():
        branch.gain.fill_(gain)
        logits = torch.zeros(2, 1, 8, 12)
        change = branch(logits, 30 * torch.randn(2, 112, 2, 3), 1000 * torch.rand(2, 1024))
    assert 0 < change.abs().max() <= math.log(2) + 1e-6


def test_the_average_sound_changes_nothing(network: StreamingTSFPNet) -> None:
    assert network.sound is not None
    average = network.sound.mean.expand(1, FRAMES, -1)
    torch.testing.assert_close(maps(network, average), maps(network, None), rtol=0, atol=1e-6)


def test_the_branch_is_centred_on_what_is_heard_without_the_silence() -> None:
    branch = SoundBranch()
    heard = sounds(5)[0]
    branch.measure(torch.cat([heard, torch.zeros(4, 1024)]))
    torch.testing.assert_close(branch.mean, heard.mean(0))
    torch.testing.assert_close((heard - branch.mean).div(branch.deviation).square().mean(), torch.tensor(1.0))


def test_soundnet_is_never_trained_nor_switched_to_training() -> None:
    network = StreamingTSFPNet(audio=True).train()
    assert network.sound is not None
    before = {name: tensor.clone() for name, tensor in network.sound.soundnet.state_dict().items()}
    noise = 50 * torch.randn(1, SAMPLES, generator=torch.Generator().manual_seed(0))
    one, again = network.sound.hear(noise), network.sound.hear(noise)
    assert one.shape == (1, 1024)
    assert torch.equal(one, again)
    assert not any(parameter.requires_grad for parameter in network.sound.soundnet.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in network.sound.soundnet.state_dict().items())


def test_sound_for_a_network_without_the_branch_is_refused() -> None:
    with pytest.raises(UsageError, match="no sound branch"):
        maps(StreamingTSFPNet().eval(), sounds())


def test_the_branch_is_the_last_part_that_the_seed_makes() -> None:
    """So that a seed gives the same visual network with and without it."""
    states = []
    for audio in (False, True):
        torch.manual_seed(7)
        states.append(StreamingTSFPNet(audio=audio).state_dict())
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())
    assert {name.split(".")[0] for name in states[1].keys() - states[0].keys()} == {"sound"}


@given(st.floats(-1e4, 1e5))
def test_instants_are_on_the_grid_and_not_ahead(seconds: float) -> None:
    instant = instant_before(seconds)
    assert instant <= seconds + 1e-6
    assert seconds - instant < SOUND_GRID + 1e-6
    assert instant_before(instant) == instant


def test_a_checkpoint_says_that_it_has_ears_and_is_small(network: StreamingTSFPNet, tmp_path: Path) -> None:
    config = replace(ModelConfig.embedded(), audio=True)
    path = save_checkpoint(tmp_path / "m.safetensors", network, config, {"sound_study": "of no use."})
    model = load_model("tsfp", weights=path)
    assert model.config.audio
    assert model.metadata["sound_study"] == "of no use."
    assert path.stat().st_size < 20e6
    module = model.module
    assert isinstance(module, StreamingTSFPNet)
    assert module.sound is not None
    assert network.sound is not None
    assert torch.equal(module.sound.mean, network.sound.mean)
    assert (maps(module, sounds()) - maps(module, None)).abs().max() > 1e-3
