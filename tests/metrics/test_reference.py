"""Scores against what the reference MATLAB metrics gave, run in Octave."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from saliency_cli.metrics import auc_judd, auc_shuffled, cc, information_gain, kl, nss, sim

DATA = Path(__file__).resolve().parents[1] / "data"
VALUES: Mapping[str, Mapping[str, float]] = json.loads((DATA / "metric_values.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def arrays() -> dict[str, NDArray[Any]]:
    with np.load(DATA / "metric_cases.npz") as stored:
        return dict(stored)


def case(arrays: Mapping[str, NDArray[Any]], name: str) -> dict[str, NDArray[Any]]:
    """The arrays of one case; those of ``good`` hold for all that lack their own."""
    keys = ("pred", "density", "fixations", "other", "baseline")
    return {key: arrays.get(f"{name}/{key}", arrays[f"good/{key}"]) for key in keys}


@pytest.mark.parametrize("name", VALUES)
def test_deterministic_scores(arrays: dict[str, NDArray[Any]], name: str) -> None:
    maps, expected = case(arrays, name), VALUES[name]
    scores = {
        "CC": cc(maps["pred"], maps["density"]),
        "SIM": sim(maps["pred"], maps["density"]),
        "NSS": nss(maps["pred"], maps["fixations"]),
        "KL": kl(maps["pred"], maps["density"]),
        "IG": information_gain(maps["pred"], maps["fixations"], maps["baseline"]),
        "AUC_J": auc_judd(maps["pred"], maps["fixations"], jitter=False),
    }
    assert scores == pytest.approx({key: expected[key] for key in scores}, rel=1e-6, abs=1e-14)


@pytest.mark.parametrize("name", VALUES)
def test_shuffled_auc(arrays: dict[str, NDArray[Any]], name: str) -> None:
    maps, expected = case(arrays, name), VALUES[name]
    runs = [auc_shuffled(maps["pred"], maps["fixations"], maps["other"], splits=200, seed=seed) for seed in range(10)]
    assert abs(np.mean(runs) - expected["sAUC"]) < 3 * expected["sAUC_std_of_mean_200"]
    assert len(set(runs)) > 1  # they are random, from their seeds
