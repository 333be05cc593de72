"""TASED-Net: agreement with the authors' program, and every variant of the paper."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import product
from typing import get_args

import cv2
import numpy as np
import pytest
import reference
import torch
from numpy.typing import NDArray

from saliency_cli.errors import UsageError
from saliency_cli.models.config import CLIP_LENGTHS, Aggregation, Upsampling
from saliency_cli.models.tased import TASEDConfig, TASEDNet, Unpooling

T = 32
STORED = [0, 1, 30, 31, 32, 63]  # frames whose maps are in tased_seed1.npz


@cache
def released() -> TASEDNet:
    network = TASEDNet()
    network.load_state_dict(reference.state_dict(reference.keys("tased"), seed=1))
    return network.eval()


@cache
def clip() -> NDArray[np.float32]:
    """(64, 224, 384, 3), as the authors' script prepares it."""
    frames = [cv2.resize(frame, (384, 224)) for frame in reference.frames(1, 64)]
    return (2 * np.stack(frames).astype(np.float32) - 255) / 255


def window(t: int) -> torch.Tensor:
    """(1, 3, 32, 224, 384): the frames up to t, or, near the start, those from t on, reversed."""
    frames = clip()[t - T + 1 : t + 1] if t >= T - 1 else clip()[t : t + T][::-1]
    return torch.from_numpy(frames.transpose(3, 0, 1, 2)[None].copy())


def test_names_and_shapes_are_those_of_the_published_checkpoint() -> None:
    ours = {name: list(tensor.shape) for name, tensor in TASEDNet().state_dict().items()}
    assert ours == {name: entry["shape"] for name, entry in reference.keys("tased").items()}


def test_number_of_parameters() -> None:
    assert sum(parameter.numel() for parameter in TASEDNet().parameters()) == 21_260_693


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As ``--exact`` computes: how many threads share a convolution decides the order in which it sums."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("t", [0, 32, *(pytest.param(t, marks=pytest.mark.slow) for t in STORED if t not in (0, 32))])
def test_maps_are_those_of_the_authors_program(t: int) -> None:
    """The mean difference, and how many pixels differ visibly; not the greatest difference.

    Max-unpooling puts a value where the encoder had its maximum. Where two neighbours are equal but for rounding,
    another order of summation (other threads, another processor) moves the value by a pixel and changes the map by as
    much as the value is worth, in a small area. So a single pixel may be far off in a correct result. Seen: mean up to
    1e-5, greatest difference 6e-3.
    """
    with np.load(reference.DATA / "tased_seed1.npz") as stored:
        expected = stored["probability"][STORED.index(t)]
        assert stored["frame"].tolist() == STORED
    with torch.inference_mode():
        result = released()(window(t))[0].numpy()
    difference = np.abs(result - expected)
    assert result.shape == (224, 384)
    assert difference.mean() < 1e-4
    assert (difference > 1e-2).mean() < 0.005


def test_the_order_of_frames_matters() -> None:
    """Otherwise the comparison above could not tell a reversed window from a straight one."""
    straight = window(0).flip(2)
    with torch.inference_mode():
        result = released()(straight)[0].numpy()
    with np.load(reference.DATA / "tased_seed1.npz") as stored:
        expected = stored["probability"][0]
    assert np.abs(result - expected).mean() > 1e-3


@pytest.mark.parametrize(("aggregation", "upsampling"), list(product(get_args(Aggregation), get_args(Upsampling))))
def test_variants_give_a_map(aggregation: Aggregation, upsampling: Upsampling) -> None:
    network = TASEDNet(TASEDConfig(clip_length=16, aggregation=aggregation, upsampling=upsampling)).eval()
    with torch.inference_mode():
        result = network(torch.randn(2, 3, 16, 32, 64))
    assert result.shape == (2, 32, 64)
    assert ((result > 0) & (result < 1)).all()


@pytest.mark.parametrize("length", CLIP_LENGTHS["tased"])
@pytest.mark.parametrize("aggregation", get_args(Aggregation))
def test_clip_lengths_give_a_map(length: int, aggregation: Aggregation) -> None:
    network = TASEDNet(TASEDConfig(clip_length=length, aggregation=aggregation)).eval()
    with torch.inference_mode():
        assert network(torch.randn(1, 3, length, 32, 32)).shape == (1, 32, 32)


def test_from_16_frames_on_the_kernels_in_time_are_2_and_a_sixteenth() -> None:
    for length in (16, 32, 48, 64):  # section 3.2: p = 2, q = T/16
        block = TASEDNet(TASEDConfig(clip_length=length)).convtsp4
        assert [block[3].kernel_size, block[9].kernel_size] == [(2, 1, 1), (length // 16, 1, 1)]


def test_unpooling_puts_values_where_the_maximum_over_time_was() -> None:
    level = torch.zeros(1, 1, 2, 4, 4)
    level[0, 0, 0, 1, 0] = 5  # beats …
    level[0, 0, 1, 0, 1] = 3  # … this one, of the other frame
    level[0, 0, 1, 3, 2] = 1
    result = Unpooling(frames=2, kernel=2)(torch.tensor([[[[[10.0, 20], [30, 40]]]]]), level)
    expected = torch.tensor([[0.0, 0, 20, 0], [10, 0, 0, 0], [30, 0, 0, 0], [0, 0, 40, 0]])
    assert torch.equal(result[0, 0, 0], expected)


@pytest.mark.parametrize("shape", [(1, 3, 31, 32, 32), (1, 3, 32, 30, 32), (1, 1, 32, 32, 32), (3, 32, 32, 32)])
def test_clips_that_do_not_fit_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="it takes"):
        TASEDNet()(torch.zeros(shape))


def test_variants_that_do_not_exist_are_refused() -> None:
    with pytest.raises(UsageError, match="no clip length 24"):
        TASEDConfig(clip_length=24)
    with pytest.raises(UsageError, match="'nearest' is no upsampling"):
        TASEDConfig(upsampling="nearest")  # type: ignore[arg-type]


def test_it_learns_under_bfloat16_autocast() -> None:
    """The one-channel convolution must stay out of bfloat16, forward and backward."""
    network = TASEDNet(TASEDConfig(clip_length=8))
    with torch.autocast("cpu", torch.bfloat16):
        result = network(torch.randn(2, 3, 8, 32, 32))
    assert result.dtype == torch.float32
    result.sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
