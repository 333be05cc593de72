"""One item: its frames' scores, what is skipped and why, unrest, and random halves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny_gaze import LATE, RATE, VIDEO_FRAMES, make_gaze
from tiny_recordings import HEIGHT, WIDTH, TinyRecording, ideal, recording, together

from saliency_cli.datasets import Dataset, Recording, open_dataset
from saliency_cli.errors import ReadError
from saliency_cli.evaluation import (
    Centre,
    ItemScores,
    MapSource,
    Negatives,
    Observers,
    PredictedMaps,
    Trial,
    score_item,
)
from saliency_cli.inference.predictor import SaliencyPredictor
from saliency_cli.media import open_source
from saliency_cli.metrics import (
    SIGMA_STILL,
    GazeTable,
    MetricName,
    active,
    center_gaussian,
    fixation_map,
    nss,
    score_map,
)
from saliency_cli.models.config import ModelConfig
from saliency_cli.models.registry import LoadedModel, build
from saliency_cli.types import SaliencyFrame

CONFIG = ModelConfig(architecture="tsfp", encoder="efficientnet-lite0", input_size=(64, 96), mean=0.498, std=0.502)


class Given(MapSource):
    """Maps that a function makes of the frame's number, for the frames named."""

    name = "given"

    def __init__(self, make: Callable[[int], NDArray[Any]], frames: tuple[int, ...] = (0, 1, 2, 3, 4)) -> None:
        self.make, self.frames = make, frames

    def trials(self, recording: Recording, limit: int | None) -> Iterator[Trial]:
        frames = [frame for frame in self.frames if limit is None or frame < limit]
        yield Trial((SaliencyFrame(frame, 1 + frame / 25, self.make(frame)) for frame in frames), recording)

    def about(self) -> dict[str, Any]:
        return {}


def scored(source: MapSource, one: Recording, *metrics: MetricName, **changes: Any) -> ItemScores:
    chosen = metrics or ("nss", "cc")
    negatives = Negatives(together([one, recording("other", first=20)]))
    return score_item(source, one, metrics=chosen, negatives=negatives, **changes)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_gaze(tmp_path_factory.mktemp("gaze") / "gaze")


@pytest.fixture(scope="module")
def gaze(folder: Path) -> Dataset:
    return open_dataset(folder)


@pytest.fixture(scope="module")
def table(folder: Path) -> GazeTable:
    return GazeTable.load(folder)


@pytest.fixture(scope="module")
def predictor() -> SaliencyPredictor:
    torch.manual_seed(5)
    return SaliencyPredictor(LoadedModel(build(CONFIG), CONFIG, Path("random.safetensors"), "", {}), device="cpu")


def item(gaze: Dataset, name: str) -> Recording:
    return next(one for one in gaze.recordings if f"{one.dataset}/{one.name}" == name)


def of_gaze(gaze: Dataset, source: MapSource, name: str, *metrics: MetricName) -> ItemScores:
    return score_item(source, item(gaze, name), metrics=metrics or ("nss", "cc"), negatives=Negatives(gaze))


@pytest.mark.parametrize("pairing", ["frame", "time"])
def test_each_frame_is_held_against_its_own_gaze(pairing: str) -> None:
    one = recording(pairing=pairing)
    found = scored(Given(lambda frame: ideal(one, frame, 1 + frame / 25)), one, "nss", "cc", "kl")
    assert [frame.index for frame in found.scores.frames] == [0, 1, 2, 3, 4]
    assert found.scores.means["cc"] == pytest.approx(1, abs=1e-6)
    assert found.scores.means["kl"] < 0.3
    assert {frame.fixations for frame in found.scores.frames} == {3}
    shifted = scored(Given(lambda frame: ideal(replace(one, first=one.first + 8), frame, 1 + frame / 25)), one)
    assert shifted.scores.means["nss"] < 0 < found.scores.means["nss"]


