"""The fast engine against the plain window: whose turn it is, which frames are compared, what is noticed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import pytest
import torch
from clips import make_clip

from saliency_cli.benchmark import timing
from saliency_cli.benchmark.engines import (
    MapStream,
    agreement,
    compare_engines,
    plain_windows,
    precisions_for,
    settled_after,
    settled_stream,
)
from saliency_cli.benchmark.material import Material, read_material
from saliency_cli.benchmark.random_weights import random_model
from saliency_cli.benchmark.results import Agreement
from saliency_cli.errors import DeviceError, UsageError
from saliency_cli.inference.predictor import SaliencyPredictor
from saliency_cli.media import open_source
from saliency_cli.models.config import ModelConfig
from saliency_cli.types import SaliencyFrame

CPU = torch.device("cpu")
TINY: dict[str, Any] = {"input_size": (32, 64), "clip_length": 4}


@pytest.fixture
def material(tmp_path: Path) -> Material:
    with open_source(make_clip(tmp_path / "clip.mp4", frames=6)) as reader:
        return read_material(reader)


def frame_map(index: int, change: float = 0.0) -> SaliencyFrame:
    saliency = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4) * np.float32((1 + index) / 100)
    saliency[0, 0] += np.float32(12 * change)
    return SaliencyFrame(index, index / 25, saliency)


def test_streams_take_turns_and_times_are_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, done = [0.0], list[str]()
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock[0])

    def maps(name: str, seconds: float) -> Iterator[SaliencyFrame]:
        for index in count():
            clock[0] += seconds
            done.append(name)
            yield frame_map(index)

    fast = {"fp32": MapStream(maps("fp32", 0.5), CPU), "bf16": MapStream(maps("bf16", 0.25), CPU)}
    plain = MapStream(islice(maps("plain", 1.0), 1, None, 2), CPU)
    found = compare_engines(plain, fast, rounds=3, maps_a_turn=2)  # type: ignore[arg-type]
    assert done == ["plain", "plain", "fp32", "fp32", "bf16", "bf16"] * 4
    assert [(one.name, one.precision, one.timing.median_ms, one.times_faster) for one in found] == [
        ("plain window", "fp32", 2000, 1),
        ("fast engine", "fp32", 500, 4),
        ("fast engine", "bf16", 250, 8),
    ]
    assert found[0].agreement is None
    assert found[1].agreement == found[2].agreement == Agreement(0, pytest.approx(1), pytest.approx(1))


def test_a_wrong_map_is_noticed() -> None:
    plain = [frame_map(index) for index in range(4)]
    wrong = [*plain[:3], frame_map(3, change=0.04)]
    found = agreement(wrong, plain)
    assert found.mean_difference == pytest.approx(0.01, rel=1e-3)
    assert found.cc is not None
    assert found.lowest_cc is not None
    assert found.lowest_cc < 0.5 < found.cc < 1


def test_maps_of_other_frames_are_not_compared() -> None:
    with pytest.raises(ValueError, match="frame 1 is no match for that of frame 0"):
        agreement([frame_map(1)], [frame_map(0)])


def test_maps_without_contrast_have_no_correlation() -> None:
    flat = SaliencyFrame(0, 0.0, np.full((3, 4), 0.5, np.float32))
    assert agreement([flat], [flat]) == Agreement(0, None, None)


def test_the_plain_window_is_that_of_exact_predictions(material: Material) -> None:
    model = random_model("tased", 1, **TINY)
    plain = MapStream(plain_windows(model, material, device=CPU), CPU)
    exact = settled_stream(SaliencyPredictor(model, device="cpu", precision="fp32", exact=True), material, lambda: None)
    for mine, theirs in zip(plain.take(3), exact.take(3), strict=True):
        assert mine.index == theirs.index >= 4
        assert np.abs(mine.saliency - theirs.saliency).mean() < 1e-5
        assert mine.saliency.std() > 0.005
    plain.close()
    exact.close()


def test_the_engine_is_the_predictor_of_its_precision(material: Material) -> None:
    model = random_model("tsfp", 1, input_size=(32, 64), clip_length=16)
    plain = MapStream(plain_windows(model, material, device=CPU, every=3), CPU)
    fast = settled_stream(SaliencyPredictor(model, device="cpu", precision="fp32"), material, lambda: None)
    found = compare_engines(plain, {"fp32": fast}, rounds=1, maps_a_turn=3)[1]
    assert found.agreement is not None
    assert found.agreement.mean_difference < 1e-4
    assert found.agreement.cc == pytest.approx(1, abs=1e-4)


def test_how_long_it_takes_to_settle() -> None:
    assert settled_after(ModelConfig.tased()) == 31 + 4
    assert settled_after(ModelConfig(architecture="tased", clip_length=4)) == 3 + 4


def test_closing_a_stream_ends_its_maps() -> None:
    ended = []

    def maps() -> Iterator[SaliencyFrame]:
        try:
            yield from map(frame_map, count())
        finally:
            ended.append(True)

    stream = MapStream(maps(), CPU)
    assert [one.index for one in stream.take(2)] == [0, 1]
    stream.close()
    assert ended == [True]
    MapStream(map(frame_map, count()), CPU).close()  # what cannot be closed needs no closing


def test_a_turn_ends_when_nothing_of_it_goes_on() -> None:
    ended = Event()

    def maps() -> Iterator[SaliencyFrame]:
        for index in count():
            Thread(target=work).start()
            yield frame_map(index)

    def work() -> None:
        begin = time.thread_time()
        while time.thread_time() - begin < 0.2:
            pass
        ended.set()

    MapStream(maps(), CPU).take()
    assert ended.is_set()


def test_a_gpu_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    waited = list[str]()
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: waited.append(str(device)))
    monkeypatch.setattr(torch.mps, "synchronize", lambda: waited.append("mps"))
    for device in ("cuda:1", "mps", "cpu"):
        MapStream(map(frame_map, count()), torch.device(device)).take()
    assert waited == ["cuda:1", "mps"]


def test_which_precisions_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("saliency_cli.inference.device._bf16_unit", lambda: "AMX")
    assert precisions_for("auto", CPU) == (("fp32", "bf16"), ())
    monkeypatch.setattr("saliency_cli.inference.device._bf16_unit", lambda: None)
    found, (note,) = precisions_for("auto", CPU)
    assert found == ("fp32",)
    assert "bf16 was left out" in note
    assert precisions_for("bf16", CPU) == (("bf16",), ())
    with pytest.raises(DeviceError, match="fp16"):
        precisions_for("fp16", CPU)
    with pytest.raises(UsageError, match="fp8"):
        precisions_for("fp8", CPU)
    cuda = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    assert precisions_for("auto", cuda) == (("fp32", "bf16", "fp16"), ())
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    found, (note,) = precisions_for("auto", cuda)
    assert found == ("fp32", "fp16")
    assert "bf16 was left out" in note
