"""Scores that training writes into the header of its checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_gaze import make_gaze

from saliency_cli.errors import UsageError
from saliency_cli.evaluation import record_scores
from saliency_cli.models import ModelConfig, build, save_checkpoint
from saliency_cli.models.checkpoint import read_checkpoint

CONFIG = ModelConfig(architecture="tsfp", encoder="efficientnet-lite0", input_size=(64, 96), mean=0.498, std=0.502)


def test_scores_go_into_the_header(tmp_path: Path) -> None:
    torch.manual_seed(6)
    weights = save_checkpoint(tmp_path / "mine.safetensors", build(CONFIG), CONFIG, {"name": "mine"})
    before = read_checkpoint(weights)
    calls: list[tuple[int, int]] = []
    said = record_scores(
        weights, make_gaze(tmp_path / "gaze"), device="cpu", on_item=lambda done, total: calls.append((done, total))
    )
    assert calls == [(1, 3), (2, 3), (3, 3)]  # photos 00 and 10, hevc/Yan
    photos, hevc = said.split("; ")
    words = photos.split()
    assert (words[0], words[1], words[3]) == ("photos", "NSS", "CC")
    assert hevc.startswith("hevc NSS ")
    assert float(words[2]) == pytest.approx(float(f"{float(words[2]):.3f}"))
    after = read_checkpoint(weights)
    assert after.metadata["validation_scores"] == said
    assert after.metadata["name"] == "mine"
    assert all(torch.equal(after.state[name], tensor) for name, tensor in before.state.items())


def test_scores_of_another_part(tmp_path: Path) -> None:
    torch.manual_seed(6)
    weights = save_checkpoint(tmp_path / "mine.safetensors", build(CONFIG), CONFIG)
    gaze = make_gaze(tmp_path / "gaze")
    calls: list[tuple[int, int]] = []
    said = record_scores(
        weights, gaze, split="fold-1", device="cpu", on_item=lambda done, total: calls.append((done, total))
    )
    assert calls == [(1, 1)]  # hevc/Moved
    assert said.startswith("hevc NSS ")
    assert ";" not in said
    assert read_checkpoint(weights).metadata["validation_scores"] == said
    with pytest.raises(UsageError, match=r"--select fold-3: .* has no such part"):
        record_scores(weights, gaze, split="fold-3", device="cpu")
