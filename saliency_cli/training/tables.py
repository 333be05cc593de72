"""Recipes as TOML: from a text to frozen dataclasses, and changes to it that stay in the text.

A table ``[set]`` at a recipe's end changes what stands above it: ``model.decoding = "multi-level"``, or
``stages.0.steps = 10`` for a list's first table. ``--set`` on the command line writes there, so that the text that goes
into checkpoints and results makes the same run again.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Sequence
from types import UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from saliency_cli.errors import UsageError

__all__ = ["NAME", "build", "read_table", "with_changes"]

NAME = r"[\w.-]+"  # what names a file or a stage
KEY = r"[\w-]+(\.[\w-]+)*"
SET = "set"

T = TypeVar("T")


def read_table(text: str, source: str) -> dict[str, Any]:
    """The recipe's tables, with what ``[set]`` changes. ``source`` names the recipe in errors.

    Raises:
        UsageError: it is not TOML, or ``[set]`` changes something that cannot be there.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{source}: not TOML ({error}); see recipes/ for examples.") from error
    changes = table.pop(SET, {})
    if not isinstance(changes, dict):
        raise UsageError(f"{source}: [set] must be a table of changes.")
    _merge(table, changes, f"{source}: [set]")
    return table


def with_changes(text: str, changes: Sequence[str], source: str) -> str:
    """The recipe's text with ``changes``, each ``key=value``, written into ``[set]`` at its end.

    A value is read as TOML, and as a string where it is none: ``model.decoding=multi-level`` needs no quotes.

    Raises:
        UsageError: a change has another form, or a table stands below ``[set]``.
    """
    if not changes:
        return text
    head, heading, tail = re.split(r"(?m)^(\[set\])[ \t]*(?:#.*)?$", f"{text}\n[set]", maxsplit=1)
    lines = [line for line in tail.splitlines() if line.strip() not in ("", heading)]
    if any(line.startswith("[") for line in lines):
        raise UsageError(f"{source}: [set] must be the recipe's last table; move it to the end.")
    for change in changes:
        key, equals, value = (part.strip() for part in change.partition("="))
        if not equals or not re.fullmatch(KEY, key):
            raise UsageError(f"--set {change}: must be key=value, as in --set model.clip_length=16.")
        lines = [line for line in lines if line.partition("=")[0].strip() != key]
        lines.append(f"{key} = {_as_toml(value)}")
    return "\n".join([head.rstrip("\n"), "", heading, *lines, ""])


def build(kind: type[T], table: Any, source: str, **given: Any) -> T:
    """A frozen dataclass from a TOML table and what is ``given`` besides; lists become tuples.

    Raises:
        UsageError: a key is unknown, missing, or of the wrong type, or the dataclass refuses its values.
    """
    if not isinstance(table, dict):
        raise UsageError(f"{source}: must be a table.")
    hints = {name: hint for name, hint in get_type_hints(kind).items() if name not in given}
    if unknown := sorted(set(table) - set(hints)):
        raise UsageError(f"{source}: unknown keys {', '.join(unknown)}; known are {', '.join(sorted(hints))}.")
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in table.items()}
    for name, value in values.items():
        if not _fits(value, hints[name]):
            wanted = hints[name].__name__ if isinstance(hints[name], type) else hints[name]
            raise UsageError(f"{source}: {name} = {table[name]!r} does not fit; it must be {wanted}.")
    try:
        return kind(**values, **given)
    except TypeError as error:  # a key without a default is missing; Python's own message names it
        raise UsageError(f"{source}: {error}.") from error
    except UsageError as error:
        raise UsageError(f"{source}: {error}") from error


def _merge(table: dict[str, Any], changes: dict[str, Any], source: str) -> None:
    for key, value in changes.items():
        below = table.get(key)
        if not isinstance(value, dict):
            table[key] = value
        elif isinstance(below, list) and all(isinstance(entry, dict) for entry in below):
            for number, part in value.items():
                if not number.isdecimal() or int(number) >= len(below) or not isinstance(part, dict):
                    raise UsageError(f"{source}: {key}.{number} is not there; {key} has {len(below)}, counted from 0.")
                _merge(below[int(number)], part, source)
        elif below is None or isinstance(below, dict):
            _merge(table.setdefault(key, {}), value, source)
        else:
            raise UsageError(f"{source}: {key} is a value and has nothing below it.")


def _as_toml(value: str) -> str:
    try:
        tomllib.loads(f"value = {value}")
    except tomllib.TOMLDecodeError:
        return json.dumps(value, ensure_ascii=False)
    return value


def _fits(value: object, hint: Any) -> bool:
    """Whether a value of TOML is of a type: str, bool, int, float, a Literal, or a tuple or union of these."""
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    if get_origin(hint) is UnionType:
        return any(_fits(value, each) for each in get_args(hint))
    if get_origin(hint) is tuple:
        if not isinstance(value, tuple):
            return False
        inside = get_args(hint)
        hints = inside[:1] * len(value) if inside[-1] is Ellipsis else inside
        return len(hints) == len(value) and all(map(_fits, value, hints))
    if isinstance(value, bool):
        return hint is bool
    return isinstance(value, (int, float) if hint is float else hint)
