"""Jobs in a process of their own, which may crash, hang or be killed without harm to anything else.

The process is spawned, loads the network once and predicts one job after the other. One that dies is replaced for the
next job, and what it left is removed. It watches its parent and ends when that ends, however that was.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing import connection
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar, cast

from pebble import ProcessExpired, ProcessFuture, ProcessPool

from saliency_cli.batch.jobs import Job, Outcome
from saliency_cli.errors import DeviceError, MediaError, ReadError, UsageError, VsalError, WeightsError, describe
from saliency_cli.options import PredictOptions

__all__ = ["IsolatedWorker", "Load", "Predict", "stall_limit"]

LOADING_LIMIT = 900.0  # seconds in which a network must be loaded, from a slow disk and on a slow machine
STALL_FLOOR = 900.0  # seconds without a new frame, after which an item hangs
SLOWEST_READING = 2e6  # bytes per second: indexing, hashing and moving a file take this long at worst
LOOK_EVERY = 0.25  # seconds between looks at the limits

OnProgress = Callable[[int, int | None], None]
R = TypeVar("R")


class Predict(Protocol):
    """Predicts one job; called in the worker's process."""

    def __call__(self, job: Job, on_progress: OnProgress, /) -> Outcome: ...


class Load(Protocol):
    """Makes a :class:`Predict`; called in the worker's process, once. It must be a module's function, to be pickled."""

    def __call__(self, options: PredictOptions, device: str | None, threads: int | None, /) -> Predict: ...


def stall_limit(job: Job) -> float:
    """Seconds without a new frame after which a job is taken to hang: a quarter of an hour, more for large files."""
    return STALL_FLOOR + job.size / SLOWEST_READING


def load_pipeline(options: PredictOptions, device: str | None, threads: int | None, /) -> Predict:
    """The real thing: ``pipeline.predict`` with a loaded network."""
    from saliency_cli.batch.predicting import predicting  # imports torch, which only the worker needs

    return predicting(options, device, threads)


