"""Clips made on the spot, whose frames carry their number in the picture.

Every frame is a grid of 4 by 4 dark and bright cells: eleven bits of number and five of checksum, most significant
first, left to right and downwards. The cells scale with the picture and survive lossy coding, so that a test can ask of
every frame that it read *which* frame it is::

    path = make_clip(tmp_path / "clip.mp4", frames=20)
    assert [read_number(frame.pixels) for frame in open_source(path)] == list(range(20))

A picture that is mirrored, turned, torn or a mixture of two fails the checksum and reads as ``None``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.container
import av.video.reformatter
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "BRIGHT",
    "DARK",
    "Tags",
    "Tone",
    "box_range",
    "cut_clip",
    "draw_number",
    "make_clip",
    "make_sound",
    "overwrite",
    "read_number",
    "tone",
]

Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]

GRID = 4  # cells along each side: 16 bits
CHECK_BITS = 5
NUMBER_BITS = GRID * GRID - CHECK_BITS  # 11: numbers up to 2047
DARK: Colour = (40, 40, 40)
BRIGHT: Colour = (215, 215, 215)


def _checksum(number: int) -> int:
    return (number * 11 + (number >> 5) * 7 + 0b10110) % (1 << CHECK_BITS)


def draw_number(
    number: int, size: tuple[int, int] = (64, 48), *, dark: Colour = DARK, bright: Colour = BRIGHT
) -> Picture:
    """The picture of a number: uint8 RGB (height, width, 3) for ``size`` = (width, height)."""
    if not 0 <= number < 1 << NUMBER_BITS:
        raise ValueError(f"a frame number lies between 0 and {(1 << NUMBER_BITS) - 1}, not {number}")
    width, height = size
    word = number << CHECK_BITS | _checksum(number)
    bits = np.array([word >> shift & 1 for shift in range(GRID * GRID - 1, -1, -1)]).reshape(GRID, GRID)
    rows, columns = np.arange(height) * GRID // height, np.arange(width) * GRID // width
    colours = np.array([dark, bright], dtype=np.uint8)
    return np.ascontiguousarray(colours[bits[np.ix_(rows, columns)]])


def read_number(pixels: NDArray[np.generic]) -> int | None:
    """The number drawn in a picture, (H, W, 3) or (H, W); None if the checksum says that it is no such picture."""
    gray = np.asarray(pixels, dtype=np.float64)
    gray = gray.mean(axis=2) if gray.ndim == 3 else gray
    height, width = gray.shape
    word = 0
    for row in range(GRID):
        for column in range(GRID):
            # The middle half of each cell, away from the blur at its edges
            top, bottom = (int((row + part) * height / GRID) for part in (0.25, 0.75))
            left, right = (int((column + part) * width / GRID) for part in (0.25, 0.75))
            word = word << 1 | int(gray[top : bottom + 1, left : right + 1].mean() > 127.5)
    number = word >> CHECK_BITS
    return number if word & ((1 << CHECK_BITS) - 1) == _checksum(number) else None


@dataclass(frozen=True)
class Tone:
    """The sound of a clip: a sine that begins ``start`` seconds after 0 on the container's clock.

    With ``gap`` the packets that begin between two times, counted from 0, are left out.
    """

    frequency: float = 440.0
    seconds: float = 1.0
    start: float = 0.0
    rate: int = 44100
    channels: int = 1
    codec: str = "aac"
    amplitude: float = 0.5
    gap: tuple[float, float] = (0.0, 0.0)  # seconds between which the packets are missing


@dataclass(frozen=True)
class Tags:
    """Colour tags, by FFmpeg's numbers; the pixels are converted with the same matrix and range."""

    space: int = 2  # 1 BT.709, 5 BT.601, 2 not tagged
    range: int = 0  # 1 limited, 2 full, 0 not tagged


def tone(sound: Tone) -> NDArray[np.float32]:
    """The samples of a tone, float32 (channels, samples)."""
    time = np.arange(round(sound.seconds * sound.rate)) / sound.rate
    wave = (sound.amplitude * np.sin(2 * math.pi * sound.frequency * time)).astype(np.float32)
    return np.tile(wave, (sound.channels, 1))


