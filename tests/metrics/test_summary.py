"""Scores of whole videos: rows, skipped frames, means."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from saliency_cli.errors import UsageError
from saliency_cli.metrics import (
    LABELS,
    Fixations,
    FrameScores,
    MetricName,
    VideoScores,
    auc_judd,
    cc,
    center_gaussian,
    density_map,
    evaluate_video,
    fixation_counts,
    mean_over_frames,
    mean_over_videos,
    nss,
    score_map,
    score_truth,
    skipped_frames,
    undefined_scores,
)

EVERYTHING: tuple[MetricName, ...] = get_args(MetricName)
H, W = 45, 80


def gaze() -> Fixations:
    """Two fixations until 1000 ms, one outside the picture until 2000 ms, then one more."""
    return Fixations(
        np.array(["1", "2", "1", "2"]),
        np.array([0.0, 0.0, 1001.0, 2001.0]),
        np.array([1000.0, 1000.0, 999.0, 1000.0]),
        np.array([[0.25, 0.5], [0.3, 0.4], [1.5, 0.5], [0.7, 0.7]]),
    )


def scored(name: str, *values: float | None) -> VideoScores:
    """A video of these NSS; None is a frame without a fixation."""
    rows = [
        FrameScores(i, i / 25, 0, {}, "no fixation") if value is None else FrameScores(i, i / 25, 9, {"nss": value})
        for i, value in enumerate(values)
    ]
    return VideoScores(name, tuple(rows))


def test_rows_hold_the_scores_of_their_frames() -> None:
    prediction = np.random.default_rng(0).random((H, W)).astype(np.float32)
    video = evaluate_video([(0.5, prediction), (2.5, prediction)], gaze(), height=H, width=W, sigma=3, name="clip")
    first, second = video.frames
    assert (video.name, first.index, first.seconds, first.fixations, second.fixations) == ("clip", 0, 0.5, 2, 1)
    counts = fixation_counts(gaze().points[:2], H, W)
    assert first.scores["nss"] == pytest.approx(nss(prediction, counts), rel=1e-6)
    assert first.scores["cc"] == pytest.approx(cc(prediction, density_map(counts, 3)), rel=1e-6)
    assert set(first.scores) == {"nss", "cc", "sim", "auc_judd", "kl"}
    assert video.means["nss"] == pytest.approx((first.scores["nss"] + second.scores["nss"]) / 2)


def test_skipped_frames_are_counted_with_their_reason() -> None:
    varied, flat = np.eye(9, 16), np.full((9, 16), 0.1)
    maps = [(0.5, varied), (0.6, flat), (1.5, varied), (9.0, flat)]
    video = evaluate_video(maps, gaze(), height=H, width=W, metrics=("nss",))
    assert [frame.skipped for frame in video.frames] == [None, "constant map", "no fixation", "no fixation"]
    assert video.skipped == {"constant map": 1, "no fixation": 2}
    assert video.means == {"nss": video.frames[0].scores["nss"]}
    assert skipped_frames([video, video]) == {"constant map": 2, "no fixation": 4}


def test_all_metrics_are_scored_and_have_a_label() -> None:
    other = np.random.default_rng(1).random((H, W)) < 0.05
    row = score_map(
        center_gaussian(20, 30),
        gaze().points[:2],
        height=H,
        width=W,
        sigma=2,
        metrics=EVERYTHING,
        other=other,
        baseline=np.random.default_rng(2).random((H, W)),
    )
    assert set(row.scores) == set(EVERYTHING) == set(LABELS)
    assert all(np.isfinite(score) for score in row.scores.values())


def test_probabilities_are_not_lost_in_the_jitter() -> None:
    """A map of sum 1 has values near the jitter's 1e-7, which must not reorder its pixels."""
    logits = 3 * np.random.default_rng(3).normal(size=(H, W))
    points = np.random.default_rng(4).random((20, 2))
    small = np.exp(logits) * 1e-9
    row = score_map(small, points, height=H, width=W, sigma=2, metrics=("auc_judd",))
    expected = auc_judd(logits, fixation_counts(points, H, W), jitter=False)
    assert row.scores["auc_judd"] == pytest.approx(expected, abs=1e-3)


