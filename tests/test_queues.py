"""Threads at both ends of a queue: order, errors that cross, nothing left running, nothing that hangs."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from saliency_cli.queues import Ahead, Behind

pytestmark = pytest.mark.timeout(20)


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    left = [thread for thread in threading.enumerate() if thread.name.startswith("vsal-")]
    for thread in left:
        thread.join(1)  # a thread that has said that it is done may still be on its way out
    assert not [thread for thread in left if thread.is_alive()]


@pytest.fixture
def ctrl_c() -> Iterator[Any]:
    """Calls Ctrl-C after some seconds, in the main thread, while it waits."""
    timers: list[threading.Timer] = []

    def after(seconds: float) -> None:
        main = threading.main_thread().ident
        assert main is not None
        timers.append(threading.Timer(seconds, signal.pthread_kill, [main, signal.SIGINT]))
        timers[-1].start()

    yield after
    for timer in timers:
        timer.cancel()
        timer.join()


class BrokenError(Exception):
    pass


def broken_after(count: int) -> Iterator[int]:
    yield from range(count)
    raise BrokenError


def test_ahead_gives_every_item_in_order() -> None:
    with Ahead(range(100), depth=3) as stream:
        assert list(stream) == list(range(100))
    with Ahead([], depth=1) as stream:
        assert list(stream) == []
    with Ahead([None, None], depth=1) as stream:
        assert list(stream) == [None, None]


def test_ahead_runs_ahead_but_not_far() -> None:
    made = []

    def items() -> Iterator[int]:
        for item in range(50):
            made.append(item)
            yield item

    with Ahead(items(), depth=3) as stream:
        assert next(stream) == 0
        time.sleep(0.3)
        assert len(made) == 1 + 3 + 1  # taken, waiting, and one in the thread's hands


def test_an_error_of_the_source_reaches_the_taker_after_the_items_before_it() -> None:
    taken = []
    with pytest.raises(BrokenError), Ahead(broken_after(5), depth=2) as stream:  # noqa: PT012
        for item in stream:
            taken.append(item)
    assert taken == list(range(5))


def test_a_taker_that_leaves_early_stops_the_source() -> None:
    made = []

    def endless() -> Iterator[int]:
        while True:
            made.append(1)
            yield 1

    with Ahead(endless(), depth=2) as stream:
        assert next(stream) == 1
    count = len(made)
    time.sleep(0.2)
    assert len(made) == count <= 4


def test_a_taker_that_fails_stops_the_source_and_keeps_its_own_error() -> None:
    with pytest.raises(ZeroDivisionError), Ahead(broken_after(1), depth=2) as stream:  # noqa: PT012
        next(stream)
        time.sleep(0.1)
        raise ZeroDivisionError


def test_behind_consumes_every_item_in_order_before_the_block_ends() -> None:
    consumed: list[int] = []

    def consume(item: int) -> None:
        time.sleep(0.001)
        consumed.append(item)

    with Behind(consume, depth=2) as writer:
        for item in range(50):
            writer.put(item)
    assert consumed == list(range(50))


def test_behind_makes_the_producer_wait() -> None:
    go = threading.Event()
    with Behind(lambda _: bool(go.wait()), depth=2) as writer:  # type: ignore[arg-type,func-returns-value]
        for item in range(3):  # one in the thread's hands, two waiting
            writer.put(item)
        waiting = threading.Timer(0.2, go.set)
        waiting.start()
        begin = time.perf_counter()
        writer.put(3)
        assert time.perf_counter() - begin > 0.1
    waiting.join()


def test_an_error_of_the_consumer_reaches_the_producer_soon() -> None:
    def consume(item: int) -> None:
        if item == 3:
            raise BrokenError

    put = 0
    with pytest.raises(BrokenError), Behind(consume, depth=2) as writer:  # noqa: PT012
        for item in range(10_000):
            writer.put(item)
            put += 1
            time.sleep(0.001)
    assert put < 100


def test_an_error_on_the_last_item_reaches_the_producer_at_the_end() -> None:
    def consume(item: int) -> None:
        time.sleep(0.05)
        raise BrokenError

    with pytest.raises(BrokenError), Behind(consume, depth=2) as writer:
        writer.put(1)


def test_a_failing_block_drops_what_waits() -> None:
    consumed: list[int] = []

    def consume(item: int) -> None:
        time.sleep(0.1)
        consumed.append(item)

    with pytest.raises(ZeroDivisionError), Behind(consume, depth=10) as writer:  # noqa: PT012
        for item in range(10):
            writer.put(item)
        raise ZeroDivisionError
    assert len(consumed) < 3


def test_ctrl_c_while_the_producer_waits_for_a_place(ctrl_c: Any) -> None:
    busy = threading.Event()

    def consume(item: int) -> None:
        busy.set()
        time.sleep(0.5)
        busy.clear()

    ctrl_c(0.2)
    with pytest.raises(KeyboardInterrupt), Behind(consume, depth=1) as writer:  # noqa: PT012
        for item in range(100):
            writer.put(item)
    assert not busy.is_set()


def test_ctrl_c_at_the_end_waits_for_the_item_in_hand_and_drops_the_others(ctrl_c: Any) -> None:
    """Otherwise a product is thrown away while another thread still writes it."""
    busy = threading.Event()
    consumed = []

    def consume(item: int) -> None:
        busy.set()
        time.sleep(0.4)
        consumed.append(item)
        busy.clear()

    for depth in (1, 10):  # the end has to wait for a place, or for the thread
        consumed.clear()
        ctrl_c(0.1 if depth == 10 else 0.6)
        with pytest.raises(KeyboardInterrupt), Behind(consume, depth=depth) as writer:  # noqa: PT012
            for item in range(3):
                writer.put(item)
        assert not busy.is_set()
        assert 0 < len(consumed) < 3


def test_ctrl_c_while_the_taker_waits(ctrl_c: Any) -> None:
    def slow() -> Iterator[int]:
        time.sleep(0.5)
        yield 1

    ctrl_c(0.1)
    with pytest.raises(KeyboardInterrupt), Ahead(slow(), depth=1) as stream:
        next(stream)


def test_ctrl_c_while_the_source_is_waited_for(ctrl_c: Any) -> None:
    reading = threading.Event()

    def slow() -> Iterator[int]:
        yield 1
        reading.set()
        time.sleep(0.6)
        reading.clear()
        yield 2

    with pytest.raises(KeyboardInterrupt), Ahead(slow(), depth=1) as stream:  # noqa: PT012
        next(stream)
        assert reading.wait(1)
        ctrl_c(0.1)
    assert not reading.is_set()


def test_what_waits_for_something_else_is_told_to_stop() -> None:
    """An item that never comes, and a call that never ends, unless somebody says so."""
    come, go = threading.Event(), threading.Event()

    def items() -> Iterator[int]:
        yield 1
        come.wait()

    with Ahead(items(), depth=1, stop=come.set) as stream:
        assert next(stream) == 1
    with pytest.raises(BrokenError), Behind(lambda _: go.wait(), depth=1, stop=go.set) as writer:  # noqa: PT012
        writer.put(1)
        raise BrokenError
    assert come.is_set()
    assert go.is_set()
