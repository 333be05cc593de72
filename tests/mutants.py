"""Small media files, and what becomes of them when they are damaged at random; and a process that reads them all.

Run as a program, it reads each file that its standard input names, one a line, in every way there is, and says how each
went: a line ``begin NAME``, then ``end NAME: …``. A file that takes the process down has no second line.
"""

from __future__ import annotations

import contextlib
import os
import random
import selectors
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MEMORY = 4 << 30  # bytes of address space; libraries and threads alone take more than one
MOST_FRAMES = 300  # are read of each file


def make_originals(folder: Path) -> list[Path]:
    """A small file of each container, of several codecs, and a few pictures and sounds."""
    import cv2
    from clips import Tone, draw_number, make_clip, make_sound

    sound = Tone(seconds=0.3)
    small = {"frames": 8, "gop": 4}
    made = [
        make_clip(folder / "h264.mp4", sound=sound, **small),
        make_clip(folder / "faststart.mp4", faststart=True, **small),
        make_clip(folder / "fragmented.mp4", container_options={"movflags": "frag_keyframe+empty_moov"}, **small),
        make_clip(folder / "hevc.mp4", codec="libx265", pix_fmt="yuv420p10le", **small),
        make_clip(folder / "turned.mov", codec="prores_ks", pix_fmt="yuv422p10le", frames=3, rotation=90),
        make_clip(folder / "h264.mkv", sound=sound, **small),
        make_clip(folder / "ffv1.mkv", codec="ffv1", frames=4),
        make_clip(folder / "vp9.webm", codec="libvpx-vp9", **small),
        make_clip(folder / "vp8.webm", codec="libvpx", **small),
        make_clip(folder / "av1.mp4", codec="libsvtav1", **small),
        make_clip(folder / "h264.ts", sound=Tone(seconds=0.3, codec="mp2"), **small),
        make_clip(folder / "mpeg2.mpg", codec="mpeg2video", **small),
        make_clip(folder / "mpeg4.avi", codec="mpeg4", sound=Tone(seconds=0.3, codec="libmp3lame"), **small),
        make_clip(folder / "mjpeg.avi", codec="mjpeg", pix_fmt="yuvj420p", frames=3),
        make_clip(folder / "clip.gif", codec="gif", pix_fmt="rgb8", frames=5),
        make_clip(folder / "clip.y4m", codec="rawvideo", frames=3),
        make_clip(folder / "clip.nut", codec="ffv1", frames=4),
        make_clip(folder / "clip.flv", codec="flv1", b_frames=0, frames=4),
        make_clip(folder / "clip.h264", **small),
    ]
    picture = cv2.cvtColor(draw_number(7), cv2.COLOR_RGB2BGR)
    for suffix in ("png", "jpg", "webp", "bmp", "tif"):
        made.append(folder / f"picture.{suffix}")
        made[-1].write_bytes(cv2.imencode(f".{suffix}", picture)[1].tobytes())
    sounds = {"wav": "pcm_s16le", "flac": "flac", "ogg": "libopus", "mp3": "libmp3lame", "m4a": "aac"}
    for suffix, codec in sounds.items():
        made.append(make_sound(folder / f"sound.{suffix}", Tone(seconds=0.2, codec=codec, rate=48000)))
    return made


def _flip_bits(content: bytearray, chance: random.Random) -> None:
    for _ in range(chance.choice((1, 3, 10, 50))):
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)


def _cut(content: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(content))
    del content[at : at + chance.choice((1, 7, 100, len(content)))]


def _zeros(content: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(content))
    content[at:at] = bytes(chance.choice((1, 4, 188, 2000)))


def _swap_blocks(content: bytearray, chance: random.Random) -> None:
    size = chance.choice((4, 64, 512))
    one, other = (chance.randrange(max(1, len(content) - size)) for _ in range(2))
    content[one : one + size], content[other : other + size] = content[other : other + size], content[one : one + size]


