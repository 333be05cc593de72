"""The files of a result: opened before anything is scored, and all in their place only when all are complete."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from saliency_cli.errors import UsageError, WriteError
from saliency_cli.evaluation.plot import check_plot, plot_scores
from saliency_cli.evaluation.report import frames_csv, items_csv
from saliency_cli.evaluation.results import Evaluation
from saliency_cli.media import atomic_file

__all__ = ["ResultFiles"]

TABLE = b"source,"  # what the tables begin with


class ResultFiles:
    """A context manager: what cannot be written is known at its beginning, not after hours of scoring.

    ``table`` and ``frames`` are CSV files, with a row an item and a row a frame; ``plot`` a picture. Each may be None.

    Raises:
        UsageError: a plot of another suffix, no matplotlib, or one name for two files.
        WriteError: a file cannot be written, or a table would replace what is none; then none is left.
    """

    def __init__(
        self, table: str | Path | None = None, frames: str | Path | None = None, plot: str | Path | None = None
    ) -> None:
        if plot is not None:
            check_plot(plot)
        self._goals = (table, frames, plot)
        named = [path.resolve() for path in map(_path, self._goals) if path is not None]
        if len(set(named)) < len(named):
            raise UsageError("--csv, --frames and --plot are files of their own: give each another name.")
        for path in (table, frames):
            if path is not None:
                _protect(Path(path))
        self._stack = ExitStack()
        self._temporary: list[Path | None] = []

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._temporary = [goal and stack.enter_context(atomic_file(goal)) for goal in map(_path, self._goals)]
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def write(self, results: Sequence[Evaluation], shown: Sequence[Evaluation]) -> None:
        """Fill the files: the tables with all ``results``, the plot with those to be ``shown``."""
        table, frames, plot = self._temporary
        if table is not None:
            table.write_text(items_csv(results), encoding="utf-8")
        if frames is not None:
            frames.write_text(frames_csv(results), encoding="utf-8")
        if plot is not None:
            plot_scores(shown, plot)


def _protect(path: Path) -> None:
    """Refuse to replace a file that is no earlier table: gaze is a CSV, too. Raises WriteError."""
    if not path.is_file():
        return
    try:
        with path.open("rb") as file:
            begin = file.read(len(TABLE))
    except OSError as error:
        raise WriteError(f"{path} is there already and cannot be read ({error.strerror}); name another file.") from None
    if begin not in (b"", TABLE):
        raise WriteError(f"{path} is there already and is no table of vsal evaluate; name another file.")


def _path(goal: str | Path | None) -> Path | None:
    return None if goal is None else Path(goal)
