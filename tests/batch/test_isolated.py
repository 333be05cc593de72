from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from batch_stand_ins import job_of, load_broken, load_dying, load_fake

from saliency_cli.batch import isolated
from saliency_cli.batch.isolated import IsolatedWorker
from saliency_cli.errors import DeviceError, UsageError, WeightsError
from saliency_cli.options import PredictOptions


@pytest.fixture(scope="module")
def worker() -> Iterator[IsolatedWorker]:
    with IsolatedWorker(PredictOptions(), device="cpu", threads=3, load=load_fake) as worker:
        yield worker


def outcome_of(worker: IsolatedWorker, folder: Path, text: str):
    source = folder / "clip.mp4"
    source.write_text(text, encoding="utf-8")
    return worker.run(job_of(source, folder / "out"))


def test_a_job_is_done_in_another_process(worker: IsolatedWorker, tmp_path: Path) -> None:
    outcome = outcome_of(worker, tmp_path, "hello")
    assert (outcome.state, outcome.error, outcome.exit_code, outcome.frames) == ("done", None, 0, 1)
    assert (tmp_path / "out" / "clip.txt").read_text() == "HELLO"
    pid, device, threads = outcome.warnings[0].split()
    assert (int(pid) != os.getpid(), device, threads) == (True, "cpu", "3")
    assert outcome_of(worker, tmp_path, "again").warnings[0].split()[0] == pid, "the network is loaded once"


@pytest.mark.parametrize(
    ("text", "code", "phrases"),
    [
        ("broken", 3, ["clip.mp4 is broken."]),
        ("fault", 1, ["this is our fault", "ZeroDivisionError: by zero"]),
        ("crash", 3, ["clip.mp4: the decoder crashed (signal 11, SIGSEGV)"]),
        ("kill", 5, ["signal 9, SIGKILL", "memory"]),
        ("exit", 1, ["exit code 7"]),
    ],
)
def test_whatever_a_job_does_is_its_outcome(
    worker: IsolatedWorker, tmp_path: Path, text: str, code: int, phrases: list[str]
) -> None:
    outcome = outcome_of(worker, tmp_path, text)
    assert (outcome.state, outcome.exit_code, outcome.products) == ("failed", code, ())
    assert outcome.error is not None
    assert all(phrase in outcome.error for phrase in phrases), outcome.error
    assert "\n" not in outcome.error
    assert list((tmp_path / "out").iterdir()) == [], "what it left is removed"
    assert outcome_of(worker, tmp_path, "hello").state == "done", "and the next one runs"


def test_a_process_that_dies_between_two_jobs_costs_neither(worker: IsolatedWorker, tmp_path: Path) -> None:
    pid = int(outcome_of(worker, tmp_path, "hello").warnings[0].split()[0])
    os.kill(pid, signal.SIGKILL)
    outcome = outcome_of(worker, tmp_path, "again")
    assert (outcome.state, outcome.error) == ("done", None)
    assert int(outcome.warnings[0].split()[0]) != pid


def test_a_hang_ends_at_the_time_limit(tmp_path: Path) -> None:
    with IsolatedWorker(PredictOptions(), time_limit=0.5, load=load_fake) as worker:
        outcome = outcome_of(worker, tmp_path, "hang")
        assert (outcome.exit_code, outcome.state) == (3, "failed")
        assert "clip.mp4 was not done after 0.5 s, the time limit" in str(outcome.error)
        assert list((tmp_path / "out").iterdir()) == []


def test_a_hang_ends_when_no_frame_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolated, "STALL_FLOOR", 0.4)
    with IsolatedWorker(PredictOptions(), load=load_fake) as worker:
        assert outcome_of(worker, tmp_path, "slow").state == "done", "longer in all, but frames keep coming"
        assert outcome_of(worker, tmp_path, "writing").state == "done", "all predicted, and not yet all written"
        outcome = outcome_of(worker, tmp_path, "hang")
    assert "clip.mp4: no frame came for " in str(outcome.error)
    assert outcome.exit_code == 3


def test_what_hinders_the_loading_is_told_before_any_job(tmp_path: Path) -> None:
    with IsolatedWorker(PredictOptions(), load=load_broken) as worker:
        with pytest.raises(WeightsError, match="the weights are broken"):
            worker.load()
        outcome = outcome_of(worker, tmp_path, "hello")
    assert (outcome.state, outcome.exit_code, outcome.error) == ("failed", 4, "the weights are broken.")
    with IsolatedWorker(PredictOptions(), load=load_dying) as worker:
        with pytest.raises(DeviceError, match="signal 9, SIGKILL while it loaded the network"):
            worker.load()
        assert outcome_of(worker, tmp_path, "hello").exit_code == 5


def test_closed_in_the_middle_of_a_job(tmp_path: Path) -> None:
    worker = IsolatedWorker(PredictOptions(), load=load_fake)
    worker.load()
    outcomes = []
    thread = threading.Thread(target=lambda: outcomes.append(outcome_of(worker, tmp_path, "hang")))
    thread.start()
    while not list(tmp_path.glob("out/.vsal-*")):
        time.sleep(0.01)
    worker.close()
    thread.join(10)
    assert [outcome.error.endswith("the batch was stopped.") for outcome in outcomes] == [True]
    assert list((tmp_path / "out").iterdir()) == []
    assert outcome_of(worker, tmp_path, "hello").state == "failed"


def test_a_limit_is_above_zero() -> None:
    with pytest.raises(UsageError, match="--time-limit 0"):
        IsolatedWorker(PredictOptions(), time_limit=0)
