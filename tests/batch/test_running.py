from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from batch_pipeline import load_pipeline_with_fake
from batch_stand_ins import load_broken, load_fake, load_once, load_without_cuda
from clips import Tone, make_clip

from saliency_cli.batch import running
from saliency_cli.batch.isolated import Load
from saliency_cli.batch.items import Selection
from saliency_cli.batch.jobs import Job, Outcome
from saliency_cli.batch.ledger import Ledger
from saliency_cli.batch.local import Place, places, run_locally
from saliency_cli.batch.running import BatchReport, run_batch
from saliency_cli.batch.shards import Shard
from saliency_cli.errors import DeviceError, UsageError, WeightsError, WriteError
from saliency_cli.options import PredictOptions

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "_weights_sha256", lambda options: "0" * 64)


def fill(folder: Path, **texts: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / f"{name}.mp4").write_text(text, encoding="utf-8")
    return folder


def run(folder: Path, out: Path, *, workers: int = 1, time_limit: float | None = None, **rest: Any) -> BatchReport:
    engine = partial(run_locally, where=(Place(),) * workers, time_limit=time_limit, load=rest.pop("load", load_fake))
    return run_batch(folder, out, engine=engine, **rest)


def products(out: Path) -> dict[str, str]:
    return {str(path.relative_to(out)): path.read_text() for path in sorted(out.rglob("*.txt"))}


def leftovers(out: Path) -> list[Path]:
    return [path for path in out.rglob(".vsal-*") if not path.name.endswith(".lock")]


def records(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for path in out.glob("*.jsonl") for line in path.read_text().splitlines()]


