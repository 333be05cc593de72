"""Whole evaluations: items, means, intervals, and what was left out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from fakes import fake
from tiny_recordings import recording, together

from saliency_cli.errors import UsageError
from saliency_cli.evaluation import Centre, ItemScores, Observers, PredictedMaps, evaluate, group_items, summarise
from saliency_cli.inference.predictor import SaliencyPredictor
from saliency_cli.metrics import FrameScores, VideoScores


def scored(dataset: str, name: str, *values: float | None, kind: str = "video") -> ItemScores:
    """An item of these NSS; None is a frame that nobody looks at."""
    frames = tuple(
        FrameScores(i, i / 25, 0, {}, "no fixation") if value is None else FrameScores(i, i / 25, 9, {"nss": value})
        for i, value in enumerate(values)
    )
    return ItemScores(dataset, name, kind, (4, 4), VideoScores(f"{dataset}/{name}", frames), None)  # type: ignore[arg-type]


def test_means_over_items_and_over_frames() -> None:
    found = summarise(
        [scored("d", "long", 1, 1, 1, None), scored("d", "short", 3), scored("d", "empty", None)], ["nss"]
    )
    assert (found.items, found.frames) == (3, 6)
    assert found.over_items == {"nss": 2}
    assert found.over_frames == {"nss": 1.5}
    assert (found.items_interval["nss"].low, found.items_interval["nss"].high) == (1, 3)
    assert (found.frames_interval["nss"].low, found.frames_interval["nss"].high) == (1, 3)


def test_one_item_has_no_interval() -> None:
    found = summarise([scored("d", "a", 1, 2), scored("d", "b", None), scored("d", "c", math.nan)], ["nss"])
    assert found.over_items == {"nss": 1.5}
    assert found.items_interval == found.frames_interval == {}


def test_groups() -> None:
    items = [scored("d", "a", 1), scored("e", "a", 1), scored("f", "a", 1, kind="image")]
    groups = group_items(items)
    assert {name: [item.label for item in rows] for name, rows in groups.items()} == {
        "d": ["d/a"],
        "e": ["e/a"],
        "f": ["f/a"],
        "all videos": ["d/a", "e/a"],
    }
    assert list(group_items(items[1:])) == ["e", "f"]


def test_an_evaluation() -> None:
    dataset = together([recording("a"), recording("b", first=14), recording("c", splits=frozenset({"train"}))])
    calls: list[tuple[int, int]] = []
    found = evaluate(
        dataset,
        Centre(),
        recordings=dataset.recordings[:2],
        metrics=("nss", "auc_shuffled"),
        on_item=lambda done, total: calls.append((done, total)),
    )
    assert calls == [(1, 2), (2, 2)]
    assert [item.label for item in found.items] == ["tiny/a", "tiny/b"]
    one, other = (item.scores.means["nss"] for item in found.items)
    assert other > one  # nearer to the middle
    summary = found.summaries()["tiny"]
    assert summary.over_items["nss"] == pytest.approx((one + other) / 2)
    assert summary.items_interval["nss"].low == pytest.approx(one)
    again = evaluate(dataset, Centre(), recordings=dataset.recordings[:2], metrics=("nss", "auc_shuffled"))
    assert again.items == found.items


def test_limit() -> None:
    found = evaluate(together([recording()]), Centre(), metrics=("nss",), limit=2)
    assert [len(item.scores.frames) for item in found.items] == [2]
    with pytest.raises(UsageError, match="--limit 0"):
        evaluate(together([recording()]), Centre(), metrics=("nss",), limit=0)


def test_items_without_predictions_are_left_out_with_the_reason() -> None:
    dataset = together([recording("a"), recording("b", rows=(3,))])
    found = evaluate(dataset, Observers(2), metrics=("nss",))
    assert [item.name for item in found.items] == ["a"]
    assert list(found.missing) == ["tiny/b"]
    assert "does not tell observers apart" in found.missing["tiny/b"]


def test_nothing_to_score() -> None:
    predictor: SaliencyPredictor = fake()
    with pytest.raises(UsageError, match=r"no predictions for any of 1 items of tiny \(no stimulus to predict on\)"):
        evaluate(together([recording()]), PredictedMaps(predictor=predictor))
    with pytest.raises(UsageError, match="for any of 1 items"):
        evaluate(together([recording(pairing="time", frames=None)]), Centre())
    with pytest.raises(UsageError, match="choose among"):
        evaluate(together([recording()]), Centre(), metrics=("fame",))  # type: ignore[arg-type]


def test_a_score_that_is_not_defined_leaves_the_others() -> None:
    """s-AUC needs other stimuli, and here is none."""
    found = evaluate(together([recording()]), Centre(), metrics=("nss", "auc_shuffled"))
    means = found.items[0].scores.means
    assert math.isnan(means["auc_shuffled"])
    assert np.isfinite(means["nss"])
