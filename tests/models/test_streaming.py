"""The embedded model: what its maps may depend on, and what not."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_networks import awake
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from saliency_cli.models.streaming import (
    MAP_HALF_LIFE,
    MOTION_CHANNELS,
    MotionBranch,
    StreamingTSFPNet,
    StreamState,
    coarsened,
    input_size_for,
)

HEIGHT, WIDTH = 64, 96
MAP = (HEIGHT // 4, WIDTH // 4)


@pytest.fixture(scope="module")
def network() -> StreamingTSFPNet:
    torch.manual_seed(2)
    return awake(StreamingTSFPNet())


def video(frames: int, *, batch: int = 1, seed: int = 0) -> Tensor:
    return torch.randn(batch, frames, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(seed))


def clock(frames: int, *, batch: int = 1, start: float = 0.0, rate: float = 25) -> Tensor:
    return (start + torch.arange(frames, dtype=torch.float64) / rate).expand(batch, -1)


def moves(frames: int, *, batch: int = 1, seed: int = 0) -> Tensor:
    """Motion maps of a size of their own."""
    return 0.2 * torch.rand(batch, frames, MOTION_CHANNELS, 27, 40, generator=torch.Generator().manual_seed(seed))


@torch.inference_mode()
def run(
    network: StreamingTSFPNet,
    frames: Tensor,
    seconds: Tensor,
    cuts: tuple[int, ...] = (),
    *,
    motion: Tensor | None = None,
    since: Tensor | None = None,
) -> Tensor:
    """Log densities (B, S, h, w) of a video that is handed over in runs."""
    since = (seconds - seconds[:, :1]).float() if since is None and motion is not None else since
    state: StreamState | None = None
    maps = []
    for begin, end in pairwise((0, *cuts, frames.shape[1])):
        span = slice(None), slice(begin, end)
        moved, known = (x if x is None else x[span] for x in (motion, since))
        part, state = network(frames[span], seconds[span], moved, known, state)
        maps.append(part)
    return torch.cat(maps, 1)


@torch.inference_mode()
def photographs(network: StreamingTSFPNet, frames: Tensor) -> Tensor:
    maps, state = network(frames)
    assert state is None
    assert isinstance(maps, Tensor)
    return maps


@pytest.mark.parametrize("moving", [False, True])
def test_maps_are_densities(network: StreamingTSFPNet, moving: bool) -> None:
    frames = video(3, batch=2)
    for maps in (
        run(network, frames, clock(3, batch=2), motion=moves(3, batch=2) if moving else None),
        photographs(network, frames),
    ):
        assert maps.shape == (2, 3, *MAP)
        assert maps.dtype == torch.float32
        torch.testing.assert_close(maps.exp().sum((2, 3)), torch.ones(2, 3), rtol=0, atol=1e-5)


def test_photographs_are_neither_smoothed_nor_mixed(network: StreamingTSFPNet) -> None:
    frames = video(4)
    together = photographs(network, frames)
    alone = torch.cat([photographs(network, frames[:, number : number + 1]) for number in range(4)], 1)
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-4)
    reverse = photographs(network, frames.flip(1)).flip(1)
    torch.testing.assert_close(together, reverse, rtol=0, atol=1e-4)
    batched = photographs(network, frames.transpose(0, 1)).transpose(0, 1)
    torch.testing.assert_close(together, batched, rtol=0, atol=1e-4)
    assert (together[:, 1:] - together[:, :-1]).abs().max() > 1e-2  # and there is something to confuse


def test_an_untrained_motion_branch_leaves_the_photographs_map() -> None:
    """A video's first frame, and frames so far apart that the smoothing has faded."""
    torch.manual_seed(3)
    network = StreamingTSFPNet().eval()
    frames = video(3)
    moving = run(network, frames, clock(3, rate=0.01), motion=moves(3))
    torch.testing.assert_close(moving, photographs(network, frames), rtol=0, atol=1e-5)


