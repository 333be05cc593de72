"""How fast vsal is on this machine, in one run: what ``vsal bench`` does."""

from __future__ import annotations

import copy
import math
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from saliency_cli._version import __version__
from saliency_cli.benchmark.engines import (
    MapStream,
    compare_engines,
    plain_windows,
    precisions_for,
    settled_after,
    settled_stream,
)
from saliency_cli.benchmark.machine import describe_machine, load_average
from saliency_cli.benchmark.material import Material, make_clip, read_material
from saliency_cli.benchmark.results import EngineSpeed, Speed
from saliency_cli.benchmark.stages import CASES, measure_stages
from saliency_cli.errors import UsageError
from saliency_cli.inference.device import Precision, choose_device
from saliency_cli.inference.predictor import SaliencyPredictor
from saliency_cli.media import Source, open_source
from saliency_cli.models.registry import LoadedModel, load_model
from saliency_cli.models.streaming import input_size_for
from saliency_cli.options import PredictOptions
from saliency_cli.pipeline import use_threads
from saliency_cli.types import SaliencyFrame

__all__ = ["SECONDS", "SECONDS_WINDOWED", "SIZE", "check_request", "measure_speed"]

SIZE = (640, 360)
SECONDS, SECONDS_WINDOWED = 4.0, 2.6  # of the clip; the second is 2T − 1 frames and two more
LONGEST = 600.0
MAPS_A_TURN = 8  # of a network with a window: the first find the caches full of what others have left there
MOST_ROUNDS = 1000
PACKAGES = ("torch", "numpy", "opencv-python-headless", "av", "decord", "decord2", "eva-decord")

OnProgress = Callable[[int, int | None], None]


def measure_speed(
    source: str | Path | None = None,
    options: PredictOptions | None = None,
    *,
    model: LoadedModel | None = None,
    size: tuple[int, int] | None = None,
    seconds: float | None = None,
    rounds: int = 7,
    on_progress: OnProgress | None = None,
    **changes: Any,
) -> Speed:
    """Time a network with a window against the plain sliding window, and every stage of a prediction.

    All cases take turns, after a round that is not counted; a GPU is waited for before the clock is read. Nothing is
    left on disk.

    Args:
        source: a video or a folder of frames, of which the beginning is used; None makes a clip on the spot.
        options: network, device, precision, decoder, threads and the overlay's look; ``changes`` are fields that
            differ. The precision is that of the engine and the pipeline; with ``auto`` the engine is measured in all
            that the device has, and the pipeline runs in the one that ``predict`` would choose.
        model: a loaded network instead of the one that the options name, or one with stand-in weights
            (``random_model``).
        size: (width, height) of a clip made on the spot, 640x360 if not given.
        seconds: how much of the clip is used; by default 4, and 2.6 for networks with a window.
        rounds: that count.
        on_progress: called with the number of turns done and of all.

    Raises:
        UsageError, ReadError, WriteError, WeightsError, DeviceError: as ``predict`` does.
    """
    options = replace(options or PredictOptions(), **changes)
    check_request(source, options, size=size, seconds=seconds, rounds=rounds)
    use_threads(options)
    device, _ = choose_device(options.device)
    precisions, notes = precisions_for(options.precision, device)
    machine = {
        **describe_machine(PACKAGES),
        "device": _device_name(device),
        "threads": torch.get_num_threads(),
    }
    with ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="vsal-bench-", ignore_cleanup_errors=True))
        )
        if source is not None:  # what cannot be read is said before weights are loaded
            _open(Path(source), options, seconds).close()
        model = load_model(options.model, weights=options.weights) if model is None else model
        windowed = model.config.encoder == "s3d"
        if seconds is None:
            seconds = SECONDS_WINDOWED if windowed else SECONDS
        path = make_clip(folder / "clip.mp4", size=size or SIZE, seconds=seconds) if source is None else Path(source)
        reader = stack.enter_context(_open(path, options, seconds))
        material = read_material(reader)
        turns = _Turns(on_progress, _total(model, precisions, rounds))
        pipeline = _predictor(model, options)

        def predict_some() -> list[SaliencyFrame]:
            if windowed:
                return engines[pipeline.precision].take(MAPS_A_TURN)
            return list(pipeline.predict(material.frames))

        engines: dict[Precision, MapStream] = {}
        found: tuple[EngineSpeed, ...] = ()
        if windowed:
            unchanged = replace(model, module=copy.deepcopy(model.module).to(device))
            plain = MapStream(plain_windows(unchanged, material, device=device, every=MAPS_A_TURN), device)
            stack.enter_context(closing(plain))
            for precision in precisions:
                stream = settled_stream(_predictor(model, replace(options, precision=precision)), material, turns)
                engines[precision] = stack.enter_context(closing(stream))
            found = compare_engines(plain, engines, rounds=rounds, maps_a_turn=MAPS_A_TURN, on_turn=turns)
        stages = measure_stages(
            material,
            reader,
            predict_some,
            pipeline,
            replace(
                options,
                model=model.config.architecture,
                write=("overlay",),
                output=str(folder / "product.mp4"),
                end=seconds,
            ),
            folder,
            rounds=rounds,
            on_turn=turns,
        )
    return Speed(
        date=datetime.now(UTC).date().isoformat(),
        machine=machine,
        load_after=load_average(),
        model={**_model_facts(model, material), "precision": pipeline.precision},
        clip=_clip_facts(material, None if source is None else Path(source).name),
        rounds=rounds,
        engines=found,
        stages=stages,
        notes=(*(notes if windowed else ()), *reader.warnings),
    )


