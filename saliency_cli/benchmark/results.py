"""What was measured: for people in tables, for programs as JSON, both from the same numbers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from saliency_cli.benchmark.timing import Timing
from saliency_cli.errors import WriteError
from saliency_cli.inference.device import Precision
from saliency_cli.media import atomic_file

__all__ = ["KIND", "PLAIN", "Agreement", "EngineSpeed", "Speed", "StageSpeed", "result_file"]

KIND = "vsal bench"  # of the JSON file
PLAIN = "plain window"


@dataclass(frozen=True, slots=True)
class Agreement:
    """How near an engine's maps come to the plain window's, over the same frames.

    ``mean_difference``: of the values, which lie in 0..1, without sign. ``cc``: Pearson's correlation, the mean over
    the maps, and ``lowest_cc``; None where maps without any contrast leave it undefined.
    """

    mean_difference: float
    cc: float | None
    lowest_cc: float | None


@dataclass(frozen=True, slots=True)
class EngineSpeed:
    """What a map costs, preparing its frame included; ``times_faster`` than the plain window, by the medians."""

    name: str
    precision: Precision
    timing: Timing
    times_faster: float
    agreement: Agreement | None  # None for the plain window itself


@dataclass(frozen=True, slots=True)
class StageSpeed:
    """What a frame costs in one stage, or from end to end."""

    name: str
    timing: Timing

    @property
    def frames_per_second(self) -> float:
        """If nothing else had to be done."""
        return round(1000 / max(self.timing.median_ms, 1e-3), 1)


@dataclass(frozen=True, slots=True)
class Speed:
    """What :func:`saliency_cli.measure_speed` found.

    ``machine``, ``model`` and ``clip`` describe what was measured on, with and of, as JSON takes it. ``engines`` is
    empty for a network without a window. The last of ``stages`` is the whole pipeline. ``notes`` say, in a sentence
    each, what a reader should know.
    """

    date: str
    machine: Mapping[str, Any]
    load_after: float | None
    model: Mapping[str, Any]
    clip: Mapping[str, Any]
    rounds: int
    engines: tuple[EngineSpeed, ...]
    stages: tuple[StageSpeed, ...]
    notes: tuple[str, ...]

    def record(self) -> dict[str, Any]:
        """All of it, as JSON takes it."""
        return {
            "kind": KIND,
            "date": self.date,
            "machine": dict(self.machine),
            "load_after": self.load_after,
            "model": dict(self.model),
            "clip": dict(self.clip),
            "rounds": self.rounds,
            "engines": [
                {
                    "name": engine.name,
                    "precision": engine.precision,
                    **asdict(engine.timing),
                    "times_faster": engine.times_faster,
                    **(asdict(engine.agreement) if engine.agreement else {}),
                }
                for engine in self.engines
            ],
            "stages": [
                {"name": stage.name, **asdict(stage.timing), "frames_per_second": stage.frames_per_second}
                for stage in self.stages
            ],
            "notes": list(self.notes),
        }


@contextmanager
def result_file(path: str | Path) -> Iterator[Path]:
    """A file for the record, there when the block ends; what cannot be written is known at the beginning.

    Raises:
        WriteError: the file cannot be written, or would replace what is no earlier record.
    """
    path = Path(path)
    if path.is_file() and not _is_record(path):
        raise WriteError(f"{path} is there already and is no result of vsal bench; name another file.")
    with atomic_file(path) as temporary:
        yield temporary


def _is_record(path: Path) -> bool:
    """Whether a file is empty, or an earlier record."""
    try:
        content = path.read_bytes()
        written = json.loads(content) if content else {"kind": KIND}
    except (OSError, ValueError):
        return False
    return isinstance(written, dict) and written.get("kind") == KIND
