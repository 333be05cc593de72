"""Networks with a window and stand-in weights, in every variant, small enough for many maps, and frames for them.

What a network makes of noise is scaled to logits near 0 with a deviation near 1, as maps of saturated sigmoids would
agree whatever happened before.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from saliency_cli.inference.hearing import Listen
from saliency_cli.inference.preparing import Prepared
from saliency_cli.inference.windowed import plain_maps, prepared_frames
from saliency_cli.models.config import ModelConfig
from saliency_cli.models.registry import LoadedModel, build
from saliency_cli.models.soundnet import SAMPLES
from saliency_cli.types import Frame, SaliencyFrame

__all__ = [
    "CPU",
    "check_close",
    "check_maps",
    "correlation",
    "listening",
    "noise",
    "noisy_video",
    "plain",
    "prepared",
    "stand_in",
]

CPU = torch.device("cpu")


@cache
def stand_in(config: ModelConfig, seed: int = 1) -> LoadedModel:
    """A network whose maps have contrast that depends on what is seen. Shared: leave it as it is."""
    with torch.device("meta"):  # without torch's own first values
        module = build(config).to_empty(device=CPU).eval()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module.apply(_fill)
    spread: list[Any] = [
        [each for each in module.modules() if isinstance(each, nn.Conv3d) and each.out_channels == 1][-1]
    ]
    sound: list[Tensor] = []
    if config.audio:  # where in the picture the sound comes from is a sigmoid, too
        spread.insert(0, module.attention.bilinear)
        sound = [torch.from_numpy(listening([1.0], False))[None]]
    clip = torch.from_numpy(noise(config.clip_length, config.input_size)).permute(3, 0, 1, 2)[None] / 127.5 - 1
    for part in spread:
        with torch.no_grad():
            logits = _outputs(part, module, clip, *sound)
            scale = 1 / float(logits.std())
            part.weight *= scale
            part.bias.copy_((part.bias - float(logits.mean())) * scale)
    return LoadedModel(module, config, Path("stand-in.safetensors"), "", {})


def _fill(part: nn.Module) -> None:
    """Values that keep activations alive (He et al., 2015), and normalisations in which nothing is 0 or 1."""
    for name, value in [*part.named_parameters(recurse=False), *part.named_buffers(recurse=False)]:
        match name:
            case "weight" if value.ndim > 1:  # a transposed convolution's has the inputs in front
                turned = isinstance(part, nn.ConvTranspose3d)
                nn.init.kaiming_normal_(value, mode="fan_out" if turned else "fan_in")
            case "weight":
                nn.init.normal_(value, 1, 0.1)
            case "bias":
                nn.init.normal_(value, 0, 0.05)
            case "running_mean":
                nn.init.normal_(value, 0, 0.1)
            case "running_var":
                nn.init.uniform_(value, 0.5, 1.5)
            case _:
                value.zero_()


def _outputs(part: nn.Module, module: nn.Module, *inputs: Tensor) -> Tensor:
    """What a part of a network gives."""
    found: list[Tensor] = []
    hook = part.register_forward_hook(lambda part, inputs, output: found.append(output))
    module(*inputs)
    hook.remove()
    return found[0]


def noise(count: int, size: tuple[int, int], seed: int = 0) -> NDArray[np.uint8]:
    """RGB (count, height, width, 3): blocks of 8x8 places with noise upon them, every frame another.

    The first frames do not depend on how many follow.
    """
    height, width = size
    frames = []
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        blocks = rng.integers(0, 200, (height // 8, width // 8, 3)).repeat(8, axis=0).repeat(8, axis=1)
        frames.append(blocks + rng.integers(0, 56, (height, width, 3)))
    return np.array(frames, np.uint8).reshape(count, height, width, 3)


def noisy_video(count: int, size: tuple[int, int], *, seed: int = 0, start: int = 7) -> list[Frame]:
    """Frames of noise of just the network's size, whose clock begins late and is not steady."""
    pts = start + np.cumsum(np.random.default_rng(seed).integers(1, 4, count))
    return [
        Frame(index, pixels, int(time), Fraction(1, 25))
        for index, (pixels, time) in enumerate(zip(noise(count, size, seed), pts, strict=True))
    ]


def correlation(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """CC of two maps."""
    return float(np.corrcoef(one.ravel().astype(np.float64), other.ravel().astype(np.float64))[0, 1])


def check_close(found: Tensor, expected: Tensor, bound: float = 1e-4) -> None:
    """To ``bound`` of the greatest value."""
    assert found.shape == expected.shape
    scale = float(expected.abs().max())
    assert scale > 0.1
    assert float((found.float() - expected).abs().max()) <= bound * scale


def check_maps(
    found: Sequence[SaliencyFrame], expected: Sequence[SaliencyFrame], *, mean: float = 3e-3, cc: float = 0.998
) -> None:
    """Maps of the same frames: most as near as rounding lets them be, and bounds for all together.

    Where two neighbours are equal but for rounding, max-unpooling may put a value to the other: in one of ten maps of
    this size, seen with differences of 1e-4 to 7e-3 on average. The bounds are for those; there is none for one pixel.
    """
    assert [(each.index, each.seconds) for each in found] == [(each.index, each.seconds) for each in expected]
    pairs = [(one.saliency, other.saliency) for one, other in zip(found, expected, strict=True)]
    assert min(other.std() for _, other in pairs) > 0.03
    differences = [float(np.abs(one - other).mean()) for one, other in pairs]
    assert np.median(differences) <= min(mean, 1e-5)
    assert np.mean(differences) <= mean
    assert np.mean([correlation(one, other) for one, other in pairs]) >= cc


def prepared(frames: Iterable[Frame], config: ModelConfig) -> list[Prepared]:
    """Frames as the engine takes them."""
    return list(prepared_frames(frames, config))


def listening(seconds: Sequence[float], reverse: bool) -> NDArray[np.float32]:
    """The sound of a window: noise that depends on its times, and on whether it is reversed."""
    rng = np.random.default_rng([*(round(1000 * second) for second in seconds), reverse])
    return rng.normal(0, 100, SAMPLES).astype(np.float32)


def plain(model: LoadedModel, frames: Iterable[Frame], *, listen: Listen | None = None) -> list[SaliencyFrame]:
    """The maps of the plain sliding window."""
    return list(plain_maps(model.module, model.config, frames, device=CPU, listen=listen))
