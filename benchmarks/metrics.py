"""What the metrics of one frame cost on one core, each and together, and of stacks against maps one by one.

``python benchmarks/metrics.py [--rounds 15]``: a table, and ``benchmarks/results/metrics.json``. The aim: all seven
scores of a 360×640 frame with 50 fixations in less than 50 ms.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any, get_args

import harness

harness.one_core()

import cv2  # noqa: E402 (one_core comes before what starts threads)
import numpy as np  # noqa: E402

from saliency_cli import metrics  # noqa: E402

FIXATIONS, ELSEWHERE = 50, 500  # on a frame, and on ten others
FRAME = (360, 640)
STACKS = {(360, 640): 8, (90, 160): 64, (48, 64): 128}  # maps in a stack of each size
METRICS: tuple[metrics.MetricName, ...] = get_args(metrics.MetricName)


def scene(height: int, width: int, count: int) -> dict[str, Any]:
    """Maps, and fixations that follow them, with all that they are scored against."""
    generator = np.random.default_rng(1)
    blur = height / 12
    predictions = np.stack([cv2.GaussianBlur(generator.random((height, width)), (0, 0), blur) for _ in range(count)])
    fixations = np.zeros((count, height * width), np.int64)
    for row, prediction in zip(fixations, predictions, strict=True):
        chance = (prediction - prediction.min()).ravel() ** 4
        row[generator.choice(row.size, FIXATIONS, replace=False, p=chance / chance.sum())] = 1
    stack = fixations.reshape(predictions.shape)
    other = np.zeros((height, width), np.bool_)
    other.flat[generator.choice(other.size, ELSEWHERE, replace=False)] = True
    return {
        "predictions": predictions,
        "fixations": stack,
        "densities": np.stack([metrics.density_map(counts, height * metrics.SIGMA_VIDEO) for counts in stack]),
        "other": other,
        "baseline": metrics.center_gaussian(height, width),
    }


def single_scores(maps: dict[str, Any], index: int) -> dict[str, Callable[[], float]]:
    """Each score of one map of the scene, to be computed when it is called."""
    prediction, counts, density = (maps[name][index] for name in ("predictions", "fixations", "densities"))
    return {
        "nss": lambda: metrics.nss(prediction, counts),
        "cc": lambda: metrics.cc(prediction, density),
        "sim": lambda: metrics.sim(prediction, density),
        "kl": lambda: metrics.kl(prediction, density),
        "auc_judd": lambda: metrics.auc_judd(prediction, counts, seed=index),
        "auc_shuffled": lambda: metrics.auc_shuffled(prediction, counts, maps["other"], seed=index),
        "information_gain": lambda: metrics.information_gain(prediction, counts, maps["baseline"]),
    }


def one_by_one(maps: dict[str, Any]) -> dict[metrics.MetricName, list[float]]:
    """All scores of all maps, each by its own function."""
    rows = [{name: score() for name, score in single_scores(maps, i).items()} for i in range(len(maps["predictions"]))]
    return {name: [row[name] for row in rows] for name in METRICS}


def check(maps: dict[str, Any]) -> None:
    """What is compared must be the same."""
    stacked = metrics.score_stack(**maps, metrics=METRICS)
    for name, expected in one_by_one(maps).items():
        if not np.allclose(stacked[name], expected, rtol=1e-12, atol=0):
            raise AssertionError(f"{name} of the stack is not that of its maps")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="timings of each case, of which the median counts")
    rounds = max(2, parser.parse_args().rounds)
    cv2.setNumThreads(1)
    tables = {}
    frame = scene(*FRAME, 1)
    scores = single_scores(frame, 0)
    counts = frame["fixations"][0]
    tables["one frame, 360x640, 50 fixations"] = harness.interleaved(
        {
            **scores,
            "all seven": lambda: [score() for score in scores.values()],
            "the density, from the fixations": lambda: metrics.density_map(counts, FRAME[0] * metrics.SIGMA_VIDEO),
        },
        rounds=rounds,
    )
    for (height, width), count in STACKS.items():
        maps = scene(height, width, count)
        check(maps)
        tables[f"all seven, a map of {count} at {height}x{width}"] = harness.interleaved(
            {
                "one by one": partial(one_by_one, maps),
                "as a stack": partial(metrics.score_stack, **maps, metrics=METRICS),
            },
            rounds=rounds,
            per_case=count,
        )
    machine = harness.describe_machine(("numpy", "opencv-python-headless"))
    harness.report("metrics", machine, tables, rounds=rounds, aim="all seven of one frame below 50 ms")


if __name__ == "__main__":
    main()
