"""Two sources on the same frames: differences, video by video, and what their mean is worth."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from tiny_recordings import recording, together

from saliency_cli.errors import ReadError, UsageError
from saliency_cli.evaluation import (
    Centre,
    Evaluation,
    ItemScores,
    Observers,
    compare,
    compare_results,
    evaluate,
    spell_difference,
)
from saliency_cli.evaluation.report import report_record
from saliency_cli.metrics import FrameScores, MetricName, VideoScores

Scores = dict[int, dict[MetricName, float]]


def scored(name: str, items: dict[str, Scores], *metrics: MetricName, dataset: str = "d") -> Evaluation:
    """A source that gave each frame of each video these scores."""
    rows = [
        ItemScores(
            dataset,
            label,
            "video",
            (4, 4),
            VideoScores(f"{dataset}/{label}", tuple(FrameScores(n, n / 25, 1, row) for n, row in frames.items())),
            None,
        )
        for label, frames in items.items()
    ]
    return Evaluation(
        source=name,
        about={},
        metrics=metrics or ("nss",),
        items=tuple(rows),
        missing={},
        notes=(),
        limit=None,
        seed=0,
    )


def nss(*values: float) -> Scores:
    return {index: {"nss": value} for index, value in enumerate(values)}


def test_only_frames_that_both_have() -> None:
    one = scored("one", {"a": {0: {"nss": 1.0}, 1: {"nss": 5.0}, 2: {"nss": 2.0}}, "only": nss(1)})
    other = scored("other", {"a": {0: {"nss": 2.0}, 2: {"nss": 3.5}, 7: {"nss": 99.0}}})
    found = compare(one, other)
    (pair,) = found.pairs
    assert (pair.name, pair.frames) == ("a", 2)
    assert (pair.first, pair.second, pair.differences) == ({"nss": 1.5}, {"nss": 2.75}, {"nss": 1.25})


def test_a_score_counts_where_both_define_it() -> None:
    one = scored("one", {"a": {0: {"nss": 1, "cc": math.nan}, 1: {"nss": 3, "cc": 0.5}}}, "nss", "cc")
    other = scored("other", {"a": {0: {"nss": 2, "cc": 0.9}, 1: {"nss": 3, "cc": 0.7}}}, "cc", "nss", "sim")
    found = compare(one, other)
    assert found.metrics == ("nss", "cc")
    assert found.pairs[0].differences == {"nss": 0.5, "cc": pytest.approx(0.2)}


def test_differences_have_the_interval_of_differences() -> None:
    """The videos differ much, the sources little: pairing sees what two separate intervals would not."""
    levels = [0.5, 2.0, 4.0, 7.0, 9.0]
    one = scored("one", {f"v{n}": nss(level) for n, level in enumerate(levels)})
    other = scored("other", {f"v{n}": nss(level + 0.1 + 0.01 * n) for n, level in enumerate(levels)})
    found = compare(one, other).differences()["d"]["nss"]
    assert found.items == 5
    assert found.difference == pytest.approx(0.12)
    assert found.second - found.first == pytest.approx(0.12)
    assert found.interval is not None
    assert 0.1 <= found.interval.low < 0.12 < found.interval.high <= 0.14
    back = compare(other, one).differences()["d"]["nss"]
    assert back.difference == pytest.approx(-0.12)
    assert back.interval is not None
    assert back.interval.high < 0


def test_sentences() -> None:
    two = {"a": nss(1.0), "b": nss(2.0)}
    found = compare(scored("one", two), scored("other", {"a": nss(1.5), "b": nss(2.5)}))
    said = spell_difference(found, "d", "nss", found.differences()["d"]["nss"])
    assert said == (
        "d: NSS of other minus that of one is +0.500 (higher is better), "
        "and its 95 % interval over 2 items, +0.500 to +0.500, excludes 0."
    )
    found = compare(scored("one", two), scored("other", {"a": nss(2.0), "b": nss(1.5)}))
    assert "includes 0: this may be chance" in spell_difference(found, "d", "nss", found.differences()["d"]["nss"])
    found = compare(scored("one", {"a": nss(1)}), scored("other", {"a": nss(1)}))
    assert "no interval" in spell_difference(found, "d", "nss", found.differences()["d"]["nss"])


def test_nothing_in_common() -> None:
    with pytest.raises(UsageError, match="on no frame in common"):
        compare(scored("one", {"a": nss(1)}), scored("other", {"b": nss(1)}))
    with pytest.raises(UsageError, match="no metric in common"):
        compare(scored("one", {"a": nss(1)}), scored("other", {"a": {0: {"cc": 1.0}}}, "cc"))


@pytest.fixture
def results(tmp_path: Path) -> tuple[Path, Path]:
    """Two sources, written as ``--json`` writes them."""
    dataset = together([recording("a"), recording("b", first=14, unseen=frozenset({1}))])
    paths = tmp_path / "center.json", tmp_path / "observers.json"
    for path, source in zip(paths, (Centre(), Observers(3)), strict=True):
        found = evaluate(dataset, source, metrics=("nss", "cc"))
        path.write_text(json.dumps(report_record(dataset, "all", found)))
    return paths


def test_earlier_results_compare_as_their_sources_do(results: tuple[Path, Path]) -> None:
    dataset = together([recording("a"), recording("b", first=14, unseen=frozenset({1}))])
    live = compare(*(evaluate(dataset, source, metrics=("nss", "cc")) for source in (Centre(), Observers(3))))
    found = compare_results(*results)
    assert found.first == "baseline:center (center.json)"
    assert [pair.frames for pair in found.pairs] == [pair.frames for pair in live.pairs] == [5, 4]
    for one, other in zip(found.pairs, live.pairs, strict=True):
        assert one.differences == pytest.approx(other.differences)
    one, other = (each.differences()["tiny"]["nss"] for each in (found, live))
    assert one.difference == pytest.approx(other.difference)


def change(path: Path, how: str) -> None:
    result: dict[str, Any] = json.loads(path.read_text())
    if how == "items":
        result["items"].pop()
    elif how == "frames":
        result["items"][0]["scored"] = "0-3"
    elif how == "metrics":
        result["metrics"] = ["sim"]
    elif how == "form":
        result = {"items": [{}], "metrics": ["nss"]}
    elif how == "list":
        path.write_text("[1, 2]")
        return
    elif how == "text":
        path.write_text("no JSON")
        return
    path.write_text(json.dumps(result))


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ("items", UsageError, r"different items \(tiny/b is only in .*center\.json\)"),
        ("frames", UsageError, "scored other frames of tiny/a"),
        ("metrics", UsageError, "no metric in common"),
        ("form", ReadError, r"observers\.json is no result of vsal evaluate"),
        ("list", ReadError, r"observers\.json is no result of vsal evaluate"),
        ("text", ReadError, r"observers\.json is no result of vsal evaluate"),
    ],
)
def test_results_that_do_not_fit(results: tuple[Path, Path], how: str, error: type[Exception], message: str) -> None:
    change(results[1], how)
    with pytest.raises(error, match=message):
        compare_results(*results)


def test_a_result_that_is_not_there(results: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=r"none\.json cannot be read"):
        compare_results(results[0], tmp_path / "none.json")
