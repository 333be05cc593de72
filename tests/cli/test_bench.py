"""vsal bench: tables for people, JSON for programs, and one sentence where something is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from clips import make_clip

from saliency_cli.benchmark.random_weights import random_model
from saliency_cli.models.checkpoint import save_checkpoint

pytestmark = pytest.mark.timeout(120)

STAGES = ["decode", "prepare", "predict", "render", "encode", "pipeline"]
QUICK = ("--rounds", "1", "--device", "cpu", "--seconds", "0.2")


def test_alone_it_measures_the_embedded_model(vsal: Any, folder: Path) -> None:
    result = vsal("bench", *QUICK, "--size", "64x48")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == ""
    for word in (*STAGES, "frames/s", "tsfp on efficientnet-lite0", "tsfp-lite0", "a clip made here: 64x48", "load"):
        assert word in result.stderr
    assert "plain window" not in result.stderr
    assert "\x1b" not in result.stderr
    assert list(folder.iterdir()) == []


def test_a_network_with_a_window(vsal: Any, folder: Path) -> None:
    model = random_model("tased", 1, input_size=(32, 32), clip_length=4)
    save_checkpoint(folder / "tiny.safetensors", model.module, model.config)
    make_clip(folder / "clip.mp4", frames=4)
    result = vsal(
        "bench", "clip.mp4", "--model", "tased", "--weights", "tiny.safetensors", *QUICK, "--json", "-o", "s.json"
    )
    assert result.exit_code == 0, result.stderr
    record = json.loads(result.stdout)
    assert record == json.loads((folder / "s.json").read_text())
    assert [engine["name"] for engine in record["engines"]][:2] == ["plain window", "fast engine"]
    assert [stage["name"] for stage in record["stages"]] == STAGES
    for row in record["engines"] + record["stages"]:
        assert f"{row['median_ms']:.2f}" in result.stderr
    assert record["engines"][1].keys() >= {"times_faster", "mean_difference", "cc"}
    assert record["model"]["sha256"]
    assert "written to s.json" in result.stderr


def test_stand_in_weights_and_quiet(vsal: Any, folder: Path) -> None:
    result = vsal(
        "bench", "--random-weights", "2", "--input-size", "32x64", "--size", "64x48", *QUICK,
        "--precision", "fp32", "-o", "-", "-q",
    )  # fmt: skip
    assert (result.exit_code, result.stderr) == (0, "")
    assert list(folder.iterdir()) == []
    record = json.loads(result.stdout)
    assert (record["model"]["encoder"], record["model"]["input_size"]) == ("s3d", [32, 64])
    assert (record["model"]["weights"], record["model"]["sha256"]) == ("random-weights-2", None)
    assert [engine["precision"] for engine in record["engines"]] == ["fp32", "fp32"]


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["none.mp4"], 3, "none.mp4 does not exist"),
        (["text.mp4"], 3, "text.mp4 is a text file"),
        (["--size", "big"], 2, "--size big"),
        (["--size", "63x48"], 2, "--size 63x48"),
        (["--input-size", "32x64"], 2, "--input-size: weights know theirs"),
        (["--random-weights", "1", "--input-size", "30x64"], 2, "30x64 does not fit"),
        (["--random-weights", "-1"], 2, "--random-weights -1"),
        (["--random-weights", "1", "--weights", "tsfp-lite0"], 2, "exclude each other"),
        (["--rounds", "0"], 2, "--rounds 0"),
        (["--seconds", "-1"], 2, "--seconds -1"),
        (["--weights", "none.safetensors"], 4, "none.safetensors"),
        (["--device", "cuda:99"], 5, "--device cuda:99"),
        (["--precision", "fp16", "--device", "cpu"], 5, "--precision fp16"),
        (["-o", "text.mp4"], 3, "text.mp4 is there already"),
        (["-o", "text.mp4/speed.json"], 3, "text.mp4"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(
    vsal: Any, folder: Path, arguments: list[str], code: int, sentence: str
) -> None:
    (folder / "text.mp4").write_text("Dear diary,\n")
    result = vsal("bench", *arguments)
    assert (result.exit_code, result.stdout) == (code, ""), result.stderr
    assert sentence in result.stderr
    assert result.stderr.startswith("vsal: error: ")
    assert len(result.stderr.splitlines()) == 1
    assert (folder / "text.mp4").read_text() == "Dear diary,\n"
    assert [path.name for path in folder.iterdir()] == ["text.mp4"]
