"""Changes to a recipe: they take effect, and they stay in its text."""

from __future__ import annotations

import tomllib

import pytest

from saliency_cli.errors import UsageError
from saliency_cli.training.tables import read_table, with_changes

TEXT = """
seed = 1 # a comment that stays

[model]
clip_length = 32

[[stages]]
steps = 3
[[stages]]
steps = 4
"""


def changed(*changes: str, text: str = TEXT) -> dict[str, object]:
    return read_table(with_changes(text, changes, "r.toml"), "r.toml")


def test_without_changes_nothing_changes() -> None:
    assert with_changes(TEXT, [], "r.toml") == TEXT
    assert read_table(TEXT, "r.toml") == tomllib.loads(TEXT)


@pytest.mark.parametrize(
    ("change", "path", "value"),
    [
        ("seed=2", ("seed",), 2),
        ("seed = 2", ("seed",), 2),
        ("model.clip_length=16", ("model", "clip_length"), 16),
        ("model.decoding=multi-level", ("model", "decoding"), "multi-level"),
        ("model.decoding=pyramid+hierarchical", ("model", "decoding"), "pyramid+hierarchical"),
        ('model.decoding="multi-level"', ("model", "decoding"), "multi-level"),
        ("model.audio=true", ("model", "audio"), True),
        ("model.input_size=[64, 96]", ("model", "input_size"), [64, 96]),
        ("loss.cc=0", ("loss", "cc"), 0),
        ("name=a=b", ("name",), "a=b"),
        ("stages.1.steps=9", ("stages", 1, "steps"), 9),
    ],
)
def test_a_change(change: str, path: tuple[object, ...], value: object) -> None:
    found: object = changed(change)
    for key in path:
        found = found[key]  # type: ignore[index]
    assert found == value
    assert type(found) is type(value)


def test_what_was_not_changed_is_as_before() -> None:
    table = changed("model.clip_length=16", "loss.cc=0")
    assert table == {"seed": 1, "model": {"clip_length": 16}, "stages": [{"steps": 3}, {"steps": 4}], "loss": {"cc": 0}}


def test_changes_are_part_of_the_text() -> None:
    text = with_changes(TEXT, ["seed=2", "model.clip_length=16"], "r.toml")
    assert text.startswith(TEXT.rstrip("\n"))
    assert text.endswith("\n\n[set]\nseed = 2\nmodel.clip_length = 16\n")
    again = with_changes(text, ["seed=3"], "r.toml")
    assert again.count("[set]") == 1
    assert read_table(again, "r.toml")["seed"] == 3
    assert read_table(again, "r.toml")["model"] == {"clip_length": 16}
    assert with_changes(again, ["seed=2", "model.clip_length=16"], "r.toml") == text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("seed", "--set seed: must be key=value"),
        ("=3", "must be key=value"),
        ("a b=3", "must be key=value"),
        ("stages.2.steps=1", "stages.2 is not there; stages has 2"),
        ("stages.first.steps=1", "stages.first is not there"),
        ("seed.deep=1", "seed is a value and has nothing below it"),
    ],
)
def test_a_change_that_makes_no_sense(change: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        changed(change)


def test_changes_stand_at_the_end() -> None:
    with pytest.raises(UsageError, match=r"r\.toml: \[set\] must be the recipe's last table"):
        changed("seed=2", text="[set]\nseed = 3\n[model]\n")
    with pytest.raises(UsageError, match=r"\[set\] must be a table"):
        read_table("set = 3", "r.toml")