def test_counts_and_density_score_as_points_do() -> None:
    prediction, points = np.random.default_rng(6).random((20, 30)), np.random.default_rng(7).random((9, 2))
    other = np.random.default_rng(1).random((H, W)) < 0.05
    more = {"metrics": EVERYTHING, "other": other, "baseline": center_gaussian(H, W), "seed": 3, "index": 4}
    expected = score_map(prediction, points, height=H, width=W, sigma=2, **more)  # type: ignore[arg-type]
    counts = fixation_counts(points, H, W)
    for density, sigma in ((density_map(counts, 2), None), (None, 2)):
        assert score_truth(prediction, counts, density, sigma=sigma, **more) == expected  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="need a density"):
        score_truth(prediction, counts, None, metrics=("cc",))
    assert score_truth(prediction, np.zeros((H, W)), np.zeros((H, W))).skipped == "no fixation"


def test_a_score_that_is_not_defined_counts_nowhere() -> None:
    """A truth whose density is empty has no CC, though somebody looked: the other frames' mean stands."""
    counts = fixation_counts(gaze().points[:2], H, W)
    prediction = np.random.default_rng(0).random((H, W))
    rows = [
        score_truth(prediction, counts, density, metrics=("nss", "cc"), index=index)
        for index, density in enumerate((density_map(counts, 3), np.zeros((H, W))))
    ]
    video = VideoScores("clip", tuple(rows))
    assert np.isnan(rows[1].scores["cc"])
    assert video.means["cc"] == rows[0].scores["cc"]
    assert video.means["nss"] == rows[0].scores["nss"]
    assert mean_over_frames([video])["cc"] == mean_over_videos([video])["cc"] == rows[0].scores["cc"]
    assert undefined_scores([video, video]) == {"cc": 2}
    assert np.isnan(VideoScores("clip", (rows[1],)).means["cc"])


def test_maps_are_taken_one_at_a_time() -> None:
    given: list[weakref.ref[NDArray[np.float64]]] = []

    def maps() -> Iterator[tuple[float, NDArray[np.float64]]]:
        for _ in range(6):
            assert sum(reference() is not None for reference in given) <= 1
            prediction = np.eye(H, W)
            given.append(weakref.ref(prediction))
            yield 0.5, prediction
            del prediction

    assert len(evaluate_video(maps(), gaze(), height=H, width=W, metrics=("nss",)).frames) == 6


def test_the_two_means_differ() -> None:
    videos = [scored("long", 1.0, 1.0, 1.0, None), scored("short", 3.0), scored("empty", None)]
    assert mean_over_frames(videos) == {"nss": 1.5}
    assert mean_over_videos(videos) == {"nss": 2.0}
    assert skipped_frames(videos) == {"no fixation": 2}


def test_nothing_scored() -> None:
    assert mean_over_frames([scored("empty", None)]) == {}
    assert mean_over_videos([]) == {}
    assert skipped_frames([]) == {}


def test_draws_follow_the_seed() -> None:
    other = np.random.default_rng(1).random((H, W)) < 0.2
    maps = [(0.5, np.random.default_rng(5).random((H, W)))]

    def run(seed: int) -> float:
        video = evaluate_video(maps, gaze(), height=H, width=W, metrics=("auc_shuffled",), other=other, seed=seed)
        return video.means["auc_shuffled"]

    assert run(0) == run(0)
    assert run(0) != run(1)


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        (("nss", "emd"), "not all known: choose among nss, cc"),
        ((), "not all known"),
        (("auc_shuffled",), "needs the fixations of other stimuli"),
        (("information_gain",), "needs a baseline map"),
    ],
)
def test_metrics_that_cannot_be_scored(metrics: tuple[MetricName, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        evaluate_video([], gaze(), height=H, width=W, metrics=metrics)
