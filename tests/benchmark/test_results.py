"""Tables and JSON: the same numbers, and files that replace nothing but their like."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from saliency_cli.benchmark.results import Agreement, EngineSpeed, Speed, StageSpeed, result_file
from saliency_cli.benchmark.tables import speed_summary, speed_tables
from saliency_cli.benchmark.timing import Timing
from saliency_cli.errors import WriteError

SPEED = Speed(
    date="2026-01-02",
    machine={
        "processor": "An Abacus",
        "cores": 4,
        "cores_used": 3,
        "load": 0.25,
        "packages": {"torch": "2.99"},
        "device": "cpu",
        "threads": 5,
    },
    load_after=1.75,
    model={
        "architecture": "tased",
        "encoder": "s3d",
        "input_size": [224, 384],
        "weights": "random-weights-1",
        "precision": "bf16",
    },
    clip={"name": None, "width": 640, "height": 360, "codec": "h264", "frames": 77, "decoder": "decord"},
    rounds=9,
    engines=(
        EngineSpeed("plain window", "fp32", Timing(2211.5, 2200.25, 2250.75), 1.0, None),
        EngineSpeed("fast engine", "bf16", Timing(171.5, 170.25, 172.75), 12.9, Agreement(0.00125, 0.9975, None)),
    ),
    stages=(StageSpeed("decode", Timing(1.25, 1.0, 1.5)), StageSpeed("pipeline", Timing(40.0, 39.25, 41.75))),
    notes=("one thing.",),
)


def shown(speed: Speed) -> str:
    console = Console(width=160)
    with console.capture() as capture:
        for table in speed_tables(speed):
            console.print(table)
    return capture.get()


def test_the_record_has_what_the_tables_have() -> None:
    record = json.loads(json.dumps(SPEED.record(), allow_nan=False))
    lines = shown(SPEED).splitlines()
    rows = record["engines"] + record["stages"]
    for row in rows:
        line = next(line for line in lines if row["name"] in line)
        assert f"{row['median_ms']:.2f}" in line
        assert f"{row['lower_quartile_ms']:.2f}–{row['upper_quartile_ms']:.2f}" in line
        if "frames_per_second" in row:
            assert f"{row['frames_per_second']:.1f}" in line
        else:
            assert row["precision"] in line
            assert f"{row['times_faster']:.2f}" in line
    assert len(lines) == len(rows) + 2  # and the two heads
    assert rows[1]["mean_difference"] == 0.00125
    assert "1.25e-03" in shown(SPEED)
    assert "0.997500" in shown(SPEED)
    assert [row["frames_per_second"] for row in record["stages"]] == [800, 25]


def test_the_summary_has_what_the_record_has() -> None:
    said = "\n".join(speed_summary(SPEED))
    for fact in (
        "tased on s3d at 384x224",
        "random-weights-1",
        "bf16 on cpu",
        "640x360",
        "h264",
        "77 frames",
        "decord",
    ):
        assert fact in said
    for fact in (
        "An Abacus",
        "3 of 4 cores",
        "5 threads of torch 2.99",
        "load 0.25 before and 1.75 after",
        "9 rounds",
        "pipeline ran once",
    ):
        assert fact in said


def test_a_result_replaces_a_result(tmp_path: Path) -> None:
    path = tmp_path / "speed.json"
    for date in ("2026-01-01", "2026-01-02"):
        with result_file(path) as goal:
            goal.write_text(json.dumps({**SPEED.record(), "date": date}))
    assert json.loads(path.read_text())["date"] == "2026-01-02"


@pytest.mark.parametrize("content", [b"not JSON", b"[1]", b'{"kind": "another"}', b"\xff\xfe"])
def test_a_result_replaces_nothing_else(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    with pytest.raises(WriteError, match=r"clip\.mp4 is there already"), result_file(path):
        raise AssertionError("the measurement must not begin")
    assert path.read_bytes() == content


def test_a_failed_measurement_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), result_file(tmp_path / "speed.json"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
