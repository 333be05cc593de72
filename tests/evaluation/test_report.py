"""JSON and CSV hold what was scored, and nothing that JSON cannot."""

from __future__ import annotations

import csv
import io
import json
import math
from typing import Any

import pytest
from tiny_recordings import recording, together

from saliency_cli._version import __version__
from saliency_cli.evaluation import Centre, Evaluation, Observers, compare, evaluate
from saliency_cli.evaluation.report import comparison_record, frames_csv, items_csv, report_record
from saliency_cli.metrics import SHUFFLED_PROTOCOL, MetricName

DATA = together([recording("a"), recording("b", first=14, unseen=frozenset({1, 3})), recording("c", dataset="other")])
METRICS: tuple[MetricName, ...] = ("nss", "auc_shuffled")


@pytest.fixture(scope="module")
def centre() -> Evaluation:
    return evaluate(DATA, Centre(), metrics=METRICS)


@pytest.fixture(scope="module")
def observers() -> Evaluation:
    return evaluate(DATA, Observers(2), metrics=METRICS)


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def strict(record: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(record, allow_nan=False))
    return found


def test_a_whole_result(centre: Evaluation, observers: Evaluation) -> None:
    found = strict(report_record(DATA, "all", centre, [observers]))
    assert found["vsal"] == __version__
    assert found["data"] == {"path": "tiny", "layout": "tiny", "select": "all"}
    assert found["source"]["name"] == "baseline:center"
    assert found["protocol"]["auc_shuffled"] == SHUFFLED_PROTOCOL
    assert found["protocol"]["seed"] == 0
    assert "10000 resamples" in found["protocol"]["interval"]
    items = {f"{row['dataset']}/{row['item']}": row for row in found["items"]}
    assert (items["tiny/b"]["scored"], items["tiny/b"]["skipped"]) == ("0,2,4", {"no fixation": 2})
    assert (items["tiny/a"]["height"], items["tiny/a"]["width"], items["tiny/a"]["scored"]) == (24, 32, "0-4")
    mean = found["means"]["tiny"]
    assert mean["over_items"]["nss"] == pytest.approx((items["tiny/a"]["nss"] + items["tiny/b"]["nss"]) / 2)
    low, high = mean["over_items_interval"]["nss"]
    assert low <= mean["over_items"]["nss"] <= high
    assert found["means"]["other"]["over_items_interval"] == {}
    assert set(found["means"]) == {"tiny", "other", "all videos"}
    assert list(found["baselines"]) == ["baseline:observers"]


def test_a_score_that_is_not_defined_is_null(centre: Evaluation) -> None:
    """s-AUC needs other stimuli of the same data set, and c has none."""
    found = strict(report_record(DATA, "all", centre))
    row = next(row for row in found["items"] if row["item"] == "c")
    assert (row["auc_shuffled"], row["undefined"]) == (None, {"auc_shuffled": 5})
    assert found["means"]["other"]["over_frames"]["auc_shuffled"] is None


def test_items_as_csv(centre: Evaluation, observers: Evaluation) -> None:
    found = rows(items_csv([centre, observers]))
    assert [row["row"] for row in found[:3]] == ["item"] * 3
    mean = next(row for row in found if (row["row"], row["dataset"]) == ("mean over items", "tiny"))
    summary = centre.summaries()["tiny"]
    assert float(mean["nss"]) == summary.over_items["nss"]
    assert float(mean["nss_low"]) == summary.items_interval["nss"].low
    assert (mean["frames"], mean["scored"], mean["item"]) == ("10", "8", "")
    lonely = next(row for row in found if row["item"] == "c")
    assert (lonely["auc_shuffled"], lonely["nss_low"]) == ("", "")
    assert {row["source"] for row in found} == {"baseline:center", "baseline:observers"}
    assert sum(row["row"] == "mean over frames" for row in found) == 6


def test_frames_as_csv(centre: Evaluation) -> None:
    found = rows(frames_csv([centre]))
    assert len(found) == 15
    skipped = [row for row in found if row["skipped"]]
    assert [(row["item"], row["frame"], row["skipped"], row["nss"]) for row in skipped] == [
        ("b", "1", "no fixation", ""),
        ("b", "3", "no fixation", ""),
    ]
    mean = sum(float(row["nss"]) for row in found if row["item"] == "a") / 5
    assert mean == pytest.approx(centre.items[0].scores.means["nss"])
    assert found[0]["seconds"] == ""  # frames that are only numbered


def test_a_comparison(centre: Evaluation, observers: Evaluation) -> None:
    comparison = compare(centre, observers)
    found = strict(comparison_record(DATA, "all", comparison, [centre, observers]))
    assert found["compare"] == {"first": "baseline:center", "second": "baseline:observers"}
    assert [source["source"]["name"] for source in found["sources"]] == list(found["compare"].values())
    difference = found["differences"]["tiny"]["nss"]
    assert difference["difference"] == pytest.approx(difference["second"] - difference["first"])
    assert difference["excludes_zero"] is (not difference["interval"][0] <= 0 <= difference["interval"][1])
    assert found["differences"]["other"]["nss"]["interval"] is None
    pair = found["pairs"][0]
    assert pair["difference"]["nss"] == pytest.approx(pair["second"]["nss"] - pair["first"]["nss"])
    assert math.isfinite(pair["difference"]["nss"])
    bare = strict(comparison_record(None, "", comparison))
    assert "sources" not in bare
    assert bare["differences"] == found["differences"]