def _x264(options: Mapping[str, str], gop: int, b_frames: int, open_gop: bool) -> dict[str, str]:
    params = f"keyint={gop}:min-keyint={gop}:scenecut=0:bframes={b_frames}:b-adapt=0:open-gop={int(open_gop)}:threads=1"
    return {"preset": "veryfast", "x264-params": params, **options}


def _x265(options: Mapping[str, str], gop: int, b_frames: int, open_gop: bool) -> dict[str, str]:
    params = (
        f"keyint={gop}:min-keyint={gop}:scenecut=0:bframes={b_frames}:b-adapt=0:open-gop={int(open_gop)}"
        ":pools=none:frame-threads=1:log-level=none"
    )
    return {"preset": "ultrafast", "x265-params": params, **options}


def _as_given(options: Mapping[str, str], *_: object) -> dict[str, str]:
    return dict(options)


_OPTIONS: dict[str, Callable[[Mapping[str, str], int, int, bool], dict[str, str]]] = {
    "libx264": _x264,
    "libx265": _x265,
    "libsvtav1": lambda options, gop, *_: {
        "preset": "10",
        "crf": "20",
        "svtav1-params": f"keyint={gop}:lp=1",
        **options,
    },
    "libvpx-vp9": lambda options, *_: {"deadline": "realtime", "cpu-used": "8", "row-mt": "0", **options},
}


def _tone_packets(container: av.container.OutputContainer, sound: Tone) -> Iterable[av.Packet[av.AudioStream]]:
    stream = container.add_stream(sound.codec, rate=sound.rate)
    assert isinstance(stream, av.AudioStream)
    layout = "mono" if sound.channels == 1 else "stereo"
    stream.codec_context.layout = layout
    frame = av.AudioFrame.from_ndarray(tone(sound), format="fltp", layout=layout)
    frame.sample_rate, frame.time_base = sound.rate, Fraction(1, sound.rate)
    frame.pts = round(sound.start * sound.rate)
    resampler = av.AudioResampler(
        format=stream.codec_context.format,
        layout=layout,
        rate=sound.rate,
        frame_size=1024 if sound.codec in ("aac", "pcm_s16le") else None,
    )
    encoded: list[av.Packet[av.AudioStream]] = []
    for part in [*resampler.resample(frame), *resampler.resample(None)]:
        encoded.extend(stream.encode(part))
    encoded.extend(stream.encode(None))
    for packet in encoded:
        if packet.pts is None or not sound.gap[0] <= packet.pts * packet.time_base < sound.gap[1]:
            yield packet


