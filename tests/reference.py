"""Inputs of the reference vectors in ``tests/data``, which the authors' own programs were run on.

A seed and a name give everything: checkpoints for a list of names and shapes, frames, and sound. The numbers must not
change, or the stored results no longer belong to them; so every generator is drawn from in a fixed order.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray

DATA = Path(__file__).parent / "data"
TAU = 2 * np.pi


def keys(name: str) -> dict[str, dict[str, Any]]:
    """The names and shapes of a published checkpoint: ``tased``, ``soundnet`` or ``s3d_kinetics400``."""
    loaded: dict[str, dict[str, Any]] = json.loads((DATA / f"{name}_keys.json").read_text(encoding="utf-8"))
    return loaded


def _generator(seed: int, name: str) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64([seed, crc32(name.encode())]))


def _tensor(name: str, shape: tuple[int, ...], seed: int, transposed: bool) -> torch.Tensor:
    kind = name.split(".")[-1]
    if kind == "num_batches_tracked":
        return torch.tensor(0)
    generator = _generator(seed, name)
    values: Any
    if kind == "running_var":
        values = generator.uniform(0.5, 1.5, shape)
    else:
        normal = generator.standard_normal(shape)
        if kind == "running_mean":
            values = 0.1 * normal
        elif kind == "bias":
            values = 0.05 * normal
        elif len(shape) == 1:  # a batch normalisation's scale
            values = 1 + 0.1 * normal
        else:  # a kernel, scaled as He et al. propose
            inputs = math.prod(shape) / shape[1 if transposed else 0]
            values = math.sqrt(2 / inputs) * normal
    return torch.from_numpy(np.asarray(values, np.float32))


def state_dict(names: Mapping[str, Mapping[str, Any]], seed: int) -> dict[str, torch.Tensor]:
    """A checkpoint of these names and shapes, with statistics near (0, 1)."""
    return {
        name: _tensor(name, tuple(entry["shape"]), seed, entry.get("transposed", False))
        for name, entry in names.items()
    }


def frames(seed: int, count: int, *, height: int = 224, width: int = 384) -> NDArray[np.uint8]:
    """RGB (count, height, width, 3): drifting waves, four discs that wander about, and noise."""
    generator = _generator(seed, "frames")
    y, x = np.mgrid[:height, :width].astype(np.float64)
    frequency = generator.uniform(0.01, 0.12, (3, 4, 2)) * generator.choice([-1, 1], (3, 4, 2))
    phase = generator.uniform(0, TAU, (3, 4))
    drift = generator.uniform(-0.2, 0.2, (3, 4))
    start = generator.uniform(0.2, 0.8, (4, 2))
    velocity = generator.uniform(-0.006, 0.006, (4, 2))
    radius = generator.uniform(12, 40, 4)
    colour = generator.uniform(0, 255, (4, 3))

    clip = np.empty((count, height, width, 3), np.uint8)
    for t in range(count):
        image = np.empty((height, width, 3))
        for channel in range(3):
            waves = np.zeros((height, width))
            for wave in range(4):
                a, b = frequency[channel, wave]
                waves += np.sin(a * x + b * y + phase[channel, wave] + drift[channel, wave] * t)
            image[..., channel] = 128 + 28 * waves
        for disc in range(4):
            centre_x, centre_y = (start[disc] + velocity[disc] * t) % 1 * (width, height)
            image[(x - centre_x) ** 2 + (y - centre_y) ** 2 < radius[disc] ** 2] = colour[disc]
        image += generator.normal(0, 3, image.shape)
        clip[t] = np.rint(image).clip(0, 255)
    return clip


def waveform(seed: int, count: int, *, rate: int = 22_050) -> NDArray[np.float32]:
    """Mono samples in -1..1: four tones and noise."""
    generator = _generator(seed, "waveform")
    seconds = np.arange(count) / rate
    loudness, frequency = generator.uniform(0.05, 0.2, 4), generator.uniform(80, 4000, 4)
    tones = np.zeros(count)
    for amplitude, hertz in zip(loudness, frequency, strict=True):
        tones += amplitude * np.sin(TAU * hertz * seconds)
    return (tones + 0.02 * generator.standard_normal(count)).astype(np.float32)
