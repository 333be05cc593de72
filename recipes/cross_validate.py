"""Five-fold cross-validation of the embedded model over the videos of a gaze table.

Its photographs' part saw no video and is taken as it is (``--init``); the motion branch is trained five times, each
time without a fifth of the videos, which it is then scored on. Folds that are done already are not repeated, so that
several processes may share them (``--fold``)::

    python recipes/cross_validate.py GAZE runs/folds --init runs/tsfp-lite0/tsfp-lite0.safetensors
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from saliency_cli.datasets import open_dataset
from saliency_cli.evaluation import PredictedMaps, evaluate, select
from saliency_cli.metrics import MetricName
from saliency_cli.metrics.split import FOLDS
from saliency_cli.options import Precision, PredictOptions
from saliency_cli.training.recipe import load_recipe
from saliency_cli.training.run import run_recipe

RECIPE = Path(__file__).resolve().parent / "tsfp-lite0.toml"
METRICS: tuple[MetricName, ...] = ("nss", "cc")

Scores = dict[str, dict[str, float]]
"""Of each video, by ``data set/name``, each metric's mean over its frames."""


def score(weights: Path, gaze: Path, fold: int, precision: Precision) -> Scores:
    """The videos of a fold, scored with some weights."""
    dataset = open_dataset(gaze)
    source = PredictedMaps(PredictOptions(weights=str(weights), device="cpu", precision=precision))
    found = evaluate(dataset, source, recordings=select(dataset, f"fold-{fold}"), metrics=METRICS)
    return {
        item.label: {str(metric): float(value) for metric, value in item.scores.means.items()} for item in found.items
    }


def run_fold(fold: int, arguments: argparse.Namespace) -> Scores:
    """Train and score one fold, or read what an earlier run found."""
    folder: Path = arguments.folder / f"fold-{fold}"
    done = folder / "scores.json"
    if not done.exists():
        weights = run_recipe(
            load_recipe(RECIPE, (f"fold={fold}", *arguments.set)),
            gaze=arguments.gaze,
            folder=folder,
            init=str(arguments.init),
            resume=True,
            device="cpu",
            precision=arguments.precision,
            threads=arguments.threads,
        )
        assert weights is not None  # None is for processes after the first, and this is the only one
        young = done.with_suffix(".part")
        young.write_text(
            json.dumps(score(weights, arguments.gaze, fold, arguments.precision), indent=2), encoding="utf-8"
        )
        young.replace(done)
    result: Scores = json.loads(done.read_text(encoding="utf-8"))
    return result


def print_table(scores: Scores) -> dict[str, dict[str, float]]:
    """A row a video and a row a data set; the data sets' means."""
    means: dict[str, dict[str, float]] = {}
    print(f"{'':28}{'NSS':>10}{'CC':>10}")
    for video, values in scores.items():
        print(f"{video:28}{values['nss']:10.3f}{values['cc']:10.3f}")
    for dataset in dict.fromkeys(video.partition("/")[0] for video in scores):
        group = [values for video, values in scores.items() if video.startswith(f"{dataset}/")]
        mean = means[dataset] = {metric: round(fmean(values[metric] for values in group), 4) for metric in METRICS}
        print(f"{f'{dataset}, mean of {len(group)}':28}{mean['nss']:10.3f}{mean['cc']:10.3f}")
    return means


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("gaze", type=Path)
    parser.add_argument("folder", type=Path, help="for the folds' runs")
    parser.add_argument("--init", type=Path, required=True, help="weights whose photographs' part is taken")
    parser.add_argument("--fold", type=int, action="append", choices=range(1, FOLDS + 1), help="only this one; repeats")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change the recipe")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args(arguments)
    folds = chosen.fold or list(range(1, FOLDS + 1))
    scores: Scores = {}
    for fold in folds:
        scores |= run_fold(fold, chosen)
        print(f"fold {fold} of {FOLDS} is done", file=sys.stderr, flush=True)
    means = print_table(scores)
    if len(folds) == FOLDS:
        path = chosen.folder / "cross-validation.json"
        record = {"set": chosen.set, "means": means, "videos": scores}
        path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        print(f"written to {path}")


if __name__ == "__main__":
    main()
