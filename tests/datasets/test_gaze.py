"""Gaze tables as a data set: the container's clock, observers, splits, and the negatives of s-AUC."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_gaze import LATE, RATE, STILLS, make_gaze

from saliency_cli.datasets import Dataset, GazeRecording, Recording, open_dataset, other_fixations
from saliency_cli.errors import ReadError, UsageError
from saliency_cli.metrics import (
    SIGMA_STILL,
    SIGMA_VIDEO,
    Fixations,
    Item,
    active,
    density_map,
    fixation_counts,
    fixation_map,
)


@pytest.fixture(scope="module")
def gaze(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return open_dataset(make_gaze(tmp_path_factory.mktemp("gaze") / "gaze"))


def recording_of(dataset: Dataset, name: str) -> GazeRecording:
    (found,) = [recording for recording in dataset.recordings if recording.name == name]
    assert isinstance(found, GazeRecording)
    return found


def test_recordings_are_those_of_the_table(gaze: Dataset) -> None:
    assert gaze.layout == "gaze"
    assert [r.name for r in gaze.recordings] == [*(f"{n:02}" for n in range(STILLS)), "Moved", "Yan"]
    still, video = recording_of(gaze, "05"), recording_of(gaze, "Moved")
    assert (still.kind, still.dataset, still.stimulus) == ("image", "photos", gaze.root / "photos" / "05.jpg")
    assert (video.kind, video.dataset, video.stimulus) == ("video", "hevc", gaze.root / "hevc" / "Moved.mp4")
    assert {(r.height, r.width, r.pairing, r.frames) for r in gaze.recordings} == {(64, 96, "time", None)}
    assert repr(gaze).endswith("gaze, 14 recordings)")


def test_parts(gaze: Dataset) -> None:
    assert gaze.splits == ("fold-1", "fold-2", "train", "validation")
    assert [r.name for r in gaze.part("validation")] == ["00", "10", "Yan"]
    assert len(gaze.part("train")) == len(gaze.recordings) - 3
    with pytest.raises(UsageError, match=r"no part 'test': .* it has \(fold-1, fold-2, train, validation\)"):
        gaze.part("test")
    # Folds are of videos alone, and besides the other parts
    assert [r.name for r in gaze.part("fold-1")] == ["Moved"]
    assert [r.name for r in gaze.part("fold-2")] == ["Yan"]
    assert recording_of(gaze, "Yan").splits == {"validation", "fold-2"}
    assert recording_of(gaze, "05").splits == {"train"}


def test_the_size_is_that_of_the_stimulus_and_not_of_its_source(tmp_path: Path) -> None:
    root = make_gaze(tmp_path / "gaze")
    table = root / "items.csv"
    table.write_text(table.read_text(encoding="utf-8").replace(",96,64,", ",1920,1280,"), encoding="utf-8")
    (root / "photos" / "03.jpg").unlink()
    dataset = open_dataset(root)
    assert (recording_of(dataset, "02").height, recording_of(dataset, "02").width) == (64, 96)
    assert (recording_of(dataset, "Yan").height, recording_of(dataset, "Yan").width) == (64, 96)
    lost = recording_of(dataset, "03")
    assert (lost.stimulus, lost.height, lost.width) == (None, 1280, 1920)


def test_a_still_has_all_its_fixations(gaze: Dataset) -> None:
    recording = recording_of(gaze, "04")
    truth = recording.truth(0, 0.0)
    counts = fixation_counts(recording.fixations.points, 64, 96)
    assert counts.sum() == 4
    np.testing.assert_array_equal(truth.counts, counts)
    np.testing.assert_array_equal(truth.density, density_map(counts, 64 * SIGMA_STILL))


def test_a_video_is_looked_at_by_the_containers_clock(gaze: Dataset) -> None:
    recording = recording_of(gaze, "Moved")
    for frame in (0, 4, 5, 11):
        seconds = float(LATE) + frame / RATE
        truth = recording.truth(frame, seconds)
        _, columns = np.nonzero(truth.counts)
        assert set(columns) == {int(0.2 * 96) if frame < 5 else int(0.8 * 96)}
        counts = fixation_counts(active(recording.fixations, seconds), 64, 96)
        np.testing.assert_array_equal(truth.counts, counts)
        np.testing.assert_array_equal(truth.density, density_map(counts, 64 * SIGMA_VIDEO))
    assert recording.truth(0, 0.0).counts.sum() == 0
    assert recording.truth(0, 0.0).density.max() == 0


def test_truth_at_another_size(gaze: Dataset) -> None:
    recording = recording_of(gaze, "04")
    truth = recording.truth(0, 0.0, (32, 30))
    counts = fixation_counts(recording.fixations.points, 32, 30)
    np.testing.assert_array_equal(truth.counts, counts)
    np.testing.assert_array_equal(truth.density, density_map(counts, 32 * SIGMA_STILL))


def test_observers_in_halves(gaze: Dataset) -> None:
    recording = recording_of(gaze, "04")
    first, second = recording.halves(seed=2)
    assert isinstance(first, GazeRecording)
    assert isinstance(second, GazeRecording)
    assert sorted(first.fixations.subjects + second.fixations.subjects) == ["0", "1", "2", "3"]
    assert len(first.fixations.subjects) == 2
    assert first.truth(0, 0.0).counts.sum() + second.truth(0, 0.0).counts.sum() == 4
    assert first.same_content(recording)
    again, _ = recording.halves(seed=2)
    assert isinstance(again, GazeRecording)
    assert again.fixations.subjects == first.fixations.subjects


def test_one_observer_has_no_halves(gaze: Dataset) -> None:
    recording = recording_of(gaze, "04")
    alone = replace(recording, fixations=recording.fixations.where(recording.fixations.subject == "1"))
    with pytest.raises(UsageError, match="photos/04 cannot have half of its observers"):
        alone.halves()


def made_up(names: list[str]) -> Dataset:
    """Videos of hevc on each of which one pixel of its row is fixated: the n-th item's in column n."""

    def recording(place: int, name: str) -> Recording:
        point = np.array([[(place + 0.5) / len(names), 0.5]])
        return GazeRecording(
            dataset="hevc",
            name=name,
            kind="video",
            stimulus=None,
            height=10,
            width=10,
            splits=frozenset(),
            pairing="time",
            item=Item("hevc", name, "video", 10, 10, 25.0, 9, place),
            fixations=Fixations(np.array(["1"]), np.array([0.0]), np.array([9.0]), point),
        )

    return Dataset(Path("gaze"), "gaze", [recording(place, name) for place, name in enumerate(names)])


