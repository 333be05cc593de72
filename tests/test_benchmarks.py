"""The benchmarks' harness: what it times, and what it tells of the machine."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("harness", ROOT / "benchmarks" / "harness.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "harness", module)  # dataclasses look their module up
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "RESULTS", tmp_path / "benchmarks" / "results")
    (tmp_path / "benchmarks").mkdir()
    return module


def test_cases_take_turns_and_the_first_round_does_not_count(
    harness: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, done = [0.0], list[str]()

    def case(name: str, *seconds: float) -> None:
        clock[0] += seconds[done.count(name)]
        done.append(name)

    monkeypatch.setattr(harness.time, "perf_counter", lambda: clock[0])
    cases = {"a": lambda: case("a", 9, 1, 2, 3), "b": lambda: case("b", 9, 4, 4, 8)}
    timings = harness.interleaved(cases, rounds=3, per_case=2)
    assert done == ["a", "b"] * 4
    assert timings == {"a": harness.Timing(1000, 750, 1250), "b": harness.Timing(2000, 2000, 3000)}


def test_the_record_describes_the_machine_and_does_not_name_it(
    harness: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("platform.node", "socket.gethostname"):
        monkeypatch.setattr(name, lambda: "this-very-machine")
    machine = harness.describe_machine(("numpy",))
    path = harness.report("x", machine, {"table": {"row": harness.Timing(2.5, 2, 3)}}, rounds=3)
    written = json.loads(path.read_text())
    assert written["timings"] == {"table": {"row": {"median_ms": 2.5, "lower_quartile_ms": 2, "upper_quartile_ms": 3}}}
    assert written["rounds"] == 3
    assert written["machine"]["processor"]
    printed = capsys.readouterr().out
    assert "2.500" in printed
    assert printed.endswith("written to benchmarks/results/x.json\n")
    for text in (path.read_text(), printed):
        assert str(ROOT) not in text
        assert "this-very-machine" not in text


def test_one_core_comes_before_what_starts_threads(harness: ModuleType) -> None:
    import numpy  # noqa: F401

    with pytest.raises(RuntimeError, match="numpy"):
        harness.one_core()


def test_the_results_that_are_kept_name_no_machine() -> None:
    for path in (ROOT / "benchmarks" / "results").glob("*.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        assert record["machine"].keys() >= {"processor", "cores", "python", "packages"}
        assert not {"host", "hostname", "node"} & record["machine"].keys()
        assert "/home" not in path.read_text(encoding="utf-8")