class IsolatedWorker:
    """One child process that holds a loaded predictor.

    Args:
        options: what is wanted of every job.
        device, threads: instead of those in ``options``, where given.
        time_limit: seconds that a job may take. None: as long as frames keep coming, see :func:`stall_limit`.
        load: what the child calls to get its predictor.

    Use it from one thread at a time; :attr:`progress` and :meth:`close` are for any.
    """

    def __init__(
        self,
        options: PredictOptions,
        *,
        device: str | None = None,
        threads: int | None = None,
        time_limit: float | None = None,
        load: Load = load_pipeline,
    ) -> None:
        if time_limit is not None and not time_limit > 0:
            raise UsageError(f"--time-limit {time_limit:g}: must be a number of seconds above 0.")
        self._setup = (options, device, threads, load)
        self._limit = time_limit
        self._spawn = multiprocessing.get_context("spawn")
        self._counts = self._spawn.RawArray(ctypes.c_longlong, 3)  # frames done; all, or -1; signs of life
        self._pool: ProcessPool | None = None
        self._loaded = self._closed = False
        self._guard = threading.Lock()

    @property
    def progress(self) -> tuple[int, int | None]:
        """Frames that the job has done, and all that it has, if that is known."""
        done, total, _ = self._counts
        return done, None if total < 0 else total

    def load(self) -> None:
        """Start the process and load the network; without effect if that was done.

        Raises:
            WeightsError, DeviceError, UsageError: as ``pipeline.load_predictor``.
            DeviceError: the process could not be started, died or hung meanwhile.
        """
        if self._loaded:
            return
        try:
            self._call(_load, self._setup, limit=LOADING_LIMIT)
        except _LostError as lost:
            raise DeviceError(
                f"the worker's process {lost.how()} while it loaded the network; check the memory, and in a script of "
                "your own make the call under if __name__ == '__main__'."
            ) from None
        self._loaded = True

    def run(self, job: Job) -> Outcome:
        """Predict one job. Whatever the job does becomes its outcome; nothing is raised for it."""
        begin = time.perf_counter()
        try:
            try:
                outcome = self._predict(job)
            except _LostError as lost:
                if lost.begun:
                    raise
                outcome = self._predict(job)  # the process had died before it was given the job
        except _LostError as lost:
            self._tidy(job)
            return Outcome.failure(job.item, *lost.told(job), seconds=time.perf_counter() - begin)
        except Exception as error:  # of the loading: a job's own errors are outcomes already
            return Outcome.failure(job.item, *describe(error), seconds=time.perf_counter() - begin)
        if outcome.state == "failed":
            self._tidy(job)
        return outcome

    def _predict(self, job: Job) -> Outcome:
        self.load()
        stall = stall_limit(job) if self._limit is None else None
        return self._call(_run, (job,), limit=self._limit, stall=stall)

    def call(self, function: Callable[..., R], *arguments: Any, limit: float | None = None) -> R:
        """Call a module's function in the process, without loading anything. Its errors are raised.

        Raises ReadError if the process died or hung meanwhile.
        """
        try:
            return self._call(function, arguments, limit=limit)
        except _LostError as lost:
            raise ReadError(f"the worker's process {lost.how()}.") from None

    def close(self) -> None:
        """End the process, in the middle of a job if need be. Without effect the second time."""
        with self._guard:
            self._closed = True
            pool, self._pool = self._pool, None
        if pool is not None:
            _end(pool)

    def _call(
        self, function: Callable[..., R], arguments: Sequence[Any], *, limit: float | None, stall: float | None = None
    ) -> R:
        """The function's result. Raises its errors, or _LostError if the process did not live to return."""
        with self._guard:
            if self._closed:
                raise _LostError(closed=True)
            if self._pool is None:
                self._pool = ProcessPool(1, initializer=_begin, initargs=(self._counts,), context=self._spawn)
            pool = self._pool
        self._counts[:] = [0, -1, 0]
        try:
            answer: _Answer = self._awaited(pool.schedule(_answer, args=(function, arguments)), limit, stall)
        except _LostError:
            self._drop(pool)
            raise
        except ProcessExpired as expired:
            self._drop(pool)
            raise _LostError(code=expired.exitcode, closed=self._closed) from None
        except (BrokenProcessPool, CancelledError, RuntimeError, OSError):  # it died before it began, or was closed
            self._drop(pool)
            raise _LostError(closed=self._closed) from None
        finally:
            self._counts[:] = [0, -1, 0]
        if answer.error is not None:
            raise answer.error
        return cast(R, answer.value)

    def _awaited(self, future: ProcessFuture[_Answer], limit: float | None, stall: float | None) -> _Answer:
        begin = moved = time.monotonic()
        seen = 0
        while True:
            # Looked at by turns, as an answer and a limit that is over may come in one moment.
            done, _ = wait([future], timeout=LOOK_EVERY)
            if done:
                return future.result()
            if self._closed:  # by another thread: a pool that was stopped answers no more
                raise _LostError(closed=True)
            now = time.monotonic()
            if self._counts[2] != seen:
                seen, moved = self._counts[2], now
            if limit is not None and now - begin > limit:
                raise _LostError(limit=limit)
            if stall is not None and now - moved > stall:
                raise _LostError(stalled=now - moved, frames=self._counts[0])

    def _drop(self, pool: ProcessPool) -> None:
        with self._guard:
            self._loaded = False
            mine = self._pool is pool  # otherwise close() ends it
            if mine:
                self._pool = None
        if mine:
            _end(pool)

    def _tidy(self, job: Job) -> None:
        """Remove what a dead process left of a job."""
        from saliency_cli.media import remove_marked  # the writers take a second to import

        remove_marked(job.folder, {job.mark})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _LostError(Exception):
    """The process is gone, or has to go, without an answer."""

    def __init__(
        self,
        *,
        code: int | None = None,
        limit: float | None = None,
        stalled: float | None = None,
        frames: int = 0,
        closed: bool = False,
    ) -> None:
        super().__init__()
        self.code, self.limit, self.stalled, self.frames, self.closed = code, limit, stalled, frames, closed

    @property
    def begun(self) -> bool:
        """Whether the process had taken up the work, or was stopped on purpose."""
        return self.closed or (self.code, self.limit, self.stalled) != (None, None, None)

    def how(self) -> str:
        """What became of the process, as the end of a sentence that begins with it."""
        if self.closed:
            return "was stopped"
        if self.limit is not None or self.stalled is not None:
            return "took too long"
        if self.code is None:
            return "ended before it had begun"
        if self.code < 0:
            return f"was ended by signal {_signal(-self.code)}"
        return f"ended unexpectedly (exit code {self.code})"

    def told(self, job: Job) -> tuple[str, int]:
        """The sentence for people, and the exit code."""
        source = job.source
        if self.closed:
            return f"{source}: the batch was stopped.", VsalError.exit_code
        if self.limit is not None:
            return (
                f"{source} was not done after {self.limit:g} s, the time limit; give a longer --time-limit, or check "
                "whether the file is damaged.",
                ReadError.exit_code,
            )
        if self.stalled is not None:
            return (
                f"{source}: no frame came for {self.stalled:.0f} s after the first {self.frames}; the file is probably "
                "damaged: convert it, or give a --time-limit if it is only slow.",
                ReadError.exit_code,
            )
        if self.code in (-signal.SIGKILL, -signal.SIGTERM):
            return (
                f"{source}: the worker's process {self.how()}, as happens where memory runs out; try fewer --workers "
                "or smaller videos.",
                DeviceError.exit_code,
            )
        if self.code is not None and self.code < 0:
            return (
                f"{source}: the decoder crashed (signal {_signal(-self.code)}); the file is probably damaged: "
                "convert it, or try another --decoder.",
                ReadError.exit_code,
            )
        return f"{source}: the worker's process {self.how()}; please report it.", VsalError.exit_code