def test_other_fixations_leave_out_the_recording_and_its_twin() -> None:
    dataset = made_up(["RaceHorsesC", "RaceHorsesD", "Yan", "Simo"])
    columns = other_fixations(dataset, dataset.recordings[0], height=1, width=4)
    np.testing.assert_array_equal(columns, [[0, 0, 1, 1]])


def test_other_fixations_are_those_of_ten_stimuli() -> None:
    dataset = made_up([f"v{number}" for number in range(30)])
    drawn = [other_fixations(dataset, dataset.recordings[3], height=1, width=30, seed=seed) for seed in range(4)]
    assert [int(columns.sum()) for columns in drawn] == [10] * 4
    assert not any(columns[0, 3] for columns in drawn)
    assert (drawn[0] != drawn[1]).any()
    # The stimuli that a seed draws do not change from one version to the next
    pool = [number for number in range(30) if number != 3]
    expected = sorted(pool[index] for index in np.random.default_rng(2).permutation(29)[:10])
    assert np.flatnonzero(drawn[2][0]).tolist() == expected


def test_other_fixations_stay_within_the_data_set(gaze: Dataset) -> None:
    moved, yan = recording_of(gaze, "Moved"), recording_of(gaze, "Yan")
    others = other_fixations(gaze, moved, height=64, width=96)
    np.testing.assert_array_equal(others, fixation_map(yan.fixations.points, 64, 96))
    np.testing.assert_array_equal(others, yan.fixated(64, 96))


@pytest.mark.parametrize("name", ["items.csv", "fixations.csv.gz"])
def test_a_table_that_is_missing(tmp_path: Path, name: str) -> None:
    root = make_gaze(tmp_path / "gaze")
    (root / name).unlink()
    with pytest.raises(ReadError, match=r"\.csv is missing"):
        open_dataset(root, layout="gaze")


def test_a_stimulus_without_a_header(tmp_path: Path) -> None:
    root = make_gaze(tmp_path / "gaze")
    (root / "photos" / "03.jpg").write_bytes(b"no picture")
    with pytest.raises(ReadError, match=r"03\.jpg"):
        open_dataset(root)
