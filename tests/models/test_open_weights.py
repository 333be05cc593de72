"""The weights for the papers' networks that come with the repository: that they load, say what they are, and see."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import pytest
import torch

from saliency_cli import saliency_frames
from saliency_cli.inference import predictor
from saliency_cli.models import manifest
from saliency_cli.models.config import Architecture, ModelConfig
from saliency_cli.models.registry import load_model

ROOT = Path(__file__).resolve().parents[2]
OPEN = {"tased-open": ModelConfig.tased(), "tsfp-s3d-open": ModelConfig.tsfp()}


@pytest.mark.parametrize("name", OPEN)
def test_they_are_what_the_manifest_and_the_recipe_say(name: str) -> None:
    entry = manifest.entry(name)
    model = load_model(cast("Architecture", entry.architecture), weights=name)
    assert model.config == OPEN[name]
    assert (model.weights.stat().st_size, model.sha256) == (entry.size, entry.sha256)
    assert model.weights.parent == ROOT / "weights"
    assert model.metadata["recipe"] == (ROOT / "recipes" / f"{name}.toml").read_text(encoding="utf-8")
    assert model.metadata["licence"] == entry.licence == "Apache-2.0"
    teacher = hashlib.sha256((ROOT / "weights" / "tsfp-lite0.safetensors").read_bytes()).hexdigest()
    assert model.metadata["teacher"] == f"tsfp-lite0.safetensors, SHA-256 {teacher}"
    assert (ROOT / "weights" / f"{name}.md").is_file()


def test_tased_open_has_been_measured_in_lower_precisions(monkeypatch: pytest.MonkeyPatch) -> None:
    """These very weights, not TASED-Net with any."""
    asked = []

    def choose(precision: str, device: torch.device, *, exact: bool, measured: bool) -> tuple[str, str]:
        asked.append(measured)
        return "fp32", ""

    monkeypatch.setattr(predictor, "choose_precision", choose)
    model = load_model("tased", weights="tased-open")
    for loaded in (model, replace(model, sha256="0" * 64)):
        predictor.SaliencyPredictor(loaded, device="cpu")
    assert asked == [True, False]


@pytest.mark.slow
@pytest.mark.parametrize("name", OPEN)
def test_they_look_where_the_embedded_model_looks(name: str, tmp_path: Path) -> None:
    """A photograph would be better; a bright disc on a dark ground draws every eye, wherever it is."""
    architecture = manifest.entry(name).architecture
    for x, y in ((60, 50), (250, 120)):
        picture = np.full((180, 320, 3), 40, np.uint8)
        cv2.circle(picture, (x, y), 16, (70, 160, 230), -1)
        path = tmp_path / f"{x}.png"
        cv2.imwrite(str(path), picture)
        maps = saliency_frames(path, model=architecture, weights=name)
        saliency = cv2.resize(next(iter(maps)).saliency, (320, 180))
        down, across = np.unravel_index(int(saliency.argmax()), saliency.shape)
        assert np.hypot(across - x, down - y) < 40
