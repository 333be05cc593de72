"""What a batch works on: the inputs below a folder, in a stable order, and where the products of each go."""

from __future__ import annotations

import fnmatch
import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from saliency_cli.batch.jobs import Job
from saliency_cli.errors import ReadError, UsageError
from saliency_cli.media import PICTURE_SUFFIXES, VIDEO_FORMATS
from saliency_cli.options import Layout
from saliency_cli.outputs import is_product, product_name

__all__ = ["VIDEO_SUFFIXES", "Kind", "Selection", "find_jobs", "natural"]

Kind = Literal["videos", "frames", "images"]

VIDEO_SUFFIXES = frozenset(VIDEO_FORMATS) | {
    *(".3g2", ".3gp", ".asf", ".avi", ".divx", ".dv", ".f4v", ".flv", ".gif", ".m2ts", ".m2v", ".m4v", ".mjpeg"),
    *(".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".nut", ".ogm", ".ogv", ".rm", ".rmvb", ".ts", ".vob"),
    *(".webm", ".wmv", ".y4m"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which inputs of a folder are wanted.

    Attributes:
        kind: videos; frames, where each folder that holds pictures is one input; or images, each picture for itself.
        include: patterns, of which an input must match one; for videos they count instead of the known suffixes.
        exclude: patterns, of which it must match none.

    A pattern is matched with the path within the folder, in which ``*`` stands for ``/`` too, or, if it holds no ``/``,
    with the name alone.
    """

    kind: Kind = "videos"
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise UsageError(f"--kind {self.kind}: must be one of {', '.join(get_args(Kind))}.")

    def takes(self, item: str) -> bool:
        """Whether the patterns let an item through."""
        if any(_matches(item, pattern) for pattern in self.exclude):
            return False
        if self.include:
            return any(_matches(item, pattern) for pattern in self.include)
        return self.knows(item)

    def knows(self, item: str) -> bool:
        """Whether an item is of the kind by its suffix, whatever the patterns say."""
        suffixes = {"videos": VIDEO_SUFFIXES, "images": PICTURE_SUFFIXES}.get(self.kind)
        return suffixes is None or os.path.splitext(item)[1].lower() in suffixes


@dataclass(slots=True)
class _Seen:
    """What else there is, for the message that nothing was found."""

    files: Counter[str] = field(default_factory=Counter)

    def told(self) -> str:
        if not self.files.total():
            return "is empty"
        found = Counter(
            "video" if suffix in VIDEO_SUFFIXES else "picture" if suffix in PICTURE_SUFFIXES else "other file"
            for suffix in self.files.elements()
        )
        parts = [
            f"{found[what]} {what}{'' if found[what] == 1 else 's'}"
            for what in ("video", "picture", "other file")
            if found[what]
        ]
        others = sorted({suffix for suffix in self.files if suffix} - VIDEO_SUFFIXES - PICTURE_SUFFIXES)
        kinds = f" ({', '.join(others[:5])}{', …' if len(others) > 5 else ''})" if others else ""
        return f"holds {' and '.join(parts)}{kinds}"


def find_jobs(folder: Path, output: Path, selection: Selection, *, layout: Layout = "vsal") -> list[Job]:
    """Every input of ``folder`` that is wanted, in natural order, with the tree kept in ``output``.

    Links to folders are not followed. Hidden files, ``output`` and products of vsal's own are passed over. Inputs of
    one folder whose products would be called alike keep their suffix in the products' names, all of them, and whether
    the patterns let the others through or not: another batch may do those, into the same ``output``.

    Raises:
        ReadError: the folder is missing; or it, or a folder in it that is not excluded, may not be read.
        UsageError: there is nothing to do; or a product would lie outside ``output``.
    """
    if not folder.is_dir():
        what = "is a file; name the folder that it lies in" if folder.exists() else "is not there; check the name"
        raise ReadError(f"{folder} {what}.")
    seen = _Seen()
    inputs = list(_inputs(_walk(folder, output, seen, selection), selection.kind))
    here = folder.resolve().name
    items = sorted((item for item in inputs if selection.takes(here if item == "." else item)), key=natural)
    if not items:
        kinds = [kind for kind in get_args(Kind) if kind != selection.kind]
        patterns = " that the patterns let through" if selection.include or selection.exclude else ""
        raise UsageError(
            f"{folder} has no {_called(selection.kind)}{patterns}: it {seen.told()}; "
            f"name another folder, --include '*.suffix', or --kind {' or '.join(kinds)}."
        )
    frames = selection.kind == "frames"
    wanted = set(items)
    rivals = [item for item in inputs if item in wanted or selection.knows(item)]
    parents = {item: _parent(item, frames=frames, layout=layout) for item in rivals}
    names = _names(parents, wanted, folder, frames=frames, layout=layout)
    goals = {parent: _inside(output, parent) for parent in dict.fromkeys(parents[item] for item in items)}
    by_folder = _inputs_by_folder(items, folder)
    near = {goal: by_folder.get(os.path.realpath(goal), {}) for goal in goals.values()}
    jobs = []
    for item in items:
        source, goal, name = folder / item, goals[parents[item]], names[item]
        size, modified = _looks(source, frames=frames)
        others = tuple(each for each in near[goal].get(name, ()) if each != source)
        mark = hashlib.sha256(os.fsencode(item)).hexdigest()[:12]
        jobs.append(Job(item, source, goal, name, mark, size, modified, others))
    return jobs


def natural(item: str) -> tuple[list[tuple[int, int, str]], str]:
    """Sort key in which numbers count as numbers, and files come after those of the folder before."""
    parts = re.split(r"([0-9]+)", item.casefold())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part], item


def _walk(folder: Path, output: Path, seen: _Seen, selection: Selection) -> Iterator[tuple[str, list[str]]]:
    """(path within the folder, names of the files there) of every folder that counts; products are left out."""
    goal = os.path.realpath(output)
    whole = os.path.realpath(folder) == goal  # products beside their inputs

    def refuse(error: OSError) -> None:
        inside = os.path.relpath(error.filename, folder).replace(os.sep, "/")
        if inside != "." and any(_matches(path, each) for each in selection.exclude for path in (inside, f"{inside}/")):
            return
        remedy = "check its permissions" + ("" if inside == "." else f", or leave it out with --exclude '{inside}/*'")
        raise ReadError(f"{error.filename} cannot be read ({error.strerror}); {remedy}.") from None

    for place, folders, files in os.walk(folder, onerror=refuse):
        inside = os.path.relpath(place, folder).replace(os.sep, "/")
        names = [name for name in files if not name.startswith(".")]
        ours = {name for name in (*names, *folders) if f"{name}.json" in names and is_product(Path(place, name))}
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".")
            and name not in ours
            and not os.path.islink(os.path.join(place, name))
            and (whole or os.path.realpath(os.path.join(place, name)) != goal)
        ]
        rest = [name for name in names if name not in ours and name.removesuffix(".json") not in ours]
        seen.files.update(os.path.splitext(name)[1].lower() for name in rest)
        yield ("" if inside == "." else inside), [name for name in rest if _is_file(os.path.join(place, name))]


def _inputs(walk: Iterable[tuple[str, list[str]]], kind: Kind) -> Iterator[str]:
    """All files, or all folders that hold pictures."""
    for place, names in walk:
        if kind != "frames":
            yield from (f"{place}/{name}" if place else name for name in names)
        elif any(os.path.splitext(name)[1].lower() in PICTURE_SUFFIXES for name in names):
            yield place or "."


def _is_file(path: str) -> bool:
    """Whether it is a file, or a link to nothing, whose reading says so; not a pipe or a device, which would hang."""
    return os.path.isfile(path) or not os.path.exists(path)


def _matches(item: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(item, pattern) or (
        "/" not in pattern and fnmatch.fnmatchcase(item.rpartition("/")[2], pattern)
    )


def _parent(item: str, *, frames: bool, layout: Layout) -> str:
    """The folder of an item's products within the output."""
    parent = os.path.dirname(item)
    if frames and layout == "dhf1k" and os.path.basename(item) == "images":  # of video 0701 in 0701/images
        return os.path.dirname(parent)
    return parent


def _names(
    parents: Mapping[str, str], wanted: Set[str], folder: Path, *, frames: bool, layout: Layout
) -> dict[str, str]:
    """What the products of each item are called after: unique within its folder, whichever shard it belongs to."""
    names = {item: product_name(folder / item, frames=frames, layout=layout) for item in parents}
    full = {item: os.path.basename(item) for item in parents}
    full["."] = f"{folder.resolve().name}.frames"  # where a folder of frames holds one of its own name
    while True:
        taken = Counter((parents[item], name) for item, name in names.items())
        clash = [item for item, name in names.items() if taken[parents[item], name] > 1]
        if wanted.isdisjoint(clash):
            return names
        if all(names[item] == full[item] for item in clash):
            one, other = clash[:2]
            raise UsageError(f"{folder / one} and {folder / other} would write to the same names; rename one of them.")
        names.update((item, full[item]) for item in clash)


def _inputs_by_folder(items: Sequence[str], folder: Path) -> dict[str, dict[str, list[Path]]]:
    """The inputs by the real path of the folder that each lies in, and by what their names begin with, up to a dot."""
    found: dict[str, dict[str, list[Path]]] = {}
    real: dict[Path, str] = {}
    for item in items:
        source = folder / item
        if source.parent not in real:
            real[source.parent] = os.path.realpath(source.parent)
        here = found.setdefault(real[source.parent], {})
        parts = source.name.split(".")
        for end in range(1, len(parts)):
            here.setdefault(".".join(parts[:end]), []).append(source)
    return found


def _inside(output: Path, parent: str) -> Path:
    """The folder of products, if no link leads it out of ``output``."""
    goal = output / parent if parent else output
    top = os.path.realpath(output)
    if os.path.commonpath((top, os.path.realpath(goal))) != top:
        raise UsageError(f"{goal} leads out of {output} by a link; remove the link, or give another -o.")
    return goal


def _looks(source: Path, *, frames: bool) -> tuple[int, int]:
    """Bytes and time of the last change; of a folder of frames all its pictures count, and their names."""
    try:
        if not frames:
            found = source.stat()
            return found.st_size, found.st_mtime_ns
        with os.scandir(source) as entries:
            stats = [entry.stat() for entry in entries if os.path.splitext(entry.name)[1].lower() in PICTURE_SUFFIXES]
        named = source.stat().st_mtime_ns  # when a picture last got or lost a name
        return sum(each.st_size for each in stats), max([named, *(each.st_mtime_ns for each in stats)])
    except OSError:  # a link to nothing, or gone meanwhile: its reading will say so
        return 0, 0


def _called(kind: Kind) -> str:
    return {"videos": "videos", "frames": "folders of pictures", "images": "pictures"}[kind]
