"""The engine that runs a batch on this machine: some threads, each with an isolated worker."""

from __future__ import annotations

import logging
import os
import queue
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass

from saliency_cli.batch.isolated import IsolatedWorker, Load, load_pipeline
from saliency_cli.batch.jobs import Job, Outcome
from saliency_cli.errors import UsageError, VsalError
from saliency_cli.media import PICTURE_SUFFIXES
from saliency_cli.media.threads import threads_wanted
from saliency_cli.options import PredictOptions

__all__ = ["Place", "are_tiny", "places", "run_locally"]

log = logging.getLogger(__name__)

CORES_PER_WORKER = 2
TINY = 50_000  # bytes
LOOK_EVERY = 0.25  # seconds; between looks at the frames that running jobs have done


@dataclass(frozen=True, slots=True)
class Place:
    """Where a worker computes: its device and threads; None leaves them as the options have them."""

    device: str | None = None
    threads: int | None = None


def places(options: PredictOptions, workers: int | None, items: int, *, tiny: bool = False) -> tuple[list[Place], str]:
    """One place for each worker, and why there are so many.

    Without ``workers``: one for each GPU, where GPUs are used. On a CPU one for two cores, as a prediction decodes,
    predicts and encodes at once; for ``tiny`` inputs, which end before that gets going, one for each core.

    Raises UsageError, DeviceError: see ``choose_device``.
    """
    import torch  # slow, and only now needed

    from saliency_cli.inference.device import choose_device

    if workers is not None and workers < 1:
        raise UsageError(f"--workers {workers}: must be at least 1.")
    device, _ = choose_device(options.device)
    gpus = torch.cuda.device_count() if device.type == "cuda" and options.device in ("auto", "cuda") else 0
    if gpus:
        count, why = workers or gpus, f"one for each of {gpus} GPUs"
    elif device.type == "cpu":
        count, why = workers or max(1, cores() // (1 if tiny else CORES_PER_WORKER)), f"{cores()} cores"
    else:
        count, why = workers or 1, f"one device, {device}"
    why = "asked for" if workers else why
    if items < count:
        count, why = max(1, items), "one for each item"
    threads = None if count == 1 or options.threads is not None else max(1, cores() // count)
    return [Place(f"cuda:{number % gpus}" if gpus else None, threads) for number in range(count)], why


def are_tiny(jobs: Sequence[Job]) -> bool:
    """Whether most of the inputs take less time than it takes to begin with one: pictures, and very small files."""
    small = sum(job.size < TINY or job.source.suffix.lower() in PICTURE_SUFFIXES for job in jobs)
    return small > len(jobs) / 2


def cores() -> int:
    """Those that this process may use; fewer, if OMP_NUM_THREADS says so: who sets it shares the machine."""
    try:
        have = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        have = os.cpu_count() or 1
    return min(have, threads_wanted() or have)


def run_locally(
    jobs: Iterable[Job],
    options: PredictOptions,
    *,
    where: Sequence[Place] = (Place(),),
    time_limit: float | None = None,
    load: Load = load_pipeline,
    on_running: Callable[[float], None] | None = None,
) -> Generator[Outcome, None, None]:
    """Do the jobs, with one worker at each place; outcomes come as they come.

    A worker takes its next job when its last outcome was dealt with: no more jobs are ever in flight than there are
    workers. Closing the generator ends the workers in the middle of their jobs, and removes what they left.

    Args:
        jobs: taken one by one, each when a worker is free.
        where: one place for each worker.
        time_limit: see ``IsolatedWorker``.
        on_running: called now and then with the share of the running jobs that is done, 1.5 of 2 jobs for example.

    Raises WeightsError, DeviceError, UsageError if no worker could load its network.
    """
    crew = [
        IsolatedWorker(options, device=place.device, threads=place.threads, time_limit=time_limit, load=load)
        for place in where
    ]
    source, taking, stopped = iter(jobs), threading.Lock(), threading.Event()
    returned: list[Job] = []  # by workers that could not load their network again
    results: queue.Queue[_Done | _Gone] = queue.Queue()

    def take() -> Job | None:
        with taking:
            if stopped.is_set():
                return None
            return returned.pop() if returned else next(source, None)

    def work(worker: IsolatedWorker) -> None:
        error: BaseException | None = None
        loaded = False
        if hasattr(signal, "pthread_sigmask"):
            # Ctrl-C is the main thread's; a child that starts just then must not see it either, and inherits this.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            worker.load()
            loaded = True
            while (job := take()) is not None:
                try:
                    worker.load()  # again, where a job took the process with it
                except VsalError:
                    loaded = False
                    with taking:
                        returned.append(job)
                    raise
                done = _Done(worker.run(job))
                results.put(done)
                done.dealt_with.wait()
        except BaseException as caught:
            error = caught
        finally:
            worker.close()
            results.put(_Gone(error, loaded))

    threads = [threading.Thread(target=work, args=(worker,), name="batch", daemon=True) for worker in crew]
    for thread in threads:
        thread.start()
    last: _Done | None = None
    try:
        errors: list[BaseException] = []
        left = len(threads)
        while left:
            if last is not None:
                last.dealt_with.set()
                last = None
            if on_running is not None:
                on_running(sum(done / all_ for done, all_ in (worker.progress for worker in crew) if all_))
            try:
                result = results.get(timeout=LOOK_EVERY)  # a limit, as Windows cannot be interrupted in waiting
            except queue.Empty:
                continue
            if isinstance(result, _Gone):
                left -= 1
                if result.error is not None:
                    errors.append(result.error)
                    # What comes after the loading is the jobs' source's: without it, nothing can go on.
                    if result.loaded or not isinstance(result.error, VsalError) or len(errors) == len(threads):
                        raise result.error
                    log.warning("one worker fewer: %s", result.error)
                continue
            last = result
            yield result.outcome
        if returned:  # when nobody was left who could take it
            raise errors[-1]
    finally:
        stopped.set()
        if last is not None:
            last.dealt_with.set()
        for worker in crew:
            worker.close()
        for thread in threads:
            while thread.is_alive():
                _free(results)
                thread.join(0.05)


class _Done:
    """An outcome, and whether whoever waits for it has dealt with it."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.dealt_with = threading.Event()


@dataclass(frozen=True, slots=True)
class _Gone:
    """A worker's end, and whether it had loaded its network before."""

    error: BaseException | None
    loaded: bool


def _free(results: queue.Queue[_Done | _Gone]) -> None:
    """Let go of threads that wait for their outcome to be dealt with: nobody will."""
    while True:
        try:
            result = results.get_nowait()
        except queue.Empty:
            return
        if isinstance(result, _Done):
            result.dealt_with.set()
