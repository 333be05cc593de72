"""Stages and pipeline: who does what in its turn, and what the times are divided by."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clips import make_clip, read_number
from fakes import fake, sees, video_facts

from saliency_cli import render
from saliency_cli.benchmark import stages, timing
from saliency_cli.benchmark.material import Material, read_material
from saliency_cli.benchmark.stages import measure_stages, prepare_all, rendered
from saliency_cli.media import Source, open_source
from saliency_cli.models.config import ModelConfig
from saliency_cli.options import PredictOptions
from saliency_cli.types import SaliencyFrame

FRAMES = 6


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Source]:
    with open_source(make_clip(tmp_path / "clip.mp4", frames=FRAMES)) as reader:
        yield reader


@pytest.fixture
def material(reader: Source) -> Material:
    return read_material(reader)


class Watch:
    """A clock that only the stages move: seconds for each frame, map or run that they work on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.done = 0.0, list[str]()
        monkeypatch.setattr(timing.time, "perf_counter", lambda: self.now)

    def spend(self, name: str, seconds: float) -> None:
        self.now += seconds
        self.done.append(name)

    def predict(self) -> list[SaliencyFrame]:
        self.spend("predict", 4 * 3.0)
        return [SaliencyFrame(index, index / 25, sees(index)) for index in range(4)]


def measure(
    monkeypatch: pytest.MonkeyPatch, material: Material, reader: Source, config: ModelConfig, folder: Path
) -> tuple[Watch, dict[str, float]]:
    """Two rounds in which preparing takes 1 s a frame, predicting 3 s for each of 4 maps, the pipeline 5 s a frame."""
    watch = Watch(monkeypatch)
    monkeypatch.setattr(stages, "prepare_all", lambda frames, config: watch.spend("prepare", len(frames)))
    whole = 5.0 * material.length
    monkeypatch.setattr(stages, "predict", lambda path, options, predictor: watch.spend("pipeline", whole))
    options = PredictOptions(model=config.architecture)
    found = measure_stages(material, reader, watch.predict, fake(config), options, folder, rounds=2)
    return watch, {stage.name: stage.timing.median_ms for stage in found}


def test_stages_and_pipeline_take_turns(
    monkeypatch: pytest.MonkeyPatch, material: Material, reader: Source, tmp_path: Path
) -> None:
    watch, found = measure(monkeypatch, material, reader, ModelConfig.embedded(), tmp_path)
    assert list(found) == ["decode", "prepare", "predict", "render", "encode", "pipeline"]
    assert found == {"decode": 0, "prepare": 1000, "predict": 3000, "render": 0, "encode": 0, "pipeline": 5000}
    assert watch.done == ["predict", *["prepare", "predict", "pipeline"] * 3]  # the first is rendered and encoded


def test_a_network_with_a_window_runs_once_from_end_to_end(
    monkeypatch: pytest.MonkeyPatch, material: Material, reader: Source, tmp_path: Path
) -> None:
    watch, found = measure(monkeypatch, material, reader, ModelConfig.tased(), tmp_path)
    assert (found["prepare"], found["predict"], found["pipeline"]) == (1000, 3000, 5000)
    assert watch.done == ["predict", *["prepare", "predict"] * 3, "pipeline"]


def test_what_is_decoded_and_encoded_is_the_clip(
    monkeypatch: pytest.MonkeyPatch, material: Material, reader: Source, tmp_path: Path
) -> None:
    decoded = list[int | None]()
    shown = reader._read

    def watched() -> Iterator[Any]:
        for frame in shown():
            decoded.append(read_number(frame.pixels))
            yield frame

    monkeypatch.setattr(reader, "_read", watched)
    measure(monkeypatch, material, reader, ModelConfig.embedded(), tmp_path)
    assert decoded == [*range(FRAMES)] * 3
    assert video_facts(tmp_path / "encoded.mp4").times == video_facts(tmp_path / "clip.mp4").times


def test_the_overlay_is_that_of_the_pipeline(material: Material) -> None:
    frame, raw = material.frames[0], SaliencyFrame(0, 0.0, sees(3))
    options = PredictOptions(colormap="inferno", opacity=0.5)
    expected = render.overlay(frame.pixels, render.normalise(raw.saliency), "inferno", opacity=0.5)
    assert np.array_equal(rendered(frame, raw, ModelConfig.embedded(), options), expected)
    tased = render.overlay(frame.pixels, render.tased_postprocess(raw.saliency), "inferno", opacity=0.5)
    assert np.array_equal(rendered(frame, raw, ModelConfig.tased(), options), tased)
    assert not np.array_equal(expected, tased)


def test_preparing_measures_motion_for_the_embedded_model_alone(
    monkeypatch: pytest.MonkeyPatch, material: Material
) -> None:
    measured = list[float]()
    monkeypatch.setattr(stages.MotionMeter, "measure", lambda meter, pixels, seconds: measured.append(seconds))
    prepare_all(material.frames, ModelConfig.tased())
    assert measured == []
    prepare_all(material.frames, ModelConfig.embedded())
    assert measured == [frame.seconds for frame in material.frames]
