"""TSFP-Net in the engine against TSFP-Net as it is written, in all its variants, seeing and hearing."""

from __future__ import annotations

from typing import cast, get_args

import numpy as np
import pytest
import torch
from stand_ins import CPU, check_maps, correlation, listening, noisy_video, plain, prepared, stand_in

from saliency_cli.inference.device import Precision
from saliency_cli.inference.engine import WindowEngine
from saliency_cli.inference.s3d import S3DStream
from saliency_cli.inference.tsfp import TSFPTop, TSFPWindow
from saliency_cli.models.config import Decoding, ModelConfig
from saliency_cli.models.registry import LoadedModel
from saliency_cli.models.tsfp import TSFPNet

SIZE = (32, 64)


def engine_of(model: LoadedModel, precision: Precision = "fp32") -> WindowEngine:
    return WindowEngine(cast(TSFPNet, model.module), model.config, device=CPU, precision=precision)


@pytest.mark.parametrize("audio", [False, True])
@pytest.mark.parametrize("decoding", get_args(Decoding))
def test_maps_of_every_variant_are_the_networks(decoding: Decoding, audio: bool) -> None:
    """Nothing is unpooled here: all maps come as near as features do."""
    config = ModelConfig(architecture="tsfp", clip_length=16, input_size=SIZE, decoding=decoding, audio=audio)
    model, frames = stand_in(config), noisy_video(18 if decoding == "pyramid+hierarchical" and not audio else 2, SIZE)
    listen = listening if audio else None
    found = list(engine_of(model).maps(prepared(frames, config), listen))
    check_maps(found, plain(model, frames, listen=listen), mean=1e-5, cc=0.999999)
    if audio:  # heard, not only computed
        deaf = list(engine_of(model).maps(prepared(frames, config)))
        check_maps(deaf, plain(model, frames), mean=1e-5, cc=0.999999)
        assert all((one.saliency != other.saliency).mean() > 0.5 for one, other in zip(found, deaf, strict=True))


@pytest.mark.parametrize("length", [32, 48])
def test_maps_of_every_clip_length_are_the_networks(length: int) -> None:
    config = ModelConfig(architecture="tsfp", clip_length=length, input_size=SIZE)
    model, frames = stand_in(config), noisy_video(3, SIZE)
    check_maps(list(engine_of(model).maps(prepared(frames, config))), plain(model, frames), mean=1e-5, cc=0.999999)


def test_a_lower_precision_stays_close() -> None:
    config = ModelConfig(architecture="tsfp", clip_length=16, input_size=SIZE)
    model, frames = stand_in(config), noisy_video(3, SIZE)
    found = list(engine_of(model, "bf16").maps(prepared(frames, config)))
    for one, other in zip(found, plain(model, frames), strict=True):
        assert one.saliency.dtype == np.float32
        assert np.abs(one.saliency - other.saliency).mean() <= 0.02
        assert correlation(one.saliency, other.saliency) >= 0.99


@torch.inference_mode()
def test_levels_are_the_networks_through_the_last_layer() -> None:
    """What is taken of a window that shares with two before it: level 2's lateral, and what level 1 adds."""
    config = ModelConfig(architecture="tsfp", clip_length=32, input_size=SIZE)
    model = stand_in(config)
    network, engine = cast(TSFPNet, model.module), engine_of(model)
    frames = prepared(noisy_video(32 + 5, SIZE), config)
    stream = S3DStream(engine.layers)
    steps = [step for frame in frames if (step := stream.push(frame.pixels.permute(1, 2, 0))) is not None]
    windows = [cast(TSFPWindow, step.half.run(step, engine.top.take)) for step in steps]
    for number in (0, 4, 5):
        clip = torch.stack([frame.pixels for frame in frames[number : number + 32]], 1)[None]
        level1, level2, _, _ = network.encoder(clip)
        window = windows[number]
        assert window.lateral2 is not None
        assert window.finest is not None
        expected = network.laterals["level2"](level2)[0].movedim(0, -1)
        torch.testing.assert_close(window.lateral2, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))
        finest = (network.head(network.laterals["level1"](level1)) - network.head.bias)[0, 0, 0]
        torch.testing.assert_close(window.finest, finest, rtol=0, atol=1e-4 * float(finest.abs().max()))
        pooled = network.encoder.maxp3(level2)[0].movedim(0, -1)
        torch.testing.assert_close(window.pooled, pooled, rtol=0, atol=1e-4 * float(pooled.max()))


@torch.inference_mode()
def test_each_of_several_windows_hears_its_own_sound() -> None:
    config = ModelConfig(architecture="tsfp", clip_length=16, input_size=SIZE, audio=True)
    model = stand_in(config)
    engine = engine_of(model)
    top = cast(TSFPTop, engine.top)
    stream = S3DStream(engine.layers)
    steps = [stream.push(frame.pixels.permute(1, 2, 0)) for frame in prepared(noisy_video(17, SIZE), config)]
    windows = [step.half.run(step, top.take) for step in steps if step is not None]
    sound = torch.from_numpy(np.stack([listening([1.0], False), 3 * listening([2.0], False)]))
    together = top.maps(windows, sound)
    for number, window in enumerate(windows):
        alone = top.maps([window], sound[number : number + 1])[0]
        torch.testing.assert_close(together[number], alone, rtol=0, atol=1e-6)
    swapped = top.maps(windows, sound.flip(0))
    assert correlation(swapped[0].numpy(), together[0].numpy()) > 0.5
    assert float((swapped - together).abs().max()) > 1e-4
