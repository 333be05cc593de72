"""A batch from its folder to its last outcome: what is left to do is done, and written down at once."""

from __future__ import annotations

import bisect
import logging
import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from saliency_cli.batch.isolated import Load, load_pipeline
from saliency_cli.batch.items import Selection, find_jobs
from saliency_cli.batch.jobs import Job, Outcome
from saliency_cli.batch.ledger import History, Ledger, ledger_path, run_key
from saliency_cli.batch.local import are_tiny, places, run_locally
from saliency_cli.batch.shards import Shard
from saliency_cli.errors import UsageError
from saliency_cli.media import remove_marked
from saliency_cli.options import PredictOptions

__all__ = ["BatchReport", "Engine", "Plan", "plan_batch", "run_batch"]

log = logging.getLogger(__name__)

Engine = Callable[[Iterable[Job], PredictOptions], Generator[Outcome, None, None]]
"""Does jobs, taking them one by one, and yields their outcomes as they come, in any order."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What there is to do. ``settled``: outcomes of earlier runs that still hold."""

    folder: Path
    output: Path
    options: PredictOptions
    shard: Shard
    jobs: tuple[Job, ...]  # still to be done
    settled: tuple[Outcome, ...]
    again: int  # of the jobs, those that had been begun or had failed
    notes: tuple[str, ...]
    key: str
    weights: str  # SHA-256
    left: tuple[Job, ...]  # jobs as a run that died left them, with the marks of that time

    @property
    def items(self) -> int:
        """All items of the shard."""
        return len(self.jobs) + len(self.settled)


@dataclass(slots=True)
class BatchReport:
    """What became of a batch. ``stopped``: it was ended by its first failure."""

    items: int
    skipped: int
    done: list[Outcome] = field(default_factory=list)
    failed: list[Outcome] = field(default_factory=list)
    stopped: bool = False
    seconds: float = 0.0

    @property
    def frames(self) -> int:
        """Of all items done."""
        return sum(outcome.frames for outcome in self.done)

    @property
    def memory(self) -> int:
        """Bytes that a worker has held at most."""
        return max((outcome.memory for outcome in self.done), default=0)


def plan_batch(
    folder: str | Path,
    output: str | Path,
    options: PredictOptions | None = None,
    *,
    selection: Selection | None = None,
    shard: Shard | None = None,
    **changes: Any,
) -> Plan:
    """Look what a batch has to do; nothing is written.

    Raises:
        ReadError, UsageError: see ``find_jobs`` and ``History``.
        WeightsError: there are no such weights.
    """
    options = replace(options or PredictOptions(), **changes)
    if options.output is not None:
        raise UsageError("a batch has a folder for its products; give it as output, and none in the options.")
    if str(output) == "-":
        raise UsageError("-o -: a batch needs a folder for its products; use vsal predict for stdout.")
    folder, output, shard = Path(folder), Path(output), shard or Shard()
    if output.exists() and not output.is_dir():
        raise UsageError(f"-o {output}: this is a file, and a batch needs a folder for its products.")
    found = find_jobs(folder, output, selection or Selection(), layout=options.layout)
    weights = _weights_sha256(options)
    key = run_key(options, weights)
    history = History(output, own=ledger_path(output, shard))
    jobs, settled, left, again = [], [], [], 0
    for job in found:
        if not shard.has(job.item):
            continue
        if (outcome := history.settled(job, key)) is not None:
            settled.append(outcome)
            continue
        again += job.item in history.entries
        if (entry := history.in_flight(job)) is not None:
            left.append(replace(job, mark=entry.mark))
            job = replace(job, redone=not entry.found and entry.key == key)
        jobs.append(job)
    if not options.overwrite:
        occupied = _occupied(jobs)
        jobs = [replace(job, occupied=job.item in occupied) for job in jobs]
    return Plan(
        folder,
        output,
        options,
        shard,
        tuple(jobs),
        tuple(settled),
        again,
        tuple(history.notes),
        key,
        weights,
        tuple(left),
    )


