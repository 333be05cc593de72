from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saliency_cli.batch.shards import Shard
from saliency_cli.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]
ITEMS = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1), max_size=50)


@given(ITEMS, st.integers(1, 20))
def test_every_item_has_one_shard(items: list[str], count: int) -> None:
    shares = [[item for item in items if Shard(number, count).has(item)] for number in range(1, count + 1)]
    assert sorted(item for share in shares for item in share) == sorted(items)


@given(st.text(st.characters(codec="utf-8"), min_size=1), st.integers(1, 9))
def test_an_items_shard_hangs_on_nothing_but_its_name(item: str, count: int) -> None:
    assert [Shard(number, count).has(item) for number in range(1, count + 1)].count(True) == 1


def test_shards_are_the_same_on_every_machine() -> None:
    items = [f"clip{number}.mp4" for number in range(10)] + ["été.mp4", "a b/c.mp4", "latin-\udce9.mp4"]
    assert [next(n for n in range(1, 5) if Shard(n, 4).has(item)) for item in items] == EXPECTED
    code = f"from saliency_cli.batch.shards import Shard; print([Shard(3, 4).has(i) for i in {items!r}])"
    other = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT, env={"PYTHONHASHSEED": "7"}
    )
    assert other.stdout.strip() == str([shard == 3 for shard in EXPECTED])


EXPECTED = [3, 4, 1, 4, 3, 3, 4, 2, 3, 4, 2, 4, 3]  # SHA-256 of each name, modulo 4, computed elsewhere


@pytest.mark.parametrize("text", ["0/4", "5/4", "1/0", "1", "a/b", "-1/4", "1/4/2", "", "1.5/4", "\u0661/\u0664"])
def test_shards_that_do_not_exist(text: str) -> None:
    with pytest.raises(UsageError, match="--shard"):
        Shard.parse(text)


def test_shards_are_counted_from_one() -> None:
    assert (Shard.parse("3/8"), str(Shard.parse(" 3/8 "))) == (Shard(3, 8), "3/8")


def slurm(task: object, **values: object) -> dict[str, str]:
    return {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in {"ID": task, **values}.items()}


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        (slurm(1, MIN=1, MAX=8, COUNT=8, STEP=1), Shard(1, 8)),
        (slurm(0, MIN=0, MAX=7, COUNT=8, STEP=1), Shard(1, 8)),
        (slurm(7, MIN=0, MAX=7), Shard(8, 8)),
        (slurm(13, MIN=5, MAX=25, COUNT=6, STEP=4), Shard(3, 6)),
        (slurm(5, MIN=5, MAX=5, COUNT=1, STEP=1), Shard(1, 1)),
        ({}, None),
    ],
)
def test_a_slurm_array(variables: dict[str, str], expected: Shard | None) -> None:
    assert Shard.from_slurm(variables) == expected


@pytest.mark.parametrize(
    ("variables", "phrase"),
    [
        (slurm(3, MIN=1, MAX=7, COUNT=3, STEP=1), "have gaps"),
        (slurm(9, MIN=1, MAX=7, COUNT=7, STEP=1), "have gaps"),
        (slurm(2, MIN=1, MAX=7, COUNT=4, STEP=2), "have gaps"),
        (slurm(2, MIN=1), "SLURM_ARRAY_TASK_MAX is not set"),
        (slurm("x", MIN=1, MAX=2), "SLURM_ARRAY_TASK_ID is 'x'"),
    ],
)
def test_a_slurm_array_that_tells_no_share(variables: dict[str, str], phrase: str) -> None:
    with pytest.raises(UsageError, match=phrase):
        Shard.from_slurm(variables)