def test_frames_without_scores_are_counted_by_reason() -> None:
    one = recording(unseen=frozenset({0}), unknown=frozenset({1}))
    make = {0: ideal(recording()), 1: ideal(recording()), 2: np.ones((4, 4)), 4: ideal(one, 4)}
    found = scored(Given(lambda frame: make[frame], (0, 1, 2, 4)), one)
    assert found.scores.skipped == {"no fixation": 1, "not annotated": 1, "constant map": 1, "no prediction": 1}
    assert [frame.skipped for frame in found.scores.frames] == [
        "no fixation",
        "not annotated",
        "constant map",
        "no prediction",
        None,
    ]
    assert found.scored == (4,)


def test_only_the_first_frames() -> None:
    one = recording()
    found = scored(Given(lambda frame: ideal(one, frame)), one, limit=2)
    assert [frame.index for frame in found.scores.frames] == [0, 1]
    assert len(scored(Centre(), one, limit=3).scores.frames) == 3


@pytest.mark.parametrize(
    ("wrong", "metric", "message"),
    [
        (np.full((4, 4), np.nan), "nss", "not finite"),
        (np.eye(4)[None], "nss", "must be a map of shape"),
        (np.eye(4) - 0.5, "kl", "must not hold negative values"),
    ],
)
def test_what_is_no_map_is_an_error(wrong: NDArray[Any], metric: MetricName, message: str) -> None:
    with pytest.raises(ReadError, match=f"given: the map of frame 0 .* of tiny/a cannot be scored, as .*{message}"):
        scored(Given(lambda frame: wrong), recording(), metric)


def test_unrest_is_the_change_between_consecutive_maps() -> None:
    maps = [np.eye(4) * (frame + 1) + 0.1 * np.arange(4) * frame for frame in range(5)]
    found = scored(Given(lambda frame: maps[frame]), recording())
    whole = [one / one.max() for one in maps]
    assert found.change == pytest.approx(np.mean([np.abs(b - a).mean() for a, b in pairwise(whole)]), rel=1e-6)
    apart = scored(Given(lambda frame: maps[frame], (0, 2, 4)), recording())
    assert apart.change is None  # no two follow each other
    assert scored(Observers(2), recording()).change is None
    assert scored(Centre(), recording()).change == 0


def test_negatives_are_found_once() -> None:
    calls: list[str] = []

    class Counting(TinyRecording):
        def fixated(self, height: int, width: int) -> NDArray[np.bool_]:
            calls.append(self.name)
            return super().fixated(height, width)

    others = [Counting(**{**vars(recording(name)), "first": column}) for name, column in (("b", 3), ("c", 9))]
    negatives = Negatives(together([recording(), *others]))
    for _ in range(2):
        seen = negatives.of(recording())
        assert seen.shape == (HEIGHT, WIDTH)
        assert set(np.flatnonzero(seen.any(axis=0))) == {3, 9}
    assert sorted(calls) == ["b", "c"]


def test_half_of_the_observers_predict_the_other_half() -> None:
    one = recording(rows=(11, 12, 12, 13))
    found = scored(Observers(4), one, "nss", "cc")
    assert len(found.scores.frames) == 5
    singles = [scored(Observers(1, seed=seed), one, "nss").scores.means["nss"] for seed in range(4)]
    assert found.scores.means["nss"] == pytest.approx(np.mean(singles))
    assert found.scores.means["nss"] > scored(Centre(), one).scores.means["nss"] > 0


def test_a_frame_is_averaged_over_the_splits_that_score_it() -> None:
    """In every second split nobody among the judges looks at frame 2."""

    class Sparse(TinyRecording):
        def halves(self, seed: int = 0) -> tuple[Recording, Recording]:
            full, empty = recording(), recording(unseen=frozenset({2}))
            return (full, empty) if seed % 2 else (full, full)

    one = Sparse(**vars(recording()))
    both, first, second = (scored(Observers(n, seed=seed), one, "nss") for n, seed in ((2, 0), (1, 0), (1, 1)))
    assert both.scored == first.scored == (0, 1, 2, 3, 4)
    assert second.scores.skipped == {"no fixation": 1}
    assert both.scores.frames[2].scores == first.scores.frames[2].scores


