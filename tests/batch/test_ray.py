from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from saliency_cli.batch import ray_cluster, ray_engine
from saliency_cli.batch.jobs import Job, Outcome
from saliency_cli.batch.ray_engine import run_on_ray
from saliency_cli.errors import DeviceError, ReadError, UsageError, VsalError, WeightsError
from saliency_cli.options import PredictOptions

ROOT = Path(__file__).resolve().parents[2]
STRANGE = os.fsdecode(b"caf\xe9 \xff\n.mp4")  # not UTF-8, and with the end of a line


def program_on_a_cluster(folder: Path) -> tuple[dict[str, Any], str]:
    """Run ``ray_stand_ins`` with a cluster that touches nothing outside a folder of its own; its result, and stderr."""
    # Sockets' paths are short: pytest's own folders would be too long.
    with tempfile.TemporaryDirectory(prefix="vsal-", dir="/tmp") as private:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "tests"))),
            "HOME": private,
            "RAY_TMPDIR": private,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # the loopback interface alone
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_enable_worker_prestart": "0",
            "RAY_prestart_worker_first_driver": "0",
            "RAY_health_check_period_ms": "500",
            "RAY_health_check_failure_threshold": "3",
        }
        environment.pop("RAY_ADDRESS", None)
        try:
            done = subprocess.run(
                [sys.executable, str(ROOT / "tests" / "ray_stand_ins.py"), str(folder)],
                env=environment,
                capture_output=True,
                text=True,
                timeout=200,
            )
        finally:
            left = processes_with(private)
        assert left == []
        assert done.returncode == 0, done.stderr
        *chatter, result = done.stdout.splitlines()
        assert chatter == []
        return json.loads(result), done.stderr


def processes_with(text: str) -> list[str]:
    """The command lines of the processes that are running and name ``text``."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it has ended
            continue
        if text in command:
            found.append(command)
    return found


@pytest.mark.slow
def test_an_actor_and_a_node_are_killed_and_nothing_is_lost(tmp_path: Path) -> None:
    texts = {
        "a.mp4": "wait",  # until the outcome of another item is in the ledger
        "b.mp4": "two",
        "c.mp4": "kill the actor",
        STRANGE: "strange",
        "d.mp4": "crash",  # of the worker's process, which costs no actor
        "e.mp4": "kill the node",
        "f.mp4": "six",
        "g.mp4": "seven",
    }
    folder, out = tmp_path / "in" / "deep", tmp_path / "out"
    folder.mkdir(parents=True)
    for name, text in texts.items():
        (folder / name).write_text(text)
    result, _ = program_on_a_cluster(tmp_path)

    items = sorted(f"deep/{name}" for name in texts)
    assert sorted(result["order"]) == items  # each once
    assert sorted(each["item"] for each in result["done"]) == [item for item in items if item != "deep/d.mp4"]
    products = {path.name: path.read_text() for path in (out / "deep").iterdir()}
    assert products == {
        f"{Path(name).stem}.txt": text.upper() for name, text in texts.items() if text != "crash"
    }  # and no temporary files
    [ledger] = out.glob("vsal-ledger*.jsonl")
    records = [json.loads(line) for line in ledger.read_text().splitlines()]
    ended = {record["item"]: record["record"] for record in records if record["record"] in ("done", "failed")}
    assert ended == {item: "failed" if item == "deep/d.mp4" else "done" for item in items}
    tries = [tuple(json.loads(line)) for line in (out / "tries").read_text().splitlines()]
    again = [("deep/c.mp4", True), ("deep/e.mp4", True)]
    assert sorted(tries) == sorted([*((item, False) for item in items), *again])
    assert [path.name for path in out.glob(".vsal-*.probe")] == []


# Without a cluster: what is asked of it, and what is made of what it says.


def job(folder: Path, item: str) -> Job:
    return Job(item, folder / item, folder / "out", Path(item).stem, f"mark{item}"[:8])


def done(one: Job) -> ray_engine._Answer:
    return ray_engine._Answer(one.item, Outcome(one.item, "done"), "node")


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A cluster whose answers to each window of jobs are put in here: a list, an error, or a function of the jobs."""
    answers: list[Any] = []
    nodes = [{"Alive": True, "Resources": {"CPU": 4.0}}]
    monkeypatch.setattr(ray_engine, "import_ray", lambda: SimpleNamespace(nodes=lambda: nodes))
    monkeypatch.setattr(ray_engine, "connected", lambda ray, address: nullcontext())

    def answer(ray: Any, jobs: Sequence[Job], *_: Any) -> Iterator[ray_engine._Answer]:
        now = answers.pop(0)
        if isinstance(now, Exception):
            raise now
        yield from now(jobs)

    monkeypatch.setattr(ray_engine, "_answers", answer)
    return answers