def test_motion_changes_the_map_once_the_branch_has_weights(network: StreamingTSFPNet) -> None:
    frames, seconds = video(1).expand(-1, 2, -1, -1, -1), clock(2, rate=0.01)
    still = torch.zeros(1, 2, MOTION_CHANNELS, 27, 40)
    moving = still.clone()
    moving[:, 1, :, :14, :20] = 0.3  # the upper left; how much it is of the whole, all places see
    maps = run(network, frames, seconds, motion=moving, since=torch.tensor([[3.0, 3.0]]))
    change = (maps[0, 1] - maps[0, 0]).abs()
    assert change[:6, :9].mean() > 0.01
    assert change[:6, :9].mean() > 1.3 * change[-5:, -8:].mean()
    alike = run(network, frames, seconds, motion=still, since=torch.tensor([[3.0, 3.0]]))
    torch.testing.assert_close(alike[:, 0], alike[:, 1], rtol=0, atol=1e-5)


@pytest.mark.parametrize("channel", range(MOTION_CHANNELS))
def test_every_map_of_motion_counts(network: StreamingTSFPNet, channel: int) -> None:
    frames, motion = video(1), torch.zeros(1, 1, MOTION_CHANNELS, 27, 40)
    since = torch.tensor([[2.0]])
    still = run(network, frames, clock(1), motion=motion, since=since)
    motion[:, :, channel, 5:12, 5:12] = 0.2
    assert (run(network, frames, clock(1), motion=motion, since=since) - still).abs().max() > 1e-3


def test_the_time_since_a_shot_began_counts(network: StreamingTSFPNet) -> None:
    frames, motion = video(1), torch.zeros(1, 1, MOTION_CHANNELS, 27, 40)
    early, later, late, very_late = (
        run(network, frames, clock(1), motion=motion, since=torch.tensor([[since]])) for since in (0.04, 0.5, 20, 9999)
    )
    assert (early - later).abs().max() > 1e-2
    assert (later - late).abs().max() > 1e-3
    torch.testing.assert_close(late, very_late, rtol=0, atol=1e-5)


def test_opinions_average_to_the_map(network: StreamingTSFPNet) -> None:
    frames = video(2)[0]
    with torch.inference_mode():
        mixed, logits = network.looked_at(frames)
        given = (coarsened(mixed), logits, moves(2)[0], torch.tensor([0.1, 2.0]))
        together, apart = network.motion(*given), network.motion(*given, apart=True)
    assert together.shape == (2, 1, *MAP)
    assert apart.shape == (2, len(network.motion.opinions), *MAP)
    torch.testing.assert_close(apart.mean(1, keepdim=True), together)
    assert (apart[:, 1:] - apart[:, :-1]).abs().amax((1, 2, 3)).min() > 0.1  # and they differ
    torch.manual_seed(0)
    for number, opinion in enumerate(network.motion.opinions):
        assert opinion[0].in_channels > 25 if number < 2 else opinion[0].in_channels == 25  # type: ignore[index]


def test_opinions_without_features_see_none(network: StreamingTSFPNet) -> None:
    """Half of them judge by motion and the map alone, the others by what is in the picture too."""
    logits, since = torch.randn(1, 1, *MAP), torch.tensor([1.0])
    features = torch.randn(2, 64, MAP[0] // 2, MAP[1] // 2)
    with torch.inference_mode():
        one, other = (network.motion(f[None], logits, moves(1)[0], since, apart=True)[0] for f in features)
    changed = (one - other).abs().amax((1, 2)) > 1e-4
    assert changed.tolist() == [True, True, False, False]


def test_features_are_forgotten_in_training_alone() -> None:
    torch.manual_seed(5)
    network = awake(StreamingTSFPNet())
    given = (torch.randn(1, 64, 8, 12), torch.randn(1, 1, *MAP), moves(1)[0], torch.tensor([1.0]))
    with torch.no_grad():
        network.motion.train()
        assert not torch.equal(network.motion(*given), network.motion(*given))
        network.motion.eval()
        assert torch.equal(network.motion(*given), network.motion(*given))


@pytest.mark.parametrize("moving", [False, True])
@pytest.mark.parametrize("cuts", [(4,), (1, 2, 3, 4, 5)])
def test_runs_do_not_matter(network: StreamingTSFPNet, cuts: tuple[int, ...], moving: bool) -> None:
    frames, seconds, motion = video(6), clock(6, start=3.7), moves(6) if moving else None
    whole, parts = (run(network, frames, seconds, each, motion=motion) for each in ((), cuts))
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-5)
    assert (whole[:, 1:] - whole[:, :-1]).abs().max() > 1e-3  # and there is something to confuse