def test_a_still_against_the_centre(gaze: Dataset, table: GazeTable) -> None:
    row = of_gaze(gaze, Centre(), "photos/03")
    points = table.fixations("photos", "03").points
    centre = center_gaussian(64, 96)
    assert row.scores.means["nss"] == pytest.approx(nss(centre, fixation_map(points, 64, 96)), rel=1e-4)
    expected = score_map(centre, points, height=64, width=96, sigma=64 * SIGMA_STILL, metrics=("cc",)).scores["cc"]
    assert row.scores.means["cc"] == pytest.approx(expected, rel=1e-4)
    assert row.label == row.scores.name == "photos/03"
    assert len(row.scores.frames) == 1
    assert row.change is None


def test_a_video_that_starts_late_is_scored_by_the_containers_clock(gaze: Dataset, table: GazeTable) -> None:
    """Counted from 0 its frames would have no fixation at all: these begin with the first frame, at 1.2 s."""
    row = of_gaze(gaze, Centre(), "hevc/Moved")
    assert [frame.seconds for frame in row.scores.frames] == pytest.approx(
        [float(LATE) + n / RATE for n in range(VIDEO_FRAMES)]
    )
    assert not row.scores.skipped
    fixations, centre = table.fixations("hevc", "Moved"), center_gaussian(64, 96)
    for frame in row.scores.frames:
        at = fixation_map(active(fixations, frame.seconds), 64, 96)
        assert frame.scores["nss"] == pytest.approx(nss(centre, at), rel=1e-4)
    assert row.change == 0


def test_frames_that_nobody_looks_at_are_counted_and_skipped(gaze: Dataset) -> None:
    row = of_gaze(gaze, Centre(), "hevc/Yan")
    assert row.scores.skipped == {"no fixation": 2}
    assert len(row.scores.frames) == VIDEO_FRAMES


def test_a_model_is_scored_by_its_maps(gaze: Dataset, table: GazeTable, predictor: SaliencyPredictor) -> None:
    source = PredictedMaps(predictor=predictor)
    assert source.name == "model:random"
    for label in ("photos/05", "hevc/Moved"):
        row, one = of_gaze(gaze, source, label, "nss"), item(gaze, label)
        assert one.stimulus is not None
        with open_source(one.stimulus) as reader:
            maps = list(predictor.predict(reader, still=one.kind == "image"))
        fixations = table.fixations(one.dataset, one.name)
        assert len(row.scores.frames) == len(maps)
        for frame, each in zip(row.scores.frames, maps, strict=True):
            points = fixations.points if one.kind == "image" else active(fixations, each.seconds)
            expected = score_map(each.saliency, points, height=64, width=96, sigma=3, metrics=("nss",)).scores["nss"]
            assert frame.scores["nss"] == pytest.approx(expected, rel=1e-3, abs=1e-4)
        scaled = [each.saliency / each.saliency.max() for each in maps]
        if one.kind == "video":
            changes = [np.abs(b - a).mean() for a, b in pairwise(scaled)]
            assert row.change == pytest.approx(np.mean(changes), rel=1e-3)
            assert row.change > 0


def test_a_model_stops_at_the_limit(gaze: Dataset, predictor: SaliencyPredictor) -> None:
    found = score_item(
        PredictedMaps(predictor=predictor),
        item(gaze, "hevc/Moved"),
        metrics=("nss",),
        negatives=Negatives(gaze),
        limit=3,
    )
    assert [frame.index for frame in found.scores.frames] == [0, 1, 2]


def test_metrics_that_need_more_get_it(gaze: Dataset) -> None:
    row = of_gaze(gaze, Centre(), "photos/04", "auc_shuffled", "information_gain", "auc_judd")
    assert row.scores.means["information_gain"] == pytest.approx(0, abs=1e-3)  # the centre against itself
    assert 0 <= row.scores.means["auc_shuffled"] <= 1
