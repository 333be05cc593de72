"""``vsal``: assembles the commands, one module each. Nothing heavy is imported before a command runs."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from saliency_cli._version import __version__
from saliency_cli.cli import batch, bench, doctor, evaluate, inspect, models, predict, train

__all__ = ["app", "main"]

app = typer.Typer(
    name="vsal",
    help="Predict where people look in a video.",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("predict")(predict.predict)
app.command("batch")(batch.batch)
app.command("reframe")(reframe.reframe)
app.command("evaluate")(evaluate.evaluate)
app.command("train")(train.train)
app.command("inspect")(inspect.inspect)
app.command("bench")(bench.bench)
app.add_typer(models.app, name="models")
app.command("doctor")(doctor.doctor)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"vsal {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Predict where people look in a video."""


def main() -> None:
    """The console script."""
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # what it says of damaged pictures, we say in one sentence
    app()
