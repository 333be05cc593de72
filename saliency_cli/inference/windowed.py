"""Networks with a window, TASED-Net and TSFP-Net on S3D, as their papers run them: a clip of T frames for each map."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import cv2
import torch
from torch import nn

from saliency_cli.inference.device import Precision
from saliency_cli.inference.hearing import Listen
from saliency_cli.inference.preparing import Prepared, computing, prepare
from saliency_cli.models.config import ModelConfig
from saliency_cli.types import Frame, SaliencyFrame
from saliency_cli.windows import Window, sliding_windows

__all__ = ["WORKERS", "plain_maps", "prepared_frames"]

WORKERS = 4  # windows computed at a time with --exact; each takes about a gigabyte

T = TypeVar("T")
R = TypeVar("R")


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

    ``exact``: so that, on a CPU, the maps do not depend on the number of its cores.
    """

    def compute(window: Window[Prepared]) -> SaliencyFrame:
        seen = window.frames[-1]
        with computing(device, precision):
            clip = torch.stack([frame.pixels for frame in window.frames], 1)[None]  # (1, 3, T, H, W)
            clip = clip.to(device)
            if listen is None:
                saliency = module(clip)  # (1, H, W)
            else:
                waveform = listen([frame.seconds for frame in window.frames], window.reversed)
                saliency = module(clip, torch.from_numpy(waveform)[None].to(device))  # (1, H, W)
            return SaliencyFrame(seen.number, seen.seconds, saliency[0].float().cpu().numpy())

    windows = sliding_windows(prepared_frames(frames, config), length=config.clip_length)
    return _in_parallel(compute, windows) if exact and device.type == "cpu" else map(compute, windows)


def _in_parallel(compute: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """``compute`` of each item, in order, each on one thread of torch's and as many at a time as there are threads.

    How many threads share a convolution decides the order in which it sums, and max-unpooling turns that rounding into
    jumps: on one thread each, maps do not depend on the number of cores.
    """
    workers = min(torch.get_num_threads(), WORKERS)
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(compute, item))
                if len(waiting) >= workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