def test_a_static_shot_does_not_flicker(network: StreamingTSFPNet) -> None:
    maps = run(network, video(1).expand(-1, 6, -1, -1, -1), clock(6), (2, 4))
    torch.testing.assert_close(maps, maps[:, :1].expand_as(maps), rtol=0, atol=2e-6)


def test_maps_follow_time_and_not_frames(network: StreamingTSFPNet) -> None:
    """A cut to another static shot, at 25 and at 12.5 frames a second."""
    shots = torch.cat([video(1), video(1, seed=1).expand(-1, 8, -1, -1, -1)], 1)
    full, half = run(network, shots, clock(9)), run(network, shots[:, ::2], clock(9)[:, ::2])
    torch.testing.assert_close(half, full[:, ::2], rtol=0, atol=2e-6)
    assert (full[:, 8] - full[:, 2]).abs().max() > 0.01


@pytest.mark.parametrize("steps", [1, 4])
def test_earlier_maps_fade_by_half_in_their_half_life(network: StreamingTSFPNet, steps: int) -> None:
    """However many frames that takes."""
    before, after = video(1, seed=1), video(1, seed=2)
    frames = torch.cat([before, after.expand(-1, steps, -1, -1, -1)], 1)
    seconds = torch.linspace(0, MAP_HALF_LIFE, steps + 1, dtype=torch.float64)[None]
    end = run(network, frames, seconds)[:, -1].exp()
    first, last = (photographs(network, shot)[:, 0].exp() for shot in (before, after))
    torch.testing.assert_close(end, (first + last) / 2, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("cuts", [(), (2,), (3,)])
def test_a_shot_that_begins_is_not_smoothed_with_the_one_before(
    network: StreamingTSFPNet, cuts: tuple[int, ...]
) -> None:
    frames, motion = video(5), moves(5)
    since = torch.tensor([[0.0, 0.04, 0.08, 0.0, 0.04]])
    maps = run(network, frames, clock(5), cuts, motion=motion, since=since)
    anew = run(network, frames[:, 3:], clock(5)[:, 3:], motion=motion[:, 3:], since=since[:, 3:])
    torch.testing.assert_close(maps[:, 3:], anew, rtol=0, atol=1e-5)
    smoothed = run(network, frames, clock(5), cuts, motion=motion, since=since + 0.01)
    assert (smoothed[:, 3] - maps[:, 3]).abs().max() > 0.01


def test_shots_of_a_batch_begin_each_for_itself(network: StreamingTSFPNet) -> None:
    frames, motion = video(3, batch=2), moves(3, batch=2)
    since = torch.tensor([[0.0, 0.04, 0.0], [0.0, 0.04, 0.08]])
    together = run(network, frames, clock(3, batch=2), motion=motion, since=since)
    for number in (0, 1):
        row = slice(number, number + 1)
        alone = run(network, frames[row], clock(3), motion=motion[row], since=since[row])
        torch.testing.assert_close(together[row], alone, rtol=0, atol=1e-5)


def test_the_state_does_not_grow(network: StreamingTSFPNet) -> None:
    sizes = set()
    for frames in (1, 5):
        with torch.inference_mode():
            _, state = network(video(frames), clock(frames), moves(frames), clock(frames).float())
        sizes.add((tuple(state.density.shape), tuple(state.seconds.shape), state.seconds.dtype))
    assert sizes == {((1, 1, *MAP), (1,), torch.float64)}


def test_a_frame_costs_the_same_in_every_video(network: StreamingTSFPNet) -> None:
    costs = []
    state: StreamState | None = None
    with torch.inference_mode():
        for frames in (1, 1, 4):
            with FlopCounterMode(display=False) as counter:
                _, state = network(video(frames), clock(frames), moves(frames), clock(frames).float(), state)
            costs.append(counter.get_total_flops() / frames)
    assert costs[0] == costs[1] == costs[2] > 0


def test_videos_of_a_batch_do_not_mix(network: StreamingTSFPNet) -> None:
    frames, motion = video(3, batch=2), moves(3, batch=2)
    seconds = torch.cat([clock(3), clock(3, start=9, rate=10)])
    together = run(network, frames, seconds, (1,), motion=motion)
    for number in (0, 1):
        row = slice(number, number + 1)
        alone = run(network, frames[row], seconds[row], (1,), motion=motion[row])
        torch.testing.assert_close(together[row], alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("seconds", [[5.0, 0.0, 0.1], [0.0, 0.0, 0.0], [0.0, 1e6, 1e6 + 0.1]])
def test_strange_clocks_do_no_harm(network: StreamingTSFPNet, seconds: list[float]) -> None:
    for motion in (None, moves(3)):
        maps = run(network, video(3), torch.tensor([seconds], dtype=torch.float64), (1,), motion=motion)
        assert maps.isfinite().all()
        torch.testing.assert_close(maps.exp().sum((2, 3)), torch.ones(1, 3), rtol=0, atol=1e-5)


def test_backward_times_count_as_no_time(network: StreamingTSFPNet) -> None:
    frames = video(2)
    back = run(network, frames, torch.tensor([[5.0, 1.0]], dtype=torch.float64))
    torch.testing.assert_close(back[:, 1], back[:, 0], rtol=0, atol=2e-6)


@pytest.mark.parametrize("value", [0.0, 1e-9, 30.0])
def test_extreme_motion_stays_finite(network: StreamingTSFPNet, value: float) -> None:
    motion = torch.full((1, 1, MOTION_CHANNELS, 8, 96), value)
    assert run(network, video(1), clock(1), motion=motion).isfinite().all()


@pytest.mark.parametrize("what", ["photographs", "videos"])
def test_it_computes_and_learns_under_bfloat16_autocast(what: str) -> None:
    """The heads to one channel must stay out of bfloat16, forward and backward."""
    torch.manual_seed(4)
    network = awake(StreamingTSFPNet()).train()
    given = () if what == "photographs" else (clock(2, batch=2), moves(2, batch=2), clock(2, batch=2).float())
    with torch.autocast("cpu", torch.bfloat16):
        maps, state = network(video(2, batch=2), *given)
    assert maps.dtype == torch.float32
    assert maps.isfinite().all()
    assert state is None or state.density.dtype == torch.float32
    maps[..., 3, 5].sum().backward()
    gradients = {name: parameter.grad for name, parameter in network.named_parameters()}
    without = {name.split(".")[0] for name, gradient in gradients.items() if gradient is None}
    assert without == ({"motion"} if what == "photographs" else set())
    assert all(gradient.isfinite().all() for gradient in gradients.values() if gradient is not None)


def test_the_head_is_computed_in_full_precision(network: StreamingTSFPNet) -> None:
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        mixed, logits = network.looked_at(video(1)[0])
    assert logits.dtype == coarsened(mixed).dtype == torch.float32
    assert len(logits.unique()) > 0.9 * logits.numel()  # bfloat16 has no such many values


def test_lateral_channels_are_a_parameter() -> None:
    narrow = StreamingTSFPNet(lateral_channels=8).eval()
    assert run(narrow, video(1), clock(1), motion=moves(1)).shape == (1, 1, *MAP)
    assert isinstance(narrow.motion, MotionBranch)


def test_the_motion_branch_is_small() -> None:
    network = StreamingTSFPNet()
    size = {name: sum(p.numel() for p in part.parameters()) for name, part in network.named_children()}
    assert size["motion"] < size["encoder"] / 20


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