def _signal(number: int) -> str:
    try:
        return f"{number}, {signal.Signals(number).name}"
    except ValueError:
        return str(number)


def _end(pool: ProcessPool) -> None:
    """End a pool's process, at once."""
    pool.stop()  # type: ignore[no-untyped-call]
    pool.join()


# From here on: in the child.


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a call in the child gave: errors cross as ours, since others need not survive pickling."""

    value: Any = None
    error: VsalError | None = None


_counts: Any = None
_predict: Predict | None = None


def _begin(counts: Any) -> None:
    """First thing in the child: end with the parent, and keep stdout clean, which is for the names of products."""
    global _counts
    _counts = counts
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()
    sys.stdout.flush()
    os.dup2(2, 1)


def _answer(function: Callable[..., Any], arguments: Sequence[Any]) -> _Answer:
    try:
        return _Answer(function(*arguments))
    except VsalError as error:
        return _Answer(error=type(error)(str(error)))
    except BaseException as error:
        message, code = describe(error)
        kind = next(
            kind for kind in (VsalError, UsageError, MediaError, WeightsError, DeviceError) if kind.exit_code == code
        )
        return _Answer(error=kind(message))


def _load(options: PredictOptions, device: str | None, threads: int | None, load: Load) -> None:
    global _predict
    _predict = load(options, device, threads)


def _run(job: Job) -> Outcome:
    assert _predict is not None

    def on_progress(done: int, total: int | None) -> None:
        _counts[:] = [done, -1 if total is None else total, _counts[2] + 1]

    begin = time.perf_counter()
    try:
        outcome = _predict(job, on_progress)
    except BaseException as error:
        return Outcome.failure(job.item, *describe(error), seconds=time.perf_counter() - begin)
    return replace(outcome, seconds=time.perf_counter() - begin)