def run_batch(
    folder: str | Path,
    output: str | Path,
    options: PredictOptions | None = None,
    *,
    selection: Selection | None = None,
    shard: Shard | None = None,
    workers: int | None = None,
    time_limit: float | None = None,
    fail_fast: bool = False,
    engine: Engine | None = None,
    load: Load = load_pipeline,
    on_plan: Callable[[Plan], None] | None = None,
    on_outcome: Callable[[Outcome], None] | None = None,
    on_running: Callable[[float], None] | None = None,
    **changes: Any,
) -> BatchReport:
    """Predict every input of a folder, and keep a ledger in ``output``; see ``docs/batch.md``.

    What an earlier run has done, with the same options, weights and input, is passed over; what failed or was cut off
    is done again. In a script of your own, call it under ``if __name__ == "__main__"``: workers are spawned.

    Args:
        folder: the inputs, at any depth.
        output: where the products and the ledger go; the tree of ``folder`` is kept.
        options: what is wanted of every input; ``changes`` are fields of :class:`PredictOptions` that differ from it.
        selection: which inputs count.
        shard: the share of them that this run does.
        workers: processes at work at the same time.
        time_limit: seconds that an item may take.
        fail_fast: end at the first failure; items that are being done then, are done again next time.
        engine: what does the jobs, instead of workers on this machine.
        load: what a worker calls to get its predictor.
        on_plan, on_outcome, on_running: called when it is known what there is to do; for each outcome, after it was
            written down; and now and then with the share of the running jobs that is done.

    Raises:
        ReadError, UsageError, WeightsError, DeviceError: nothing could be begun.
        WriteError: the ledger cannot be written.
        KeyboardInterrupt: it was stopped; the ledger knows how far it was.
    """
    begin = time.perf_counter()
    plan = plan_batch(folder, output, options, selection=selection, shard=shard, **changes)
    header = {
        "folder": os.path.abspath(plan.folder),
        "shard": str(plan.shard),
        "items": plan.items,
        "options": asdict(plan.options),
        "weights": plan.weights,
    }
    with Ledger.opened(plan.output, plan.shard, plan.key, header) as ledger:
        # Again, now that nobody else can change anything.
        plan = plan_batch(folder, output, options, selection=selection, shard=shard, **changes)
        report = BatchReport(plan.items, len(plan.settled))
        if on_plan is not None:
            on_plan(plan)
        _tidy(plan.left)
        if plan.jobs:
            if engine is None:
                where, why = places(plan.options, workers, len(plan.jobs), tiny=are_tiny(plan.jobs))
                log.info("%d workers (%s), %s threads each", len(where), why, where[0].threads or "all")

                def engine(jobs: Iterable[Job], options: PredictOptions) -> Generator[Outcome, None, None]:
                    return run_locally(
                        jobs, options, where=where, time_limit=time_limit, load=load, on_running=on_running
                    )

            _run(plan, ledger, engine, report, fail_fast=fail_fast, on_outcome=on_outcome)
    report.seconds = time.perf_counter() - begin
    return report


def _run(
    plan: Plan,
    ledger: Ledger,
    engine: Engine,
    report: BatchReport,
    *,
    fail_fast: bool,
    on_outcome: Callable[[Outcome], None] | None,
) -> None:
    jobs = {job.item: job for job in plan.jobs}

    def begun() -> Iterator[Job]:
        for job in plan.jobs:
            ledger.started(job, found=plan.options.overwrite or (job.occupied and not job.redone))
            yield job

    try:
        with closing(engine(begun(), plan.options)) as outcomes:
            for outcome in outcomes:
                ledger.ended(jobs[outcome.item], outcome)
                (report.done if outcome.state == "done" else report.failed).append(outcome)
                if on_outcome is not None:
                    on_outcome(outcome)
                if fail_fast and report.failed:
                    report.stopped = len(report.done) + len(report.failed) < len(jobs)
                    break
    except KeyboardInterrupt:
        done = report.skipped + len(report.done)
        raise KeyboardInterrupt(
            f"{done} of {report.items} items are done, and the same command goes on from there"
        ) from None
    finally:
        _tidy(plan.jobs)  # by now nobody writes; a machine that died may have left something


def _tidy(jobs: Iterable[Job]) -> None:
    """Remove the temporary files of jobs that nobody does any more."""
    marks: dict[Path, set[str]] = {}
    for job in jobs:
        marks.setdefault(job.folder, set()).add(job.mark)
    for folder, left in marks.items():
        remove_marked(folder, left)


def _weights_sha256(options: PredictOptions) -> str:
    from saliency_cli.models.registry import default_weights, resolve_weights  # imports torch

    return resolve_weights(default_weights(options.model) if options.weights is None else options.weights)[1]


def _occupied(jobs: Sequence[Job]) -> frozenset[str]:
    """Items at whose products' places something stands already."""
    names: dict[Path, list[str]] = {}
    found = set()
    for job in jobs:
        if job.folder not in names:
            names[job.folder] = sorted(os.listdir(job.folder)) if job.folder.is_dir() else []
        here = names[job.folder]
        place, bare = (bisect.bisect_left(here, name) for name in (f"{job.name}.", job.name))
        if job.name in here[bare : bare + 1] or (place < len(here) and here[place].startswith(f"{job.name}.")):
            found.add(job.item)
    return frozenset(found)