class _Turns:
    """Counts what was done, for a progress bar."""

    def __init__(self, on_progress: OnProgress | None, total: int) -> None:
        self._on_progress, self._total, self._done = on_progress, total, 0

    def __call__(self) -> None:
        self._done += 1
        if self._on_progress:
            self._on_progress(self._done, self._total)


def _total(model: LoadedModel, precisions: tuple[Precision, ...], rounds: int) -> int:
    if model.config.encoder != "s3d":
        return (rounds + 1) * len(CASES)
    settling = settled_after(model.config) * len(precisions)
    return settling + (rounds + 1) * (1 + len(precisions) + len(CASES) - 1) + 1


def check_request(
    source: str | Path | None,
    options: PredictOptions,
    *,
    size: tuple[int, int] | None,
    seconds: float | None,
    rounds: int,
) -> None:
    """Raise ``UsageError`` for what :func:`measure_speed` cannot be asked for."""
    if options.exact or options.audio:
        flag = "--exact" if options.exact else "--audio"
        raise UsageError(f"{flag} cannot be measured; leave it out (the plain window is measured anyway).")
    if source is not None and size is not None:
        raise UsageError("--size is that of a clip made on the spot; leave it out, or the clip.")
    if seconds is not None and not (math.isfinite(seconds) and 0 < seconds <= LONGEST):
        raise UsageError(f"--seconds {seconds:g}: must be more than 0, and {LONGEST:g} at most.")
    if not 1 <= rounds <= MOST_ROUNDS:
        raise UsageError(f"--rounds {rounds}: must lie between 1 and {MOST_ROUNDS}.")


def _open(path: Path, options: PredictOptions, seconds: float | None) -> Source:
    return open_source(path, decoder=options.decoder, fps=options.rate, threads=options.threads, end=seconds)


def _predictor(model: LoadedModel, options: PredictOptions) -> SaliencyPredictor:
    """A predictor with a copy of the network: what an engine does to its network stays with it."""
    copied = replace(model, module=copy.deepcopy(model.module))
    return SaliencyPredictor(copied, device=options.device, precision=options.precision)


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _model_facts(model: LoadedModel, material: Material) -> dict[str, Any]:
    config = model.config
    windowed = config.encoder == "s3d"
    picture = (material.info.width, material.info.height)
    return {
        "vsal": __version__,
        "architecture": config.architecture,
        "encoder": config.encoder,
        "input_size": list(config.input_size if windowed else input_size_for(*picture, budget=config.input_size)),
        "clip_length": config.clip_length if windowed else None,
        "weights": model.weights.name,
        "sha256": model.sha256 or None,
    }


def _clip_facts(material: Material, name: str | None) -> dict[str, Any]:
    """``name``: of the user's clip; None for one made on the spot."""
    info = material.info
    return {
        "name": name,
        "width": info.width,
        "height": info.height,
        "rate": round(float(info.rate), 3),
        "codec": info.codec,
        "frames": material.length,
        "frames_by_stage": len(material.frames),
        "decoder": material.decoder,
    }
