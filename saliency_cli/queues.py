"""Two ends of a bounded queue, each with a thread of its own: an iterable run ahead, and a consumer that lags behind.

Errors cross to the thread that uses them, and nothing is left running when a ``with`` block ends, however it ends.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Generic, Self, TypeVar

__all__ = ["Ahead", "Behind"]

T = TypeVar("T")

PATIENCE = 0.1  # seconds between looks at whether the other side has gone


class _End:
    """Marks the end of a queue; carries the error that ended it, if any."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


class _Worker:
    """A thread that can be waited for while Ctrl-C comes in.

    ``Thread.join`` cannot: interrupted, it takes a running thread for a dead one up to Python 3.12, and a second join
    returns at once. Then a product would be thrown away under the hands of the thread that writes it.
    """

    def __init__(self, target: Callable[[], None], name: str) -> None:
        self._target = target
        self._gone = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wait(self, *, hurry: Callable[[], None]) -> None:
        """Wait for the end. An interrupt calls ``hurry``, and is raised when the thread has ended; a second at once."""
        try:
            self._gone.wait()
        except BaseException:
            hurry()
            self._gone.wait()
            raise

    def _run(self) -> None:
        try:
            self._target()
        finally:
            self._gone.set()


class Ahead(Generic[T]):
    """An iterable whose items are made in a thread, at most ``depth`` ahead of whoever takes them.

    ::

        with Ahead(frames, depth=4) as stream:
            for frame in stream: ...

    ``stop`` is called when nothing more is taken: it lets an item's making end that waits for something.
    """

    def __init__(self, items: Iterable[T], *, depth: int, stop: Callable[[], None] = lambda: None) -> None:
        self._items, self._interrupt = items, stop
        self._queue: queue.Queue[T | _End] = queue.Queue(depth)
        self._stop = threading.Event()
        self._worker = _Worker(self._run, "vsal-ahead")

    def __enter__(self) -> Iterator[T]:
        self._worker.start()
        return self._take()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._interrupt()
        self._worker.wait(hurry=self._stop.set)

    def _run(self) -> None:
        end = _End()
        try:
            for item in self._items:
                placed = self._put(item)
                del item  # or it would outlive its place in the queue
                if not placed:
                    return
        except BaseException as error:  # handed to the taker, which raises it
            end = _End(error)
        self._put(end)

    def _put(self, item: T | _End) -> bool:
        """Whether the item found a place before the taker went away."""
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=PATIENCE)
            except queue.Full:
                continue
            return True
        return False

    def _take(self) -> Iterator[T]:
        while True:
            item = self._queue.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item
            del item


class Behind(Generic[T]):
    """A function called with items in a thread, in their order, at most ``depth`` of them waiting.

    ::

        with Behind(write, depth=4) as writer:
            for item in items:
                writer.put(item)

    The block's end waits until everything was consumed. The first error of the function is raised by the next ``put``
    or at the block's end; if the block itself fails, what waits is dropped, and ``stop`` is called: it lets a call of
    the function end that waits for something.
    """

    def __init__(self, consume: Callable[[T], None], *, depth: int, stop: Callable[[], None] = lambda: None) -> None:
        self._consume, self._interrupt = consume, stop
        self._queue: queue.Queue[T | _End] = queue.Queue(depth)
        self._error: BaseException | None = None
        self._drop = threading.Event()
        self._worker = _Worker(self._run, "vsal-behind")

    def __enter__(self) -> Self:
        self._worker.start()
        return self

    def put(self, item: T) -> None:
        """Hand an item over; waits while the queue is full."""
        self._queue.put(item)
        if self._error is not None:
            raise self._error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._drop.set()
            self._interrupt()
        try:
            self._queue.put(_End())
        except BaseException:
            self._hurry()
            self._worker.wait(hurry=self._hurry)
            raise
        self._worker.wait(hurry=self._hurry)
        if error is None and self._error is not None:
            raise self._error

    def _hurry(self) -> None:
        """Drop what waits. A second end does no harm: the first one empties the queue for it."""
        self._drop.set()
        self._interrupt()
        self._queue.put(_End())

    def _run(self) -> None:
        # After an error the queue is still emptied, so that whoever puts never waits for a place that will not come.
        while not isinstance(item := self._queue.get(), _End):
            if self._error is None and not self._drop.is_set():
                try:
                    self._consume(item)
                except BaseException as error:  # handed to the thread that puts
                    self._error = error
            del item
