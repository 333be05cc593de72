"""What is predicted while it is timed: a clip of the user's, or one made on the spot."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import count, cycle
from pathlib import Path

import av
import av.video.stream
import cv2
import numpy as np
from numpy.typing import NDArray

from saliency_cli.errors import UsageError
from saliency_cli.media import Source
from saliency_cli.types import Frame, VideoInfo

__all__ = ["Material", "endless", "make_clip", "read_material"]

MOST_FRAMES = 48  # kept in memory, to work through stage by stage
MOST_BYTES = 400_000_000  # of their pixels
RATE = 25  # frames per second of a clip made here
SIDES = (32, 8192)  # pixels
DISCS = 6


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """A clip, or its beginning.

    ``frames`` are its first, in memory; ``length`` is how many a prediction goes through.
    """

    info: VideoInfo
    frames: tuple[Frame, ...]
    length: int
    decoder: str


def read_material(reader: Source) -> Material:
    """Read all that the source gives, and keep its first frames.

    Raises:
        UsageError: it is a still image.
        ReadError: it cannot be read.
    """
    if reader.info.kind == "image":
        raise UsageError(f"{reader.info.path} is a still image; bench measures videos, so name one or nothing.")
    pixels = 3 * reader.info.width * reader.info.height
    most = max(2, min(MOST_FRAMES, MOST_BYTES // pixels))
    kept, length = list[Frame](), 0
    for frame in reader:
        length += 1
        if len(kept) < most:
            kept.append(frame)
    return Material(reader.info, tuple(kept), length, reader.decoder)


def endless(material: Material) -> Iterator[Frame]:
    """The material's frames forwards, backwards and again, without a cut, numbered and timed as a video without end."""
    there_and_back = (*material.frames, *material.frames[-2:0:-1])
    time_base = 1 / material.info.rate
    for index, frame in zip(count(), cycle(there_and_back), strict=False):
        yield Frame(index, frame.pixels, index, time_base)


def make_clip(path: Path, *, size: tuple[int, int], seconds: float) -> Path:
    """An H.264 clip: a camera pans over a texture, discs move before it, and there is a sensor's noise.

    ``size`` is (width, height). Raises UsageError for sides that are odd, or too small or large.
    """
    width, height = size
    if any(side % 2 or not SIDES[0] <= side <= SIDES[1] for side in size):
        raise UsageError(f"--size {width}x{height}: both sides must be even, from {SIDES[0]} to {SIDES[1]}.")
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"preset": "veryfast", "crf": "23"})
        assert isinstance(stream, av.video.stream.VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index, pixels in enumerate(_pictures(width, height, max(2, round(seconds * RATE)))):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def _pictures(width: int, height: int, length: int) -> Iterator[NDArray[np.uint8]]:
    """RGB pictures, (height, width, 3) each, the same every time."""
    generator = np.random.default_rng(1)
    unit = height / 360  # what is drawn, and how fast it moves, grows with the picture
    pan = 1.5 * unit  # pixels a frame
    texture = _texture(generator, width + int(pan * length) + 1, height, unit)
    noise = generator.integers(0, 7, (height + 32, width + 32, 3), np.uint8)
    start = generator.uniform(0, 2, (DISCS, 2)) * (width, height)
    speed = generator.uniform(-4, 4, (DISCS, 2)) * unit
    radius = generator.uniform(12, 40, DISCS) * unit
    colour = generator.integers(40, 220, (DISCS, 3))
    for index in range(length):
        left = int(pan * index)
        picture = texture[:, left : left + width].copy()
        for disc in range(DISCS):
            # Back and forth between the edges
            x, y = np.abs((start[disc] + speed[disc] * index) % (2 * width, 2 * height) - (width, height))
            cv2.circle(picture, (int(x), int(y)), int(radius[disc]), colour[disc].tolist(), -1, cv2.LINE_AA)
        top, aside = generator.integers(0, 32, 2)
        yield np.asarray(cv2.add(picture, noise[top : top + height, aside : aside + width]), np.uint8)


def _texture(generator: np.random.Generator, width: int, height: int, unit: float) -> NDArray[np.uint8]:
    """RGB (height, width, 3) with contrast on every scale, the coarse more than the fine, as nature has it."""
    total = np.zeros((height, width, 3), np.float32)
    for cell in (120, 60, 30, 15, 7):
        shape = (int(height / (cell * unit)) + 2, int(width / (cell * unit)) + 2)
        values = generator.normal(0, 1, (*shape, 1)) + generator.normal(0, 0.3, (*shape, 3))  # mostly gray
        grown = cv2.resize(values.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
        total += np.float32(cell**0.8) * np.asarray(grown, np.float32)
    return np.asarray(np.clip(120 + 45 * total / total.std(), 0, 248), np.uint8)