def _edit_header(content: bytearray, chance: random.Random) -> None:
    """Numbers of two or four bytes near the beginning or the end, where headers and indices are, become extreme."""
    for _ in range(chance.choice((1, 2, 5))):
        near = min(len(content), chance.choice((64, 700, 3000)))
        at = chance.randrange(near) if chance.random() < 0.6 else len(content) - 1 - chance.randrange(near)
        value = chance.choice(
            (b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", b"\xff\xff", b"\0\1\x86\xa0", b"\x80", b"\1")
        )
        content[at : at + len(value)] = value


MUTATIONS: list[Callable[[bytearray, random.Random], None]] = [_flip_bits, _cut, _zeros, _swap_blocks, _edit_header]


def mutants(originals: Iterable[Path], folder: Path, *, count: int, seed: int) -> Iterator[Path]:
    """Write ``count`` damaged copies, which depend on the seed only."""
    kept = [(path, path.read_bytes()) for path in originals]
    for number in range(count):
        chance = random.Random(f"{seed} {number}")
        path, content = kept[number % len(kept)]
        damaged = bytearray(content)
        for mutation in chance.sample(MUTATIONS, chance.choice((1, 1, 2))):
            if damaged:
                mutation(damaged, chance)
        target = folder / f"{seed}-{number}-{path.name}"
        target.write_bytes(damaged)
        yield target


@dataclass
class Report:
    """How the readings went: how many of which outcome, and the faults, by file."""

    outcomes: Counter[str] = field(default_factory=Counter)
    faults: dict[str, str] = field(default_factory=dict)
    slowest: tuple[float, str] = (0.0, "")


def read_all(files: Iterable[Path], *, limit: float, memory: int = MEMORY) -> Report:
    """Read files in child processes, a new one whenever one died or took longer than ``limit`` seconds for a file."""
    report, waiting = Report(), [str(file) for file in files]
    while waiting:
        child = subprocess.Popen(
            [sys.executable, __file__, str(memory)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        try:
            _read_some(child, waiting, report, limit)
        finally:
            child.kill()
            child.wait()
            for pipe in (child.stdin, child.stdout):
                assert pipe is not None
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
    return report


def _read_some(child: subprocess.Popen[bytes], waiting: list[str], report: Report, limit: float) -> None:
    """Give a child one file after the other, until all are done or it fails at one."""
    assert child.stdin is not None
    assert child.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        first = True
        while waiting:
            name = waiting.pop()
            begin = time.perf_counter()
            child.stdin.write(name.encode() + b"\n")
            child.stdin.flush()
            ready = selector.select(limit + 10 * first)  # the first one also waits for the child's imports
            line = child.stdout.readline().decode().strip() if ready else ""
            report.slowest = max(report.slowest, (0 if first else time.perf_counter() - begin, name))
            first = False
            if not line:
                report.faults[name] = "hangs" if not ready else f"takes the process down ({child.wait(10)})"
                return
            outcome, _, why = line.partition("\t")
            report.outcomes[outcome] += 1
            if outcome == "FAULT":
                report.faults[name] = why


def _outcomes(path: Path) -> Iterator[str]:
    """Read a file in every way; what each gave, and FAULT for an error that nobody would understand."""
    from saliency_cli.errors import VsalError
    from saliency_cli.media import open_source, probe, read_sound

    def frames(decoder: str) -> None:
        with open_source(path, decoder=decoder, threads=1) as source:
            last = None
            for frame in source:
                assert frame.pixels.shape == (source.info.height, source.info.width, 3)
                assert last is None or frame.pts > last, f"time goes from {last} to {frame.pts}"
                last = frame.pts
                if frame.index >= MOST_FRAMES:
                    break

    ways = {"probe": lambda: probe(path), "sound": lambda: read_sound(path)}
    ways |= {decoder: lambda decoder=decoder: frames(decoder) for decoder in ("auto", "pyav", "decord")}
    for way, read in ways.items():
        try:
            read()
            yield f"{way} ok"
        except VsalError as error:
            sentence = str(error)
            assert str(path) in sentence, sentence
            assert sentence.endswith("."), sentence
            yield f"{way} refused"
        except Exception:
            yield "FAULT\t" + way + " " + " | ".join(traceback.format_exc().strip().splitlines()[-7:])
            return


def main() -> None:
    if sys.platform == "linux":
        import resource

        # Address space counts, of which each thread takes much: one core, so that libraries start one thread
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]),) * 2)
    for line in sys.stdin:
        outcomes = list(_outcomes(Path(line.rstrip("\n"))))
        print(next((outcome for outcome in outcomes if outcome.startswith("FAULT")), ", ".join(outcomes)), flush=True)


if __name__ == "__main__":
    main()
