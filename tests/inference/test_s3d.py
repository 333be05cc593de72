"""S3D on a stream: the features of every window against those of the network's own layers."""

from __future__ import annotations

from typing import cast

import pytest
import torch
from stand_ins import check_close, noisy_video, prepared, stand_in
from torch import Tensor

from saliency_cli.inference.s3d import InceptionBlock, S3DLayers, S3DStream, Separable, Window
from saliency_cli.models.config import ModelConfig
from saliency_cli.models.s3d import Inception, SeparableConv3d
from saliency_cli.models.tased import TASEDNet

SIZE = (32, 64)


def network_of(length: int) -> TASEDNet:
    return cast(TASEDNet, stand_in(ModelConfig(architecture="tased", clip_length=length, input_size=SIZE)).module)


def frames_of(length: int, count: int) -> list[Tensor]:
    """(H, W, 3)"""
    config = ModelConfig(architecture="tased", clip_length=length, input_size=SIZE)
    return [frame.pixels.permute(1, 2, 0) for frame in prepared(noisy_video(count, SIZE), config)]


def levels(window: Window) -> tuple[Tensor, Tensor]:
    """Copies of levels 1 and 2, (T/2, h, w, C)."""
    count = window.inner1.count
    return window.level1[0, count].clone(), window.level2[0, count].clone()


@pytest.mark.parametrize("length", [4, 8, 16, 32, 48])
@torch.inference_mode()
def test_levels_of_every_window_are_the_networks(length: int) -> None:
    """Among them windows that share everything they can, of both halves."""
    network, frames = network_of(length), frames_of(length, length + 7)
    stream = S3DStream(S3DLayers(network.base1, network.base2, length=length, dtype=torch.float32))
    steps = [stream.push(frame) for frame in frames]
    assert [step is None for step in steps] == [True] * (length - 1) + [False] * 8
    for number, step in enumerate(steps[length - 1 :]):
        assert step is not None
        found = step.half.run(step, levels)
        if length > 16 and number in (1, 2, 4):
            continue
        clip = torch.stack(frames[number : number + length])[None].movedim(-1, 1)  # (1, 3, T, H, W)
        level1 = network.base1(clip)
        level2 = network.base2(network.maxp2(level1))
        check_close(found[0], level1[0].movedim(0, -1))
        check_close(found[1], level2[0].movedim(0, -1))


@torch.inference_mode()
def test_a_stream_that_forgets_is_as_new() -> None:
    network, frames = network_of(16), frames_of(16, 29)
    layers = S3DLayers(network.base1, network.base2, length=16, dtype=torch.float32)

    def windows(stream: S3DStream, some: list[Tensor]) -> list[tuple[Tensor, Tensor]]:
        return [step.half.run(step, levels) for step in map(stream.push, some) if step is not None]

    used = S3DStream(layers)
    windows(used, frames[:23])
    used.forget()
    for mine, theirs in zip(windows(used, frames[9:]), windows(S3DStream(layers), frames[9:]), strict=True):
        assert torch.equal(mine[0], theirs[0])
        assert torch.equal(mine[1], theirs[1])


@torch.inference_mode()
def test_a_half_that_has_failed_gives_no_wrong_window() -> None:
    network, frames = network_of(4), frames_of(4, 8)
    stream = S3DStream(S3DLayers(network.base1, network.base2, length=4, dtype=torch.float32))
    steps = [step for step in map(stream.push, frames) if step is not None]

    def fail(window: Window) -> None:
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        steps[0].half.run(steps[0], fail)
    with pytest.raises(RuntimeError, match="an earlier window of the stream has failed"):
        steps[2].half.run(steps[2], levels)
    steps[1].half.run(steps[1], levels)  # the other half has not
    steps[1].half.abandon()
    with pytest.raises(RuntimeError, match="an earlier window of the stream has failed"):
        steps[3].half.run(steps[3], levels)


@pytest.mark.parametrize("shape", [(1, 4, 3, 5), (3, 8, 2, 3), (2, 1, 1, 1), (1, 2, 1, 2)])
@torch.inference_mode()
def test_whole_windows(shape: tuple[int, ...]) -> None:
    """(B, t, h, w): an Inception block, and a separable convolution with and without stride."""
    block = cast(Inception, network_of(16).base2[0])
    x = torch.randn(*shape, 192, generator=torch.Generator().manual_seed(1)).relu_()
    found = InceptionBlock(block, dtype=torch.float32, whole=True).whole(x)
    check_close(found, block(x.movedim(-1, 1)).movedim(1, -1))
    stem = cast(SeparableConv3d, network_of(16).base1[0])
    for layer, channels in ((stem, 3), (cast(SeparableConv3d, block.branch1[1]), 96)):
        x = torch.randn(*shape, channels, generator=torch.Generator().manual_seed(2))
        separable = Separable(layer, dtype=torch.float32, whole=True)
        found = separable.whole(separable.spatial(x.flatten(0, 1)).unflatten(0, shape[:2]))
        check_close(found, layer(x.movedim(-1, 1)).movedim(1, -1))
