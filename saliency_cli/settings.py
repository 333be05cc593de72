"""Options that stand in a file, ``vsal.toml``: what the command line takes where neither a flag nor a variable says.

::

    device = "cuda:1"          # for every command that has the option
    threads = 4

    [predict]                  # for this one, before those above
    write = ["overlay", "stats"]
    opacity = 0.5

The nearest file in the current folder or above it counts, and beneath it the one in the user's configuration. Nothing
above the user's home or the repository is looked at; and outside of both, the current folder alone, as anybody may put
a file into the folders above.
"""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import NoneType
from typing import Any, Final, Literal, cast, get_args, get_origin, get_type_hints

from saliency_cli.errors import ReadError, UsageError
from saliency_cli.options import PredictOptions

__all__ = ["FILE", "KEYS", "Settings", "find_settings", "load_settings"]

FILE: Final = "vsal.toml"

# Names on the command line, where they differ from the fields of PredictOptions
FIELDS: Final[Mapping[str, str]] = {"format": "form", "fps": "rate"}
_ALL: Final = (
    *("write", "format", "layout", "bits", "model", "weights", "audio", "raw", "normalize", "colormap", "opacity"),
    *("crf", "device", "precision", "exact", "decoder", "start", "end", "fps", "overwrite", "resume", "threads"),
)
KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "predict": _ALL,
    "batch": _ALL,
    "reframe": (
        *("aspect", "preview", "height", "max-speed", "max-acceleration", "model", "weights", "crf", "device"),
        *("precision", "decoder", "start", "end", "fps", "overwrite", "threads"),
    ),
    "report": (
        *("size", "colormap", "opacity", "model", "weights", "device", "precision", "exact", "decoder", "start"),
        *("end", "fps", "overwrite", "threads"),
    ),
    "evaluate": ("model", "weights", "audio", "device", "precision", "exact", "threads"),
    "bench": ("model", "weights", "device", "precision", "decoder", "threads"),
}
"""Which options each command takes from a file."""
_KNOWN: Final = tuple(dict.fromkeys(key for keys in KEYS.values() for key in keys))
# Those that PredictOptions has no field for
_OWN: Final[Mapping[str, Any]] = {
    "aspect": str,
    "preview": bool,
    "height": int,
    "size": int,
    "max-speed": float,
    "max-acceleration": float,
}


@dataclass(frozen=True, slots=True)
class Settings:
    """What files say. ``files``: those that were read, the one that counts most first."""

    files: tuple[Path, ...] = ()
    values: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def of(self, command: str) -> dict[str, Any]:
        """A command's options that stand in a file, by their names on the command line."""
        return dict(self.values.get(command, {}))


def find_settings(folder: Path | None = None) -> tuple[Path, ...]:
    """The files that count for a folder, the current one by default; the one that counts most first."""
    try:
        here = (folder or Path.cwd()).absolute()
    except FileNotFoundError:  # the current folder has been removed
        return tuple(path for path in [_own()] if path is not None and _is_file(path))
    found = [next((place / FILE for place in _upwards(here) if _is_file(place / FILE)), None), _own()]
    return tuple(dict.fromkeys(path for path in found if path is not None and _is_file(path)))


def load_settings(paths: Sequence[Path] | None = None) -> Settings:
    """Read files, those of :func:`find_settings` by default; what an earlier one says counts more.

    Raises:
        UsageError: a key or a table that does not exist, a value of a wrong kind, or no TOML.
        ReadError: a file that is missing or cannot be read.
    """
    files = find_settings() if paths is None else tuple(paths)
    values: dict[str, dict[str, Any]] = {command: {} for command in KEYS}
    for path in reversed(files):
        for command, options in _read(path).items():
            values[command] |= options
    return Settings(files, values)


def _is_file(path: Path) -> bool:
    """Whether a file is there, for all that this user may see: somebody else's home may be closed, and is not ours."""
    return os.path.isfile(path)


