"""Networks with stand-in weights: as fast as trained ones, and there on every machine."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from saliency_cli.errors import UsageError
from saliency_cli.models.config import Architecture, ModelConfig
from saliency_cli.models.registry import LoadedModel, build

__all__ = ["random_model", "random_state"]


def random_model(
    name: Architecture, seed: int, *, input_size: tuple[int, int] = (224, 384), clip_length: int = 32
) -> LoadedModel:
    """TASED-Net, or TSFP-Net on S3D, with stand-in weights.

    Their maps mean nothing, but they take as long as a trained network's, and they have contrast that depends on what
    is seen, so that two ways of computing them can be compared: see :func:`random_state`.

    Args:
        name: ``"tased"`` or ``"tsfp"``.
        seed: 0 or more; the same weights on every machine.
        input_size: (height, width), multiples of 32.
        clip_length: frames of a window.

    Raises:
        UsageError: no such network, size, length or seed.
    """
    if seed < 0:
        raise UsageError(f"--random-weights {seed}: the seed must be 0 or more.")
    config = replace(ModelConfig(architecture=name), input_size=input_size, clip_length=clip_length)
    module = build(config)
    module.load_state_dict(random_state(module, seed))
    _spread_logits(module.eval(), clip_length)
    return LoadedModel(module, config, Path(f"random-weights-{seed}"), "", {})


def random_state(module: nn.Module, seed: int) -> dict[str, Tensor]:
    """Values for all parameters and buffers of a network: each depends on the seed and its name alone.

    Kernels are normal, with the deviation sqrt(2 / inputs) that keeps activations alive through many layers (He et
    al., 2015, section 2.2); batch normalisations have statistics and scales near (0, 1).
    """
    turned = {
        f"{name}.weight"
        for name, part in module.named_modules()
        if isinstance(part, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d)
    }
    return {
        name: value if name.endswith("num_batches_tracked") else _values(name, value, seed, transposed=name in turned)
        for name, value in module.state_dict().items()
    }


def _spread_logits(module: nn.Module, clip_length: int) -> None:
    """Give the logits of noise a mean near 0 and a deviation near 1, by the last convolution: sigmoids saturate.

    In steps of powers of two and eighths, so that rounding, which differs between machines, makes no other network.
    """
    head = [part for part in module.modules() if isinstance(part, nn.Conv3d) and part.out_channels == 1][-1]
    assert head.bias is not None
    noise = np.random.default_rng(1).standard_normal((1, 3, clip_length, 64, 64)).astype(np.float32)
    logits = list[Tensor]()
    hook = head.register_forward_hook(lambda part, inputs, output: logits.append(output))
    with torch.inference_mode():
        module(torch.from_numpy(noise))
    hook.remove()
    scale = 2.0 ** round(-math.log2(float(logits[0].std())))
    with torch.no_grad():
        head.weight *= scale
        head.bias *= scale
        head.bias -= round(8 * scale * float(logits[0].mean())) / 8


def _values(name: str, like: Tensor, seed: int, *, transposed: bool) -> Tensor:
    generator = np.random.Generator(np.random.PCG64([seed, crc32(name.encode())]))
    shape = tuple(like.shape)
    values: NDArray[np.float64]
    match name.rpartition(".")[2]:
        case "running_var":
            values = generator.uniform(0.5, 1.5, shape)
        case "running_mean":
            values = 0.1 * generator.standard_normal(shape)
        case "bias":
            values = 0.05 * generator.standard_normal(shape)
        case _ if len(shape) == 1:
            values = 1 + 0.1 * generator.standard_normal(shape)
        case _:
            inputs = math.prod(shape) // shape[1 if transposed else 0]  # that one output is a sum of
            values = math.sqrt(2 / inputs) * generator.standard_normal(shape)
    return torch.from_numpy(values.astype(np.float32))
