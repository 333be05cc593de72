"""Pipes for tests: what stdin gives, as fast as it is taken or step by step, and raw video to put into it."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import pytest
from clips import draw_number
from numpy.typing import NDArray

from saliency_cli.media import stdin

__all__ = ["frames_of", "piped", "raw_frames", "stdout_in_memory", "stdout_pipe"]

SIZE = (64, 48)


@contextmanager
def piped(monkeypatch: pytest.MonkeyPatch, content: bytes | Path, *, step: int = 1 << 16) -> Iterator[None]:
    """While the block runs, stdin gives ``content``, at most ``step`` bytes at a time."""
    data = content.read_bytes() if isinstance(content, Path) else content
    out, into = os.pipe()

    def feed() -> None:
        with suppress(BrokenPipeError), open(into, "wb", buffering=0) as pipe:
            for begin in range(0, len(data), step):
                pipe.write(data[begin : begin + step])

    feeder = threading.Thread(target=feed, daemon=True)
    feeder.start()
    monkeypatch.setattr(stdin, "DESCRIPTOR", out)
    try:
        yield
    finally:
        os.close(out)
        feeder.join(10)
        assert not feeder.is_alive()


@contextmanager
def stdout_in_memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[BytesIO]:
    """While the block runs, stdout is kept here. Not for a fixture: pytest has its own stdout for each phase."""
    written = BytesIO()
    stdout = TextIOWrapper(written, write_through=True)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stdout)
        yield written
    stdout.detach()


@contextmanager
def stdout_pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """While the block runs, stdout is a pipe; gives the end to read from, which the block may close."""
    out, into = os.pipe()
    with open(into, "w") as stdout, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stdout)
        yield out
    with suppress(OSError):
        os.close(out)


class _Parts:
    """A file that is cut into what was written since one looked last."""

    def __init__(self) -> None:
        self._written = b""

    def write(self, content: bytes) -> int:
        self._written += content
        return len(content)

    def take(self) -> bytes:
        taken, self._written = self._written, b""
        return taken


def raw_frames(count: int, form: str = "nut", *, times: Sequence[Fraction] | None = None) -> list[bytes]:
    """Numbered frames of uncompressed video at 25 frames a second, or at these times: the bytes of each."""
    muxer = {"nut": "nut", "y4m": "yuv4mpegpipe"}[form]
    parts, frames = _Parts(), list[bytes]()
    with av.open(cast(Any, parts), "w", format=muxer, container_options={"flush_packets": "1"}) as out:
        stream = out.add_stream("rawvideo", rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = SIZE
        stream.pix_fmt = "yuv444p"
        stream.codec_context.time_base = Fraction(1, 1000 if times else 25)
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(draw_number(number, SIZE), format="rgb24").reformat(format="yuv444p")
            frame.time_base = stream.codec_context.time_base
            frame.pts = round(times[number] / frame.time_base) if times else number
            out.mux(stream.encode(frame))
            frames.append(parts.take())
    return frames


@dataclass(frozen=True)
class Stored:
    """What a program wrote: frames as they are stored, and what is said about them."""

    times: list[Fraction]
    pictures: list[NDArray[Any]]
    codec: str
    pix_fmt: str | None
    rate: Fraction | None


def frames_of(content: bytes | Path) -> Stored:
    """Read it all."""
    data = content.read_bytes() if isinstance(content, Path) else content
    times, pictures = list[Fraction](), list[NDArray[Any]]()
    with av.open(BytesIO(data)) as file:
        stream = file.streams.video[0]
        about = (stream.codec_context.name, stream.pix_fmt, stream.average_rate)
        for frame in file.decode(video=0):
            assert frame.pts is not None
            assert frame.time_base is not None
            times.append(frame.pts * frame.time_base)
            pictures.append(np.asarray(frame.to_ndarray()))
    return Stored(times, pictures, *about)
