"""A long run: whether memory stays flat, and whether times and frames stay those of the source to the end.

``python benchmarks/soak.py [--minutes 60] [--pipe] [--keep FOLDER]``

One minute of film with sound (H.264 at 30000/1001 frames per second, AAC; each frame carries its number) is repeated
without encoding it again. ``vsal predict`` makes an overlay of opacity 0 of it, from a file or, with ``--pipe``, from
stdin in Matroska. Then every time stamp of picture and sound is compared with the source's, and every hundredth frame
is read. The table, and ``benchmarks/results/soak.json``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import harness

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from clips import Tone, make_clip, read_number  # numbered frames, as in the tests

RATE = Fraction(30000, 1001)
FRAMES = 1798  # of the minute that is repeated
SIZE = (320, 180)
EVERY = 100  # frames between those that are read


def lengthen(minute: Path, goal: Path, times: int) -> None:
    """The minute, ``times`` times, its packets as they are."""
    with av.open(str(goal), "w") as out:
        copies: dict[int, Any] = {}
        last: dict[int, int] = {}
        for turn in range(times):
            with av.open(str(minute)) as source:
                if not copies:
                    copies = {stream.index: out.add_stream_from_template(stream) for stream in source.streams}
                shift = turn * FRAMES / RATE
                for packet in source.demux():
                    if packet.pts is None:
                        continue
                    packet.pts += round(shift / packet.time_base)
                    if packet.pts <= last.get(packet.stream.index, -1_000_000):
                        continue  # the sound's run-in, which overlaps what was before
                    last[packet.stream.index] = packet.pts
                    packet.dts = packet.pts  # there are no B-frames
                    packet.stream = copies[packet.stream.index]
                    out.mux(packet)


def times_of(path: Path) -> dict[str, list[Fraction]]:
    """The presentation times of all packets of picture and sound, in seconds."""
    found: dict[str, list[Fraction]] = {"video": [], "audio": []}
    with av.open(str(path)) as file:
        for packet in file.demux():
            if packet.pts is not None and packet.size:
                found[packet.stream.type].append(packet.pts * packet.time_base)
    return {kind: sorted(times) for kind, times in found.items()}


def wrong_pictures(path: Path) -> tuple[int, int]:
    """How many of every hundredth frame do not carry their number, and how many were read."""
    wrong = read = 0
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        stream.thread_type = "AUTO"
        for index, frame in enumerate(file.decode(stream)):
            if index % EVERY == 0:
                read += 1
                wrong += read_number(frame.to_ndarray(format="rgb24")) != index % FRAMES
    return wrong, read


class Watch:
    """The memory of a process, in MiB, noted every second."""

    def __init__(self, pid: int) -> None:
        self.path, self.seen = Path(f"/proc/{pid}/status"), list[float]()
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()

    def _watch(self) -> None:
        while not self.stop.wait(1):
            try:
                line = next(line for line in self.path.read_text().splitlines() if line.startswith("VmRSS"))
            except (OSError, StopIteration):
                return
            self.seen.append(int(line.split()[1]) / 1024)

    def end(self) -> list[float]:
        self.stop.set()
        self.thread.join()
        return self.seen


def drift(before: list[Fraction], after: list[Fraction]) -> dict[str, Any]:
    """How far the product's times are from the source's."""
    pairs = list(zip(before, after, strict=False))
    return {
        "packets": [len(before), len(after)],
        "largest_ms": round(float(max((abs(one - other) for one, other in pairs), default=0)) * 1000, 3),
        "last_ms": round(float(abs(pairs[-1][0] - pairs[-1][1])) * 1000, 3) if pairs else None,
    }


def run(folder: Path, minutes: int, *, pipe: bool) -> dict[str, Any]:
    minute = make_clip(
        folder / "minute.mkv",
        frames=FRAMES,
        size=SIZE,
        rate=RATE,
        gop=60,
        b_frames=0,
        sound=Tone(seconds=float(FRAMES / RATE)),
    )
    film, product = folder / "film.mkv", folder / "product.mkv"
    lengthen(minute, film, minutes)
    command = [sys.executable, "-m", "saliency_cli", "predict", "-" if pipe else str(film), "-o", str(product)]
    begin = time.perf_counter()
    with (
        film.open("rb") as given,
        subprocess.Popen(
            [*command, "--opacity", "0"], stdin=given if pipe else subprocess.DEVNULL, cwd=folder
        ) as process,
    ):
        watch = Watch(process.pid)
        code = process.wait()
        memory = watch.end()
    if code:
        raise SystemExit(code)
    seconds = time.perf_counter() - begin
    before, after = times_of(film), times_of(product)
    wrong, read = wrong_pictures(product)
    tenth = len(memory) // 10
    return {
        "minutes": minutes,
        "source": "stdin" if pipe else "file",
        "frames": len(before["video"]),
        "frames_per_second": round(len(before["video"]) / seconds, 1),
        "memory_mib": {
            f"after {share} %": round(memory[min(tenth * share // 10, len(memory) - 1)])
            for share in (10, 25, 50, 75, 100)
        }
        | {"most": round(max(memory))},
        "picture": drift(before["video"], after["video"]),
        "sound": drift(before["audio"], after["audio"]),
        "wrong_pictures": [wrong, read],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--pipe", action="store_true", help="from stdin instead of a file")
    parser.add_argument("--keep", type=Path, help="a folder for the films, which stay there")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        found = run(folder, given.minutes, pipe=given.pipe)
    path = harness.RESULTS / "soak.json"
    runs = json.loads(path.read_text(encoding="utf-8"))["runs"] if path.is_file() else {}
    runs[found["source"]] = {"date": datetime.now(UTC).date().isoformat(), **found}
    record = {"machine": harness.describe_machine(("torch", "av")), "runs": runs}
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
