"""Several items of a sequence computed at a time, on threads, and handed on in their order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

__all__ = ["Share", "overlapped", "share", "single_thread"]

T = TypeVar("T")
R = TypeVar("R")

Share = tuple[int, int]
"""How many workers there are, and how many threads of torch's each has."""

MAX_WORKERS = 8  # beyond, what is under way takes memory, and more threads for each cost less


def share(device: torch.device) -> Share:
    """Torch's threads, as the user or torch set them, dealt out to workers.

    Small networks lose much of several threads to waiting for one another at every layer: each worker has one, as long
    as workers suffice to use them all. A GPU has one worker, which prepares its work while others wait for frames.
    """
    if device.type != "cpu":
        return 1, torch.get_num_threads()
    threads = torch.get_num_threads()
    workers = min(threads, MAX_WORKERS)
    return workers, threads // workers


def overlapped(compute: Callable[[T], R], items: Iterable[T], *, workers: int, threads: int) -> Iterator[R]:
    """``compute`` of each item, in order, by ``workers`` at a time, with ``threads`` of torch's for each.

    One more item than there are workers is taken in advance at most, so that none is idle while the caller makes the
    next; what is ready does not wait for that, as the items of a live source come slowly. An error, of ``compute`` or
    of ``items``, is raised after the results before it; what else waits is dropped.
    """
    waiting: deque[Future[R]] = deque()
    broken: Future[R] = Future()  # takes the place of an item that could not be made
    with ThreadPoolExecutor(workers, "vsal-overlap", _use_threads, (threads,)) as pool:
        try:
            stream = iter(items)
            while not broken.done():
                try:
                    waiting.append(pool.submit(compute, next(stream)))
                except StopIteration:
                    break
                except Exception as error:  # raised when its turn comes
                    broken.set_exception(error)
                    waiting.append(broken)
                while len(waiting) > workers or (waiting and waiting[0].done()):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
            # The workers' number has become that of threads yet to come: give those the caller's again.
            torch.set_num_threads(torch.get_num_threads())


def _use_threads(threads: int) -> None:
    """Let this thread, a new one, use so many of torch's."""
    torch.get_num_threads()  # at its first use, torch gives a thread the number set last, by whichever thread
    torch.set_num_threads(threads)


@contextmanager
def single_thread() -> Iterator[None]:
    """Torch without help from other threads, here: for steps so small that they wait for it, turning idly, in between.

    Nothing may be yielded from within.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
