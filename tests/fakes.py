"""A predictor without a network, and vsal as a program of its own: for tests of what surrounds the networks."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import torch
from numpy.typing import NDArray

from saliency_cli.inference.predictor import Listen, Memory, SaliencyPredictor
from saliency_cli.models.config import ModelConfig
from saliency_cli.models.registry import LoadedModel
from saliency_cli.types import Frame, SaliencyFrame

__all__ = ["Facts", "FakePredictor", "fake", "program", "sees", "video_facts"]

ROOT = Path(__file__).resolve().parents[1]
SIZE = (6, 8)  # of the fake's maps: height, width


def sees(number: int) -> NDArray[np.float32]:
    """The fake's map of a frame, (6, 8): a bright cell that moves on with each frame, and grows brighter."""
    saliency = np.full(SIZE, 0.01, np.float32)
    saliency[number % SIZE[0], number % SIZE[1]] = 0.02 * (1 + number)
    return saliency


class FakePredictor:
    """Gives every frame the map of its number. ``delay`` frames are seen before the first map comes, as by a window."""

    device, device_reason = torch.device("cpu"), "a fake"
    precision, precision_reason = "fp32", "a fake"

    def __init__(self, config: ModelConfig | None = None, *, delay: int = 0, fail_at: int | None = None) -> None:
        config = config or ModelConfig.embedded()
        self.model = LoadedModel(torch.nn.Identity(), config, Path("fake.safetensors"), "0" * 64, {})
        self.delay, self.fail_at = delay, fail_at
        self.seen: list[int] = []
        self.stills: list[bool] = []  # whether each call was for photographs

    def predict(
        self, frames: Iterable[Frame], *, still: bool = False, listen: Listen | None = None
    ) -> Iterator[SaliencyFrame]:
        self.stills.append(still)
        waiting: list[tuple[int, float]] = []
        for frame in frames:
            assert frame.pixels.size, "the network needs the picture, whatever the products need"
            self.seen.append(frame.index)
            waiting.append((frame.index, frame.seconds))
            del frame
            if len(waiting) > self.delay:
                yield self._map(*waiting.pop(0))
        for index, seconds in waiting:
            yield self._map(index, seconds)

    history = 0

    def resumed(
        self,
        frames: Iterable[Frame],
        *,
        every: int,
        memory: Memory | None = None,
        known: int = 0,
        listen: Listen | None = None,
    ) -> Iterator[tuple[SaliencyFrame, Memory | None]]:
        assert known == 0
        for done, saliency in enumerate(self.predict(frames, listen=listen), 1):
            yield saliency, None if done % every else {}

    def _map(self, index: int, seconds: float) -> SaliencyFrame:
        if index == self.fail_at:
            raise RuntimeError("the fake broke")
        return SaliencyFrame(index, seconds, sees(index))


def fake(*args: Any, **kwargs: Any) -> SaliencyPredictor:
    """A :class:`FakePredictor`, where the type of the real one is asked for."""
    return cast(SaliencyPredictor, FakePredictor(*args, **kwargs))


@dataclass(frozen=True)
class Facts:
    """What a player is told about a video. Times are seconds on the container's clock."""

    codec: str
    size: tuple[int, int]  # width, height
    times: tuple[Fraction, ...]
    rotation: int
    audio: str | None
    sound: bytes  # the packets of the sound
    sound_start: Fraction | None


def video_facts(path: Path) -> Facts:
    """What a video file says about itself, and what its packets hold."""
    with av.open(str(path)) as file:
        video = file.streams.video[0]
        audio = file.streams.audio[0] if file.streams.audio else None
        times: list[Fraction] = []
        sound, sound_start = b"", None
        for packet in file.demux():
            if packet.pts is None:
                continue
            if packet.stream is video:
                times.append(packet.pts * packet.time_base)
            elif audio is not None and packet.stream is audio:
                sound += bytes(packet)
                sound_start = packet.pts * packet.time_base if sound_start is None else sound_start
        context = video.codec_context
        with av.open(str(path)) as again:
            rotation = next(again.decode(video=0)).rotation
        return Facts(
            codec=context.name,
            size=(context.width, context.height),
            times=tuple(sorted(times)),
            rotation=rotation,
            audio=audio.codec_context.name if audio is not None else None,
            sound=sound,
            sound_start=sound_start,
        )


def program(
    *arguments: object, cwd: Path, before: str = "", env: dict[str, str] | None = None, **streams: Any
) -> subprocess.Popen[str]:
    """``python -m saliency_cli`` in a process of its own; ``before`` is Python that runs first in it."""
    code = f"{before}\nimport runpy, sys\nsys.argv[0] = 'vsal'\nrunpy.run_module('saliency_cli', run_name='__main__')"
    start: Sequence[str] = ("-c", code) if before else ("-m", "saliency_cli")
    clean = {key: value for key, value in os.environ.items() if not key.startswith("VSAL_")}
    paths = os.pathsep.join(filter(None, (str(ROOT), clean.get("PYTHONPATH"))))
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL, **streams}
    return subprocess.Popen(
        [sys.executable, *start, *map(str, arguments)],
        cwd=cwd,
        env={**clean, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", **(env or {})},
        text=True,
        **streams,
    )
