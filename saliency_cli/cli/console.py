"""What the commands share: messages, progress, and the way from an error to an exit code.

Data goes to stdout, everything for people to stderr; progress bars and colour appear only where a person is watching.
"""

from __future__ import annotations

import functools
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal, NoReturn, ParamSpec, TypeVar

import typer

from saliency_cli.cli.log_lines import JsonFormatter, error_code, json_line
from saliency_cli.errors import describe

__all__ = [
    "PIPED_WIDTH",
    "LogFormat",
    "Quiet",
    "Verbose",
    "fail",
    "guarded",
    "is_broken_pipe",
    "is_json",
    "log_as",
    "printable",
    "progress_bar",
    "say",
    "setup",
    "tell_error",
    "warn",
]

Verbose = Annotated[
    int, typer.Option("-v", "--verbose", count=True, show_default=False, help="Say more; twice: with tracebacks.")
]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Say nothing but errors.")]

LogFormat = Literal["text", "json"]

INTERRUPTED = 130
PIPED_WIDTH = 160  # characters: where no terminal sets a limit, nothing is cut to 80
BROKEN_PIPE = 141  # as the shell reports a program that SIGPIPE ended

P = ParamSpec("P")
R = TypeVar("R")

_level = {"verbose": 0, "quiet": 0}
_format: dict[str, LogFormat] = {"log": "text"}


def log_as(wanted: LogFormat) -> None:
    """How everything on stderr is written from now on; before :func:`setup`."""
    _format["log"] = wanted
    logging.captureWarnings(wanted == "json")  # Python's own warnings come as lines, too
    if wanted == "json":
        _log_to_stderr()


def is_json() -> bool:
    """Whether stderr is read by a program."""
    return _format["log"] == "json"


def setup(verbose: int, quiet: bool) -> None:
    """Take the two options of a command into account."""
    _level.update(verbose=verbose, quiet=int(quiet))
    level = logging.ERROR if quiet else (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    _log_to_stderr()
    logging.getLogger("saliency_cli").setLevel(level)


def _log_to_stderr() -> None:
    logging.basicConfig(level=logging.WARNING, format="vsal: %(message)s", stream=sys.stderr, force=True)
    if is_json():
        for handler in logging.getLogger().handlers:
            handler.setFormatter(JsonFormatter())


def say(message: str) -> None:
    """For people, on stderr."""
    if not _level["quiet"]:
        _tell("info", message, message)


def warn(message: str) -> None:
    """A warning, on stderr."""
    if not _level["quiet"]:
        _tell("warning", message, f"vsal: warning: {message}")


def tell_error(message: str, *, code: str, exit_code: int, traceback: str | None = None) -> None:
    """An error, on stderr: its sentence, and for programs the kind that it is of."""
    more: dict[str, Any] = {} if traceback is None else {"traceback": traceback}
    _tell("error", message, f"vsal: error: {message}", error={"code": code, "exit_code": exit_code}, **more)


def _tell(level: str, message: str, text: str, **more: Any) -> None:
    if is_json():
        text = json_line(level, message.removeprefix("vsal: "), **more)
    typer.echo(text, err=True)


def printable(text: str) -> str:
    """One line, whatever the names of files hold."""
    kept = "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
    return kept.encode("utf-8", "backslashreplace").decode()


def fail(error: BaseException) -> int:
    """Report an error; its exit code."""
    message, code = describe(error)
    message = message if message.endswith(".") else f"{message}."
    trace = "".join(traceback.format_exception(error)) if _level["verbose"] >= 2 else None
    if trace is not None and not is_json():
        typer.echo(trace, err=True, nl=False)
    kind = "internal_error" if code == 1 else error_code(error)
    tell_error(message, code=kind, exit_code=code, traceback=trace)
    return code


def guarded(command: Callable[P, R]) -> Callable[P, R]:
    """A command whose errors become one sentence and an exit code, and which cleans up when it is stopped."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        _level.update(verbose=0, quiet=0)
        with _terminable():
            try:
                result = command(*args, **kwargs)
                if sys.stdout is not None:  # as it is where a shell closed it
                    sys.stdout.flush()  # here, where an error can still be told
                return result
            except (typer.Exit, typer.Abort, SystemExit):
                raise
            except KeyboardInterrupt as stop:  # a command that leaves something says what
                left = str(stop) or "of what was not finished nothing is left"
                sentence = f"interrupted; {left}."
                _tell(
                    "error",
                    sentence,
                    f"vsal: {sentence}",
                    error={"code": "interrupted", "exit_code": INTERRUPTED},
                )
                raise typer.Exit(INTERRUPTED) from None
            except Exception as error:
                _drop_unwritable()
                raise typer.Exit(BROKEN_PIPE if is_broken_pipe(error) else fail(error)) from None

    return run


def _drop_unwritable() -> None:
    """What stdout did not take goes nowhere: Python would try again at its end, and complain in its own words."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def is_broken_pipe(error: BaseException) -> bool:
    """Whether whoever read stdout has ended: only stdout can be a pipe that is written to, products are files."""
    return isinstance(error, BrokenPipeError) or isinstance(error.__cause__, BrokenPipeError)


@contextmanager
def _terminable() -> Iterator[None]:
    """A polite request to end, or a terminal that is closed, unwinds like Ctrl-C, so that temporary files go."""

    def end(number: int, frame: object) -> NoReturn:
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's, and whoever runs us looks after them
        return
    wanted = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in wanted}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


@contextmanager
def progress_bar(description: str, *, unit: str = "frames/s") -> Iterator[Callable[[float, int | None], None]]:
    """A bar with speed and time left, on stderr, if a person is watching; gives the function to call."""
    if _level["quiet"] or is_json() or sys.stderr is None or not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Speed(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:.1f} {unit}" if task.speed else f"– {unit}")

    class Count(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.completed:.0f}/{'?' if task.total is None else f'{task.total:.0f}'}")

    columns = (
        TextColumn("{task.description}", markup=False),  # a file's name may look like markup
        BarColumn(),
        Count(),
        Speed(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(description, total=None)

        def update(done: float, total: int | None) -> None:
            progress.update(task, completed=done, total=total)

        yield update
