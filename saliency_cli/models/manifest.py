"""Which weights there are, where they lie, and how to get them. This module imports no torch.

Weights lie in two places: those that come with vsal in :func:`weights_folder`, downloaded ones in :func:`store`.
The clone has more of the former than the wheel, which is to stay small: for the rest, :func:`pull` takes a place to
bring them from, a clone's ``weights`` folder or an https address.
A manifest entry without a SHA-256 is downloaded only on demand (``unverified``), and pinned then: the sum is written
beside the file, in the format of ``sha256sum``, and every later load is held to it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import sys
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock

from saliency_cli.errors import WeightsError
from saliency_cli.models.download import download, drop_unlabelled

__all__ = [
    "Entry",
    "Verified",
    "entries",
    "entry",
    "find",
    "first_here",
    "how_to_get",
    "pull",
    "pull_command",
    "sha256_of",
    "store",
    "verify",
    "weights_folder",
]

log = logging.getLogger(__name__)

Progress = Callable[[int, int | None], None]  # bytes so far, bytes in all if known


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One set of weights in ``manifest.toml``."""

    name: str
    file: str
    architecture: str
    description: str
    url: str = ""  # "": comes with vsal, or lies where ``pull`` is told
    in_wheel: bool = False  # of those without a url: comes with every vsal, not with the clone alone
    sha256: str = ""  # "": unknown until the first download
    size: int = 0  # bytes; 0: unknown
    licence: str = ""
    source: str = ""
    page: str = ""  # where a person can download it by hand


@dataclass(frozen=True, slots=True)
class Verified:
    """A file of weights whose sum was taken. ``expected`` is None where neither manifest nor pin knows one."""

    name: str
    path: Path
    sha256: str
    expected: str | None


def weights_folder() -> Path:
    """The weights that come with vsal: inside the installed package, or at the top of a clone."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "weights", package.parent / "weights"):
        if (folder / "manifest.toml").is_file():
            return folder
    raise WeightsError(f"{package} has no manifest.toml of weights: install vsal again.")


def store() -> Path:
    """Where downloads go: ``$VSAL_STORE``, or ``vsal/weights`` in the user's cache folder. It need not exist."""
    if chosen := os.environ.get("VSAL_STORE"):
        return Path(chosen).expanduser()
    cache = os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME", "")
    base = Path(cache) if cache and Path(cache).is_absolute() else Path.home() / ".cache"
    return base / "vsal" / "weights"


def entries() -> dict[str, Entry]:
    """The manifest, by name. Raises ``WeightsError`` if it cannot be read."""
    path = weights_folder() / "manifest.toml"
    try:
        tables: dict[str, dict[str, Any]] = tomllib.loads(path.read_text(encoding="utf-8"))
        return {name: Entry(name=name, **table) for name, table in tables.items()}
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError, TypeError) as error:
        raise WeightsError(f"{path} cannot be understood ({error}): install vsal again.") from error


def entry(name: str) -> Entry:
    """The manifest's entry for the weights ``name``. Raises ``WeightsError`` for an unknown name."""
    known = entries()
    if name not in known:
        raise WeightsError(f"{name!r} is no name of weights: use one of {', '.join(known)}, or a path.")
    return known[name]


def find(name: str) -> Path | None:
    """The file of the weights ``name``, or None if it is not on this machine. ``WeightsError`` for an unknown name."""
    return _find(entry(name))


def first_here(names: Iterable[str]) -> str | None:
    """The first of the names whose weights are on this machine, None if there is none; unknown names have none."""
    known = entries()
    return next((name for name in names if name in known and _find(known[name]) is not None), None)


def verify(name: str) -> Verified:
    """Take the sum of the weights ``name`` and compare it with what the manifest, or the pin, says.

    Raises ``WeightsError`` if they are not on this machine, or are not what they should be.
    """
    wanted = entry(name)
    path = _find(wanted)
    if path is None:
        raise WeightsError(how_to_get(name))
    found, expected = sha256_of(path), _expected(wanted, path)
    if expected is not None and found != expected:
        raise WeightsError(
            f"{path} has the SHA-256 {found} and should have {expected}: "
            f"delete it and {'install vsal again' if wanted.in_wheel else f'run `{pull_command(wanted)}`'}."
        )
    return Verified(name, path, found, expected)


def how_to_get(name: str) -> str:
    """That the weights ``name`` are not on this machine, and what to do. ``WeightsError`` for an unknown name."""
    wanted = entry(name)
    if wanted.in_wheel:
        return f"the weights {wanted.name} ({wanted.file}) come with vsal but are not there: install vsal again."
    if not wanted.url:
        return (
            f"the weights {wanted.name} ({wanted.file}) lie in the folder weights of vsal's repository, not in its "
            f"wheel: run `{pull_command(wanted)}`, where PLACE is that folder of a clone, or an https address that "
            "has the file."
        )
    return (
        f"the weights {wanted.name} ({wanted.file}) are not on this machine: "
        f"run `{pull_command(wanted)}`, or {_by_hand(wanted)}."
    )


