"""``vsal evaluate``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast, get_args

import typer

from saliency_cli.cli.console import PIPED_WIDTH, Quiet, Verbose, guarded, progress_bar, say, setup, warn
from saliency_cli.cli.prediction_options import ExactOption, ModelOption
from saliency_cli.errors import UsageError
from saliency_cli.options import Precision, PredictOptions

if TYPE_CHECKING:
    from rich.table import Table

    from saliency_cli.datasets import Dataset, Recording
    from saliency_cli.evaluation import Comparison, Evaluation, MapSource
    from saliency_cli.metrics import MetricName

__all__ = ["evaluate"]

DEFAULTS = PredictOptions()
Baselines = Literal["none", "center", "all"]
STDOUT = "-"
NAMED = 3  # of what is skipped; the rest is counted


@guarded
def evaluate(
    data: Annotated[
        Path | None, typer.Argument(metavar="DATA", help="A folder of recorded gaze; see docs/evaluation.md.")
    ] = None,
    predictions: Annotated[
        str | None,
        typer.Argument(
            metavar="PREDICTIONS",
            help="A folder or file of maps, model:NAME, weights, baseline:center or baseline:observers.  "
            "[default: the model of --model and --weights]",
        ),
    ] = None,
    named: Annotated[str | None, typer.Option("--predictions", help="The same.")] = None,
    layout: Annotated[str, typer.Option(help="Of DATA; auto recognises it.")] = "auto",
    part: Annotated[
        str | None,
        typer.Option("--select", help="A split: validation, test, test-1 … or all.  [default: validation if there]"),
    ] = None,
    dataset: Annotated[list[str] | None, typer.Option(help="Only these data sets; repeats.")] = None,
    item: Annotated[list[str] | None, typer.Option(help="Only these items, or patterns of names; repeats.")] = None,
    limit: Annotated[int | None, typer.Option(help="Only the first N frames of each video.", min=1)] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            help="nss, cc, sim, auc_judd, auc_shuffled, kl, information_gain; repeats.  [default: all but the last]"
        ),
    ] = None,
    compare: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="A B", help="Two PREDICTIONS, or two results of --json: differences, B − A."),
    ] = None,
    baselines: Annotated[
        Baselines,
        typer.Option(help="What stands beside a source: nothing, a centre Gaussian, or also half of the observers."),
    ] = "center",
    center: Annotated[bool, typer.Option("--center", help="Short for PREDICTIONS baseline:center.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON on stdout, instead of a table.")] = False,
    as_csv: Annotated[
        str | None, typer.Option("--csv", help="A row an item and mean; a file, or - for stdout.")
    ] = None,
    frames: Annotated[Path | None, typer.Option(help="A row a frame, to this CSV file.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Each metric over time, to this .png or .svg.")] = None,
    seed: Annotated[int, typer.Option(help="Of s-AUC's draws, AUC-J's jitter, and intervals.", min=0)] = 0,
    model: ModelOption = DEFAULTS.model,
    weights: Annotated[str | None, typer.Option(help="Name or path.", envvar="VSAL_WEIGHTS")] = None,
    audio: Annotated[
        bool, typer.Option("--audio/--no-audio", help="Use the sound; for weights with an audio branch.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.", envvar="VSAL_DEVICE")] = "auto",
    precision: Annotated[Precision, typer.Option(help="Of the arithmetic.", envvar="VSAL_PRECISION")] = "auto",
    exact: ExactOption = False,
    threads: Annotated[int | None, typer.Option(help="Of the network.", envvar="VSAL_THREADS")] = None,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Score maps against recorded gaze: a model's, stored ones, or baselines; or compare two of them."""
    setup(verbose, quiet)
    scores = _metrics(metric)
    spec = _one_source(predictions, named, center=center, compare=compare)
    if as_json and as_csv == STDOUT:
        raise UsageError("--json and --csv - both go to stdout; give --csv a file.")
    from saliency_cli import evaluation as room
    from saliency_cli.evaluation.specs import is_result

    if compare and any(map(is_result, compare)):
        if not all(map(is_result, compare)):
            raise UsageError("--compare: a result of --json compares with another one; give two, or two PREDICTIONS.")
        if as_csv or frames or plot:
            raise UsageError("--csv, --frames and --plot need scores, which two results do not hold; leave them out.")
        _tell_comparison(room.compare_results(*compare, seed=seed), None, "", (), as_json=as_json)
        return
    if data is None:
        raise UsageError("DATA is missing: name a folder of recorded gaze.")
    from saliency_cli.datasets import open_dataset
    from saliency_cli.evaluation.files import ResultFiles
    from saliency_cli.evaluation.report import items_csv, protocol, report_record

    gaze = open_dataset(data, layout=cast(Any, layout))
    chosen = room.select(gaze, part, datasets=tuple(dict.fromkeys(dataset or ())), items=item or ())
    named_part = part or room.default_split(gaze)
    options = PredictOptions(
        write=("arrays",),
        model=model,
        weights=weights,
        audio=audio,
        device=device,
        precision=precision,
        exact=exact,
        threads=threads,
    )
    negatives = room.Negatives(gaze, seed=seed)

    def score(source: MapSource, recordings: Sequence[Recording] = chosen) -> Evaluation:
        with progress_bar(f"evaluating {source.name}", unit="items/s") as on_item:
            return room.evaluate(
                gaze,
                source,
                recordings=recordings,
                metrics=scores,
                limit=limit,
                seed=seed,
                negatives=negatives,
                on_item=on_item,
            )

    with ResultFiles(None if as_csv == STDOUT else as_csv, frames, plot) as files:
        if compare:
            results = [score(room.open_predictions(one, options)) for one in compare]
            shown, comparison = results, room.compare(*results)
        else:
            shown = [score(room.open_predictions(spec, options))]
            present = [one for one in chosen if f"{one.dataset}/{one.name}" not in shown[0].missing]
            results = [*shown, *_beside(baselines, shown[0], lambda source: score(source, present))]
        files.write(results, shown)
    if compare:
        _tell_comparison(comparison, gaze, named_part, results, as_json=as_json, silent=as_csv == STDOUT)
    elif as_json:
        _echo(report_record(gaze, named_part, results[0], results[1:]))
    elif as_csv != STDOUT:
        from saliency_cli.evaluation.tables import scores_table

        _print(scores_table(results[0], results[1:]))
    if as_csv == STDOUT:
        typer.echo(items_csv(results), nl=False)
    say(f"{gaze.root} ({gaze.layout}), {named_part}, {len(chosen)} items")
    told: set[str] = set()
    for result in shown:
        _tell(result, told)
    how = protocol(shown[0])
    say("; ".join(str(how[key]) for key in ("interval", "auc_shuffled") if key in how))


