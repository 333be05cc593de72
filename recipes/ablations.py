"""The papers' ablations with a small budget: each variant trained from one encoder by one recipe, and scored.

TASED-Net's table 4 (upsampling), TSFP-Net's tables 8 (decoding) and 9 (loss). The papers train on DHF1K for days, from
Kinetics; here an encoder of the same kind, 2 to 4 minutes a variant, and the validation items of a gaze table. What is
compared is the order, beside the papers' NSS. Variants that are done already are not repeated::

    python recipes/ablations.py GAZE runs/ablations --encoder weights/tsfp-s3d-open.safetensors --precision bf16
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

from saliency_cli.datasets import open_dataset
from saliency_cli.evaluation import PredictedMaps, evaluate, select
from saliency_cli.metrics import MetricName
from saliency_cli.options import Model, PredictOptions
from saliency_cli.training.recipe import load_recipe
from saliency_cli.training.run import run_recipe

RECIPE = Path(__file__).resolve().parent / "ablation.toml"
METRICS: tuple[MetricName, ...] = ("nss", "cc")


@dataclass(frozen=True, slots=True)
class Variant:
    """A change of the recipe, the paper's table that has it, and its NSS there, on DHF1K's validation set."""

    name: str
    table: str
    model: Model
    changes: tuple[str, ...]
    paper: float


VARIANTS = (
    Variant("tased-tri", "TASED-Net 4", "tased", ("model.architecture=tased", "model.upsampling=trilinear"), 2.452),
    Variant("tased-trp", "TASED-Net 4", "tased", ("model.architecture=tased", "model.upsampling=transposed"), 2.598),
    Variant("tased", "TASED-Net 4", "tased", ("model.architecture=tased",), 2.706),
    Variant("final-level", "TSFP-Net 8", "tsfp", ("model.decoding=final-level",), 2.7868),
    Variant("multi-level", "TSFP-Net 8", "tsfp", ("model.decoding=multi-level",), 2.8857),
    Variant("kl-only", "TSFP-Net 9", "tsfp", ("loss.cc=0",), 2.9876),
    Variant("tsfp", "TSFP-Net 8, 9", "tsfp", (), 3.0086),
)

Scores = dict[str, dict[str, float]]
"""Of stills and of videos, each metric's mean over the items."""


def score(weights: Path, variant: Variant, arguments: argparse.Namespace) -> Scores:
    """The validation items, scored."""
    dataset = open_dataset(arguments.gaze)
    options = PredictOptions(model=variant.model, weights=str(weights), device="cpu", precision="fp32")
    chosen = select(dataset, "validation")
    found = evaluate(dataset, PredictedMaps(options), recordings=chosen, metrics=METRICS)
    return {
        kind: {
            str(metric): fmean(item.scores.means[metric] for item in found.items if (item.kind == "video") == is_video)
            for metric in METRICS
        }
        for kind, is_video in (("stills", False), ("videos", True))
    }


def run_variant(variant: Variant, seed: int, arguments: argparse.Namespace) -> Scores:
    """Train and score a variant with a seed, or read what an earlier run found."""
    folder: Path = arguments.folder / f"{variant.name}-{seed}"
    done = folder / "scores.json"
    if not done.exists():
        weights = run_recipe(
            load_recipe(RECIPE, (f"name={variant.name}", f"seed={seed}", *variant.changes, *arguments.set)),
            gaze=arguments.gaze,
            folder=folder,
            encoder=str(arguments.encoder),
            cache=arguments.folder / "frames" if arguments.cache is None else arguments.cache,
            resume=True,
            device="cpu",
            precision=arguments.precision,
        )
        assert weights is not None  # None is for processes after the first, and this is the only one
        young = done.with_suffix(".part")
        young.write_text(json.dumps(score(weights, variant, arguments), indent=2), encoding="utf-8")
        young.replace(done)
    result: Scores = json.loads(done.read_text(encoding="utf-8"))
    return result


def print_table(results: dict[str, list[Scores]]) -> None:
    """A row a variant: the paper's NSS, and ours, means over seeds with their deviation."""
    print(f"{'':14}{'table':16}{'paper':>8}{'stills NSS':>18}{'CC':>8}{'videos NSS':>18}{'CC':>8}")
    for variant in VARIANTS:
        runs = results.get(variant.name)
        if runs is None:
            continue
        row = f"{variant.name:14}{variant.table:16}{variant.paper:8.3f}"
        for kind in ("stills", "videos"):
            values = [scores[kind]["nss"] for scores in runs]
            spread = f" ± {stdev(values):.3f}" if len(values) > 1 else ""
            row += f"{f'{fmean(values):.3f}{spread}':>18}{fmean(scores[kind]['cc'] for scores in runs):8.3f}"
        print(row)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("gaze", type=Path)
    parser.add_argument("folder", type=Path, help="for the runs")
    parser.add_argument("--encoder", type=Path, required=True, help="weights whose S3D all variants start from")
    parser.add_argument("--cache", type=Path, help="frames and teacher's maps of an earlier run  [default: in FOLDER]")
    parser.add_argument("--only", action="append", choices=[variant.name for variant in VARIANTS], help="repeats")
    parser.add_argument("--seed", action="append", type=int, help="repeats  [default: 1]")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change the recipe")
    parser.add_argument("--precision", default="fp32")
    chosen = parser.parse_args(arguments)
    variants = [variant for variant in VARIANTS if not chosen.only or variant.name in chosen.only]
    results: dict[str, list[Scores]] = {variant.name: [] for variant in variants}
    for seed in chosen.seed or [1]:
        for variant in variants:
            results[variant.name].append(run_variant(variant, seed, chosen))
            print(f"{variant.name} with seed {seed} is done", file=sys.stderr, flush=True)
    print_table(results)
    path = chosen.folder / "ablations.json"
    path.write_text(json.dumps({"set": chosen.set, "results": results}, indent=2) + "\n", encoding="utf-8")
    print(f"written to {path}")


if __name__ == "__main__":
    main()