def pull(name: str, *, place: str | None = None, unverified: bool = False, progress: Progress | None = None) -> Path:
    """Bring the weights ``name`` into :func:`store`, unless they are on this machine; the path of the file.

    An interrupted download is resumed, a damaged one removed; two processes do not disturb each other. ``place`` is a
    folder or an https address where a file of that name lies, instead of the manifest's address. ``progress`` is told
    the bytes so far and, if known, in all. ``unverified``: also if no checksum says what should come.
    Raises ``WeightsError``.
    """
    wanted = entry(name)
    if place is not None:
        wanted = replace(wanted, url=_at(place, wanted.file), page="")
    folder = store()
    if _find(wanted) is None and wanted.url and not unverified and _expected(wanted, folder / wanted.file) is None:
        raise WeightsError(
            f"the publisher of {name} names no checksum, so that nobody can tell whether what comes is what it should "
            f"be: take it as it comes with `{pull_command(wanted)}`, or {_by_hand(wanted)}."
        )
    try:
        if _find(wanted) is None and wanted.url:
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder / f"{wanted.file}.lock"):
                if _find(wanted) is None:  # another process may have been faster
                    _fetch(wanted, folder / wanted.file, progress)
        verified = verify(name)
        if verified.expected is None and verified.path.parent == folder:
            _pin(verified.path, verified.sha256)
        return verified.path
    except OSError as error:
        raise WeightsError(
            f"{folder} cannot hold {wanted.file} ({error.strerror or error}): "
            "make room, or set VSAL_STORE to another folder."
        ) from error


def sha256_of(path: Path) -> str:
    """In hexadecimal. Raises ``WeightsError`` if the file cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({error.strerror or error}): check its permissions.") from error


def _fetch(entry: Entry, goal: Path, progress: Progress | None) -> None:
    part = goal.with_name(f"{goal.name}.part")
    if _expected(entry, goal) is None:
        drop_unlabelled(part)
    if "://" in entry.url:
        download(entry.url, part, progress=progress, otherwise=_by_hand(entry))
    else:
        _copy(Path(entry.url), part)
    found, expected = sha256_of(part), _expected(entry, goal)
    if expected is not None and found != expected:
        part.unlink()
        raise WeightsError(
            f"what {entry.url} sent has the SHA-256 {found} and should have {expected}; it was removed: "
            f"run `{pull_command(entry)}` again, or {_by_hand(entry)}."
        )
    part.replace(goal)


def _copy(source: Path, goal: Path) -> None:
    try:
        file = source.open("rb")
    except OSError as error:
        raise WeightsError(f"{source} cannot be read ({error.strerror or error}): check its permissions.") from error
    with file, goal.open("wb") as copy:
        shutil.copyfileobj(file, copy)


def _at(place: str, file: str) -> str:
    """The file's address in a folder, or under a web address."""
    if "://" in place:
        return f"{place.rstrip('/')}/{file}"
    path = Path(place).expanduser() / file
    if not path.is_file():
        raise WeightsError(f"{place} holds no {file}: name a folder, or an https address, where it lies.")
    return str(path)


def _expected(entry: Entry, path: Path) -> str | None:
    if entry.sha256:
        return entry.sha256
    pin = _pin_of(path)
    if not pin.is_file():
        return None
    if match := re.match(r"[0-9a-f]{64}\b", pin.read_text(encoding="utf-8", errors="replace")):
        return match[0]
    raise WeightsError(f"{pin} holds no SHA-256: delete it, and pull {path.name} again.")


def _pin_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _pin(path: Path, sha256: str) -> None:
    _pin_of(path).write_text(f"{sha256}  {path.name}\n", encoding="utf-8")
    log.warning(
        "The publisher of %s names no checksum: its SHA-256 is taken to be %s from now on (%s).",
        path.name, sha256, _pin_of(path),
    )  # fmt: skip


def _find(entry: Entry) -> Path | None:
    places = (weights_folder() / entry.file, store() / entry.file)
    return next((place for place in places if place.is_file()), None)


def pull_command(entry: Entry) -> str:
    """What to type to bring it here."""
    place = "" if entry.url else " --from PLACE"
    return f"vsal models pull {entry.name}{place}{'' if entry.sha256 else ' --unverified'}"


def _by_hand(entry: Entry) -> str:
    address, goal = entry.page or entry.url, store() / entry.file
    if "://" not in address:
        return f"copy {address} to {goal}"
    return f"download {address} with a browser and put it at {goal}"