def test_what_is_lost_is_done_again_and_given_up_after_three_times(tmp_path: Path, windows: list[Any]) -> None:
    jobs = [job(tmp_path, name) for name in ("a", "b", "c", "d")]
    seen: list[list[tuple[str, bool]]] = []

    def all_but(*lost: str) -> Any:
        def answer(jobs: Sequence[Job]) -> Iterator[ray_engine._Answer]:
            seen.append([(one.item, one.redone) for one in jobs])
            yield from (done(one) for one in jobs if one.item not in lost)

        return answer

    left = tmp_path / "out" / ".vsal-markb-half.txt"
    left.parent.mkdir()
    left.touch()
    windows += [all_but("b", "c"), all_but("c"), all_but("c")]
    outcomes = {outcome.item: outcome for outcome in run_on_ray(jobs, PredictOptions())}
    assert seen == [[(name, False) for name in "abcd"], [("b", True), ("c", True)], [("c", True)]]
    assert {item: outcome.state for item, outcome in outcomes.items()} == {
        "a": "done",
        "b": "done",
        "c": "failed",
        "d": "done",
    }
    assert outcomes["c"].exit_code == 5
    assert "was lost 3 times" in str(outcomes["c"].error)
    assert not left.exists()
    assert list((tmp_path / "out").iterdir()) == []  # the probe neither


def test_lost_jobs_join_the_next_window(tmp_path: Path, windows: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_engine, "WINDOW", 2)
    monkeypatch.setattr(ray_engine, "PER_WORKER", 1)
    taken: list[str] = []
    lost = iter(["a"])
    sizes: list[tuple[str, ...]] = []

    def jobs() -> Iterator[Job]:
        for name in "abcde":
            taken.append(name)
            yield job(tmp_path, name)

    def answer(jobs: Sequence[Job]) -> Iterator[ray_engine._Answer]:
        sizes.append(tuple(one.item for one in jobs))
        gone = next(lost, None)
        yield from (done(one) for one in jobs if one.item != gone)

    windows += [answer] * 3
    with closing(run_on_ray(jobs(), PredictOptions())) as outcomes:
        assert next(outcomes).item == "b"
        assert taken == ["a", "b"]
        assert sorted(outcome.item for outcome in outcomes) == ["a", "c", "d", "e"]
    assert sizes == [("a", "b"), ("a", "c"), ("d", "e")]


def test_a_cluster_that_does_nothing_is_given_up(tmp_path: Path, windows: list[Any]) -> None:
    windows += [RuntimeError("the head\nhas gone")] * 3
    with pytest.raises(DeviceError, match=r"does not do the work: the head; see Ray's logs"):
        list(run_on_ray([job(tmp_path, "a")], PredictOptions()))


def test_a_node_without_vsal(tmp_path: Path, windows: list[Any]) -> None:
    windows.append(RuntimeError("The actor died\nTraceback:\nModuleNotFoundError: No module named 'saliency_cli'\n"))
    with pytest.raises(UsageError, match="install the same vsal on every node"):
        list(run_on_ray([job(tmp_path, "a")], PredictOptions()))


def test_a_closed_engine_leaves_nothing(tmp_path: Path, windows: list[Any]) -> None:
    windows.append(lambda jobs: (done(one) for one in jobs))
    outcomes = run_on_ray([job(tmp_path, "a"), job(tmp_path, "b")], PredictOptions())
    (tmp_path / "out").mkdir()
    assert next(outcomes).item == "a"
    (tmp_path / "out" / ".vsal-markb-half.txt").touch()
    outcomes.close()
    assert list((tmp_path / "out").iterdir()) == []


def test_a_source_that_only_the_node_does_not_see(tmp_path: Path) -> None:
    answer = ray_engine._Answer("a", None, "far")
    gone = answer.outcome_of(job(tmp_path, "a"))
    assert (gone.state, gone.exit_code) == ("failed", 3)
    (tmp_path / "a").touch()
    with pytest.raises(ReadError, match="is not seen by node far of the Ray cluster"):
        answer.outcome_of(job(tmp_path, "a"))


def setup(tmp_path: Path, **changes: Any) -> ray_engine._Setup:
    probe = tmp_path / "probe"
    probe.touch()
    plain = ray_engine._Setup(PredictOptions(), "cpu", 1, None, ray_engine.load_pipeline, ray_engine.__version__, probe)
    return replace(plain, **changes)


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"version": "0.0.1"}, UsageError, "and 0.0.1 here; install the same on both"),
        ({"probe": Path("/nowhere/probe")}, ReadError, "/nowhere is not seen by node"),
    ],
)
def test_an_unfit_node_is_told_of(tmp_path: Path, changes: dict[str, Any], error: type[VsalError], says: str) -> None:
    actor = ray_engine._Actor([job(tmp_path, "a")], setup(tmp_path, **changes))
    said = actor({"item": [0]})
    assert said["number"] == [0]
    with pytest.raises(error, match=says):
        ray_engine._read("a", json.loads(said["answer"][0]))


def test_a_node_that_lacks_the_source_says_so(tmp_path: Path) -> None:
    actor = ray_engine._Actor([job(tmp_path, STRANGE)], setup(tmp_path))
    said = json.loads(actor({"item": [0]})["answer"][0])
    assert ray_engine._read(STRANGE, said) == ray_engine._Answer(STRANGE, None, socket.gethostname())


