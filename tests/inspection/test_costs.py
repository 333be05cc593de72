"""What a prediction takes, measured in a process of its own with a predictor that costs nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from batch_pipeline import load_pipeline_with_fake
from clips import make_clip

from saliency_cli.errors import UsageError, WeightsError
from saliency_cli.inspection import costs
from saliency_cli.inspection.costs import measure_cost
from saliency_cli.inspection.looking import inspect_source
from saliency_cli.inspection.tables import cost_lines
from saliency_cli.models import manifest
from saliency_cli.options import PredictOptions

pytestmark = pytest.mark.timeout(120)


def test_two_seconds_stand_for_all(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mp4", frames=90)
    found = inspect_source(path)
    cost = measure_cost(found, load=load_pipeline_with_fake)
    assert cost.frames == 50
    assert cost.seconds_per_frame == pytest.approx(cost.seconds / 50)
    assert cost.seconds_in_all == pytest.approx(90 * cost.seconds_per_frame)
    waiting = 40 * 64 * 48 * 3 if found.decoder == "decord" else 0
    assert cost.memory_at_most - cost.memory == waiting
    assert cost.memory > 50e6
    assert [entry.name for entry in tmp_path.iterdir()] == ["clip.mp4"]
    assert "measured: 50 frames" in dict(cost_lines(cost))["tsfp"]


def test_weights_that_the_manifest_does_not_name_are_stood_in_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VSAL_STORE", str(tmp_path / "store"))
    monkeypatch.setattr(manifest, "weights_folder", lambda: tmp_path)
    entry = '[{0}]\nfile = "{0}.safetensors"\narchitecture = "tsfp"\ndescription = "x"\n'
    (tmp_path / "manifest.toml").write_text(entry.format("tsfp-lite0"))
    assert costs._weights_of("tsfp-s3d") is None
    assert costs._weights_of("tased") is None
    (tmp_path / "manifest.toml").write_text(entry.format("tsfp-s3d-open"))
    assert costs._weights_of("tsfp-s3d") is None  # named, and not on this machine
    (tmp_path / "tsfp-s3d-open.safetensors").touch()
    assert costs._weights_of("tsfp-s3d") == "tsfp-s3d-open"


def test_what_cannot_be_measured(tmp_path: Path) -> None:
    found = inspect_source(make_clip(tmp_path / "clip.mp4", frames=3))
    with pytest.raises(UsageError, match="stdin can be read once only"):
        measure_cost(replace(found, source="stdin", bytes=None))
    with pytest.raises(UsageError, match="--measure vinet: must be one of"):
        measure_cost(found, "vinet")  # type: ignore[arg-type]
    with pytest.raises(WeightsError, match="neither a file nor a name"):
        measure_cost(found, "tsfp", PredictOptions(weights="none.safetensors"))
