"""Networks with a window, TASED-Net and TSFP-Net on S3D, as their papers run them: a clip of T frames for each map."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

import cv2
import torch
from torch import nn

from saliency_cli.inference.device import Precision
from saliency_cli.inference.hearing import Listen
from saliency_cli.inference.overlap import overlapped
from saliency_cli.inference.preparing import Prepared, computing, prepare
from saliency_cli.models.config import ModelConfig
from saliency_cli.types import Frame, SaliencyFrame
from saliency_cli.windows import Window, sliding_windows

__all__ = ["WORKERS", "plain_maps", "prepared_frames", "window_map"]

WORKERS = 4  # windows computed at a time with --exact; each takes about a gigabyte


def prepared_frames(frames: Iterable[Frame], config: ModelConfig) -> Iterator[Prepared]:
    """Each frame once, as the network takes it: (3, H, W).

    Bilinear even where it shrinks: the authors' choice, and part of the published result.
    """
    return (prepare(frame, config, config.input_size, cv2.INTER_LINEAR) for frame in frames)


def plain_maps(
    module: nn.Module,
    config: ModelConfig,
    frames: Iterable[Frame],
    *,
    device: torch.device,
    precision: Precision = "fp32",
    listen: Listen | None = None,
    exact: bool = False,
) -> Iterator[SaliencyFrame]:
    """The plain sliding window: each frame's clip through the whole network, one clip at a time.

    With ``exact``, on a CPU, each clip has one thread of torch's, and there are several at a time. How many threads
    share a convolution decides the order in which it sums, and max-unpooling turns that rounding into jumps: so the
    maps do not depend on the number of cores.
    """
    windows = sliding_windows(prepared_frames(frames, config), length=config.clip_length)
    compute = partial(window_map, module, device=device, precision=precision, listen=listen)
    if exact and device.type == "cpu":
        return overlapped(compute, windows, workers=min(torch.get_num_threads(), WORKERS), threads=1)
    return map(compute, windows)


def window_map(
    module: nn.Module, window: Window[Prepared], *, device: torch.device, precision: Precision, listen: Listen | None
) -> SaliencyFrame:
    """The map of a window's frame, by the whole network."""
    seen = window.frames[-1]
    with computing(device, precision):
        clip = torch.stack([frame.pixels for frame in window.frames], 1)[None].to(device)  # (1, 3, T, H, W)
        if listen is None:
            saliency = module(clip)  # (1, H, W)
        else:
            waveform = listen([frame.seconds for frame in window.frames], window.reversed)
            saliency = module(clip, torch.from_numpy(waveform)[None].to(device))  # (1, H, W)
        return SaliencyFrame(seen.number, seen.seconds, saliency[0].float().cpu().numpy())
