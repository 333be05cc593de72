"""The centre Gaussian, and observers who predict each other."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from saliency_cli.metrics import (
    Fixations,
    GazeTable,
    active,
    center_gaussian,
    evaluate_video,
    fixation_map,
    nss,
    observers_baseline,
    split_observers,
)

SHARED = Path(__file__).resolve().parents[3] / "shared" / "gaze"


def crowd(observers: int, *, seed: int = 0) -> Fixations:
    """Each looks near a point that moves to the right, for four spells of 250 ms."""
    generator = np.random.default_rng(seed)
    subject = np.repeat([f"s{number:02}" for number in range(observers)], 4)
    onset = np.tile([0.0, 250.0, 500.0, 750.0], observers)
    points = np.stack([0.2 + onset / 1250, np.full(onset.size, 0.5)], axis=1) + generator.normal(
        0, 0.02, (onset.size, 2)
    )
    return Fixations(subject, onset, np.full(onset.size, 250.0), points)


def test_centre_gaussian() -> None:
    centre = center_gaussian(101, 201)
    assert centre.shape == (101, 201)
    assert centre[50, 100] == centre.max() == 1
    np.testing.assert_allclose(centre, centre[::-1, ::-1])
    # one sigma is a fifth of the side, across and down
    np.testing.assert_allclose(np.interp(0.2, (np.arange(201) - 100) / 201, centre[50]), np.exp(-0.5), rtol=1e-3)
    np.testing.assert_allclose(np.interp(0.2, (np.arange(101) - 50) / 101, centre[:, 100]), np.exp(-0.5), rtol=1e-3)
    assert center_gaussian(101, 201, sigma=0.1).sum() < centre.sum() / 3


@pytest.mark.parametrize(("height", "width", "sigma"), [(0, 4, 0.2), (4, 0, 0.2), (4, 4, 0.0)])
def test_centre_gaussian_refuses(height: int, width: int, sigma: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        center_gaussian(height, width, sigma=sigma)


@pytest.mark.parametrize("observers", [2, 7, 32])
def test_observers_are_split_in_halves(observers: int) -> None:
    fixations = crowd(observers)
    first, second = split_observers(fixations, seed=5)
    assert len(first.subjects) == observers // 2
    assert sorted(first.subjects + second.subjects) == list(fixations.subjects)
    assert len(first) + len(second) == len(fixations)
    assert split_observers(fixations, seed=5)[0].subjects == first.subjects


def test_splits_differ_by_seed() -> None:
    assert len({split_observers(crowd(32), seed=seed)[0].subjects for seed in range(5)}) == 5


def test_one_observer_cannot_be_split() -> None:
    with pytest.raises(ValueError, match="two observers are needed"):
        split_observers(crowd(1))


def test_observers_predict_each_other() -> None:
    times = [0.1, 0.4, 0.6, 0.9, 5.0]
    maps, judged = observers_baseline(crowd(20), times, height=90, width=160)
    video = evaluate_video(maps, judged, height=90, width=160)
    assert [frame.seconds for frame in video.frames] == times
    assert video.skipped == {"no fixation": 1}
    assert video.means["nss"] > 3
    assert video.means["cc"] > 0.8


def test_centre_scores_of_the_shared_trial() -> None:
    """The centre scores of the trial, from 0.5 s on, on validation videos whose frame rate is constant."""
    if not SHARED.is_dir():
        pytest.skip("the gaze recordings are not beside the checkout (../shared/gaze)")
    table = GazeTable.load(SHARED)
    with (SHARED / "trial.csv").open(encoding="utf-8", newline="") as stream:
        trial = {row["item"]: float(row["nss_centre"]) for row in csv.DictReader(stream) if row["nss_centre"]}
    centre = center_gaussian(144, 256)
    for name in ("Yan", "Vidyo4", "Traffic", "BasketballPass"):
        item, fixations = table.item("hevc", name), table.fixations("hevc", name)
        assert item.rate is not None
        assert item.frames is not None
        times = np.arange(int(item.rate / 2), item.frames) / item.rate
        scores = [nss(centre, fixation_map(active(fixations, time), 144, 256)) for time in times]
        assert np.mean(scores) == pytest.approx(trial[name], abs=0.1)
