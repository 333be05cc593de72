"""Networks with a window: the plain sliding window against the predictor's way, map for map.

Both are measured in their steady state. A window is reversed for the first T − 1 maps of a video, and an engine that
keeps what it computed for earlier windows has nothing yet for the next few: those maps are made before the clock runs.
"""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice

import numpy as np
import torch

from saliency_cli.benchmark.material import Material, endless
from saliency_cli.benchmark.results import PLAIN, Agreement, EngineSpeed
from saliency_cli.benchmark.timing import rounds_of, timing_of
from saliency_cli.errors import DeviceError
from saliency_cli.inference.device import Precision, choose_precision
from saliency_cli.inference.predictor import SaliencyPredictor
from saliency_cli.inference.preparing import computing
from saliency_cli.inference.windowed import prepared_frames
from saliency_cli.metrics import cc
from saliency_cli.models.config import ModelConfig
from saliency_cli.models.registry import LoadedModel
from saliency_cli.types import SaliencyFrame
from saliency_cli.windows import sliding_windows

__all__ = [
    "MapStream",
    "agreement",
    "compare_engines",
    "plain_windows",
    "precisions_for",
    "settled_after",
    "settled_stream",
    "synchronise",
    "wait_for_idle",
]

FAST = "fast engine"
# The first even window and the first odd one have nothing to share; two more, for caches.
SETTLING = 4
# Seconds between looks at whether the process still computes; the clock of Windows goes in steps of 16 ms.
POLL = 0.04 if os.name == "nt" else 0.004


class MapStream:
    """The maps of an endless video, taken a few at a time.

    ``maps`` is what a predictor gives for :func:`endless` frames, computed on ``device``.
    """

    def __init__(self, maps: Iterator[SaliencyFrame], device: torch.device) -> None:
        self._maps, self._device = maps, device

    def take(self, count: int = 1) -> list[SaliencyFrame]:
        """The next maps. When they are here, the device has finished its work, and so have threads that work ahead."""
        taken = list(islice(self._maps, count))
        synchronise(self._device)
        wait_for_idle()
        return taken

    def close(self) -> None:
        """Free what the stream holds."""
        if isinstance(self._maps, Generator):
            self._maps.close()


def synchronise(device: torch.device) -> None:
    """Wait until a GPU has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def wait_for_idle() -> None:
    """Wait until nothing of this process computes any more; at most a minute.

    An engine works some maps ahead, in threads: what it begins in its turn, it shall end in it. Threads that turn idly
    (Intel's OpenMP lets them, for a while) count as busy.
    """
    quiet = 0
    for _ in range(round(60 / POLL)):
        begin = time.process_time()
        time.sleep(POLL)
        quiet = quiet + 1 if time.process_time() - begin < POLL / 4 else 0
        if quiet == 2:
            return


def settled_after(config: ModelConfig) -> int:
    """How many maps of a video a network with a window makes before every map costs the same."""
    return config.clip_length - 1 + SETTLING


def precisions_for(wanted: str, device: torch.device) -> tuple[tuple[Precision, ...], tuple[str, ...]]:
    """The precisions to compare, and in a sentence each what was left out.

    ``auto`` is fp32, bf16, and on GPUs fp16. A processor without a unit for bf16 takes much longer in it than in fp32:
    there it is measured only if it is asked for.

    Raises:
        UsageError, DeviceError: as ``choose_precision``, for a precision asked for by name.
    """
    if wanted != "auto":
        return (choose_precision(wanted, device)[0],), ()
    if device.type == "cpu":
        if choose_precision("auto", device, measured=True)[0] == "bf16":
            return ("fp32", "bf16"), ()
        return ("fp32",), ("bf16 was left out, which this processor has no unit for; --precision bf16 measures it.",)
    found: list[Precision] = []
    notes = []
    for precision in ("fp32", "bf16", "fp16"):
        try:
            found.append(choose_precision(precision, device)[0])
        except DeviceError as error:
            notes.append(f"{precision} was left out ({error})")
    return tuple(found), tuple(notes)


def plain_windows(
    model: LoadedModel, material: Material, *, device: torch.device, every: int = 1
) -> Iterator[SaliencyFrame]:
    """Maps as the authors' programs make them, from the first settled one on: a whole window, in fp32, for each.

    Of each ``every`` windows the last is computed, and none before the first settled one. Frames are prepared once. The
    module lies on ``device`` already.
    """
    prepared = prepared_frames(endless(material), model.config)
    windows = sliding_windows(prepared, length=model.config.clip_length)
    for window in islice(windows, settled_after(model.config) + every - 1, None, every):
        with computing(device, "fp32"):
            clip = torch.stack([frame.pixels for frame in window.frames], 1)[None].to(device)  # (1, 3, T, H, W)
            saliency = model.module(clip)[0].cpu().numpy()  # (H, W)
        yield SaliencyFrame(window.index, window.frames[-1].seconds, saliency)


def settled_stream(predictor: SaliencyPredictor, material: Material, on_turn: Callable[[], None]) -> MapStream:
    """The predictor's maps from the first settled one on."""
    stream = MapStream(predictor.predict(endless(material)), predictor.device)
    for _ in range(settled_after(predictor.model.config)):
        stream.take()
        on_turn()
    return stream


def compare_engines(
    plain: MapStream,
    engines: Mapping[Precision, MapStream],
    *,
    rounds: int,
    maps_a_turn: int = 1,
    on_turn: Callable[[], None] | None = None,
) -> tuple[EngineSpeed, ...]:
    """Take maps from each in turn: their times, and how near the engines' maps come to the plain window's.

    A turn is one plain window, or ``maps_a_turn`` of an engine's maps: of these the last is the plain window's frame.
    """
    streams: dict[str, MapStream] = {PLAIN: plain}
    streams.update(engines.items())
    items: dict[str, int] = {PLAIN: 1} | dict.fromkeys(engines, maps_a_turn)
    maps: dict[str, list[SaliencyFrame]] = {name: [] for name in streams}

    def turn(name: str) -> None:
        maps[name].append(streams[name].take(items[name])[-1])

    cases = {name: partial(turn, name) for name in streams}
    found = rounds_of(cases, rounds=rounds, items=items, on_turn=on_turn)
    base = timing_of(found[PLAIN])
    result = [EngineSpeed(PLAIN, "fp32", base, 1.0, None)]
    for precision in engines:
        timing = timing_of(found[precision])
        faster = round(base.median_ms / max(timing.median_ms, 1e-3), 2)
        result.append(EngineSpeed(FAST, precision, timing, faster, agreement(maps[precision], maps[PLAIN])))
    return tuple(result)


def agreement(maps: Sequence[SaliencyFrame], plain: Sequence[SaliencyFrame]) -> Agreement:
    """How near maps come to the plain window's of the same frames. Raises ValueError for maps of other frames."""
    differences, correlations = [], []
    for mine, theirs in zip(maps, plain, strict=True):
        if mine.index != theirs.index:
            raise ValueError(f"the map of frame {mine.index} is no match for that of frame {theirs.index}")
        differences.append(float(np.abs(mine.saliency - theirs.saliency).mean(dtype=np.float64)))
        correlations.append(cc(mine.saliency, theirs.saliency))
    defined = [value for value in correlations if math.isfinite(value)]
    return Agreement(
        statistics.fmean(differences),
        statistics.fmean(defined) if defined else None,
        min(defined) if defined else None,
    )