def _upwards(here: Path) -> list[Path]:
    """The folder, and those above it up to the repository's or the user's own."""
    try:
        home: Path | None = Path.home()
    except RuntimeError:  # a user without one
        home = None
    places = [here, *here.parents]
    for number, place in enumerate(places):
        if place == home or os.path.exists(place / ".git"):
            return places[: number + 1]
    return [here]


def _own() -> Path | None:
    """Where the user's own file would be."""
    chosen = os.environ.get("APPDATA" if sys.platform == "win32" else "XDG_CONFIG_HOME", "")
    try:
        base = Path(chosen) if chosen and Path(chosen).is_absolute() else Path.home() / ".config"
    except RuntimeError:
        return None
    return base / "vsal" / FILE


def _read(path: Path) -> dict[str, dict[str, Any]]:
    """A file's options for each command."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8-sig"))  # some editors begin with a mark
    except FileNotFoundError:
        raise ReadError(f"{path} does not exist; check the name, or leave out --config.") from None
    except OSError as error:
        raise ReadError(
            f"{path} cannot be read ({error.strerror}); check its permissions, or use --no-config."
        ) from None
    except (ValueError, RecursionError) as error:  # of TOML, of UTF-8, or of what no computer wrote
        raise UsageError(f"{path} is no TOML ({error}); correct it, or use --no-config.") from None
    common = {key: value for key, value in tables.items() if not isinstance(value, dict)}
    for name in tables.keys() - common.keys():
        if name not in KEYS:
            raise UsageError(
                f"{path}: there is no table [{name}]; use one of {', '.join(f'[{each}]' for each in KEYS)}."
            )
    for key, value in common.items():
        if key not in _KNOWN:
            raise UsageError(f"{path}: there is no option {key}; use one of {', '.join(_KNOWN)}.")
        _check(path, key, key, value)
    found = {}
    for command, keys in KEYS.items():
        own = tables.get(command, {})
        for key, value in own.items():
            if key not in keys:
                raise UsageError(f"{path}: [{command}] has no option {key}; use one of {', '.join(keys)}.")
            _check(path, f"{command}.{key}", key, value)
        options = {key: value for key, value in (common | own).items() if key in keys}
        found[command] = {key: _meant(path, key, value) for key, value in options.items()}
    return found


HINTS: Final = {**get_type_hints(PredictOptions), **_OWN}


def _check(path: Path, where: str, key: str, value: object) -> None:
    name = FIELDS.get(key, key)
    kind = next(each for each in (*get_args(HINTS[name]), HINTS[name]) if each is not NoneType and _is_kind(each))
    kind = HINTS[name] if get_origin(HINTS[name]) in (Literal, tuple) else kind
    said = f"{path}: {where} = {_spelled(value)}"
    if get_origin(kind) is tuple:
        (choices, _) = get_args(kind)
        wrong = [each for each in (value if isinstance(value, list) else [value]) if each not in get_args(choices)]
        if wrong or not value:
            raise UsageError(f"{said}: must be one or several of {', '.join(get_args(choices))}.")
    elif get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise UsageError(f"{said}: must be one of {', '.join(get_args(kind))}.")
    elif not _is_of(value, kind):
        raise UsageError(f"{said}: must be {NAMES[kind]}.")
    elif kind in (int, float) and name not in _OWN:
        try:
            replace(PredictOptions(), **{name: cast(Any, value)})
        except UsageError as error:
            raise UsageError(f"{path}: {error}") from None


NAMES: Final[Mapping[object, str]] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text, in quotes",
}


def _is_kind(kind: object) -> bool:
    return kind in NAMES or get_origin(kind) in (Literal, tuple)


def _is_of(value: object, kind: object) -> bool:
    if isinstance(value, bool) or kind is bool:
        return isinstance(value, bool) and kind is bool
    return isinstance(value, (int, float) if kind is float else kind) if isinstance(kind, type) else False


def _spelled(value: object) -> str:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else repr(value)


def _meant(path: Path, key: str, value: Any) -> Any:
    """The value as a flag would have it: weights beside the file are found from everywhere."""
    if key == "weights":
        near = path.absolute().parent / os.path.expanduser(value)
        return str(near) if _is_file(near) else value
    return [value] if key == "write" and isinstance(value, str) else value
