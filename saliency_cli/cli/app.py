"""``vsal``: assembles the commands, one module each. Nothing heavy is imported before a command runs."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from saliency_cli._version import __version__
from saliency_cli.cli import batch, bench, doctor, evaluate, inspect, models, predict, reframe, report, train
from saliency_cli.cli.configured import Configured
from saliency_cli.cli.console import LogFormat, fail, is_json, log_as, tell_error
from saliency_cli.errors import VsalError

__all__ = ["app", "main"]

LOG_FORMAT = "VSAL_LOG_FORMAT"

# Wrong options, of whichever Click it is that Typer brings along
UsageErrors: type[Exception] = typer.BadParameter.__mro__[2]
USAGE = 2


class Commands(TyperGroup):
    """The commands; what is wrong with their options is told in the form that ``--log-format`` asks for."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """The global options are read here."""
        log_as("json" if os.environ.get(LOG_FORMAT) == "json" else "text")
        return _in_form(super().make_context, *args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        """The options of a command are read here, and then it runs."""
        log_as(ctx.params.get("log_format") or "text")  # before a command that does not exist is looked for
        return _in_form(super().invoke, ctx)


def _in_form(step: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    try:
        return step(*args, **kwargs)
    except VsalError as error:  # of files that hold options
        raise typer.Exit(fail(error)) from None
    except UsageErrors as error:
        if not is_json() or type(error).__name__ == "NoArgsIsHelpError":  # which is no error, but a help page
            raise
        tell = getattr(error, "format_message", error.__str__)
        tell_error(tell(), code="usage_error", exit_code=USAGE)
        raise typer.Exit(USAGE) from None


app = typer.Typer(
    name="vsal",
    cls=Commands,
    help="Predict where people look in a video.",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("predict", cls=Configured)(predict.predict)
app.command("report", cls=Configured)(report.report)
app.command("batch", cls=Configured)(batch.batch)
app.command("reframe", cls=Configured)(reframe.reframe)
app.command("evaluate", cls=Configured)(evaluate.evaluate)
app.command("train")(train.train)
app.command("inspect")(inspect.inspect)
app.command("bench", cls=Configured)(bench.bench)
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
    log_format: Annotated[
        LogFormat,
        typer.Option(help="Of everything on stderr: text, or one JSON object a line.", envvar=LOG_FORMAT),
    ] = "text",
    config: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Options of predict, batch, report, reframe, evaluate and bench.  "
            "[default: the nearest vsal.toml, and the user's own]",
            envvar="VSAL_CONFIG",
        ),
    ] = None,
    no_config: Annotated[bool, typer.Option("--no-config", help="Read no such file.")] = False,
) -> None:
    """Predict where people look in a video."""


def main() -> None:
    """The console script."""
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # what it says of damaged pictures, we say in one sentence
    app(prog_name="vsal")  # python -m saliency_cli too: completions call it by its name