def test_one_items_crash_or_hang_does_not_cost_the_others(tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", a="one", b="crash", c="two", d="hang", e="broken", f="fault", g="three")
    seen: list[Outcome] = []
    report = run(folder, tmp_path / "out", time_limit=1.0, workers=2, on_outcome=seen.append)
    assert sorted(outcome.item for outcome in report.done) == ["a.mp4", "c.mp4", "g.mp4"]
    assert {each.item: each.exit_code for each in report.failed} == {"b.mp4": 3, "d.mp4": 3, "e.mp4": 3, "f.mp4": 1}
    assert products(tmp_path / "out") == {"a.txt": "ONE", "c.txt": "TWO", "g.txt": "THREE"}
    assert leftovers(tmp_path / "out") == []
    assert len(seen) == 7
    assert [record["record"] for record in records(tmp_path / "out")].count("started") == 7

    fill(folder, b="mended", d="mended")
    again = run(folder, tmp_path / "out", workers=2)
    assert (again.skipped, sorted(each.item for each in again.done)) == (3, ["b.mp4", "d.mp4"])
    assert sorted(each.item for each in again.failed) == ["e.mp4", "f.mp4"]


def test_what_changed_is_done_again(tmp_path: Path) -> None:
    folder, out = fill(tmp_path / "in", a="one", b="two"), tmp_path / "out"
    assert len(run(folder, out).done) == 2
    assert run(folder, out).skipped == 2
    assert run(folder, out, threads=2).skipped == 2
    assert len(run(folder, out, normalize="none").done) == 2
    fill(folder, a="changed")
    (out / "b.txt").unlink()
    assert len(run(folder, out, normalize="none").done) == 2
    assert products(out) == {"a.txt": "CHANGED", "b.txt": "TWO"}
    moved = out.rename(tmp_path / "moved")
    assert run(folder, moved, normalize="none").skipped == 2


def test_the_first_failure_ends_it_if_asked(tmp_path: Path) -> None:
    folder, out = fill(tmp_path / "in", a="one", b="hang", c="broken", d="two", e="three"), tmp_path / "out"
    report = run(folder, out, workers=2, fail_fast=True)
    assert ([each.item for each in report.failed], report.stopped) == (["c.mp4"], True)
    assert leftovers(out) == []
    fill(folder, b="fine", c="fine")
    again = run(folder, out, workers=2)
    assert (again.failed, again.skipped + len(again.done)) == ([], 5)


def test_weights_that_do_not_load_fail_before_any_item(tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", a="one")
    with pytest.raises(WeightsError, match="the weights are broken"):
        run(folder, tmp_path / "out", load=load_broken, workers=2)
    assert [record["record"] for record in records(tmp_path / "out")] == ["run"]


def test_a_ledger_that_cannot_be_written_ends_the_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = Ledger.started

    def full(self: Ledger, job: Job, *, found: bool) -> None:
        if job.item == "b.mp4":
            raise WriteError("the disk is full.")
        started(self, job, found=found)

    folder, out = fill(tmp_path / "in", a="one", b="two", c="three"), tmp_path / "out"
    monkeypatch.setattr(Ledger, "started", full)
    with pytest.raises(WriteError, match="the disk is full"):
        run(folder, out, workers=2)
    monkeypatch.setattr(Ledger, "started", started)
    assert leftovers(out) == []
    assert len(run(folder, out).failed) == 0
    assert len(products(out)) == 3


def test_one_worker_that_cannot_load_is_one_fewer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = fill(tmp_path / "in", a="one", b="two")
    engine = partial(run_locally, where=(Place("cuda:7"), Place("cpu")), load=load_without_cuda)
    assert len(run_batch(folder, tmp_path / "out", engine=engine).done) == 2
    assert "one worker fewer: there is no cuda:7." in caplog.text


def test_shards_do_all_of_it_and_nothing_twice(tmp_path: Path) -> None:
    folder, out = fill(tmp_path / "in", **{f"clip{number}": "x" for number in range(9)}), tmp_path / "out"
    reports = [run(folder, out, shard=Shard(number, 2)) for number in (1, 2)]
    items = [outcome.item for report in reports for outcome in report.done]
    assert sorted(items) == sorted(path.name for path in folder.iterdir())
    assert all(report.done for report in reports)
    assert run(folder, out).skipped == 9
    assert run(folder, out, shard=Shard(2, 3)).done == []


def test_a_folder_that_does_not_fit(tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", a="one")
    with pytest.raises(UsageError, match="-o -: a batch needs a folder"):
        run(folder, Path("-"))
    with pytest.raises(UsageError, match="this is a file"):
        run(folder, folder / "a.mp4")
    with pytest.raises(UsageError, match="none in the options"):
        run(folder, tmp_path / "out", options=PredictOptions(output="x"))
    assert not (tmp_path / "out").exists()


def test_cores_are_those_that_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    from saliency_cli.batch.local import cores

    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {2, 3, 5, 7}, raising=False)
    for asked, expected in {"": 4, "2": 2, "3,1": 3, "16": 4, "0": 4, "many": 4}.items():
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
        assert cores() == expected


def test_where_workers_compute(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from saliency_cli.batch import local
    from saliency_cli.inference import device

    monkeypatch.setattr(local, "cores", lambda: 8)
    cpu = PredictOptions(device="cpu")
    assert places(cpu, None, 100)[0] == [Place(None, 2)] * 4
    assert places(cpu, None, 100, tiny=True)[0] == [Place(None, 1)] * 8
    assert places(cpu, 1, 100)[0] == [Place(None, None)]
    assert places(cpu, 2, 100)[0] == [Place(None, 4)] * 2
    assert places(PredictOptions(device="cpu", threads=1), 2, 100)[0] == [Place(None, None)] * 2
    assert places(cpu, 6, 2) == ([Place(None, 4)] * 2, "one for each item")
    monkeypatch.setattr(device, "choose_device", lambda wanted: (torch.device("cuda"), "a test"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert places(PredictOptions(), None, 9)[0] == [Place("cuda:0", 4), Place("cuda:1", 4)]
    assert [place.device for place in places(PredictOptions(), 3, 9)[0]] == ["cuda:0", "cuda:1", "cuda:0"]
    assert places(PredictOptions(device="cuda:1"), None, 9)[0] == [Place(None, None)]
    with pytest.raises(UsageError, match="--workers 0"):
        places(cpu, 0, 9)


PROGRAM = """
import os, signal, sys
from functools import partial
from pathlib import Path
from {module} import {load} as load
from saliency_cli.batch import ledger, running
from saliency_cli.batch.local import Place, run_locally

running._weights_sha256 = lambda options: "0" * 64
moment, kind, wanted = {moment!r}
write, seen = ledger.Ledger._write, []
def fatal(self, record):
    if record["record"] == kind:
        seen.append(record)
    here = record["record"] == kind and len(seen) == wanted
    if here and moment == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    write(self, record)
    if here and moment == "after":
        os.kill(os.getpid(), signal.SIGKILL)
ledger.Ledger._write = fatal
if __name__ == "__main__":
    print("ready", flush=True)
    engine = partial(run_locally, where=(Place(),) * {workers}, load=load)
    report = running.run_batch("in", "out", engine=engine, {options})
    print("done", len(report.done))
"""


def start(
    folder: Path, moment: tuple[str, str, int], *, load: Load = load_fake, options: str = "", workers: int = 2
) -> subprocess.Popen[str]:
    """A batch of its own, that kills itself at a moment."""
    text = PROGRAM.format(moment=moment, module=load.__module__, load=load.__name__, options=options, workers=workers)
    (folder / "program.py").write_text(text)
    return subprocess.Popen(
        [sys.executable, "program.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


MOMENTS = [
    ("after", "run", 1),
    ("before", "started", 2),
    ("before", "done", 1),
    ("before", "done", 6),
]


def test_killed_at_any_point_and_resumed(tmp_path: Path) -> None:
    texts = {f"clip{number}": f"text {number}" for number in range(6)}
    folders = [tmp_path / str(number) for number in range(len(MOMENTS))]
    programs = []
    for folder, moment in zip(folders, MOMENTS, strict=True):
        folder.mkdir()
        fill(folder / "in", **texts)
        programs.append(start(folder, moment))
    for folder, program, moment in zip(folders, programs, MOMENTS, strict=True):
        _, err = program.communicate(timeout=60)  # which waits for the workers, too: they hold the pipe
        assert program.returncode == -signal.SIGKILL, (moment, err)
        known = [record["record"] for record in records(folder / "out")]
        report = run(folder / "in", folder / "out", workers=2)
        assert report.skipped == known.count("done"), moment
        assert report.skipped >= 6 - 2 if moment == ("before", "done", 6) else True, "no more than those in flight"
        assert known.count("started") - known.count("done") <= 2
        assert products(folder / "out") == {f"{name}.txt": text.upper() for name, text in texts.items()}, moment
        assert leftovers(folder / "out") == []


def contents(out: Path) -> dict[str, bytes]:
    """All products and sidecars, these without how long it took."""
    found = {}
    for path in sorted(path for path in out.rglob("*") if path.is_file() and "ledger" not in path.name):
        content = path.read_bytes()
        if path.suffix == ".json":
            sidecar = json.loads(content)
            del sidecar["timings"]
            content = json.dumps(sidecar).encode()
        found[str(path.relative_to(out))] = content
    return found


@pytest.mark.slow
def test_products_are_those_of_an_undisturbed_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in/sub").mkdir(parents=True)
    for number in range(4):
        make_clip(
            Path("in", "sub" if number % 2 else "", f"clip{number}.mp4"), frames=5 + number, sound=Tone(seconds=0.2)
        )
    options = 'write=("overlay", "maps", "stats")'
    program = start(tmp_path, ("before", "done", 2), load=load_pipeline_with_fake, options=options, workers=1)
    whole = run(Path("in"), Path("whole"), load=load_pipeline_with_fake, write=("overlay", "maps", "stats"))
    assert len(whole.done) == 4
    _, err = program.communicate(timeout=60)
    assert program.returncode == -signal.SIGKILL, err
    resumed = run(Path("in"), Path("out"), load=load_pipeline_with_fake, write=("overlay", "maps", "stats"))
    assert (resumed.skipped, len(resumed.done)) == (1, 3)
    assert leftovers(Path("out")) == []
    assert contents(Path("out")) == contents(Path("whole"))
    assert len(contents(Path("out"))) == 4 * (2 + 1 + 2) + 5 + 6 + 7 + 8


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are told by /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_workers_end_with_the_batch(tmp_path: Path, number: signal.Signals) -> None:
    fill(tmp_path / "in", a="one", b="hang", c="hang")
    program = start(tmp_path, ("never", "run", 9))
    try:
        end = time.monotonic() + 30
        while len(leftovers(tmp_path / "out")) < 2 or not (tmp_path / "out" / "a.txt").exists():
            assert time.monotonic() < end
            time.sleep(0.02)
        threads = Path(f"/proc/{program.pid}/task").iterdir()
        children = [pid for thread in threads for pid in (thread / "children").read_text().split()]
        assert len(children) >= 2
        program.send_signal(number)
        program.communicate(timeout=30)
        while any(alive(int(pid)) for pid in children):
            assert time.monotonic() < end
            time.sleep(0.02)
    finally:
        program.kill()
    if number == signal.SIGINT:
        assert leftovers(tmp_path / "out") == []
    fill(tmp_path / "in", b="two", c="three")
    report = run(tmp_path / "in", tmp_path / "out")
    assert (report.skipped, len(report.done), leftovers(tmp_path / "out")) == (1, 2, [])


def test_without_overwriting_its_own_half_done_work_is_replaced(tmp_path: Path) -> None:
    folder, out = fill(tmp_path / "in", a="one", b="two"), tmp_path / "out"
    out.mkdir()
    (out / "b.txt").write_text("the user's own")
    options = PredictOptions(overwrite=False)
    plan = running.plan_batch(folder, out, options)
    with Ledger.opened(out, plan.shard, plan.key, {}) as ledger:
        for job in plan.jobs:
            ledger.started(job, found=job.occupied)
    assert {job.item: job.occupied for job in plan.jobs} == {"a.mp4": False, "b.mp4": True}
    (out / "a.txt").write_text("of the run that died")
    again = running.plan_batch(folder, out, options)
    assert {job.item: job.redone for job in again.jobs} == {"a.mp4": True, "b.mp4": False}

    def dying(jobs: Iterable[Job], options: PredictOptions) -> Generator[Outcome, None, None]:
        list(jobs)
        raise RuntimeError
        yield

    with pytest.raises(RuntimeError):
        run_batch(folder, out, options, engine=dying)
    again = running.plan_batch(folder, out, options)
    assert {job.item: job.redone for job in again.jobs} == {"a.mp4": True, "b.mp4": False}, "the second time, too"


def test_what_another_choice_of_inputs_made_is_not_replaced(tmp_path: Path) -> None:
    folder, out = fill(tmp_path / "in", a="one"), tmp_path / "out"
    (folder / "a.mov").write_text("two", encoding="utf-8")
    for pattern in ("*.mov", "*.mp4"):
        assert len(run(folder, out, selection=Selection(include=(pattern,))).done) == 1
    assert products(out) == {"a.mov.txt": "TWO", "a.mp4.txt": "ONE"}


def test_a_worker_that_cannot_load_again_gives_its_item_back(tmp_path: Path) -> None:
    folder, out = fill(tmp_path / "in", a="kill", b="two", c="three"), tmp_path / "out"
    with pytest.raises(DeviceError, match="the GPU is gone"):
        run(folder, out, load=load_once, weights=str(tmp_path / "loaded"))
    assert [record["record"] for record in records(out)] == ["run", "started", "failed", "started"]
    fill(folder, a="one")
    assert len(run(folder, out).done) == 3
