"""What the benchmarks share: one core, a table and a JSON file; and from vsal interleaved timings and the machine."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from saliency_cli.benchmark.machine import describe_machine
from saliency_cli.benchmark.timing import Timing, interleaved

__all__ = ["RESULTS", "Timing", "describe_machine", "interleaved", "one_core", "report"]

RESULTS = Path(__file__).resolve().parent / "results"
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def one_core() -> None:
    """Hold this process to one core and its libraries to one thread. To be called before numpy or torch is imported."""
    if loaded := {"numpy", "torch", "cv2"} & sys.modules.keys():
        raise RuntimeError(f"{', '.join(sorted(loaded))} has started its threads already")
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


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
