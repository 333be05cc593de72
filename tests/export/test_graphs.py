"""What is exported computes what the networks compute."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from saliency_cli.benchmark.random_weights import random_model
from saliency_cli.export.graphs import Graph, SpelledUnpooling
from saliency_cli.models.registry import load_model
from saliency_cli.models.tased import Unpooling


@settings(max_examples=60, deadline=None)
@given(
    kernel=st.sampled_from([2, 3]),
    height=st.integers(1, 5),
    width=st.integers(1, 5),
    times=st.integers(1, 2),
    levels=st.integers(1, 4),
    seed=st.integers(0, 10_000),
)
def test_max_unpooling_is_spelled_exactly(
    kernel: int, height: int, width: int, times: int, levels: int, seed: int
) -> None:
    """With few different values, so that many windows have equal maxima, and many share them."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # of windows with the same maximum the last in raster order wins
    try:
        generator = torch.Generator().manual_seed(seed)
        original = Unpooling(times, kernel)
        level = torch.randint(0, levels, (2, 3, 2 * times, 2 * height, 2 * width), generator=generator).float()
        x = torch.randn((2, 3, 2, height, width), generator=generator)
        torch.testing.assert_close(SpelledUnpooling(original)(x, level), original(x, level), rtol=0, atol=0)
    finally:
        torch.set_num_threads(threads)


def test_tased_spelled_out_is_tased() -> None:
    model = random_model("tased", 0, input_size=(64, 64), clip_length=4)
    graph = Graph(model)
    clip = graph.example(2)
    assert clip.shape == (2, 3, 4, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(graph.module(clip), model.module(clip), rtol=0, atol=1e-6)
    assert isinstance(model.module.get_submodule("upsample2"), Unpooling)  # the model stays as it was


def test_the_embedded_graph_is_the_network_of_photographs() -> None:
    model = load_model("tsfp")
    graph = Graph(model)
    frames = graph.example(2)
    with torch.inference_mode():
        found, (wanted, _) = graph.module(frames), model.module(frames[:, None])
    torch.testing.assert_close(found, wanted[:, 0], rtol=0, atol=1e-6)
    torch.testing.assert_close(found.exp().sum((1, 2)), torch.ones(2))
    assert "float32 (batch, 3, 256, 416)" in graph.takes or "float32 (batch, 3, 224, 352)" in graph.takes


@pytest.mark.parametrize("seed", [0, 1])
def test_examples_are_normalised_and_repeat(seed: int) -> None:
    graph = Graph(random_model("tased", 0, input_size=(32, 64), clip_length=4))
    example = graph.example(1, seed)
    assert -1 <= float(example.min()) < -0.2 < 0.2 < float(example.max()) <= 1
    torch.testing.assert_close(example, graph.example(1, seed))
