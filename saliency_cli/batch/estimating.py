"""How much a batch has to do, and how long that will take: told by a dry run, which writes nothing into the output."""

from __future__ import annotations

import shutil
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from saliency_cli.batch.isolated import IsolatedWorker, Load, load_pipeline
from saliency_cli.batch.jobs import Job, Outcome
from saliency_cli.batch.local import are_tiny, places
from saliency_cli.batch.running import Plan
from saliency_cli.errors import VsalError
from saliency_cli.media.glance import Glance, glance

__all__ = ["SAMPLE", "SAMPLE_LIMIT", "Estimate", "estimate", "sample"]

HEADER_LIMIT = 60.0  # seconds in which a file's header must be read
SAMPLE = 2.0  # seconds of a typical input that are predicted to see how long that takes
SAMPLE_LIMIT = 300.0
ENOUGH_FRAMES = 500  # of earlier runs, to believe their timings
TRIES = 3


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a batch has before it.

    Attributes:
        items, frames: still to be done; frames as the headers have them.
        video_seconds: how long the videos play.
        unreadable: of the items, those whose headers cannot be read; they count for nothing here.
        seconds: how long it will take; None if that could not be found out.
        basis: where that comes from.
        bytes_wanted: of the products; None as before. ``bytes_free``: of the disk.
    """

    items: int
    frames: int
    video_seconds: float
    unreadable: int
    seconds: float | None
    basis: str
    workers: int
    bytes_wanted: int | None
    bytes_free: int


def estimate(plan: Plan, *, workers: int | None = None, load: Load = load_pipeline) -> Estimate:
    """Look at the headers of what is to be done, and predict a bit of a typical input, if no earlier run tells.

    Raises WeightsError, DeviceError, UsageError as a run would.
    """
    where, _ = places(plan.options, workers, len(plan.jobs), tiny=are_tiny(plan.jobs))
    place = where[0]
    with IsolatedWorker(plan.options, device=place.device, load=load) as worker:
        seen = _headers(worker, plan.jobs)
    frames = _frames(seen)
    per_frame, size, basis = _of_ledger(plan)
    if per_frame is None and seen:
        options = replace(plan.options, resume=False, overwrite=True)  # in a folder of its own
        if options.layout == "vsal":  # the other takes no --end
            begin = options.start or 0.0
            options = replace(options, end=min(options.end or begin + SAMPLE, begin + SAMPLE))
        with IsolatedWorker(
            options, device=place.device, threads=place.threads, time_limit=SAMPLE_LIMIT, load=load
        ) as worker:
            per_frame, size, basis = _of_sample(worker, seen)
    return Estimate(
        items=len(plan.jobs),
        frames=frames,
        video_seconds=sum(glanced.seconds or 0.0 for _, glanced in seen),
        unreadable=len(plan.jobs) - len(seen),
        seconds=None if per_frame is None else per_frame * frames / len(where),
        basis=basis,
        workers=len(where),
        bytes_wanted=None if size is None else round(size * frames),
        bytes_free=_free(plan.output),
    )


def _headers(worker: IsolatedWorker, jobs: Sequence[Job]) -> list[tuple[Job, Glance]]:
    """What the headers say; those that cannot be read are left out."""
    seen = []
    for job in jobs:
        try:
            seen.append((job, worker.call(glance, job.source, limit=HEADER_LIMIT)))
        except VsalError:
            continue
    return seen


def _frames(seen: Sequence[tuple[Job, Glance]]) -> int:
    """All frames; where a header is silent, as many for each byte as in the others."""
    known = [(job.size, glanced.frames) for job, glanced in seen if glanced.frames is not None]
    total = sum(frames for _, frames in known)
    density = total / max(1, sum(size for size, _ in known))
    silent = sum(job.size for job, glanced in seen if glanced.frames is None)
    return total + round(silent * density)


def _of_ledger(plan: Plan) -> tuple[float | None, float | None, str]:
    """Seconds and bytes a frame, of what was done before."""
    frames = sum(outcome.frames for outcome in plan.settled)
    if frames < ENOUGH_FRAMES:
        return None, None, ""
    seconds = sum(outcome.seconds for outcome in plan.settled)
    size = sum(_size(plan.output / product) for outcome in plan.settled for product in outcome.products)
    return seconds / frames, size / frames, f"the ledger's timings of {frames} frames"


def _of_sample(worker: IsolatedWorker, seen: Sequence[tuple[Job, Glance]]) -> tuple[float | None, float | None, str]:
    """Seconds and bytes a frame, measured."""
    worker.load()
    middle = statistics.median_low(glanced.width * glanced.height for _, glanced in seen)
    typical = sorted(seen, key=lambda pair: abs(pair[1].width * pair[1].height - middle))
    for job, glanced in typical[:TRIES]:
        outcome, size = sample(worker, job)
        if outcome.state == "done" and outcome.frames:
            basis = f"measured: {outcome.frames} frames of {job.item}, {glanced.width}x{glanced.height}"
            return outcome.seconds / outcome.frames, size / outcome.frames, basis
    return None, None, "the first inputs tried could not be predicted"


def sample(worker: IsolatedWorker, job: Job) -> tuple[Outcome, int]:
    """Do a job into a folder that is thrown away: how it went, warmed up if it is short, and the products' bytes."""
    with tempfile.TemporaryDirectory(prefix="vsal-") as folder:
        trial = replace(job, folder=Path(folder), others=())
        outcome = worker.run(trial)
        if outcome.state == "done" and outcome.seconds < SAMPLE:  # the first one warms up
            outcome = worker.run(trial)
        return outcome, sum(_size(Path(product)) for product in outcome.products)


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(each.stat().st_size for each in path.iterdir())
    return path.stat().st_size if path.exists() else 0


def _free(folder: Path) -> int:
    """Bytes free where a folder is, or will be."""
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    return shutil.disk_usage(there).free
