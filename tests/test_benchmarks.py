"""The benchmarks' harness and the results that are kept: what they tell of the machine."""

from __future__ import annotations

import importlib.util
import json
import sys
from fractions import Fraction
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
from clips import make_clip

from saliency_cli.benchmark.results import Speed, StageSpeed

ROOT = Path(__file__).resolve().parents[1]


def load(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A script of benchmarks/, under its bare name, as it is when scripts import one another."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = load("harness", monkeypatch)
    monkeypatch.setattr(module, "RESULTS", tmp_path / "benchmarks" / "results")
    (tmp_path / "benchmarks").mkdir()
    return module


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


def test_the_record_of_speed_keeps_what_was_not_measured_again(
    harness: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    speed = load("speed", monkeypatch)
    timing = harness.Timing(2.5, 2.25, 2.75)

    def measured(date: str, *, rounds: int) -> Speed:
        machine = {**harness.describe_machine(("torch",)), "device": "cpu", "threads": 1}
        model = {"architecture": "a", "encoder": "e", "input_size": [32, 64], "weights": "w", "precision": "fp32"}
        clip = {"name": None, "width": 64, "height": 48, "codec": "h264", "frames": 9, "decoder": "pyav"}
        stages = (StageSpeed("pipeline", timing),)
        return Speed(date, machine, 0.5, model, clip, rounds, (), stages, ("a note.",))

    for date, cases in (("day 1", ["one", "two"]), ("day 2", ["two"])):
        monkeypatch.setattr(speed, "CASES", {name: partial(measured, date) for name in ("one", "two")})
        monkeypatch.setattr("sys.argv", ["speed.py", *cases, "--rounds", "3"])
        speed.main()
    record = json.loads((tmp_path / "benchmarks" / "results" / "speed.json").read_text())
    assert {name: case["date"] for name, case in record["cases"].items()} == {"one": "day 1", "two": "day 2"}
    assert record["machine"] == record["cases"]["two"]["machine"]
    assert record["cases"]["one"]["rounds"] == 3
    printed = capsys.readouterr().out
    assert "2.25–2.75" in printed
    assert "a note." in printed


@pytest.mark.slow
def test_a_soak_compares_the_whole_product_with_its_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soak = load("soak", monkeypatch)
    monkeypatch.setattr(soak, "FRAMES", 10)
    monkeypatch.setattr(soak, "EVERY", 3)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    found = soak.run(tmp_path, 2, pipe=False)
    assert (found["frames"], found["wrong_pictures"]) == (20, [0, 7])
    assert found["picture"] == {"packets": [20, 20], "largest_ms": 0.0, "last_ms": 0.0}
    assert found["sound"]["packets"][0] == found["sound"]["packets"][1] > 20
    assert found["memory_mib"]["most"] > 50


def test_a_soak_sees_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soak = load("soak", monkeypatch)
    assert soak.drift([Fraction(1), Fraction(2)], [Fraction(1), Fraction(2005, 1000), Fraction(3)]) == {
        "packets": [2, 3],
        "largest_ms": 5.0,
        "last_ms": 5.0,
    }
    monkeypatch.setattr(soak, "EVERY", 2)
    clip = make_clip(tmp_path / "clip.mp4", frames=9)
    assert soak.wrong_pictures(clip) == (0, 5)
    monkeypatch.setattr(soak, "FRAMES", 3)
    assert soak.wrong_pictures(clip) == (3, 5)
