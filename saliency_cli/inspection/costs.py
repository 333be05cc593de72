"""How long a prediction will take, and how much memory: measured on two seconds of the input itself.

No rule would be right on every machine, so some of the input is predicted, in a process of its own, as ``vsal batch
--dry-run`` does it, and what that took is multiplied. Networks with a window are measured with stand-in weights where
there are none: they take the time of trained ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast, get_args

from saliency_cli.batch.estimating import SAMPLE, SAMPLE_LIMIT, sample
from saliency_cli.batch.isolated import IsolatedWorker, Load, load_pipeline
from saliency_cli.batch.jobs import Job, Outcome
from saliency_cli.errors import ReadError, UsageError
from saliency_cli.inspection.looking import Inspection
from saliency_cli.media import source_path
from saliency_cli.options import Model, PredictOptions

__all__ = ["Cost", "Network", "measure_cost"]

Network = Literal["tsfp", "tased", "tsfp-s3d"]

STAND_IN_SIZES: Mapping[str, tuple[int, int]] = {"tased": (224, 384), "tsfp-s3d": (192, 352)}  # the papers'
RGB = 3  # bytes of a pixel
STAND_IN_SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a prediction of an overlay will take on this machine.

    Attributes:
        network: which; ``stand_in``: with random weights, as its own are not on this machine.
        frames, seconds: of the sample.
        seconds_per_frame: measured on it, with decoding and encoding.
        seconds_in_all: for all frames; None where their number is not known.
        memory: bytes that the process held at most while it predicted the sample.
        memory_at_most: the same for all frames. It is more where decord reads, which may hold every decoded frame.
        device, precision: with the reasons.
    """

    network: Network
    stand_in: bool
    frames: int
    seconds: float
    seconds_per_frame: float
    seconds_in_all: float | None
    memory: int
    memory_at_most: int
    device: str
    precision: str


def measure_cost(
    found: Inspection, network: Network = "tsfp", options: PredictOptions | None = None, *, load: Load | None = None
) -> Cost:
    """Predict two seconds of an input, and say what all of it will take.

    Args:
        found: what :func:`inspect_source` gave.
        options: of the prediction; where its products go does not count.
        load: makes the predictor in the process, instead of what ``network`` names.

    Raises:
        UsageError: stdin, which can be read once only; no such network.
        ReadError: the sample could not be predicted.
        WeightsError, DeviceError: see ``pipeline.load_predictor``.
    """
    if network not in get_args(Network):
        raise UsageError(f"--measure {network}: must be one of {', '.join(get_args(Network))}.")
    if found.bytes is None:
        raise UsageError(f"--measure: {found.source} can be read once only; save it to a file first.")
    wanted = replace(options or PredictOptions(), output=None, resume=False, overwrite=True)
    begin = wanted.start or 0.0
    wanted = replace(wanted, end=min(wanted.end or begin + SAMPLE, begin + SAMPLE))
    stand_in = False
    if load is None:
        weights = _weights_of(network) if wanted.weights is None else str(wanted.weights)
        wanted = replace(wanted, model=cast(Model, network.partition("-")[0]), weights=weights)
        stand_in = weights is None and network in STAND_INS
        load = STAND_INS[network] if stand_in else load_pipeline
    source = source_path(found.source)
    job = Job(source.name, source, Path(), source.stem or "input", "inspect", found.bytes)
    with IsolatedWorker(wanted, time_limit=SAMPLE_LIMIT, load=load) as worker:
        worker.load()
        outcome, _ = sample(worker, job)
    if outcome.state != "done" or not outcome.frames:
        raise ReadError(outcome.error or f"{found.source} gave no frames to measure with; choose another --start.")
    return _cost(found, outcome, network, stand_in=stand_in)


def _cost(found: Inspection, outcome: Outcome, network: Network, *, stand_in: bool) -> Cost:
    each = outcome.seconds / outcome.frames
    waiting = 0
    if found.decoder == "decord" and found.frames is not None:
        waiting = RGB * found.shown[0] * found.shown[1] * max(0, found.frames - outcome.frames)
    return Cost(
        network=network,
        stand_in=stand_in,
        frames=outcome.frames,
        seconds=outcome.seconds,
        seconds_per_frame=each,
        seconds_in_all=None if found.frames is None else each * found.frames,
        memory=outcome.memory,
        memory_at_most=outcome.memory + waiting,
        device=outcome.device,
        precision=outcome.precision,
    )


def _weights_of(network: Network) -> str | None:
    """The name of the weights that are on this machine for it; None if there are none."""
    from saliency_cli.models import manifest
    from saliency_cli.models.registry import DEFAULTS

    return manifest.first_here(("tsfp-s3d-open",) if network == "tsfp-s3d" else DEFAULTS[network])


def _load_tased(options: PredictOptions, device: str | None, threads: int | None, /) -> Any:
    return _stand_in("tased", options, device, threads)


def _load_tsfp_s3d(options: PredictOptions, device: str | None, threads: int | None, /) -> Any:
    return _stand_in("tsfp-s3d", options, device, threads)


# The functions of a module, as the process must find them by name
STAND_INS: Mapping[str, Load] = {"tased": _load_tased, "tsfp-s3d": _load_tsfp_s3d}


def _stand_in(
    network: Literal["tased", "tsfp-s3d"], options: PredictOptions, device: str | None, threads: int | None
) -> Callable[..., Outcome]:
    from saliency_cli.batch.predicting import predicting
    from saliency_cli.benchmark.random_weights import random_model
    from saliency_cli.inference.predictor import SaliencyPredictor
    from saliency_cli.pipeline import use_threads

    use_threads(options)
    architecture: Literal["tased", "tsfp"] = "tased" if network == "tased" else "tsfp"
    predictor = SaliencyPredictor(
        random_model(architecture, STAND_IN_SEED, input_size=STAND_IN_SIZES[network]),
        device=device or options.device,
        precision=options.precision,
        exact=options.exact,
    )
    return predicting(options, device, threads, predictor=predictor)