def test_an_actors_errors_keep_their_kind() -> None:
    with pytest.raises(WeightsError, match="on node far of the Ray cluster: there are none"):
        ray_engine._read("a", {"node": "far", "error": "there are none.", "code": 4})
    with pytest.raises(VsalError, match="broken"):
        ray_engine._read("a", {"node": "far", "error": "broken.", "code": 1})
    lost = ray_engine._read("a", {"node": "far", "error": "no memory.", "code": 5})
    assert lost.lost == "on node far of the Ray cluster: no memory"


CPU4, CPU2, HEAD = {"CPU": 4.0}, {"CPU": 2.0}, {"memory": 1.0}
GPUS = {"CPU": 16.0, "GPU": 2.0}


@pytest.mark.parametrize(
    ("nodes", "options", "workers", "size", "device", "threads", "gpus"),
    [
        ([HEAD, CPU4, CPU2], {}, None, 3, "cpu", 2, 0),
        ([HEAD, CPU4, CPU2], {"threads": 1}, None, 6, "cpu", 1, 0),
        ([HEAD, CPU4, CPU2], {"threads": 4}, None, 1, "cpu", 4, 0),
        ([HEAD, CPU4, CPU2], {}, 2, 2, "cpu", 3, 0),
        ([HEAD, CPU4, CPU2], {}, 1, 1, "cpu", 4, 0),
        ([HEAD], {}, 5, 5, "cpu", 1, 0),
        ([HEAD, GPUS, GPUS], {}, None, 4, "cuda", None, 1),
        ([HEAD, GPUS, GPUS], {"device": "cuda"}, 1, 1, "cuda", None, 1),
        ([HEAD, GPUS], {"device": "cpu"}, None, 8, "cpu", 2, 0),
    ],
)
def test_the_pool_has_the_clusters_size(
    nodes: list[dict[str, float]],
    options: dict[str, Any],
    workers: int | None,
    size: int,
    device: str,
    threads: int | None,
    gpus: float,
) -> None:
    crew = ray_cluster.crew_for(nodes, PredictOptions(**options), workers)
    assert (crew.size, crew.device, crew.threads, crew.gpus) == (size, device, threads, gpus)


@pytest.mark.parametrize(
    ("nodes", "options", "error", "says"),
    [
        ([HEAD], {}, DeviceError, "no CPUs yet"),
        ([CPU4], {"device": "cuda"}, DeviceError, "has no GPU"),
        ([CPU4], {"threads": 8}, DeviceError, "the largest has 4"),
        ([GPUS], {"device": "cuda:1"}, UsageError, "use --device cuda"),
    ],
)
def test_what_a_cluster_does_not_have(
    nodes: list[dict[str, float]], options: dict[str, Any], error: type[VsalError], says: str
) -> None:
    with pytest.raises(error, match=says):
        ray_cluster.crew_for(nodes, PredictOptions(**options), None)


def test_without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"pip install 'vsal\[ray\]'"):
        next(run_on_ray([], PredictOptions()))


@pytest.mark.parametrize("address", ["here", "host:", ":6379", "host:port", "http://host:8265"])
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises(UsageError, match="must be auto or host:port"):
        ray_cluster._reach(address)


def test_ray_data_cannot_be_had_from_afar() -> None:
    with pytest.raises(UsageError, match="hand the command over with ray job submit"):
        ray_cluster._reach("ray://host:10001")


def test_nobody_answers() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        port = taken.getsockname()[1]
        with pytest.raises(DeviceError, match=f"no Ray cluster answers at 127.0.0.1:{port}"):
            ray_cluster._reach(f"127.0.0.1:{port}")


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (
            RuntimeError("Version mismatch: The cluster was started with:\n  Ray: 1"),
            DeviceError,
            "another version of Ray",
        ),
        (ConnectionError("Could not find any running Ray instance."), DeviceError, "reached at auto \\(Could not find"),
    ],
)
def test_a_cluster_that_does_not_fit(error: Exception, kind: type[VsalError], says: str) -> None:
    refusal = ray_cluster._refusal("auto", error)
    assert type(refusal) is kind
    with pytest.raises(kind, match=says):
        raise refusal


@pytest.mark.parametrize(("workers", "limit"), [(0, None), (None, 0.0)])
def test_limits_that_are_none(workers: int | None, limit: float | None) -> None:
    with pytest.raises(UsageError):
        next(run_on_ray([], PredictOptions(), workers=workers, time_limit=limit))


def test_what_ray_prints_is_not_for_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    import threading

    stream = ray_cluster._WithoutRay(sys.stdout)
    for name in ("ray_listen_error_messages", "mine"):
        thread = threading.Thread(target=stream.write, args=(f"{name}\n",), name=name)
        thread.start()
        thread.join()
    assert capsys.readouterr().out == "mine\n"
    assert stream.encoding == sys.stdout.encoding