def _metrics(names: Sequence[str] | None) -> tuple[MetricName, ...]:
    from saliency_cli.evaluation import PAPER_METRICS
    from saliency_cli.metrics import MetricName

    wanted = tuple(dict.fromkeys(names or PAPER_METRICS))
    if strange := [name for name in wanted if name not in get_args(MetricName)]:
        raise UsageError(f"--metric {strange[0]}: must be one of {', '.join(get_args(MetricName))}.")
    return cast("tuple[MetricName, ...]", wanted)


def _one_source(
    positional: str | None, named: str | None, *, center: bool, compare: tuple[str, str] | None
) -> str | None:
    """The predictions that were named, in whichever way; None for the model of the options."""
    given = [name for name in (positional, named, "baseline:center" if center else None) if name is not None]
    if len(given) > 1:
        raise UsageError(f"PREDICTIONS are named twice ({' and '.join(given)}): leave one, or --compare them.")
    if given and compare:
        raise UsageError(f"--compare names two PREDICTIONS of its own; leave {given[0]} out.")
    return given[0] if given else None


def _beside(baselines: Baselines, shown: Evaluation, score: Callable[[MapSource], Evaluation]) -> list[Evaluation]:
    """The baselines asked for, on the items that have scores, but not the one that is being shown anyway."""
    from saliency_cli.evaluation import Centre, Observers

    sources: list[MapSource] = []
    if baselines != "none":
        sources.append(Centre())
    if baselines == "all":
        sources.append(Observers())
    found = []
    for source in sources:
        if source.name == shown.source:
            continue
        try:
            found.append(score(source))
        except UsageError as error:  # observers that are not told apart, in any item
            warn(str(error))
    return found


def _tell(result: Evaluation, told: set[str]) -> None:
    """On stderr: what was left out, and what a reader of the scores should know, unless another source said it."""
    from saliency_cli.metrics import LABELS, skipped_frames, undefined_scores

    rows = [item.scores for item in result.items]
    if sha256 := result.about.get("sha256"):
        say(f"{result.source}: SHA-256 {sha256}")
    if skipped := skipped_frames(rows):
        counts = ", ".join(f"{count} ({reason})" for reason, count in sorted(skipped.items()))
        say(f"{result.source}: skipped frames: {counts}")
    for name, count in sorted(undefined_scores(rows).items()):
        say(f"{result.source}: {LABELS[name]} is not defined on {count} frames, which its means leave out")
    for label, reason in list(result.missing.items())[:NAMED]:
        warn(f"{label} is skipped: {reason}")
    if (more := len(result.missing) - NAMED) > 0:
        warn(f"{more} more items are skipped for lack of predictions; --json names them all")
    for note in result.notes:
        if note not in told:
            warn(note)
    told.update(result.notes)


def _tell_comparison(
    comparison: Comparison,
    gaze: Dataset | None,
    part: str,
    results: Sequence[Evaluation],
    *,
    as_json: bool,
    silent: bool = False,
) -> None:
    from saliency_cli.evaluation import spell_difference
    from saliency_cli.evaluation.report import comparison_record
    from saliency_cli.evaluation.tables import comparison_tables

    if as_json:
        _echo(comparison_record(gaze, part, comparison, results))
    elif not silent:
        _print(*comparison_tables(comparison))
    for group, differences in comparison.differences().items():
        for metric, found in differences.items():
            say(spell_difference(comparison, group, metric, found))
    for label, reason in comparison.unpaired.items():
        if not any(label in result.missing for result in results):
            warn(f"{label} is not compared: {reason}")


def _echo(record: dict[str, Any]) -> None:
    typer.echo(json.dumps(record, indent=2, allow_nan=False))


def _print(*tables: Table) -> None:
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else PIPED_WIDTH)
    for table in tables:
        console.print(table)
