from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from saliency_cli.batch import ledger as ledger_module
from saliency_cli.batch.jobs import Job, Outcome
from saliency_cli.batch.ledger import History, Ledger, ledger_path, run_key
from saliency_cli.batch.shards import Shard
from saliency_cli.errors import UsageError, WriteError
from saliency_cli.options import PredictOptions

KEY = "k"


def job(item: str, out: Path, **changes: object) -> Job:
    return Job(item, Path("in", item), out, Path(item).stem, "a1", 7, 99, **changes)  # type: ignore[arg-type]


def done(one: Job) -> Outcome:
    product = one.folder / f"{one.name}.txt"
    product.write_text("x")
    return Outcome(one.item, "done", products=(str(product),), frames=3, seconds=0.5, warnings=("a warning",))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """An output folder that does not exist yet."""
    return tmp_path / "out"


@pytest.fixture
def ledger(out: Path) -> Iterator[Ledger]:
    with Ledger.opened(out, Shard(), KEY, {"items": 2}) as ledger:
        yield ledger


def test_what_is_done_is_settled(ledger: Ledger, out: Path) -> None:
    one, two = job("a.mp4", out), job("b.mp4", out)
    ledger.started(one, found=True)
    outcome = done(one)
    ledger.ended(one, outcome)
    ledger.started(two, found=False)
    history = History(out)
    settled = history.settled(one, KEY)
    assert settled is not None
    assert settled.products == ("a.txt",), "within the folder, which may be moved"
    assert (settled.frames, settled.seconds, settled.warnings) == (3, 0.5, ("a warning",))
    entry = history.in_flight(two)
    assert entry is not None
    assert (entry.mark, entry.found, history.in_flight(one)) == ("a1", False, None)
    header = json.loads(ledger.path.read_text().splitlines()[0])
    assert (header["record"], header["items"], header["key"]) == ("run", 2, KEY)


def test_what_makes_it_due_again(ledger: Ledger, out: Path) -> None:
    one = job("a.mp4", out)
    ledger.ended(one, done(one))
    assert History(out).settled(one, "other options") is None
    assert History(out).settled(Job("a.mp4", one.source, out, "a", "a1", 8, 99), KEY) is None
    assert History(out).settled(Job("a.mp4", one.source, out, "a", "a1", 7, 98), KEY) is None
    assert History(out).settled(one, KEY) is not None
    (out / "a.txt").unlink()
    assert History(out).settled(one, KEY) is None
    ledger.ended(one, Outcome.failure("a.mp4", "it broke.", 3))
    (out / "a.txt").touch()
    assert History(out).settled(one, KEY) is None


