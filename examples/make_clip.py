"""Makes ``photographs.mp4``, the clip of ``make demo``, from freely licensed photographs and a tune made here.

Three shots with hard cuts between them: the camera travels over a portrait, closes in on a cat, and looks at a
launch pad across which a saucer flies. The pictures come from scikit-image's wheel; ``README.md`` beside this file
lists each with its source and licence. Needs ``pip install scikit-image`` besides vsal's own packages::

    python examples/make_clip.py [photographs.mp4]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray
from skimage import data

Pixels = NDArray[np.uint8]
Reals = NDArray[np.float64]
Box = tuple[float, float, float]  # centre x, centre y, width in pixels of the photograph; the height follows

WIDTH, HEIGHT, RATE = 640, 360, 25
SAMPLE_RATE = 44_100
AAC_FRAME = 1024  # samples
SHOTS = (55, 50, 55)  # frames of each shot; 160 frames, 6.4 s
FRAMES = sum(SHOTS)
BT709 = 1  # primaries and transfer, as FFmpeg numbers them


def ease(progress: float) -> float:
    """A start and a stop without a jerk: 0 to 1 with no slope at either end."""
    return progress * progress * (3 - 2 * progress)


def view(photograph: Pixels, centre_x: float, centre_y: float, width: float) -> Pixels:
    """The 16:9 window of a photograph, scaled to the clip's size; it may lie between pixels."""
    scale = WIDTH / width
    matrix = np.array(
        [[scale, 0, WIDTH / 2 - scale * centre_x], [0, scale, HEIGHT / 2 - scale * centre_y]], dtype=np.float64
    )
    flags = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    warped = cv2.warpAffine(photograph, matrix, (WIDTH, HEIGHT), flags=flags, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(warped, dtype=np.uint8)


def travel(photograph: Pixels, begin: Box, end: Box, frames: int) -> Iterator[Pixels]:
    """The camera goes from one window of the photograph to another."""
    for index in range(frames):
        step = ease(index / (frames - 1))
        x, y, width = (a + (b - a) * step for a, b in zip(begin, end, strict=True))
        yield view(photograph, x, y, width)


def cut_out_saucer(coffee: Pixels) -> tuple[Pixels, Reals]:
    """The cup on its saucer, uint8 (H, W, 3), and its opacity, float (H, W) from 0 to 1."""
    mask = np.full(coffee.shape[:2], cv2.GC_BGD, dtype=np.uint8)
    cv2.ellipse(mask, (282, 232), (208, 150), -12.0, 0.0, 360.0, cv2.GC_PR_FGD, -1)
    cv2.ellipse(mask, (290, 110), (122, 96), 0.0, 0.0, 360.0, cv2.GC_PR_FGD, -1)
    cv2.ellipse(mask, (290, 140), (80, 70), 0.0, 0.0, 360.0, cv2.GC_FGD, -1)
    cv2.ellipse(mask, (282, 232), (175, 120), -12.0, 0.0, 360.0, cv2.GC_FGD, -1)
    cv2.setRNGSeed(1)
    cv2.grabCut(coffee, mask, None, np.zeros((1, 65)), np.zeros((1, 65)), 5, cv2.GC_INIT_WITH_MASK)
    solid = np.isin(mask, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    solid = cv2.morphologyEx(solid, cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9)))
    _, labels, sizes, _ = cv2.connectedComponentsWithStats(solid)
    solid = (labels == 1 + int(np.argmax(sizes[1:, cv2.CC_STAT_AREA]))).astype(np.float32)
    opacity = cv2.GaussianBlur(solid, (0, 0), 1.5)
    rows, columns = np.nonzero(solid)
    box = np.s_[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    return coffee[box], opacity[box].astype(np.float64)


def paste(scene: Pixels, thing: Pixels, opacity: Reals, *, centre: tuple[float, float], width: float) -> Pixels:
    """Lay a cut-out over a scene; parts of it may lie outside."""
    scale = width / thing.shape[1]
    shift_x = centre[0] - scale * thing.shape[1] / 2
    shift_y = centre[1] - scale * thing.shape[0] / 2
    matrix = np.array([[scale, 0, shift_x], [0, scale, shift_y]], dtype=np.float64)
    # Halved before it is warped, for warpAffine does not average over the pixels it leaves out.
    half = cv2.resize(thing, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    half_opacity = cv2.resize(opacity, half.shape[1::-1], interpolation=cv2.INTER_AREA)
    matrix[:, :2] *= 2
    colour = cv2.warpAffine(half, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR).astype(np.float64)
    alpha = cv2.warpAffine(half_opacity, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR)[..., np.newaxis]
    return np.asarray(np.rint(scene * (1 - alpha) + colour * alpha), dtype=np.uint8)


def saucer_at(index: int, frames: int) -> tuple[float, float, float]:
    """Where the saucer is in the last shot, and how wide: it comes from the left, dips, rises, and grows."""
    progress = index / (frames - 1)
    return -70 + 620 * progress, 150 + 60 * np.sin(2.2 * np.pi * progress), 90 + 50 * progress


def pictures() -> Iterator[Pixels]:
    """Every frame of the clip: uint8 (360, 640, 3), RGB."""
    portrait, cat, rocket = (np.asarray(a, dtype=np.uint8) for a in (data.astronaut(), data.chelsea(), data.rocket()))
    yield from travel(portrait, (300, 330, 400), (228, 112, 350), SHOTS[0])
    yield from travel(cat, (226, 150, 440), (222, 140, 330), SHOTS[1])
    saucer, opacity = cut_out_saucer(np.asarray(data.coffee(), dtype=np.uint8))
    pad = travel(rocket, (320, 240, 600), (320, 215, 560), SHOTS[2])
    for index, scene in enumerate(pad):
        x, y, width = saucer_at(index, SHOTS[2])
        yield paste(scene, saucer, opacity, centre=(x, y), width=width)


def bell(pitch: float, begin: float, seconds: Reals, *, decay: float = 0.35) -> Reals:
    """One struck note: three partials that die away, with a click-free start."""
    since = np.maximum(seconds - begin, 0)
    tone = sum(np.sin(2 * np.pi * pitch * k * since) / k**2 for k in (1, 2, 3))
    return np.asarray(tone * np.exp(-since / decay) * np.minimum(since / 0.005, 1), dtype=np.float64)


def sound() -> NDArray[np.float32]:
    """A small tune, a chord on each cut, and the saucer's hum as it passes from left to right: (2, samples)."""
    seconds = np.arange(FRAMES * SAMPLE_RATE // RATE) / SAMPLE_RATE
    cuts = np.cumsum((0, *SHOTS)) / RATE
    tune = np.zeros_like(seconds)
    for step, semitones in enumerate((0, 4, 7, 12, 7, 4, 0, 5, 9, 12, 9, 5, -1, 2, 7, 11, 7, 2, 0, 4, 7, 12)):
        tune += 0.16 * bell(261.63 * 2 ** (semitones / 12), 0.28 * step, seconds)
    for begin in cuts[:-1]:
        for semitones in (-12, -5, 0):
            tune += 0.14 * bell(261.63 * 2 ** (semitones / 12), begin, seconds, decay=0.9)
    shot = (seconds - cuts[2]) / (cuts[3] - cuts[2])
    present = np.clip(shot, 0, 1)
    hum = 0.12 * np.sin(2 * np.pi * (150 * seconds + 3 * np.sin(2 * np.pi * 4 * seconds)))
    hum *= np.sin(np.pi * present) ** 2
    left, right = np.cos(np.pi / 2 * present), np.sin(np.pi / 2 * present)
    fade = np.minimum(1, (seconds[-1] - seconds) / 0.3)
    return np.stack([(tune + hum * left) * fade, (tune + hum * right) * fade]).astype(np.float32)


def write(path: Path) -> None:
    """Encode the clip: H.264 and AAC in MP4, its index in front, one thread so that every run gives the same bytes."""
    with av.open(str(path), "w", options={"movflags": "+faststart", "fflags": "+bitexact"}) as container:
        video: Any = container.add_stream("libx264", rate=RATE, options={"crf": "23", "preset": "slow"})
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        video.time_base = video.codec_context.time_base = Fraction(1, RATE)
        video.codec_context.thread_count = 1
        context = video.codec_context
        context.colorspace, context.color_range = Colorspace.ITU709.value, ColorRange.MPEG.value
        context.color_primaries = context.color_trc = BT709
        audio: Any = container.add_stream("aac", rate=SAMPLE_RATE, layout="stereo", options={"b": "96k"})
        for index, pixels in enumerate(pictures()):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(
                format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
            )
            frame.pts, frame.time_base = index, Fraction(1, RATE)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        samples = sound()
        for begin in range(0, samples.shape[1], AAC_FRAME):
            part = np.ascontiguousarray(samples[:, begin : begin + AAC_FRAME])
            block = av.AudioFrame.from_ndarray(part, format="fltp", layout="stereo")
            block.sample_rate, block.pts, block.time_base = SAMPLE_RATE, begin, Fraction(1, SAMPLE_RATE)
            container.mux(audio.encode(block))
        container.mux(audio.encode(None))


if __name__ == "__main__":
    goal = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("photographs.mp4")
    write(goal)
    print(goal)
