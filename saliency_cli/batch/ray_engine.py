"""The engine that runs a batch on a Ray cluster: Ray Data's actor pool, each actor with an isolated worker.

::

    here: jobs ──▶ windows of jobs ──▶ Ray Data ──▶ actor on a node ──▶ isolated worker (a process)
                        ▲                 │
                        └── lost jobs ────┴──▶ outcomes, each as soon as it is there

Jobs are handed over in windows; a window ends when each of its jobs has come back or is lost with its actor or node.
Lost jobs go into the next window, a few times. Ray itself repeats nothing: it would wait for the same actor to return,
and could not tell a job that it had run before.

The input and the products' folder must have the same paths on every node.
"""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import os
import secrets
import socket
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

from saliency_cli._version import __version__
from saliency_cli.batch.isolated import IsolatedWorker, Load, load_pipeline
from saliency_cli.batch.jobs import Job, Outcome
from saliency_cli.batch.ray_cluster import Crew, connected, crew_for, import_ray, line_of, nodes_of
from saliency_cli.errors import DeviceError, ReadError, UsageError, VsalError, WeightsError
from saliency_cli.media.atomic import remove_marked, write_errors
from saliency_cli.options import PredictOptions

__all__ = ["run_on_ray"]

log = logging.getLogger(__name__)

TRIES = 3  # of a job whose actors die, and of windows of which nothing comes back
WINDOW = 1000  # jobs handed over at once, at least
PER_WORKER = 50  # and for each worker: few enough that a window's stragglers hardly count


def run_on_ray(
    jobs: Iterable[Job],
    options: PredictOptions,
    *,
    address: str | None = None,
    workers: int | None = None,
    time_limit: float | None = None,
    load: Load = load_pipeline,
) -> Generator[Outcome, None, None]:
    """Do the jobs on a Ray cluster; outcomes come as they come.

    Closing the generator ends the workers in the middle of their jobs, and removes what they left.

    Args:
        jobs: taken a window at a time.
        address: of the cluster: ``auto`` on one of its machines, or ``host:port``. None: what the variable RAY_ADDRESS
            says, or else a cluster on this machine alone, for as long as this takes.
        workers: actors in the pool; more than the cluster has room for wait for their place, or let its autoscaler
            add nodes. None: one for each GPU, or on CPUs for each two cores (or ``options.threads``).
        time_limit: see ``IsolatedWorker``.
        load: what a worker calls to get its predictor.

    Raises:
        UsageError: Ray or vsal are not installed, here or on a node, or in different versions.
        DeviceError: there is no such cluster, or it does not do the work.
        ReadError: a node does not see the files.
        WeightsError: a node does not have the weights.
    """
    if workers is not None and workers < 1:
        raise UsageError(f"--workers {workers}: must be at least 1.")
    IsolatedWorker(options, time_limit=time_limit)  # refuses a limit that is none
    ray = import_ray()
    with connected(ray, address):
        crew = crew_for(nodes_of(ray), options, workers)
        log.info("on Ray: %d workers (%s)", crew.size, crew.reason)
        size = max(WINDOW, PER_WORKER * crew.size)
        source = iter(jobs)
        again: list[_Try] = []
        barren = 0  # windows in a row of which nothing came back
        while window := [*again, *(_Try(job) for job in islice(source, size - len(again)))]:
            left = {one.job.item: one for one in window}
            reason = ""
            try:
                with _probe([one.job for one in window]) as probe:
                    setup = _Setup(options, crew.device, crew.threads, time_limit, load, __version__, probe)
                    for answer in _answers(ray, [one.job for one in window], setup, crew):
                        if answer.lost:
                            reason = answer.lost
                            continue
                        outcome = answer.outcome_of(left[answer.item].job)
                        del left[answer.item]
                        yield outcome
            except VsalError:
                raise
            except Exception as error:
                reason = line_of(error)
                if "No module named" in reason:
                    raise UsageError(
                        f"a node of the Ray cluster lacks part of vsal ({reason}); install the same vsal on every node."
                    ) from error
            finally:
                _tidy([one.job for one in left.values()])
            barren = 0 if len(left) < len(window) else barren + 1
            if reason and barren == TRIES:
                raise DeviceError(f"the Ray cluster does not do the work: {reason}; see Ray's logs on its nodes.")
            again = []
            for one in left.values():
                # What stands at its products' places now may be its own, from a moment before its actor died.
                one = _Try(replace(one.job, redone=one.job.redone or not one.job.occupied), one.number + 1)
                log.warning("%s was lost with its worker on the cluster%s", one.job.item, reason and f": {reason}")
                if one.number < TRIES:
                    again.append(one)
                else:
                    yield _lost(one.job, reason)


@dataclass(frozen=True, slots=True)
class _Try:
    """A job, and how often it was lost."""

    job: Job
    number: int = 0


def _tidy(jobs: Iterable[Job]) -> None:
    """Remove what jobs left that did not come back."""
    marks: dict[Path, set[str]] = {}
    for job in jobs:
        marks.setdefault(job.folder, set()).add(job.mark)
    for folder, of_folder in marks.items():
        remove_marked(folder, of_folder)


def _lost(job: Job, reason: str) -> Outcome:
    why = f" ({reason})" if reason else ""
    return Outcome.failure(
        job.item,
        f"{job.source} was lost {TRIES} times with the worker on the Ray cluster that had it{why}; check the nodes' "
        "memory and Ray's logs.",
        DeviceError.exit_code,
    )


