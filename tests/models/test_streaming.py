"""The embedded model: what its maps may depend on, and what not."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from saliency_cli.models.streaming import StreamingTSFPNet, StreamState, input_size_for

HEIGHT, WIDTH = 64, 96


@pytest.fixture(scope="module")
def network() -> StreamingTSFPNet:
    """With temporal parts that do something, as after a training on videos."""
    torch.manual_seed(2)
    network = StreamingTSFPNet().eval()
    for convolution in (*network.temporal, network.motion_head):
        assert isinstance(convolution, nn.Conv2d)
        nn.init.normal_(convolution.weight, std=0.3)
    return network


def video(frames: int, *, batch: int = 1, seed: int = 0) -> Tensor:
    return torch.randn(batch, frames, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(seed))


def clock(frames: int, *, batch: int = 1, start: float = 0.0, rate: float = 25) -> Tensor:
    return (start + torch.arange(frames, dtype=torch.float64) / rate).expand(batch, -1)


@torch.inference_mode()
def run(network: StreamingTSFPNet, frames: Tensor, seconds: Tensor, cuts: tuple[int, ...] = ()) -> Tensor:
    """Log densities (B, S, h, w) of a video that is handed over in runs."""
    state: StreamState | None = None
    maps = []
    for begin, end in pairwise((0, *cuts, frames.shape[1])):
        part, state = network(frames[:, begin:end], seconds[:, begin:end], state)
        maps.append(part)
    return torch.cat(maps, 1)


def test_maps_are_densities(network: StreamingTSFPNet) -> None:
    maps = run(network, video(3, batch=2), clock(3, batch=2))
    assert maps.shape == (2, 3, HEIGHT // 4, WIDTH // 4)
    assert maps.dtype == torch.float32
    torch.testing.assert_close(maps.exp().sum((2, 3)), torch.ones(2, 3), rtol=0, atol=1e-5)


@pytest.mark.parametrize("cuts", [(1,), (4,), (1, 2, 3, 4, 5), (3, 5)])
def test_runs_do_not_matter(network: StreamingTSFPNet, cuts: tuple[int, ...]) -> None:
    frames, seconds = video(6), clock(6, start=3.7)
    whole, parts = run(network, frames, seconds), run(network, frames, seconds, cuts)
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-5)
    assert (whole[:, 1:] - whole[:, :-1]).abs().max() > 1e-3  # and there is something to confuse


def test_a_static_shot_does_not_flicker(network: StreamingTSFPNet) -> None:
    maps = run(network, video(1).expand(-1, 6, -1, -1, -1), clock(6), (2, 4))
    torch.testing.assert_close(maps, maps[:, :1].expand_as(maps), rtol=0, atol=2e-6)


def test_maps_follow_time_and_not_frames(network: StreamingTSFPNet) -> None:
    """A static shot at 25 and at 12.5 frames a second."""
    still = video(1).expand(-1, 8, -1, -1, -1)
    full, half = run(network, still, clock(8)), run(network, still[:, ::2], clock(8)[:, ::2])
    torch.testing.assert_close(half, full[:, ::2], rtol=0, atol=2e-6)


def test_memory_fades_by_half_in_half_a_second(network: StreamingTSFPNet) -> None:
    """However many frames these take: the memory of the features is exact for shots that stand still."""
    before, after = video(1, seed=1), video(1, seed=2)
    ends = []
    for frames in (1, 5):
        clip = torch.cat([before, after.expand(-1, frames, -1, -1, -1)], 1)
        seconds = torch.linspace(0, 0.5, frames + 1, dtype=torch.float64)[None]
        with torch.inference_mode():
            ends.append(network(clip, seconds)[1].features)
    with torch.inference_mode():
        first, last = (network(shot, clock(1))[1].features for shot in (before, after))
    for once, often, one, other in zip(*ends, first, last, strict=True):
        torch.testing.assert_close(once, (one + other) / 2, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(often, once, rtol=1e-4, atol=1e-4)


def test_motion_is_seen(network: StreamingTSFPNet) -> None:
    frames = video(1).repeat(1, 2, 1, 1, 1)
    frames[:, 1, :, :32, :32] += 2
    with torch.inference_mode():
        energy = network(frames, clock(2))[1].energy[0][0, 0]  # stride 4
    assert energy[:8, :8].mean() > 10 * energy[-4:, -12:].mean()


def test_the_state_does_not_grow(network: StreamingTSFPNet) -> None:
    sizes = set()
    for frames in (1, 5):
        with torch.inference_mode():
            _, state = network(video(frames), clock(frames))
        tensors = (*state.features, *state.energy, state.density, state.seconds)
        sizes.add(tuple(tuple(tensor.shape) for tensor in tensors))
    assert len(sizes) == 1


def test_a_frame_costs_the_same_in_every_video(network: StreamingTSFPNet) -> None:
    costs = []
    state: StreamState | None = None
    with torch.inference_mode():
        for frames in (1, 1, 4):
            with FlopCounterMode(display=False) as counter:
                _, state = network(video(frames), clock(frames), state)
            costs.append(counter.get_total_flops() / frames)
    assert costs[0] == costs[1] == costs[2] > 0


def test_untrained_temporal_parts_leave_the_stills_network() -> None:
    """Frames so far apart that the smoothing has faded: each map is that of its frame alone."""
    torch.manual_seed(3)
    network = StreamingTSFPNet().eval()
    frames = video(3)
    together = run(network, frames, clock(3, rate=0.01))
    alone = run(network, frames.transpose(0, 1), torch.zeros(3, 1, dtype=torch.float64)).transpose(0, 1)
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)


def test_videos_of_a_batch_do_not_mix(network: StreamingTSFPNet) -> None:
    frames = video(3, batch=2)
    seconds = torch.cat([clock(3), clock(3, start=9, rate=10)])
    together = run(network, frames, seconds, (1,))
    for number in (0, 1):
        alone = run(network, frames[number : number + 1], seconds[number : number + 1], (1,))
        torch.testing.assert_close(together[number : number + 1], alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("seconds", [[5.0, 0.0, 0.1], [0.0, 0.0, 0.0], [0.0, 1e6, 1e6 + 0.1]])
def test_strange_clocks_do_no_harm(network: StreamingTSFPNet, seconds: list[float]) -> None:
    maps = run(network, video(3), torch.tensor([seconds], dtype=torch.float64), (1,))
    assert maps.isfinite().all()
    torch.testing.assert_close(maps.exp().sum((2, 3)), torch.ones(1, 3), rtol=0, atol=1e-5)


def test_backward_times_count_as_no_time(network: StreamingTSFPNet) -> None:
    frames = video(2)
    back = run(network, frames, torch.tensor([[5.0, 1.0]], dtype=torch.float64))
    torch.testing.assert_close(back[:, 1], back[:, 0], rtol=0, atol=2e-6)


def test_it_computes_and_learns_under_bfloat16_autocast() -> None:
    """The heads to one channel must stay out of bfloat16, forward and backward."""
    network = StreamingTSFPNet().train()
    nn.init.normal_(network.motion_head.weight, std=0.1)
    with torch.autocast("cpu", torch.bfloat16):
        maps, state = network(video(2, batch=2), clock(2, batch=2))
    assert maps.dtype == torch.float32
    assert maps.isfinite().all()
    assert all(memory.dtype == torch.float32 for memory in (*state.features, *state.energy))
    maps[..., 3, 5].sum().backward()
    gradients = {name: parameter.grad for name, parameter in network.named_parameters()}
    assert [name for name, gradient in gradients.items() if gradient is None or not gradient.isfinite().all()] == []


def test_lateral_channels_are_a_parameter() -> None:
    narrow = StreamingTSFPNet(lateral_channels=8).eval()
    assert run(narrow, video(1), clock(1)).shape == (1, 1, HEIGHT // 4, WIDTH // 4)


@given(
    width=st.integers(16, 8000),
    height=st.integers(16, 8000),
    budget=st.tuples(st.integers(2, 12), st.integers(2, 12)).map(lambda s: (32 * s[0], 32 * s[1])),
)
def test_input_sizes(width: int, height: int, budget: tuple[int, int]) -> None:
    h, w = input_size_for(width, height, budget=budget)
    assert h % 32 == w % 32 == 0
    shape = min(max(width / height, 0.25), 4)
    if budget[0] * budget[1] >= 224 * 352 and 0.5 <= shape <= 2:
        assert 0.75 < (w / h) / shape < 1.33
        assert 0.7 < h * w / (budget[0] * budget[1]) < 1.43


@pytest.mark.parametrize(
    ("source", "size"),
    [((1920, 1080), (224, 384)), ((1080, 1920), (384, 224)), ((640, 640), (288, 288)), ((352, 224), (224, 352))],
)
def test_input_size_follows_the_source(source: tuple[int, int], size: tuple[int, int]) -> None:
    assert input_size_for(*source, budget=(224, 352)) == size


@given(width=st.integers(16, 4000), height=st.integers(16, 4000))
def test_portrait_is_landscape_turned(width: int, height: int) -> None:
    h, w = input_size_for(width, height, budget=(224, 352))
    turned = input_size_for(height, width, budget=(224, 352))
    assert turned[0] * turned[1] == pytest.approx(h * w, rel=0.2)
    assert turned[1] / turned[0] == pytest.approx(h / w, rel=0.2)
