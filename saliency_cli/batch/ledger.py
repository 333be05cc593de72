"""What became of each item: one line of JSON a record, in ``vsal-ledger.jsonl`` beside the products.

Records are ``run`` (a run begins: options, weights, folder), ``started``, and ``done`` or ``failed``. Each is written
at once and brought to the disk, so that whatever ends a batch, the next run knows what is left to do. Each shard has a
file of its own, ``vsal-ledger.3-of-8.jsonl``; all of them are read, so that shards can be cut anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Self

from filelock import FileLock, Timeout

from saliency_cli._version import __version__
from saliency_cli.batch.jobs import Job, Outcome
from saliency_cli.batch.shards import Shard
from saliency_cli.errors import UsageError
from saliency_cli.media.atomic import write_errors
from saliency_cli.options import PredictOptions

__all__ = ["Entry", "History", "Ledger", "ledger_path", "run_key"]

STEM = "vsal-ledger"
# What does not change the products: where they go, and what computes them; the weights are told by their contents.
IMMATERIAL = ("output", "overwrite", "resume", "threads", "device", "weights")


@dataclass(frozen=True, slots=True)
class Entry:
    """The last that is known of an item. ``key`` tells with which options and weights; ``found``: what stood there."""

    state: Literal["started", "done", "failed"]
    key: str
    size: int
    modified: int
    mark: str
    found: bool
    outcome: Outcome | None
    time: float


class History:
    """What earlier runs into a folder wrote down."""

    def __init__(self, output: Path, *, own: Path | None = None) -> None:
        """Read all ledgers of ``output``; ``own`` is the one that the run will write, and others may be written now.

        Raises UsageError if a file of that name is no ledger, WriteError if it cannot be read.
        """
        self.output = output
        self.entries: dict[str, Entry] = {}
        self.notes: list[str] = []
        self._makers: dict[str, tuple[float, str]] = {}  # when a product was made, and from which item
        for path in sorted(output.glob(f"{STEM}*.jsonl")):
            if re.fullmatch(rf"{STEM}(\.[0-9]+-of-[0-9]+)?", path.stem):
                self._read(path, told=path == own)

    def settled(self, job: Job, key: str) -> Outcome | None:
        """The outcome of an item that needs not be done again: same input, options and weights, and all products."""
        entry = self.entries.get(job.item)
        if entry is None or entry.outcome is None or entry.state != "done":
            return None
        if (entry.key, entry.size, entry.modified) != (key, job.size, job.modified):
            return None
        holds = all(
            (self.output / product).exists() and self._makers[product][1] == job.item
            for product in entry.outcome.products
        )
        return entry.outcome if holds else None

    def in_flight(self, job: Job) -> Entry | None:
        """The record of an item that had begun when its run died."""
        entry = self.entries.get(job.item)
        return entry if entry is not None and entry.state == "started" else None

    def _read(self, path: Path, *, told: bool) -> None:
        with write_errors(path):
            lines = path.read_bytes().split(b"\n")
        # Within a ledger the order of its lines counts, as clocks may be set back; among ledgers there is only time.
        entries: dict[str, Entry] = {}
        makers: dict[str, tuple[float, str]] = {}
        torn = lines.pop()  # empty, if the last record was finished
        if torn and told:  # another shard is perhaps in the middle of writing it
            self.notes.append(f"{path}: the last record was cut off in the writing; its item is looked at again.")
        for number, line in enumerate(lines, 1):
            try:
                record = json.loads(line)
                kind = record["record"]
                if kind in ("started", "done", "failed"):
                    self._take(record, entries, makers)
                elif number == 1 and (kind != "run" or "vsal" not in record):
                    raise ValueError
            except (ValueError, KeyError, TypeError):
                if number == 1:
                    raise UsageError(f"{path} is not a ledger of vsal's; move it away, or give another -o.") from None
                self.notes.append(f"{path}: line {number} cannot be read; its item is looked at again.")
        for item, entry in entries.items():
            if item not in self.entries or self.entries[item].time <= entry.time:
                self.entries[item] = entry
        for product, maker in makers.items():
            self._makers[product] = max(maker, self._makers.get(product, maker))

    def _take(self, record: Mapping[str, Any], entries: dict[str, Entry], makers: dict[str, tuple[float, str]]) -> None:
        item, when = record["item"], float(record["time"])
        earlier = entries.get(item)
        outcome = None if record["record"] == "started" else Outcome.from_record(record["outcome"])
        begun = earlier if outcome is not None and earlier is not None and earlier.key == record["key"] else None
        entries[item] = Entry(
            record["record"],
            record["key"],
            int(record["size"]),
            int(record["modified"]),
            record.get("mark", begun.mark if begun else ""),
            bool(record.get("found", begun.found if begun else True)),
            outcome,
            when,
        )
        if outcome is not None:
            makers.update(dict.fromkeys(outcome.products, (when, item)))


class Ledger:
    """The ledger of a run, locked and open for writing."""

    def __init__(self, path: Path, key: str) -> None:
        self.path, self.key = path, key
        with write_errors(path):
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
            self._drop_torn()

    @classmethod
    @contextmanager
    def opened(cls, output: Path, shard: Shard, key: str, header: Mapping[str, Any]) -> Iterator[Self]:
        """The ledger of a shard, with a header for this run.

        Raises UsageError if another run is at work on the same items, WriteError if the folder cannot be written.
        """
        path = ledger_path(output, shard)
        with write_errors(output):
            output.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            stack.enter_context(_alone(path, shard))
            ledger = cls(path, key)
            stack.callback(os.close, ledger._file)
            ledger._write({"record": "run", "vsal": __version__, "key": key, "pid": os.getpid(), **header})
            yield ledger

    def started(self, job: Job, *, found: bool) -> None:
        """An item is begun. ``found``: something stood at its products' places before."""
        self._write({"record": "started", **self._about(job), "mark": job.mark, "pid": os.getpid(), "found": found})

    def ended(self, job: Job, outcome: Outcome) -> None:
        """An item is done, or failed."""
        record = outcome.record()
        output = self.path.parent
        # Within the folder, so that it can be moved.
        record["products"] = [os.path.relpath(product, output) for product in outcome.products]
        self._write({"record": outcome.state, **self._about(job), "outcome": record})

    def _about(self, job: Job) -> dict[str, Any]:
        return {"item": job.item, "key": self.key, "size": job.size, "modified": job.modified}

    def _write(self, record: Mapping[str, Any]) -> None:
        line = json.dumps({**record, "time": round(time.time(), 3)}, allow_nan=False).encode("ascii") + b"\n"
        with write_errors(self.path):
            while line:  # the rest of what a full disk took in part: now it says why
                line = line[os.write(self._file, line) :]
            os.fsync(self._file)

    def _drop_torn(self) -> None:
        """Take away the beginning of a record that was never finished."""
        size = os.fstat(self._file).st_size
        end = size
        while end:
            begin = max(0, end - 65536)
            found = os.pread(self._file, end - begin, begin).rfind(b"\n")
            if found >= 0:
                end = begin + found + 1
                break
            end = begin
        if end < size:
            os.ftruncate(self._file, end)


