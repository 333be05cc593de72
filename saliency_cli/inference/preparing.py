"""What every way of predicting shares: frames as the networks take them, and computing in a chosen precision."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from saliency_cli.errors import DeviceError
from saliency_cli.inference.device import DTYPES, Precision
from saliency_cli.models.config import ModelConfig
from saliency_cli.types import Frame

__all__ = ["Prepared", "computing", "is_memory_error", "memory_errors", "prepare"]


class Prepared(NamedTuple):
    """A frame as the network takes it."""

    number: int
    seconds: float
    pixels: Tensor  # (3, H, W)


def prepare(frame: Frame, config: ModelConfig, size: tuple[int, int], interpolation: int) -> Prepared:
    """Resized to (height, width) and normalised.

    TASED-Net's (2x − 255) / 255 is (x − 127.5) / 127.5 to the last bit.
    """
    height, width = size
    small = cv2.resize(frame.pixels, (width, height), interpolation=interpolation)
    mean, std = np.float32(255 * config.mean), np.float32(255 * config.std)
    pixels = torch.from_numpy((small.astype(np.float32) - mean) / std).permute(2, 0, 1)  # (3, H, W)
    return Prepared(frame.index, frame.seconds, pixels)


@contextmanager
def computing(device: torch.device, precision: Precision) -> Iterator[None]:
    """Inference in a precision, by autocast; a full memory is a ``DeviceError``."""
    # Some devices warn of autocast to fp32 even where it is switched off: then no dtype is named.
    lower = DTYPES[precision] if precision != "fp32" else None
    with (
        torch.inference_mode(),
        torch.autocast(device.type, dtype=lower, enabled=lower is not None),
        memory_errors(device),
    ):
        yield


def is_memory_error(error: Exception) -> bool:
    """Whether it says that memory does not suffice: on Linux, on Windows, on GPUs and in their libraries."""
    says = r"out of memory|can't allocate memory|not enough memory|_STATUS_ALLOC_FAILED"
    return isinstance(error, MemoryError) or re.search(says, str(error)) is not None


@contextmanager
def memory_errors(device: torch.device) -> Iterator[None]:
    """Turns errors about a full memory into ``DeviceError``."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_memory_error(error):
            raise
        remedy = "give it a machine with more" if device.type == "cpu" else "use --device cpu"
        raise DeviceError(f"{device}: its memory does not suffice for this network; {remedy}.") from error
