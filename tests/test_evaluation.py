"""A model against gaze: the scores are those of its maps, on the container's clock."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_gaze import LATE, RATE, VIDEO_FRAMES, make_gaze

from saliency_cli.errors import ReadError, UsageError
from saliency_cli.evaluation import CENTRE, ItemScores, evaluate_items
from saliency_cli.inference.predictor import SaliencyPredictor
from saliency_cli.media import open_source
from saliency_cli.metrics import SIGMA_STILL, GazeTable, active, center_gaussian, fixation_map, nss, score_map
from saliency_cli.models.config import ModelConfig
from saliency_cli.models.registry import LoadedModel, build

CONFIG = ModelConfig(architecture="tsfp", encoder="efficientnet-lite0", input_size=(64, 96), mean=0.498, std=0.502)


@pytest.fixture(scope="module")
def gaze(tmp_path_factory: pytest.TempPathFactory) -> GazeTable:
    return GazeTable.load(make_gaze(tmp_path_factory.mktemp("gaze") / "gaze"))


@pytest.fixture(scope="module")
def predictor() -> SaliencyPredictor:
    torch.manual_seed(5)
    return SaliencyPredictor(LoadedModel(build(CONFIG), CONFIG, Path("random.safetensors"), "", {}), device="cpu")


def centre_of(gaze: GazeTable, dataset: str, name: str) -> ItemScores:
    (row,) = evaluate_items(CENTRE, gaze, [gaze.item(dataset, name)], metrics=("nss", "cc"))
    return row


def test_a_still_against_the_centre(gaze: GazeTable) -> None:
    row = centre_of(gaze, "photos", "03")
    points = gaze.fixations("photos", "03").points
    centre = center_gaussian(64, 96)
    assert row.scores.means["nss"] == pytest.approx(nss(centre, fixation_map(points, 64, 96)), rel=1e-4)
    expected = score_map(centre, points, height=64, width=96, sigma=64 * SIGMA_STILL, metrics=("cc",)).scores["cc"]
    assert row.scores.means["cc"] == pytest.approx(expected, rel=1e-4)
    assert row.scores.name == "photos/03"
    assert len(row.scores.frames) == 1
    assert row.change is None


def test_a_video_that_starts_late_is_scored_by_the_containers_clock(gaze: GazeTable) -> None:
    """Counted from 0 its frames would have no fixation at all: these begin with the first frame, at 1.2 s."""
    row = centre_of(gaze, "hevc", "Moved")
    assert [frame.seconds for frame in row.scores.frames] == pytest.approx(
        [float(LATE) + n / RATE for n in range(VIDEO_FRAMES)]
    )
    assert not row.scores.skipped
    fixations, centre = gaze.fixations("hevc", "Moved"), center_gaussian(64, 96)
    for frame in row.scores.frames:
        at = fixation_map(active(fixations, frame.seconds), 64, 96)
        assert frame.scores["nss"] == pytest.approx(nss(centre, at), rel=1e-4)
    assert row.change == 0


def test_frames_that_nobody_looks_at_are_counted_and_skipped(gaze: GazeTable) -> None:
    row = centre_of(gaze, "hevc", "Yan")
    assert row.scores.skipped == {"no fixation": 2}
    assert len(row.scores.frames) == VIDEO_FRAMES


def test_a_model_is_scored_by_its_maps(gaze: GazeTable, predictor: SaliencyPredictor) -> None:
    items = [gaze.item("photos", "05"), gaze.item("hevc", "Moved")]
    calls: list[tuple[int, int]] = []
    still, video = evaluate_items(
        predictor, gaze, items, metrics=("nss",), on_item=lambda done, total: calls.append((done, total))
    )
    assert calls == [(1, 2), (2, 2)]
    for row, item in ((still, items[0]), (video, items[1])):
        with open_source(gaze.stimulus_path(item.dataset, item.name)) as source:
            maps = list(predictor.predict(source))
        fixations = gaze.fixations(item.dataset, item.name)
        assert len(row.scores.frames) == len(maps)
        for frame, one in zip(row.scores.frames, maps, strict=True):
            points = fixations.points if item.kind == "image" else active(fixations, one.seconds)
            expected = score_map(one.saliency, points, height=64, width=96, sigma=3, metrics=("nss",)).scores["nss"]
            assert frame.scores["nss"] == pytest.approx(expected, rel=1e-3, abs=1e-4)
        scaled = [one.saliency / one.saliency.max() for one in maps]
        if item.kind == "video":
            changes = [np.abs(b - a).mean() for a, b in pairwise(scaled)]
            assert row.change == pytest.approx(np.mean(changes), rel=1e-3)
            assert row.change > 0


def test_metrics_that_need_more_get_it(gaze: GazeTable) -> None:
    (row,) = evaluate_items(
        CENTRE, gaze, [gaze.item("photos", "04")], metrics=("auc_shuffled", "information_gain", "auc_judd")
    )
    assert row.scores.means["information_gain"] == pytest.approx(0, abs=1e-3)  # the centre against itself
    assert 0 <= row.scores.means["auc_shuffled"] <= 1


def test_metrics_that_do_not_exist(gaze: GazeTable) -> None:
    with pytest.raises(UsageError, match="choose among"):
        list(evaluate_items(CENTRE, gaze, gaze.items(), metrics=("fame",)))  # type: ignore[arg-type]


def test_a_stimulus_that_is_missing(tmp_path: Path) -> None:
    gaze = GazeTable.load(make_gaze(tmp_path / "gaze"))
    (gaze.folder / "photos" / "02.jpg").unlink()
    with pytest.raises(ReadError, match=r"02\.jpg is missing"):
        list(evaluate_items(CENTRE, gaze, [gaze.item("photos", "02")], metrics=("nss",)))
