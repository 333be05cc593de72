"""``vsal batch``."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from saliency_cli.cli.console import guarded, printable, progress_bar, say, tell_error, warn
from saliency_cli.cli.prediction_options import with_prediction_options
from saliency_cli.errors import UsageError
from saliency_cli.options import PredictOptions

if TYPE_CHECKING:
    from saliency_cli.batch.estimating import Estimate
    from saliency_cli.batch.jobs import Job, Outcome
    from saliency_cli.batch.running import BatchReport, Engine, Plan
    from saliency_cli.batch.shards import Shard

__all__ = ["batch"]

SOME_FAILED = 6
DEFAULTS = PredictOptions()


@guarded
@with_prediction_options
def batch(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The inputs, at any depth.")],
    output: Annotated[
        str, typer.Option("-o", "--output", help="A folder for the products and the ledger; the tree is kept.")
    ],
    kind: Annotated[
        Literal["videos", "frames", "images"],
        typer.Option(help="What an input is: a video, a folder that holds pictures, or a picture."),
    ] = "videos",
    include: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Only inputs that match, whatever their suffix; repeats."),
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(metavar="PATTERN", help="Leave out inputs that match; repeats.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(help="Processes at work at once.  [default: one a GPU, or one for two cores]"),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(metavar="I/N", help="Do the I-th of N shares.  [default: as a SLURM array says, or all]"),
    ] = None,
    time_limit: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="Of each input.  [default: ended when no frame comes for 15 minutes]"),
    ] = None,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="End at the first failure.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what there is to do and how long it may take; write nothing.")
    ] = False,
    engine: Annotated[
        Literal["local", "ray"], typer.Option(help="Workers on this machine, or on a Ray cluster (vsal[ray]).")
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Of the Ray cluster: auto, or host:port.  [default: RAY_ADDRESS, or one on this machine]",
        ),
    ] = None,
    options: PredictOptions = DEFAULTS,
) -> None:
    """Predict every video of a folder, and keep a ledger of what was done.

    The same command again does the rest: what is done is passed over, what failed or was cut off is done again.
    One input's failure, crash or hang does not cost the others; at the end each failure has a row, and the exit code
    is 6.
    """
    if address is not None and engine != "ray":
        raise UsageError("--address is that of a Ray cluster; use it with --engine ray.")
    from saliency_cli.batch import running  # the writers and torch take a second to import
    from saliency_cli.batch.items import Selection

    selection = Selection(kind=kind, include=tuple(include or ()), exclude=tuple(exclude or ()))
    share = _share(shard)
    if dry_run:
        from saliency_cli.batch.estimating import estimate

        plan = running.plan_batch(folder, output, options, selection=selection, shard=share)
        _tell_plan(plan)
        _tell_estimate(plan, estimate(plan, workers=workers))
        return
    with progress_bar(folder.name, unit="items/s") as on_progress:
        ended = 0

        def on_outcome(outcome: Outcome) -> None:
            nonlocal ended
            ended += 1
            for product in outcome.products:
                if sys.stdout.isatty() and sys.stderr.isatty():
                    print(printable(product))  # above the bar, which catches this
                else:
                    typer.echo(os.fsencode(product))  # as bytes: a name need not be UTF-8
            for message in outcome.warnings:
                warn(message)
            if outcome.error is not None:
                tell_error(printable(outcome.error), code="item_failed", exit_code=outcome.exit_code)
            on_progress(ended, total)

        total = 0

        def on_plan(plan: Plan) -> None:
            nonlocal total
            total = len(plan.jobs)
            _tell_plan(plan)
            on_progress(0, total)

        report = running.run_batch(
            folder,
            output,
            options,
            selection=selection,
            shard=share,
            workers=workers,
            time_limit=time_limit,
            fail_fast=fail_fast,
            engine=_engine(engine, address, workers, time_limit),
            on_plan=on_plan,
            on_outcome=on_outcome,
            on_running=lambda share: on_progress(ended + share, total),
        )
    _tell_report(report)
    if report.failed:
        raise typer.Exit(SOME_FAILED)


def _engine(name: str, address: str | None, workers: int | None, time_limit: float | None) -> Engine | None:
    """What does the jobs; None for workers on this machine."""
    if name == "local":
        return None
    from saliency_cli.batch.ray_engine import run_on_ray

    def engine(jobs: Iterable[Job], options: PredictOptions) -> Generator[Outcome, None, None]:
        yield from run_on_ray(jobs, options, address=address, workers=workers, time_limit=time_limit)

    return engine


def _share(asked: str | None) -> Shard:
    from saliency_cli.batch.shards import Shard

    if asked is not None:
        return Shard.parse(asked)
    if (slurm := Shard.from_slurm(os.environ)) is not None:
        say(f"vsal: shard {slurm}, by the numbers of the SLURM array; --shard 1/1 would do all.")
        return slurm
    return Shard()


def _tell_plan(plan: Plan) -> None:
    for note in plan.notes:
        warn(note)
    share = f" (shard {plan.shard})" if plan.shard.count > 1 else ""
    again = f", {plan.again} of them again" if plan.again else ""
    done = f"; {len(plan.settled)} are done already" if plan.settled else ""
    say(printable(f"vsal: {plan.folder}{share}: {_count(len(plan.jobs), 'item')} to do{again}{done}."))


def _tell_estimate(plan: Plan, estimate: Estimate) -> None:
    say(f"frames: {estimate.frames}, {_duration(estimate.video_seconds)} of video, as the headers have it")
    if estimate.unreadable:
        say(f"unreadable: {_count(estimate.unreadable, 'item')}, which will fail")
    workers = _count(estimate.workers, "worker")
    if estimate.seconds is None:
        say(f"time: not known ({estimate.basis or 'there is nothing to predict'})")
    else:
        say(printable(f"time: about {_duration(estimate.seconds)} with {workers} ({estimate.basis})"))
    if estimate.bytes_wanted is not None:
        scarce = ": too little" if estimate.bytes_wanted > estimate.bytes_free else ""
        say(f"disk: about {_bytes(estimate.bytes_wanted)}; {_bytes(estimate.bytes_free)} are free{scarce}")


def _tell_report(report: BatchReport) -> None:
    memory = f", {_bytes(report.memory)} of memory a worker at most" if report.memory else ""
    skipped = f", {report.skipped} done before" if report.skipped else ""
    stopped = "stopped at the first failure: " if report.stopped else ""
    say(
        f"vsal: {stopped}{len(report.done)} done, {len(report.failed)} failed{skipped}; "
        f"{report.frames} frames in {_duration(report.seconds)}{memory}."
    )
    if report.failed:
        width = max(len(printable(outcome.item)) for outcome in report.failed)
        for outcome in report.failed:
            say(f"{printable(outcome.item):<{min(width, 60)}}  {outcome.exit_code}  {printable(outcome.error or '')}")


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d} min"


def _bytes(number: int) -> str:
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.1f} MB"
