"""What a run leaves in its folder while it goes on: a checkpoint that survives a stop, and a log by rows.

The checkpoint is replaced in one move, so that whatever ends a process, ``kill -9`` included, leaves a whole one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from saliency_cli.errors import UsageError, WeightsError, WriteError

__all__ = ["LAST", "csv_rows", "load_run", "refuse_earlier_run", "save_run"]

LAST = "last.pt"


def refuse_earlier_run(folder: Path, *, resume: bool) -> None:
    """Raise :class:`UsageError` if the folder holds a run already and it is not to be resumed."""
    path = folder / LAST
    if path.exists() and not resume:
        raise UsageError(f"{path} is there already; go on with --resume, or train into another folder.")


def save_run(folder: Path, recipe: str, state: dict[str, Any]) -> None:
    """Write ``last.pt``: the recipe's text and the ``state``, which must be of tensors and plain values.

    Raises:
        WriteError: it cannot be written; the one before is still there.
    """
    goal, young = folder / LAST, folder / f"{LAST}.part"
    try:
        torch.save({"recipe": recipe, **state}, young)
        os.replace(young, goal)
    except (OSError, RuntimeError) as error:
        young.unlink(missing_ok=True)
        raise WriteError(f"{goal}: the checkpoint cannot be written ({error}); make room and resume.") from error


def load_run(folder: Path, recipe: str, device: torch.device) -> dict[str, Any] | None:
    """What :func:`save_run` wrote for this recipe, its tensors on ``device``; None if there is nothing.

    Raises:
        WeightsError: it is damaged, or belongs to another recipe.
    """
    path = folder / LAST
    if not path.exists():
        return None
    try:
        saved: Any = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # torch raises half a dozen kinds for a damaged file
        raise WeightsError(f"{path}: the checkpoint is damaged ({error}); delete it to start anew.") from error
    if not isinstance(saved, dict) or saved.get("recipe") != recipe:
        raise WeightsError(f"{path} belongs to another recipe; train into another folder.")
    state: dict[str, Any] = saved
    return state


@contextmanager
def csv_rows(path: Path, header: str, *, keep: int) -> Iterator[Callable[[list[Any]], None]]:
    """A CSV log whose rows reach the disk one by one; of an earlier run's the first ``keep`` stay.

    A run that was stopped has logged steps that its last checkpoint does not know: they are done, and logged, again.

    Raises:
        WriteError: the file cannot be written.
    """

    def failed(error: OSError) -> WriteError:
        return WriteError(f"{path} cannot be written ({error.strerror}); choose another folder or make room.")

    young = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        earlier = path.read_text(encoding="utf-8").splitlines()[1 : keep + 1] if path.exists() else []
        young.write_text("\n".join([header, *earlier, ""]), encoding="utf-8")
        young.replace(path)
        file = path.open("a", newline="", encoding="utf-8")
    except OSError as error:
        raise failed(error) from error
    with file:

        def write(row: list[Any]) -> None:
            try:
                file.write(",".join(map(str, row)) + "\n")
                file.flush()
            except OSError as error:
                raise failed(error) from error

        yield write
