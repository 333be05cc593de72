"""How fast the networks are: the fast engine against the plain sliding window, and ``vsal predict`` stage by stage.

``python benchmarks/speed.py [CASE ...] [--rounds 7]``: tables, and ``benchmarks/results/speed.json``. Cases that are
not named keep what was measured before. Each is what ``vsal bench`` does, with the options shown below; no published
weights are needed, as TASED-Net and TSFP-Net on S3D run with stand-in ones.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

import harness
from rich.console import Console

from saliency_cli import Speed, measure_speed, random_model
from saliency_cli.benchmark.tables import speed_summary, speed_tables

SEED = 1
WIDTH = 120  # characters
CASES: dict[str, Callable[..., Speed]] = {
    "tased": lambda **how: measure_speed(model=random_model("tased", SEED), **how),
    "tsfp-s3d": lambda **how: measure_speed(model=random_model("tsfp", SEED), **how),
    "embedded-360p": partial(measure_speed, size=(640, 360)),
    "embedded-1080p": partial(measure_speed, size=(1920, 1080)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"{', '.join(CASES)}; all, if none is named")
    parser.add_argument("--rounds", type=int, default=7, help="timings of each case, of which the median counts")
    given = parser.parse_args()
    if strange := set(given.cases) - CASES.keys():
        parser.error(f"{', '.join(sorted(strange))}: must be of {', '.join(CASES)}")
    path = harness.RESULTS / "speed.json"
    found = json.loads(path.read_text(encoding="utf-8"))["cases"] if path.is_file() else {}
    console = Console(width=WIDTH, highlight=False)
    for name in given.cases or CASES:
        speed = CASES[name](rounds=given.rounds)
        console.print(f"\n{name}\n")
        console.print(*speed_tables(speed), *speed_summary(speed), *speed.notes, sep="\n")
        found[name] = speed.record()
    record = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": found[name]["machine"],  # the last one's; each case has its own as well
        "cases": {name: found[name] for name in CASES if name in found},
    }
    harness.RESULTS.mkdir(exist_ok=True)
    path.write_text(json.dumps(record, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    print(f"written to {path.relative_to(harness.RESULTS.parent.parent)}")


if __name__ == "__main__":
    main()
