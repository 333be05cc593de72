"""The whole measurement, with networks and clips as small as there are. No test asks for a speed."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from clips import make_clip
from tiny_networks import awake

import saliency_cli
from saliency_cli.benchmark import speed as speed_module
from saliency_cli.benchmark.random_weights import random_model
from saliency_cli.benchmark.speed import measure_speed
from saliency_cli.errors import DeviceError, ReadError, UsageError, WeightsError
from saliency_cli.models.config import ModelConfig
from saliency_cli.models.registry import LoadedModel
from saliency_cli.models.streaming import StreamingTSFPNet

pytestmark = pytest.mark.timeout(120)

EMBEDDED = ModelConfig(architecture="tsfp", encoder="efficientnet-lite0", input_size=(64, 96), mean=0.498, std=0.502)
STAGES = ["decode", "prepare", "predict", "render", "encode", "pipeline"]


@pytest.fixture(autouse=True)
def _temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))


def embedded() -> LoadedModel:
    network = awake(StreamingTSFPNet(lateral_channels=8))
    return LoadedModel(network, EMBEDDED, Path("tiny.safetensors"), "0" * 64, {})


def test_the_embedded_model_on_a_clip_made_on_the_spot(tmp_path: Path) -> None:
    turns = list[tuple[int, int | None]]()
    found = measure_speed(
        model=embedded(),
        device="cpu",
        precision="fp32",
        size=(64, 48),
        seconds=0.2,
        rounds=1,
        on_progress=lambda *turn: turns.append(turn),
    )
    assert found.engines == ()
    assert [stage.name for stage in found.stages] == STAGES
    assert all(stage.timing.median_ms > 0 for stage in found.stages)
    assert found.clip["name"] is None
    assert (found.clip["width"], found.clip["height"], found.clip["frames"]) == (64, 48, 5)
    assert (found.model["weights"], found.model["precision"], found.model["clip_length"]) == (
        "tiny.safetensors", "fp32", None,
    )  # fmt: skip
    assert {"processor", "load", "device", "threads"} <= found.machine.keys()
    assert found.machine["packages"].keys() >= {"torch", "numpy", "av"}
    assert turns == [(turn, 12) for turn in range(1, 13)]
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_network_with_a_window_on_a_given_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("saliency_cli.inference.device._bf16_unit", lambda: "a unit")
    clip = make_clip(tmp_path / "mine.mp4", frames=5)
    turns = list[tuple[int, int | None]]()
    found = measure_speed(
        clip,
        model=random_model("tased", 1, input_size=(32, 32), clip_length=4),
        device="cpu",
        rounds=2,
        on_progress=lambda *turn: turns.append(turn),
    )
    assert [(one.name, one.precision) for one in found.engines] == [
        ("plain window", "fp32"),
        ("fast engine", "fp32"),
        ("fast engine", "bf16"),
    ]
    plain, fast, half = found.engines
    assert fast.times_faster == pytest.approx(plain.timing.median_ms / fast.timing.median_ms, abs=0.01)
    assert fast.agreement is not None
    assert half.agreement is not None
    assert fast.agreement.mean_difference < half.agreement.mean_difference
    assert [stage.name for stage in found.stages] == STAGES
    assert (found.clip["name"], found.clip["frames"], found.model["precision"]) == ("mine.mp4", 5, "fp32")
    assert turns[-1][0] == turns[-1][1] == len(turns)
    assert str(tmp_path) not in str(found.record())
    assert {path.name for path in tmp_path.iterdir()} == {"mine.mp4", "temporary"}


def test_a_precision_asked_for_is_the_only_one(tmp_path: Path) -> None:
    model = random_model("tased", 1, input_size=(32, 32), clip_length=4)
    found = measure_speed(
        make_clip(tmp_path / "mine.mp4", frames=3), model=model, device="cpu", precision="bf16", rounds=1
    )
    assert [one.precision for one in found.engines] == ["fp32", "bf16"]
    assert found.model["precision"] == "bf16"


def test_the_network_given_stays_as_it_was() -> None:
    model = embedded()
    before = {name: value.clone() for name, value in model.module.state_dict().items()}
    measure_speed(model=model, device="cpu", size=(64, 48), seconds=0.1, rounds=1)
    after = model.module.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ({"exact": True}, "--exact cannot be measured"),
        ({"audio": True}, "--audio cannot be measured"),
        ({"source": "clip.mp4", "size": (64, 48)}, "--size is that of a clip made on the spot"),
        ({"size": (63, 48)}, "--size 63x48"),
        ({"seconds": 0.0}, "--seconds 0"),
        ({"seconds": float("nan")}, "--seconds nan"),
        ({"rounds": 0}, "--rounds 0"),
        ({"device": "gpu"}, "--device gpu"),
        ({"precision": "fp8"}, "--precision fp8"),
    ],
)
def test_wrong_use(how: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        measure_speed(**{"model": embedded(), **how})


def test_what_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed_module, "load_model", lambda *args, **kwargs: pytest.fail("the clip comes first"))
    with pytest.raises(ReadError, match=r"none\.mp4 does not exist"):
        measure_speed(tmp_path / "none.mp4")
    with pytest.raises(DeviceError, match="cuda:99"):
        measure_speed(device="cuda:99")
    monkeypatch.undo()
    with pytest.raises(WeightsError, match="no-such-weights"):
        measure_speed(weights="no-such-weights")


def test_it_is_part_of_the_api() -> None:
    assert saliency_cli.measure_speed is measure_speed
    assert saliency_cli.random_model is random_model