@contextmanager
def _probe(jobs: Sequence[Job]) -> Iterator[Path]:
    """A file where the products go, by which a worker can tell whether it sees the same folder."""
    folder = Path(os.path.commonpath([os.path.abspath(job.folder) for job in jobs]))
    while not folder.is_dir():
        folder = folder.parent
    probe = folder / f".vsal-{secrets.token_hex(6)}.probe"
    with write_errors(folder):
        probe.touch(mode=0o644, exist_ok=False)
    try:
        yield probe
    finally:
        with contextlib.suppress(OSError):
            probe.unlink()


@dataclass(frozen=True, slots=True)
class _Setup:
    """What every actor is given."""

    options: PredictOptions
    device: str | None
    threads: int | None
    time_limit: float | None
    load: Load
    version: str
    probe: Path


@dataclass(frozen=True, slots=True)
class _Answer:
    """What an actor says of a job: its outcome, or that the source is not there, or why the actor could not work."""

    item: str
    outcome: Outcome | None = None
    node: str = ""
    lost: str = ""

    def outcome_of(self, job: Job) -> Outcome:
        """The outcome. Raises ReadError if only the node does not see the source."""
        if self.outcome is not None:
            return self.outcome
        if os.path.lexists(job.source):
            raise ReadError(_unshared(job.source, self.node))
        return Outcome.failure(job.item, f"{job.source} is no longer there.", ReadError.exit_code)


def _unshared(path: Path, node: str) -> str:
    return (
        f"{path} is not seen by node {node} of the Ray cluster; inputs and products must lie on storage that every "
        "node has under the same path."
    )


def _answers(ray: ModuleType, jobs: Sequence[Job], setup: _Setup, crew: Crew) -> Iterator[_Answer]:
    """What the actors say, as soon as they say it. Jobs whose actor dies are missing."""
    with _hushed(logging.getLogger("ray.data")):
        dataset = _dataset(ray, jobs, setup, crew)  # ends its work when nobody holds it any more
        batches = iter(dataset.iter_batches(batch_size=None, prefetch_batches=0))
        try:
            for batch in batches:
                for number, text in zip(batch["number"], batch["answer"], strict=True):
                    yield _read(jobs[int(number)].item, json.loads(str(text)))
        finally:
            close: Callable[[], None] | None = getattr(batches, "close", None)
            if close is not None:
                close()
            # An actor ends with the last reference to it, and errors of lost jobs keep some in circles.
            del batches, dataset
            gc.collect()


def _dataset(ray: ModuleType, jobs: Sequence[Job], setup: _Setup, crew: Crew) -> Any:
    """The answers as Ray Data sees them: a row for each job, computed by the pool's actors."""
    resources = {"num_cpus": crew.cpus, "num_gpus": crew.gpus} if crew.gpus else {"num_cpus": crew.cpus}
    given = [replace(job, source=job.source.absolute(), folder=job.folder.absolute()) for job in jobs]
    with warnings.catch_warnings(action="ignore"):  # Ray 2.60 to 2.63 want other names, which they lack for retries
        dataset = ray.data.from_items(list(range(len(jobs))), override_num_blocks=len(jobs)).map_batches(
            _Actor,
            fn_constructor_args=(given, setup),
            batch_size=1,
            batch_format="numpy",
            # One job at a time: a second one that waits would be lost with the first.
            compute=ray.data.ActorPoolStrategy(size=min(crew.size, len(jobs)), max_tasks_in_flight_per_actor=1),
            # A new actor for each that dies; but its job is for us to repeat.
            max_restarts=-1,
            max_task_retries=0,
            **resources,
        )
    context = dataset.context
    context.max_errored_blocks = -1  # an actor's death is the loss of one job
    context.execution_no_progress_timeout_s = -1  # a long video is no standstill; each job has its own limit
    context.print_on_execution_start = False
    context.enable_progress_bars = False
    return dataset


@contextmanager
def _hushed(logger: logging.Logger) -> Iterator[None]:
    """A logger that says nothing."""
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


def _read(item: str, record: dict[str, Any]) -> _Answer:
    """The answer from an actor's record. Raises what makes a node unfit for every job."""
    if "error" in record:
        kinds = (UsageError, ReadError, WeightsError, DeviceError)
        kind = next((kind for kind in kinds if kind.exit_code == record["code"]), VsalError)
        message = f"on node {record['node']} of the Ray cluster: {record['error']}"
        if kind is DeviceError:  # of this node, at this moment: another one may do better
            return _Answer(item, lost=message.rstrip("."))
        raise kind(message)
    outcome = None if record["outcome"] is None else Outcome.from_record(record["outcome"])
    return _Answer(item, outcome, record["node"])


class _Actor:
    """An isolated worker on a node of the cluster. Ray makes it there and calls it with one job's number at a time."""

    def __init__(self, jobs: Sequence[Job], setup: _Setup) -> None:
        self._jobs, self._setup = jobs, setup
        self._worker = IsolatedWorker(
            setup.options, device=setup.device, threads=setup.threads, time_limit=setup.time_limit, load=setup.load
        )

    def __del__(self) -> None:
        self._worker.close()

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """From ``{"item": [number]}`` to the answer as JSON, which keeps names that are not UTF-8."""
        number = int(batch["item"][0])
        return {"number": [number], "answer": [json.dumps(self._answer(self._jobs[number]))]}

    def _answer(self, job: Job) -> dict[str, Any]:
        node = socket.gethostname()
        try:
            self._check()
            if not os.path.lexists(job.source):
                return {"node": node, "outcome": None}
            self._worker.load()
        except VsalError as error:
            return {"node": node, "error": str(error), "code": error.exit_code}
        return {"node": node, "outcome": self._worker.run(job).record()}

    def _check(self) -> None:
        if self._setup.version != __version__:
            raise UsageError(f"vsal is {__version__} there and {self._setup.version} here; install the same on both.")
        if not self._setup.probe.exists():
            raise ReadError(_unshared(self._setup.probe.parent, socket.gethostname()))
