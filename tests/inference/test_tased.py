"""TASED-Net in the engine against TASED-Net as it is written, and as its authors' program computes."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import cast, get_args

import numpy as np
import pytest
import reference
import torch
from numpy.typing import NDArray
from stand_ins import CPU, check_close, check_maps, correlation, noisy_video, plain, prepared, stand_in
from torch import Tensor

from saliency_cli.inference.engine import WindowEngine
from saliency_cli.inference.preparing import Prepared
from saliency_cli.inference.s3d import InceptionBlock, S3DStream
from saliency_cli.inference.tased import TASEDTop, TASEDWindow
from saliency_cli.models.config import Aggregation, ModelConfig, Upsampling
from saliency_cli.models.registry import LoadedModel, build
from saliency_cli.models.tased import TASEDNet, Unpooling
from saliency_cli.types import Frame

SIZE = (32, 64)


def engine_of(model: LoadedModel) -> WindowEngine:
    return WindowEngine(cast(TASEDNet, model.module), model.config, device=CPU, precision="fp32")


def windows_of(engine: WindowEngine, frames: Sequence[Prepared]) -> list[TASEDWindow]:
    """What is taken of the windows of a stream, one after the other."""
    stream = S3DStream(engine.layers)
    with torch.inference_mode():
        return [
            cast(TASEDWindow, step.half.run(step, engine.top.take))
            for frame in frames
            if (step := stream.push(frame.pixels.permute(1, 2, 0))) is not None
        ]


@pytest.mark.parametrize("length", [4, 16, 32])
@torch.inference_mode()
def test_features_and_switches_are_the_networks(length: int) -> None:
    """Up to the unpooling: beyond, rounding decides which of two places with nearly the same value gets one."""
    model = stand_in(ModelConfig(architecture="tased", clip_length=length, input_size=SIZE))
    network, engine = cast(TASEDNet, model.module), engine_of(model)
    top = cast(TASEDTop, engine.top)
    frames = prepared(noisy_video(length + 4, SIZE), model.config)
    window = windows_of(engine, frames)[-1]
    clip = torch.stack([frame.pixels for frame in frames[4:]], 1)[None]  # (1, 3, T, H, W)
    level1 = network.base1(clip)
    level2 = network.base2(network.maxp2(level1))
    pooled = network.maxp3(level2)
    level3 = network.base3(pooled)
    level4 = network.base4(network.maxp4(network.maxt4(level3)))

    def run(blocks: Sequence[InceptionBlock], x: Tensor) -> Tensor:
        for block in blocks:
            x = block.whole(x)
        return x

    check_close(window.pooled, pooled[0].movedim(0, -1))
    found = run(top._base3, window.pooled[None])
    check_close(found, level3.movedim(1, -1))
    found = run(top._base4, network.maxp4(network.maxt4(found.movedim(-1, 1))).movedim(1, -1))
    check_close(found, level4.movedim(1, -1))
    upsampling = (network.upsample2, network.upsample3)
    for mine, upsample, level in zip(window.switches, upsampling, (level2, level1), strict=True):
        theirs = cast(Unpooling, upsample).switches(level)[0][0].movedim(0, -1)  # (D, h, w, C)
        assert mine.shape == theirs.shape
        theirs = theirs % (level.shape[3] * level.shape[4])  # they count through all times
        assert float((mine != theirs).float().mean()) < 1e-3


@pytest.mark.parametrize(("aggregation", "upsampling"), list(product(get_args(Aggregation), get_args(Upsampling))))
def test_maps_of_every_variant_are_the_networks(aggregation: Aggregation, upsampling: Upsampling) -> None:
    config = ModelConfig(
        architecture="tased", clip_length=16, input_size=SIZE, aggregation=aggregation, upsampling=upsampling
    )
    model, frames = (
        stand_in(config),
        noisy_video(18 if (aggregation, upsampling) == ("late-two-step", "unpool") else 6, SIZE),
    )
    check_maps(list(engine_of(model).maps(prepared(frames, config))), plain(model, frames))


@pytest.mark.parametrize("length", [4, 8, 32, 48])
def test_maps_of_every_clip_length_are_the_networks(length: int) -> None:
    """A few frames, looped: the windows of the first and the last."""
    config = ModelConfig(architecture="tased", clip_length=length, input_size=SIZE)
    model, frames = stand_in(config), noisy_video(5, SIZE)
    check_maps(list(engine_of(model).maps(prepared(frames, config))), plain(model, frames))


def test_two_windows_together_are_two_windows() -> None:
    model = stand_in(ModelConfig(architecture="tased", clip_length=8, input_size=SIZE))
    engine = engine_of(model)
    windows = windows_of(engine, prepared(noisy_video(10, SIZE), model.config))
    with torch.inference_mode():
        together = engine.top.maps(windows)
        assert together.shape == (3, *SIZE)
        for found, window in zip(together, windows, strict=True):
            torch.testing.assert_close(found, engine.top.maps([window])[0], rtol=0, atol=1e-6)


@pytest.mark.slow
def test_maps_are_those_of_the_authors_program() -> None:
    """At full size; a straight window, one that shares with two before it, and three reversed ones."""
    network = build(ModelConfig.tased()).eval()
    network.load_state_dict(reference.state_dict(reference.keys("tased"), seed=1))
    model = LoadedModel(network, ModelConfig.tased(), Path("reference.pt"), "", {})
    engine = engine_of(model)
    video = [Frame(n, pixels, n, Fraction(1, 25)) for n, pixels in enumerate(reference.frames(1, 64))]
    with np.load(reference.DATA / "tased_seed1.npz") as stored:
        expected = dict(zip(stored["frame"].tolist(), stored["probability"], strict=True))
    streams = {(31, 32, 33): video[:34], (30,): video[61:29:-1], (2, 1, 0): video[33::-1]}
    compared = 0
    for indices, frames in streams.items():
        windows = windows_of(engine, prepared(frames, model.config))
        for index, window in zip(indices, windows, strict=True):
            if index not in expected:
                continue
            with torch.inference_mode():
                found: NDArray[np.float32] = engine.top.maps([window])[0].numpy()
            assert np.abs(found - expected[index]).mean() <= 1e-3
            assert correlation(found, expected[index]) >= 0.999
            compared += 1
    assert compared == 5
