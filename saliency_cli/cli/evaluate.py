"""``vsal evaluate``."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast, get_args

import typer

from saliency_cli.cli.console import Quiet, Verbose, guarded, progress_bar, say, setup
from saliency_cli.errors import UsageError
from saliency_cli.options import Model, Precision, PredictOptions

if TYPE_CHECKING:
    from saliency_cli.evaluation import ItemScores
    from saliency_cli.metrics import MetricName

__all__ = ["evaluate"]

DEFAULTS = PredictOptions()
Selection = Literal["validation", "all"]
PIPED_WIDTH = 160  # characters: where no terminal sets a limit, nothing is cut to 80


@guarded
def evaluate(
    gaze: Annotated[Path, typer.Argument(help="A folder with items.csv, fixations.csv.gz and the stimuli.")],
    select: Annotated[Selection, typer.Option(help="What no training sees, or all.")] = "validation",
    dataset: Annotated[list[str] | None, typer.Option(help="Only these data sets; repeats.")] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(help="nss, cc, sim, kl, auc_judd, auc_shuffled, information_gain; repeats.  [default: nss, cc]"),
    ] = None,
    baseline: Annotated[bool, typer.Option("--center", help="Score a Gaussian on the centre instead.")] = False,
    model: Annotated[Model, typer.Option(help="The network.", envvar="VSAL_MODEL")] = DEFAULTS.model,
    weights: Annotated[str | None, typer.Option(help="Name or path.", envvar="VSAL_WEIGHTS")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.", envvar="VSAL_DEVICE")] = "auto",
    precision: Annotated[Precision, typer.Option(help="Of the arithmetic.", envvar="VSAL_PRECISION")] = "auto",
    threads: Annotated[int | None, typer.Option(help="Of the network.", envvar="VSAL_THREADS")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON on stdout, instead of a table.")] = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Score a model's maps against recorded gaze."""
    setup(verbose, quiet)
    from saliency_cli.evaluation import CENTRE, evaluate_items
    from saliency_cli.metrics import GazeTable, MetricName, is_validation, skipped_frames
    from saliency_cli.pipeline import load_predictor

    scores = cast("tuple[MetricName, ...]", tuple(dict.fromkeys(metric or ("nss", "cc"))))
    if strange := [name for name in scores if name not in get_args(MetricName)]:
        raise UsageError(f"--metric {strange[0]}: must be one of {', '.join(get_args(MetricName))}.")
    table = GazeTable.load(gaze)
    known = [item for name in dict.fromkeys(dataset) for item in table.items(name)] if dataset else table.items()
    items = [item for item in known if select == "all" or is_validation(item)]
    if not items:
        raise UsageError(f"{gaze}: nothing is selected; use --select all or other data sets.")
    options = PredictOptions(model=model, weights=weights, device=device, precision=precision, threads=threads)
    predictor = CENTRE if baseline else load_predictor(options)
    with progress_bar("evaluating", unit="items/s") as on_item:
        rows = list(evaluate_items(predictor, table, items, metrics=scores, options=options, on_item=on_item))
    if as_json:
        typer.echo(json.dumps(_as_json(rows), indent=2, allow_nan=False))
    else:
        _print_tables(rows, scores)
    if skipped := skipped_frames(row.scores for row in rows):
        say("skipped frames: " + ", ".join(f"{count} ({reason})" for reason, count in sorted(skipped.items())))


def _as_json(rows: list[ItemScores]) -> dict[str, Any]:
    from saliency_cli.evaluation import by_dataset
    from saliency_cli.metrics import mean_over_frames, mean_over_videos

    return {
        "items": [
            {
                "dataset": row.item.dataset,
                "item": row.item.name,
                "kind": row.item.kind,
                "frames": len(row.scores.frames),
                "skipped": dict(row.scores.skipped),
                "change": row.change,
                **_finite(row.scores.means),
            }
            for row in rows
        ],
        "means": {
            dataset: {
                "over_items": _finite(mean_over_videos(row.scores for row in group)),
                "over_frames": _finite(mean_over_frames(row.scores for row in group)),
            }
            for dataset, group in by_dataset(rows).items()
        },
    }


def _finite(means: Mapping[MetricName, float]) -> dict[str, float | None]:
    """Scores as JSON can hold them: one that is not defined is null."""
    return {name: value if math.isfinite(value) else None for name, value in means.items()}


def _print_tables(rows: list[ItemScores], metrics: tuple[MetricName, ...]) -> None:
    """Every video with a row of its own, stills and videos with their means."""
    from rich.console import Console
    from rich.table import Table

    from saliency_cli.evaluation import by_dataset
    from saliency_cli.metrics import LABELS, mean_over_frames, mean_over_videos

    def cells(means: Mapping[MetricName, float]) -> list[str]:
        return [f"{means[name]:.3f}" if name in means else "–" for name in metrics]

    table = Table("", "frames", *(LABELS[name] for name in metrics), "change", box=None)
    for row in rows:
        if row.item.kind == "video":
            change = "–" if row.change is None else f"{row.change:.4f}"
            name, frames = f"{row.item.dataset}/{row.item.name}", str(len(row.scores.frames))
            table.add_row(name, frames, *cells(row.scores.means), change)
    for dataset, group in by_dataset(rows).items():
        total = sum(len(row.scores.frames) for row in group)
        for label, mean in (("items", mean_over_videos), ("frames", mean_over_frames)):
            table.add_row(f"{dataset}, mean over {label}", str(total), *cells(mean(row.scores for row in group)))
    Console(width=None if sys.stdout.isatty() else PIPED_WIDTH).print(table)
