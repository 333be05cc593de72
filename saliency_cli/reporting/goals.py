"""Where pages go: names by fixed rules, before anything is read for long."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from saliency_cli.batch.items import VIDEO_SUFFIXES, Selection, find_jobs
from saliency_cli.errors import UsageError, WriteError
from saliency_cli.media import PICTURE_SUFFIXES, STDIN, source_path
from saliency_cli.outputs import is_product, product_name, protect

__all__ = ["INDEX", "Goal", "holds_videos", "plan_index", "plan_page", "plan_pages"]

SUFFIXES = (".html", ".htm")
INDEX = "index.html"


@dataclass(frozen=True, slots=True)
class Goal:
    """One input, and where its page goes."""

    source: Path
    output: Path


def plan_page(source: Path, output: str | None, *, others: Collection[Path] = (), overwrite: bool = True) -> Path:
    """Where the page of one input goes: ``output``, a file or a folder; None is the current folder.

    Raises:
        UsageError: the name does not fit, or the page would replace an input.
        WriteError: something is there already and may not be replaced.
    """
    _require_file(source)
    if output == "":
        raise UsageError("-o: the name is empty; give a file, a folder, or . for this one.")
    if output == "-":
        raise UsageError("-o -: a page is a file; give its name with -o.")
    path = Path(output) if output is not None else Path()
    if path.suffix.lower() not in SUFFIXES or path.is_dir():
        if path.suffix and not path.is_dir() and path.name not in ("", ".."):
            raise UsageError(f"-o {output}: a page is written as {' or '.join(SUFFIXES)}, not as {path.suffix}.")
        if path.exists() and not path.is_dir():
            raise WriteError(f"{path} is a file, and a folder is needed for the page; give another -o.")
        path = path / _name(source)
    protect(path, "image", (source, *others), overwrite=overwrite)
    return path


def holds_videos(folder: Path) -> bool:
    """Whether a folder is one of videos, not of frames: it has a video in it, or neither that nor a picture."""
    suffixes = {entry.suffix.lower() for entry in folder.iterdir() if entry.is_file()}
    return bool(suffixes & VIDEO_SUFFIXES) or not suffixes & PICTURE_SUFFIXES


def plan_pages(sources: Sequence[str | Path], folder: Path, *, overwrite: bool = True) -> list[Goal]:
    """A page for each of several inputs, in ``folder``; a folder of videos stands for these, its tree is kept.

    Products of vsal's own are left out.

    Raises:
        UsageError: two inputs are called alike, there is none, or a page would replace an input.
        WriteError: something is there already and may not be replaced.
    """
    if folder.suffix.lower() in SUFFIXES or (folder.exists() and not folder.is_dir()):
        raise UsageError(f"-o {folder}: several pages need a folder; give the name of one.")
    goals: list[Goal] = []
    paths = [source_path(source) for source in sources]
    for path in paths:
        if path.is_dir() and holds_videos(path):
            goals += [
                Goal(job.source, job.folder / f"{job.name}.report.html") for job in find_jobs(path, folder, Selection())
            ]
        elif len(paths) == 1 or not is_product(path):
            _require_file(path)
            goals.append(Goal(path, folder / _name(path)))
    if not goals:
        raise UsageError(f"{paths[0]} and the other inputs were all made by vsal; name one alone if it is meant.")
    taken: dict[Path, Path] = {}
    for goal in goals:
        if goal.output in taken:
            raise UsageError(
                f"{taken[goal.output]} and {goal.source} would write to the same page; do them one by one."
            )
        taken[goal.output] = goal.source
    every = [goal.source for goal in goals]
    for goal in goals:
        protect(goal.output, "image", every, overwrite=overwrite)
    return goals


def plan_index(folder: Path, *, overwrite: bool = True) -> Path:
    """Where the index goes. Raises WriteError for a page of that name which nobody named, and which is not ours."""
    path = folder / INDEX
    if path.exists() and not is_product(path):
        raise WriteError(f"{path} is there already and not vsal's; move it away or give another -o.")
    protect(path, "image", (), overwrite=overwrite)
    return path


def _require_file(source: Path) -> None:
    if source == STDIN:
        raise UsageError("-: a report is called after its input, and stdin has no name; save it to a file first.")


def _name(source: Path) -> str:
    return f"{product_name(source, frames=source.is_dir(), layout='vsal')}.report.html"