def make_clip(
    path: Path,
    *,
    frames: int = 20,
    size: tuple[int, int] = (64, 48),
    rate: Fraction | int = 25,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    gop: int = 12,
    b_frames: int = 2,
    open_gop: bool = False,
    rotation: int = 0,
    times: Sequence[Fraction | float] | None = None,
    start: Fraction | float = 0,
    sound: Tone | None = None,
    second_video: bool = False,
    pixel_aspect: Fraction | None = None,
    tags: Tags | None = None,
    dark: Colour = DARK,
    bright: Colour = BRIGHT,
    container: str | None = None,
    container_options: Mapping[str, str] | None = None,
    faststart: bool = False,
    options: Mapping[str, str] | None = None,
) -> Path:
    """Write a clip of numbered frames and return its path.

    ``size`` (width, height) is that of the picture as *shown*; with ``rotation`` (degrees counter-clockwise that a
    player must turn the stored picture) the stored one lies on its side. ``times`` gives every frame's presentation
    time in seconds (variable rate), otherwise frame i is shown at ``start + i / rate``. ``second_video`` adds a stream
    whose frames carry 1000 + i. ``pixel_aspect`` is that of the stored pixels. ``container`` names FFmpeg's muxer where
    the suffix does not.
    """
    rate = Fraction(rate)
    if times is None:
        times = [Fraction(start) + index / rate for index in range(frames)]
    # With a fine clock variable rates keep their times; with a steady one the frame interval is exact
    tick = 1 / rate if all((Fraction(time) * rate).denominator == 1 for time in times) else Fraction(1, 90000)
    settings = {"movflags": "+faststart"} if faststart else {}
    with av.open(str(path), "w", format=container, container_options={**settings, **(container_options or {})}) as out:
        videos: list[av.VideoStream] = []
        for _ in range(1 + second_video):
            turned = rotation % 180 == 90
            stream = out.add_stream(codec, rate=rate)
            assert isinstance(stream, av.VideoStream)
            stream.width, stream.height = size[::-1] if turned else size
            stream.pix_fmt = pix_fmt
            context = stream.codec_context
            context.time_base = tick
            context.thread_count = 1
            context.gop_size = gop
            if pixel_aspect is not None:
                context.sample_aspect_ratio = pixel_aspect
            if codec not in ("gif", "libvpx-vp9", "ffv1", "prores_ks", "mjpeg"):
                context.max_b_frames = b_frames
            context.options = _OPTIONS.get(codec, _as_given)(options or {}, gop, b_frames, open_gop)
            if tags is not None:
                context.colorspace, context.color_range = tags.space, tags.range
            if rotation:
                stream.set_display_rotation(rotation)
            videos.append(stream)
        packets: list[av.Packet[Any]] = []
        if sound is not None:
            packets.extend(_tone_packets(out, sound))
        for which, stream in enumerate(videos):
            for index, time in enumerate(times):
                shown = draw_number(1000 * which + index, size, dark=dark, bright=bright)
                stored = np.ascontiguousarray(np.rot90(shown, -rotation // 90))
                frame = av.VideoFrame.from_ndarray(stored, format="rgb24")
                if tags is not None and tags.range:
                    frame = frame.reformat(format=pix_fmt, dst_colorspace=tags.space, dst_color_range=tags.range)
                    frame.colorspace, frame.color_range = tags.space, tags.range
                else:
                    frame = frame.reformat(format=pix_fmt)
                frame.time_base = tick
                frame.pts = round(Fraction(time) / tick)
                packets.extend(stream.encode(frame))
            packets.extend(stream.encode(None))
        for packet in sorted(packets, key=lambda packet: (packet.dts or 0) * packet.time_base):
            out.mux(packet)
    return path


def cut_clip(source: Path, target: Path, *, after: float) -> Path:
    """Cut as ``ffmpeg -ss AFTER -c copy`` does: whole groups of pictures, the surplus hidden by an edit list."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        stream = old.streams.video[0]
        copy = new.add_stream_from_template(stream)
        assert stream.time_base is not None
        shift = round(Fraction(after) / stream.time_base)
        old.seek(shift, stream=stream, backward=True)
        for packet in old.demux(stream):
            if packet.pts is None or packet.dts is None:
                continue
            packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, copy
            new.mux(packet)
    return target


def make_sound(path: Path, sound: Tone) -> Path:
    """Write a tone as a file of its own; the container is that of the suffix."""
    with av.open(str(path), "w") as out:
        for packet in list(_tone_packets(out, sound)):
            out.mux(packet)
    return path


def box_range(path: Path, kind: bytes) -> range:
    """The bytes of the first box of a kind (``b"moov"``, ``b"mdat"``) at the top level of an mp4 file."""
    content, offset = path.read_bytes(), 0
    while offset + 8 <= len(content):
        length = int.from_bytes(content[offset : offset + 4], "big")
        if content[offset + 4 : offset + 8] == kind:
            return range(offset, offset + length)
        offset += max(length, 8)
    raise ValueError(f"{path} has no {kind.decode()} box")


def overwrite(path: Path, where: range, *, seed: int = 0) -> Path:
    """Damage a file in place: noise over a range of its bytes."""
    content = bytearray(path.read_bytes())
    content[where.start : where.stop] = np.random.default_rng(seed).bytes(len(where))
    path.write_bytes(content)
    return path