def test_each_record_is_on_the_disk_at_once(ledger: Ledger, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    write, fsync = os.write, os.fsync
    monkeypatch.setattr(os, "write", lambda *args: (calls.append("write"), write(*args))[1])
    monkeypatch.setattr(os, "fsync", lambda *args: (calls.append("fsync"), fsync(*args))[1])
    ledger.started(job("a.mp4", out), found=False)
    assert calls == ["write", "fsync"]


@pytest.mark.parametrize("cut", [1, 20, 150])
def test_a_torn_last_record_is_dropped_and_told(out: Path, cut: int) -> None:
    one, two = job("a.mp4", out), job("b.mp4", out)
    with Ledger.opened(out, Shard(), KEY, {}) as ledger:
        ledger.ended(one, done(one))
        ledger.ended(two, done(two))
    path = ledger_path(out, Shard())
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    history = History(out, own=path)
    assert history.settled(one, KEY) is not None
    assert history.settled(two, KEY) is None
    assert [("cut off" in note) for note in history.notes] == [True]
    assert History(out).notes == [], "another shard's may be in the middle of writing"
    with Ledger.opened(out, Shard(), KEY, {}) as ledger:
        ledger.ended(two, done(two))
    history = History(out, own=path)
    assert (history.notes, history.settled(two, KEY) is not None) == ([], True)
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_a_torn_header_alone(out: Path) -> None:
    out.mkdir()
    path = ledger_path(out, Shard())
    path.write_bytes(b'{"record": "ru')
    assert History(out).entries == {}
    with Ledger.opened(out, Shard(), KEY, {}):
        pass
    assert len(path.read_text().splitlines()) == 1


def test_a_damaged_line_costs_its_item_alone(ledger: Ledger, out: Path) -> None:
    one, two = job("a.mp4", out), job("b.mp4", out)
    ledger.ended(one, done(one))
    ledger.ended(two, done(two))
    lines = ledger.path.read_bytes().split(b"\n")
    lines[1] = lines[1][:40] + b"\0\0\0" + lines[1][43:]
    ledger.path.write_bytes(b"\n".join(lines))
    history = History(out)
    assert (history.settled(one, KEY), history.settled(two, KEY) is not None) == (None, True)
    assert "line 2 cannot be read" in history.notes[0]


def test_somebody_elses_file_is_no_ledger(out: Path) -> None:
    out.mkdir()
    ledger_path(out, Shard()).write_text('{"my": "data"}\n')
    with pytest.raises(UsageError, match="is not a ledger of vsal's"):
        History(out)


def test_two_runs_at_once(ledger: Ledger, out: Path) -> None:
    with pytest.raises(UsageError, match="another run is at work on"), Ledger.opened(out, Shard(), KEY, {}):
        pass
    with pytest.raises(UsageError, match="shares the items otherwise"), Ledger.opened(out, Shard(1, 2), KEY, {}):
        pass


def test_shards_of_one_cut_run_at_once_and_those_of_another_do_not(out: Path) -> None:
    with Ledger.opened(out, Shard(1, 2), KEY, {}) as first, Ledger.opened(out, Shard(2, 2), KEY, {}) as second:
        assert (first.path.name, second.path.name) == ("vsal-ledger.1-of-2.jsonl", "vsal-ledger.2-of-2.jsonl")
        with pytest.raises(UsageError, match=r"1-of-2.*otherwise"), Ledger.opened(out, Shard(1, 3), KEY, {}):
            pass
        one, two = job("a.mp4", out), job("b.mp4", out)
        first.ended(one, done(one))
        second.ended(two, done(two))
    history = History(out)
    assert all(history.settled(each, KEY) for each in (one, two))
    with Ledger.opened(out, Shard(), KEY, {}):
        pass


def test_within_a_ledger_the_last_word_counts_whatever_the_clock(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = job("a.mp4", out)
    for key, clock in (("old", 2e9), ("new", 1e9)):
        monkeypatch.setattr(ledger_module.time, "time", lambda clock=clock: clock)
        with Ledger.opened(out, Shard(), key, {}) as ledger:
            ledger.ended(one, done(one))
    assert (History(out).settled(one, "old"), History(out).settled(one, "new") is not None) == (None, True)


def test_a_product_that_another_item_made_since_is_not_its_own(ledger: Ledger, out: Path) -> None:
    one, two = job("a.mp4", out), job("a.jpg", out)
    for each in (one, two):
        ledger.ended(each, done(each))
    history = History(out)
    assert (history.settled(one, KEY), history.settled(two, KEY) is not None) == (None, True)


def test_a_file_called_alike_is_not_read(ledger: Ledger, out: Path) -> None:
    (out / "vsal-ledger-before.jsonl").write_text("mine")
    assert History(out).notes == []


def test_what_a_full_disk_says(ledger: Ledger, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []

    def full(handle: int, data: bytes) -> int:
        if taken:
            raise OSError(errno.EDQUOT, "Quota exceeded")
        taken.append(data)
        return 10

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(WriteError, match="the disk quota is used up"):
        ledger.started(job("a.mp4", out), found=False)


def test_of_two_ledgers_the_later_word_counts(out: Path) -> None:
    one = job("a.mp4", out)
    with Ledger.opened(out, Shard(2, 2), KEY, {}) as ledger:
        ledger.ended(one, Outcome.failure("a.mp4", "it broke.", 3))
    with Ledger.opened(out, Shard(), KEY, {}) as ledger:
        ledger.ended(one, done(one))
        lines = ledger.path.read_text().splitlines()
        later = {**json.loads(lines[-1]), "time": 4e9}
        ledger.path.write_text("\n".join([lines[0], json.dumps(later), ""]))
    assert History(out).settled(one, KEY) is not None


def test_a_ledger_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WriteError), Ledger.opened(tmp_path / "file", Shard(), KEY, {}):
        pass


def test_what_the_key_stands_for() -> None:
    options = PredictOptions()
    same = PredictOptions(threads=3, device="cpu", overwrite=False, resume=True)
    assert run_key(options, "abc") == run_key(same, "abc")
    others = [
        run_key(options, "abd"),
        run_key(PredictOptions(write=("stats",)), "abc"),
        run_key(PredictOptions(end=2.0), "abc"),
        run_key(PredictOptions(precision="fp32"), "abc"),
    ]
    assert len({run_key(options, "abc"), *others}) == 5
