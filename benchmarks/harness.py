"""What the benchmarks share: one core, interleaved timings, the machine's description, a table and a JSON file."""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

__all__ = ["Timing", "describe_machine", "interleaved", "one_core", "report"]

RESULTS = Path(__file__).resolve().parent / "results"
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Timing:
    """How long one case took, in milliseconds: the median of the rounds, and the quartiles around it."""

    median_ms: float
    lower_quartile_ms: float
    upper_quartile_ms: float


def one_core() -> None:
    """Hold this process to one core and its libraries to one thread. To be called before numpy or torch is imported."""
    if loaded := {"numpy", "torch", "cv2"} & sys.modules.keys():
        raise RuntimeError(f"{', '.join(sorted(loaded))} has started its threads already")
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def interleaved(cases: Mapping[str, Callable[[], object]], *, rounds: int, per_case: int = 1) -> dict[str, Timing]:
    """Time every case once a round, in turn, so that what else the machine does falls on all alike.

    A round before the first is not counted. ``per_case``: how many items a case works through; times are for one.
    """
    times: dict[str, list[float]] = {name: [] for name in cases}
    for turn in range(rounds + 1):
        for name, case in cases.items():
            begin = time.perf_counter()
            case()
            if turn:
                times[name].append((time.perf_counter() - begin) * 1000 / per_case)
    result = {}
    for name, values in times.items():
        lower, median, upper = statistics.quantiles(values, n=4, method="inclusive")
        result[name] = Timing(round(median, 3), round(lower, 3), round(upper, 3))
    return result


def describe_machine(packages: tuple[str, ...]) -> dict[str, Any]:
    """Processor, system and versions, and how busy the machine was; nothing that names it."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "cores_used": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: version(name) for name in packages},
    }


def report(name: str, machine: Mapping[str, Any], tables: Mapping[str, Mapping[str, Timing]], **facts: object) -> Path:
    """Print the tables, and write them with the machine to ``results/<name>.json``; the path of that file."""
    for title, rows in tables.items():
        width = max(map(len, rows))
        print(f"\n{title}\n{'':{width}}  median ms   quartiles")
        for row, timing in rows.items():
            quartiles = f"{timing.lower_quartile_ms:.3f} to {timing.upper_quartile_ms:.3f}"
            print(f"{row:{width}}  {timing.median_ms:9.3f}   {quartiles}")
    print(f"\n{machine['processor']}, {machine['cores_used']} of {machine['cores']} cores, load {machine['load']}")
    record = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": dict(machine),
        **facts,
        "timings": {title: {row: asdict(timing) for row, timing in rows.items()} for title, rows in tables.items()},
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(f"written to {path.relative_to(RESULTS.parent.parent)}")
    return path


def _processor() -> str:
    """The processor's name, as far as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
