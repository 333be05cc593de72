"""Several items computed at a time: their order, their errors, and torch's threads, before and after."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import torch

from saliency_cli.inference.overlap import overlapped, share, single_thread

pytestmark = pytest.mark.timeout(20)


class BrokenError(Exception):
    pass


@pytest.fixture(autouse=True)
def _threads_are_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    assert torch.get_num_threads() == before
    assert in_a_new_thread() == before
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("vsal-overlap")]


@pytest.fixture
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def in_a_new_thread() -> int:
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return found[0]


def slower_first(item: int) -> int:
    time.sleep(0.02 if item % 3 == 0 else 0.001)
    return item


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("count", [0, 1, 4, 30])
def test_results_come_in_the_order_of_their_items(workers: int, count: int) -> None:
    assert list(overlapped(slower_first, range(count), workers=workers, threads=1)) == list(range(count))


def test_workers_compute_while_the_caller_makes_the_next_item() -> None:
    together = threading.Barrier(3, timeout=10)  # two workers and the caller: one after the other, they would not meet

    def items() -> Iterator[int]:
        yield 0
        yield 1
        together.wait()
        yield 2

    def compute(item: int) -> int:
        if item < 2:
            together.wait()
        return item

    assert list(overlapped(compute, items(), workers=2, threads=1)) == [0, 1, 2]


def test_no_more_is_taken_in_advance_than_workers_and_one() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        while taken < 20:
            taken += 1
            yield taken

    for item in overlapped(lambda item: item, items(), workers=2, threads=1):
        assert taken <= item + 2


def test_what_is_ready_is_handed_on_before_more_is_taken() -> None:
    taken = 0
    computed = [threading.Event() for _ in range(9)]

    def items() -> Iterator[int]:
        nonlocal taken
        for item in range(8):
            taken += 1
            yield item
            assert computed[item].wait(10)  # a live source, slower than the workers
            time.sleep(0.01)  # until the future knows of it, too

    def compute(item: int) -> int:
        computed[item].set()
        return item

    for item in overlapped(compute, items(), workers=5, threads=1):
        assert taken <= item + 2


@pytest.mark.parametrize("broken", [0, 5])
def test_an_error_of_a_worker_is_raised_in_its_place(broken: int) -> None:
    def compute(item: int) -> int:
        if item == broken:
            raise BrokenError
        return slower_first(item)

    found = []
    with pytest.raises(BrokenError):  # noqa: PT012
        for item in overlapped(compute, range(1000), workers=3, threads=1):
            found.append(item)
    assert found == list(range(broken))


@pytest.mark.parametrize("count", [0, 1, 4])
def test_an_error_of_the_items_comes_after_the_results_before_it(count: int) -> None:
    def items() -> Iterator[int]:
        yield from range(count)
        raise BrokenError

    found = []
    with pytest.raises(BrokenError):  # noqa: PT012
        for item in overlapped(slower_first, items(), workers=2, threads=1):
            found.append(item)
    assert found == list(range(count))


def test_who_leaves_early_leaves_nothing_running() -> None:
    done = []

    def compute(item: int) -> int:
        time.sleep(0.01)
        done.append(item)
        return item

    results = overlapped(compute, range(1000), workers=2, threads=1)
    assert next(results) == 0  # type: ignore[call-overload]
    results.close()  # type: ignore[attr-defined]
    count = len(done)
    time.sleep(0.05)
    assert len(done) == count <= 4


@pytest.mark.usefixtures("three_threads")
def test_each_worker_has_its_share_of_torchs_threads() -> None:
    """Also when the caller's number is set again while they run, and torch gives it to threads that it sees first."""

    def compute(_: int) -> int:
        time.sleep(0.005)
        return torch.get_num_threads()

    found = []
    for threads in overlapped(compute, range(12), workers=2, threads=2):
        with single_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 3
        found.append(threads)
    assert found == [2] * 12


@pytest.mark.parametrize(
    ("cores", "expected"), [(1, (1, 1)), (2, (2, 1)), (8, (8, 1)), (12, (8, 1)), (16, (8, 2)), (33, (8, 4))]
)
def test_threads_are_dealt_out_to_workers(
    monkeypatch: pytest.MonkeyPatch, cores: int, expected: tuple[int, int]
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: cores)
    assert share(torch.device("cpu")) == expected
    assert share(torch.device("cuda")) == (1, cores)
    monkeypatch.undo()
