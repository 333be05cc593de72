"""What is evaluated: a part of the data, some of its sets, some of their items."""

from __future__ import annotations

import pytest
from tiny_recordings import recording, together

from saliency_cli.datasets import Dataset
from saliency_cli.errors import UsageError
from saliency_cli.evaluation import default_split, select, splits_of

DATA = together(
    [
        recording("a", splits=frozenset({"train"})),
        recording("b", splits=frozenset({"validation"})),
        recording("c", splits=frozenset({"train", "test-1"})),
        recording("a", dataset="other", splits=frozenset({"test-1", "test-2"})),
    ]
)


def chosen(split: str | None = None, *, data: Dataset = DATA, **more: list[str]) -> list[str]:
    return [f"{one.dataset}/{one.name}" for one in select(data, split, **more)]


def test_parts() -> None:
    assert splits_of(DATA.recordings) == ("test-1", "test-2", "train", "validation")
    assert chosen() == ["tiny/b"]
    assert chosen("train") == ["tiny/a", "tiny/c"]
    assert chosen("test-1") == ["tiny/c", "other/a"]
    assert len(chosen("all")) == 4


def test_the_default_is_the_best_there_is() -> None:
    with pytest.raises(UsageError, match=r"nothing is selected.* \(those chosen have test-1, test-2\)"):
        chosen(datasets=["other"])  # not what another part holds, which a model may have been trained on
    for splits, expected in (
        ({"test", "train"}, "test"),
        ({"test-1", "train"}, "test-1"),
        ({"train"}, "all"),
        ((), "all"),
    ):
        assert default_split(together([recording(splits=frozenset(splits))])) == expected


def test_items_by_name_and_pattern() -> None:
    assert chosen("all", items=["a"]) == ["tiny/a", "other/a"]
    assert chosen("all", items=["other/a", "tiny/[bc]"]) == ["tiny/b", "tiny/c", "other/a"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "final"}, "--select final: tiny has no such part; choose test-1, test-2, train, validation, all"),
        ({"datasets": ["none"]}, "has no dataset 'none': choose among tiny, other"),
        ({"split": "train", "items": ["b"]}, "--item b: there is no such item in the part 'train'"),
        ({"split": "validation", "datasets": ["other"]}, "nothing is selected; use --select all or other data sets"),
    ],
)
def test_what_is_not_there(arguments: dict[str, list[str]], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        select(DATA, **arguments)  # type: ignore[arg-type]
