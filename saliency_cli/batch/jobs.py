"""What a batch hands to its workers, and what comes back: plain values that survive pickling and JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

__all__ = ["Job", "Outcome", "State"]

State = Literal["done", "failed"]


@dataclass(frozen=True, slots=True)
class Job:
    """One input of a batch.

    Attributes:
        item: its path within the batch's folder, with ``/``; its name everywhere. A name that is not UTF-8 carries
            surrogates, as everywhere in Python.
        source: where it is read.
        folder: where its products go.
        name: what they are called after: ``<name>.saliency.mp4``.
        mark: stands in the names of its temporary files, so that those of a dead worker can be found.
        size, modified: bytes, and nanoseconds since 1970, of the input when the batch looked at it.
        others: other inputs of the batch, which a product of this name might replace.
        occupied: nothing may be replaced, and something stood at its products' places when the batch looked.
        redone: an earlier run died while it did this job: what stands at the products' places may be its own.
    """

    item: str
    source: Path
    folder: Path
    name: str
    mark: str
    size: int = 0
    modified: int = 0
    others: tuple[Path, ...] = ()
    occupied: bool = False
    redone: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended. ``error`` is one sentence, None if nothing went wrong; ``exit_code`` as of the command line.

    ``products`` are paths, in the order asked for. ``seconds``: from the job's being handed out to its end; ``timings``
    are those of ``pipeline.Prediction``; ``memory`` is the most that the worker's process has held, in bytes.
    """

    item: str
    state: State
    error: str | None = None
    exit_code: int = 0
    products: tuple[str, ...] = ()
    frames: int = 0
    seconds: float = 0.0
    timings: dict[str, float] = field(default_factory=dict)
    decoder: str = ""
    device: str = ""
    precision: str = ""
    weights: str = ""
    warnings: tuple[str, ...] = ()
    memory: int = 0

    @classmethod
    def failure(cls, item: str, error: str, exit_code: int, *, seconds: float = 0.0) -> Outcome:
        """What became of a job that left no product."""
        return cls(item, "failed", error=error, exit_code=exit_code, seconds=seconds)

    def record(self) -> dict[str, Any]:
        """As JSON takes it."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Outcome:
        """The outcome that :meth:`record` described. Raises KeyError, TypeError if it did not."""
        wanted = {name: record[name] for name in cls.__slots__ if name in record}
        return cls(**{**wanted, "products": tuple(record["products"]), "warnings": tuple(record["warnings"])})