def ledger_path(output: Path, shard: Shard) -> Path:
    """Where the ledger of a shard lies."""
    part = "" if shard.count == 1 else f".{shard.number}-of-{shard.count}"
    return output / f"{STEM}{part}.jsonl"


def run_key(options: PredictOptions, weights: str) -> str:
    """Stands for all that decides the products beside the input: the options that matter, and the weights' SHA-256.

    Options at their defaults do not enter, so that an option which a later version adds changes no key.
    """
    defaults = asdict(PredictOptions())
    asked = {name: value for name, value in asdict(options).items() if value != defaults[name]}
    counts = {name: value for name, value in asked.items() if name not in IMMATERIAL}
    text = json.dumps({"options": counts, "weights": weights}, sort_keys=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:16]


@contextmanager
def _alone(path: Path, shard: Shard) -> Iterator[None]:
    """Hold the lock of a ledger, and see that nobody holds one of a batch that is cut otherwise.

    Locks end with their process, however it ends.
    """
    mine = path.with_name(f".{path.stem}.lock")
    ending = f"-of-{shard.count}.lock"
    with write_errors(path):
        lock = FileLock(mine)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise UsageError(f"another run is at work on {path}; wait for its end, or give another -o.") from None
    try:
        for other in path.parent.glob(f".{STEM}*.lock"):
            if other == mine or (shard.count > 1 and other.name.endswith(ending)):
                continue
            try:
                with FileLock(other).acquire(timeout=0):
                    pass
            except Timeout:
                raise UsageError(
                    f"another run is at work in {path.parent} ({other.stem.removeprefix('.')}), which shares the items "
                    "otherwise; wait for its end, or give the same n in --shard i/n."
                ) from None
        yield
    finally:
        lock.release()
