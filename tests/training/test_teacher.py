"""The teacher: its maps are those that prediction gives, and its features those of its encoder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from clips import make_clip
from tiny_gaze import disc
from tiny_networks import awake

from saliency_cli.inference.predictor import SaliencyPredictor
from saliency_cli.media import open_source
from saliency_cli.models import ModelConfig, load_model, save_checkpoint
from saliency_cli.models.streaming import StreamingTSFPNet
from saliency_cli.training.teacher import MAP_SIZE, TAP_CHANNELS, Teacher


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(5)
    config = replace(ModelConfig.embedded(), input_size=(64, 96), still_size=(64, 96))
    return save_checkpoint(
        tmp_path_factory.mktemp("t") / "t.safetensors", awake(StreamingTSFPNet()), config, half=False
    )


@pytest.fixture(scope="module")
def teacher(weights: Path) -> Teacher:
    return Teacher(str(weights), device=torch.device("cpu"), precision="fp32")


def test_maps_are_the_predictors(weights: Path, teacher: Teacher, tmp_path: Path) -> None:
    predictor = SaliencyPredictor(load_model("tsfp", weights=weights), device="cpu", precision="fp32")
    path = make_clip(tmp_path / "clip.mp4", frames=5, size=(96, 64))
    cv2.imwrite(str(tmp_path / "still.png"), disc(0.3, 0.6)[:, :, ::-1])
    with open_source(path) as source:
        expected = [found.saliency for found in predictor.predict(source)]
    made = list(teacher.video(path))
    with open_source(tmp_path / "still.png") as source:
        expected += [found.saliency for found in predictor.predict(source, still=True)]
    made += teacher.photographs([disc(0.3, 0.6)])
    assert len(made) == 6
    for kept, saliency in zip(made, expected, strict=True):
        assert kept.dtype == np.float16
        assert kept.shape == MAP_SIZE
        assert kept.max() == 1
        resized = cv2.resize(saliency, MAP_SIZE[::-1], interpolation=cv2.INTER_LINEAR)
        np.testing.assert_allclose(kept.astype(np.float32), resized / resized.max(), atol=1e-3)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_features(weights: Path, precision: str) -> None:
    teacher = Teacher(str(weights), device=torch.device("cpu"), precision=precision)  # type: ignore[arg-type]
    pictures = torch.rand(2, 3, 64, 96)
    found = teacher.features(pictures)
    assert [tuple(level.shape) for level in found] == [
        (2, channels, 64 // stride, 96 // stride) for channels, stride in zip(TAP_CHANNELS, (4, 8, 16, 32), strict=True)
    ]
    assert {level.dtype for level in found} == {torch.float32}
    assert not any(level.requires_grad for level in found)
    model = load_model("tsfp", weights=weights)
    with torch.inference_mode():
        exact = model.module.get_submodule("encoder")((pictures - model.config.mean) / model.config.std)
    for level, wanted in zip(found, exact, strict=True):
        error = (level - wanted).norm() / wanted.norm()
        assert error < (1e-4 if precision == "fp32" else 0.25)
