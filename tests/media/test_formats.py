"""Every kind of file there is: what is read of it, frame by frame, by which decoder and why; or why it is refused.

All clips are made on the spot, and each frame carries its number. Nothing is compared with what was read before: the
numbers and times are those that the clip was made with.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from clips import Tone, box_range, cut_clip, make_clip, make_sound, overwrite, read_number
from fakes import fake

from saliency_cli.errors import ReadError
from saliency_cli.media import open_source
from saliency_cli.pipeline import predict

Make = Callable[[Path], Path]
Times = tuple[Fraction, ...]

VARIABLE = (0, 0.04, 0.08, 0.2, 0.24, 0.5, 0.52, 0.6)
INTERLACED = {"x264-params": "tff=1:interlaced=1:keyint=12:bframes=2:threads=1"}
FRAGMENTED = {"movflags": "frag_keyframe+empty_moov"}
NEGATIVE = {"avoid_negative_ts": "disabled"}
TEN_BIT = {"codec": "libx265", "pix_fmt": "yuv420p10le"}


def steady(count: int, *, rate: Fraction | int = 25, start: Fraction | int = 0) -> Times:
    """Times of frames at a constant rate."""
    return tuple(start + index / Fraction(rate) for index in range(count))


def exact(times: Sequence[float]) -> Times:
    return tuple(Fraction(time).limit_denominator(1000) for time in times)


def clip(name: str, **options: object) -> Make:
    """A clip of 20 frames at 25 a second in H.264, if the options do not say otherwise."""
    return lambda folder: make_clip(folder / name, **options)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Readable:
    """A file that is read to the end: its frames' times in seconds, and numbers, if they are not 0, 1, 2, …"""

    make: Make
    times: Times
    decoder: str
    reason: str
    numbers: tuple[int, ...] | None = None
    warnings: tuple[str, ...] = ()
    counted: bool = True  # whether the number of frames is known before they are read


def edit_list(folder: Path) -> Path:
    return cut_clip(make_clip(folder / "long.mp4", frames=60, gop=10), folder / "cut.mp4", after=0.68)


def joined(*parts: Callable[[Path, str], Path]) -> Make:
    """Recordings put end to end, as bytes."""

    def make(folder: Path) -> Path:
        path = folder / "joined.ts"
        made = [part(folder, f"{number}.ts") for number, part in enumerate(parts)]
        path.write_bytes(b"".join(part.read_bytes() for part in made))
        return path

    return make


def ts(**options: object) -> Callable[[Path, str], Path]:
    return lambda folder, name: make_clip(folder / name, **options)  # type: ignore[arg-type]


def without_index(name: str, index: bytes, **options: object) -> Make:
    """An avi or Matroska file whose last part, the index, is missing, as a recorder leaves it that lost its power."""

    def make(folder: Path) -> Path:
        path = make_clip(folder / name, **options)  # type: ignore[arg-type]
        content = path.read_bytes()
        path.write_bytes(content[: content.rindex(index)])
        return path

    return make


def one_time(folder: Path) -> Path:
    """All frames at time 0: the table of durations says 0 for each."""
    path = make_clip(folder / "clip.mp4", frames=10, b_frames=0)
    content = bytearray(path.read_bytes())
    entry = content.index(b"stts") + 12
    assert struct.unpack_from(">II", content, entry)[0] == 10
    content[entry + 4 : entry + 8] = bytes(4)
    path.write_bytes(content)
    return path


def foreign_tag(folder: Path) -> Path:
    """Matroska with a title in Latin-1, which is no UTF-8."""
    path = make_clip(folder / "clip.mkv")
    content = path.read_bytes()
    assert b"ENCODER" in content
    path.write_bytes(content.replace(b"ENCODER", b"ENC\xe9DER"))
    return path


def unshown(folder: Path) -> Path:
    """VP8 with two frames that are only there to predict others from, as encoders with two passes make them."""
    path = folder / "unshown.webm"
    with av.open(str(make_clip(folder / "shown.webm", codec="libvpx"))) as old, av.open(str(path), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for number, packet in enumerate(old.demux(video=0)):
            content = bytearray(bytes(packet))
            if number in (5, 12):
                content[0] &= ~0x10  # show_frame
            if content:
                copy = av.Packet(bytes(content))
                copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
                copy.is_keyframe, copy.stream = packet.is_keyframe, stream
                new.mux(copy)
    return path


def lying_duration(folder: Path) -> Path:
    """Matroska that claims to last 30,000 years."""
    path = make_clip(folder / "clip.mkv", b_frames=0)
    content = path.read_bytes()
    at = content.index(b"\x44\x89\x88") + 3
    path.write_bytes(content[:at] + struct.pack(">d", 1e15) + content[at + 8 :])
    return path


PLAIN = "every packet is whole, timed and shown, and time starts at 0"
INTERLACING = "The video is interlaced: each frame is read as stored, two fields woven."
LEAP = "The clock leaps by more than a day: what comes behind goes on without a pause."
TRANSPORT = "decord drops the first frames of mpegts and repeats the last"
LATER = Fraction(2, 25)  # by two frames: what H.264's reordering takes where no edit list can hide it

READABLE: dict[str, Readable] = {
    # Codecs and containers
    "h264 mp4": Readable(clip("clip.mp4"), steady(20), "decord", f"plain h264: {PLAIN}"),
    "h264 mkv": Readable(clip("clip.mkv"), steady(20), "decord", f"plain h264: {PLAIN}"),
    "big gop": Readable(clip("clip.mp4", frames=80, gop=250), steady(80), "decord", "plain h264"),
    "open gop": Readable(clip("clip.mp4", frames=40, gop=8, open_gop=True), steady(40), "decord", "plain h264"),
    "faststart": Readable(clip("clip.mp4", faststart=True), steady(20), "decord", "plain h264"),
    "fragmented": Readable(
        clip("clip.mp4", container_options=FRAGMENTED), steady(20, start=LATER), "pyav", "time is 0.080 s, not 0"
    ),
    "hevc 10 bit": Readable(clip("clip.mp4", **TEN_BIT), steady(20), "decord", "plain hevc"),
    "vp8": Readable(clip("clip.webm", codec="libvpx"), steady(20), "decord", "plain vp8"),
    "vp9": Readable(clip("clip.webm", codec="libvpx-vp9"), steady(20), "decord", "plain vp9"),
    "vp8 with frames not shown": Readable(
        unshown, tuple(time for time in steady(20) if time * 25 not in (5, 12)),
        "pyav", "frames that are not to be shown (2)", numbers=tuple(n for n in range(20) if n not in (5, 12)),
    ),
    "av1": Readable(clip("clip.mp4", codec="libsvtav1", frames=6), steady(6), "pyav", "decord does not read av1"),
    "prores": Readable(
        clip("clip.mov", codec="prores_ks", pix_fmt="yuv422p10le", frames=5), steady(5), "decord", "plain prores"
    ),
    "ffv1": Readable(clip("clip.mkv", codec="ffv1", pix_fmt="bgr0"), steady(20), "decord", "plain ffv1"),
    "mpeg4 avi": Readable(clip("clip.avi", codec="mpeg4", b_frames=0), steady(20), "decord", "plain mpeg4"),
    "avi with b-frames": Readable(
        clip("clip.avi", codec="mpeg4"), steady(20, start=Fraction(1, 25)), "pyav", "time is 0.040 s, not 0"
    ),
    "transport stream": Readable(clip("clip.ts", frames=70), steady(70, start=LATER), "pyav", TRANSPORT),
    "transport stream from 0": Readable(
        clip("clip.ts", b_frames=0, container_options={"muxdelay": "0", "muxpreload": "0"}),
        steady(20), "pyav", TRANSPORT,
    ),
    "programme stream": Readable(
        clip("clip.mpg", codec="mpeg2video"),
        steady(20, start=Fraction(27, 50)), "pyav", "decord does not read mpeg2video",
    ),
    "raw stream": Readable(
        clip("clip.h264"), steady(20), "pyav", "packets without a timestamp: 20", counted=False
    ),
    "y4m": Readable(clip("clip.y4m", codec="rawvideo"), steady(20), "pyav", "decord does not read rawvideo"),
    "nut": Readable(clip("clip.nut", b_frames=0), steady(20), "decord", "plain h264"),
    "flv": Readable(clip("clip.flv", codec="flv1", b_frames=0), steady(20), "pyav", "decord does not read flv1"),
    "gif": Readable(
        clip("clip.gif", codec="gif", pix_fmt="rgb8", rate=10), steady(20, rate=10), "pyav", "decord does not read gif"
    ),
    "asf": Readable(
        clip("clip.asf", codec="mpeg4", b_frames=0, container="asf"), steady(20), "pyav", "decord does not open asf"
    ),
    "ivf": Readable(clip("clip.ivf", codec="libvpx"), steady(20), "pyav", "decord does not open ivf"),
    "ogg": Readable(clip("clip.ogv", codec="libvpx"), steady(20), "pyav", "decord does not open ogg"),
    # Lengths and sizes
    "one frame": Readable(clip("clip.mp4", frames=1), steady(1), "decord", "plain h264"),
    "62 frames": Readable(clip("clip.mp4", frames=62), steady(62), "decord", "plain h264"),
    "63 frames": Readable(clip("clip.mp4", frames=63), steady(63), "decord", "plain h264"),
    "odd size h264": Readable(
        clip("clip.mkv", size=(67, 49), pix_fmt="yuv444p"), steady(20), "decord", "plain h264"
    ),
    "odd size vp9": Readable(clip("clip.webm", size=(67, 49), codec="libvpx-vp9"), steady(20), "decord", "plain vp9"),
    "odd size avi": Readable(
        clip("clip.avi", size=(67, 49), codec="mpeg4", b_frames=0), steady(20), "decord", "plain mpeg4"
    ),
    "4K": Readable(
        clip("clip.mp4", size=(3840, 2160), frames=2, options={"preset": "ultrafast"}),
        steady(2), "decord", "plain h264",
    ),
    # Times
    "ntsc": Readable(
        clip("clip.mp4", rate=Fraction(30000, 1001)), steady(20, rate=Fraction(30000, 1001)), "decord", "plain h264"
    ),
    "variable rate mp4": Readable(clip("clip.mp4", times=VARIABLE), exact(VARIABLE), "decord", "plain h264"),
    "variable rate mkv": Readable(clip("clip.mkv", times=VARIABLE), exact(VARIABLE), "decord", "plain h264"),
    "late start": Readable(
        clip("clip.mp4", start=0.5, sound=Tone(seconds=1.5)), steady(20, start=Fraction(1, 2)), "pyav", "0.500 s, not 0"
    ),
    "sound later": Readable(clip("clip.mp4", sound=Tone(seconds=0.5, start=0.3)), steady(20), "decord", "plain h264"),
    "edit list": Readable(
        edit_list, steady(43), "pyav", "an edit list hides some packets (7)", numbers=tuple(range(17, 60))
    ),
    "times before 0 mp4": Readable(
        clip("clip.mp4", start=-0.2, container_options=NEGATIVE),
        steady(15), "pyav", "an edit list hides some packets (5)", numbers=tuple(range(5, 20)),
    ),
    "times before 0 mkv": Readable(
        clip("clip.mkv", start=-0.2, container_options=NEGATIVE),
        steady(20, start=Fraction(-1, 5)), "pyav", "packets without a timestamp: 5", counted=False,
    ),
    "clock jumps forwards": Readable(
        clip("clip.mp4", times=[*steady(10), *steady(10, start=1000)]),
        (*steady(10), *steady(10, start=1000)), "decord", "plain h264",
    ),
    "clock leaps by a day": Readable(
        clip("clip.mp4", times=[*steady(10), *steady(10, start=10**5)]),
        steady(20), "pyav", "the clock leaps by more than a day: 1 times",
        warnings=(LEAP,),
    ),
    "one time for all": Readable(
        one_time, steady(10), "pyav", "frames that carry the time of another: 9",
        warnings=("All frames carry the same time: they are shown at 25 frames per second.",),
    ),
    "end to end": Readable(
        joined(ts(), ts()), steady(40, start=LATER), "pyav", "damaged packets", numbers=(*range(20), *range(20)),
        counted=False,
    ),
    "end to end, overlapping": Readable(
        joined(ts(), ts(start=0.4)), steady(40, start=LATER), "pyav", "damaged packets",
        numbers=(*range(20), *range(20)), counted=False,
    ),
    "end to end, from later to earlier": Readable(
        joined(ts(start=100), ts()), steady(40, start=100), "pyav", "damaged packets",
        numbers=(*range(20), *range(20)), counted=False, warnings=(LEAP,),
    ),
    "end to end, of two sizes": Readable(
        joined(ts(), ts(size=(96, 64))), steady(40, start=LATER), "pyav", "damaged packets",
        numbers=(*range(20), *range(20)), counted=False,
        warnings=("The pictures change their size at frame 20: they are scaled to 64x48.",),
    ),
    # How pictures lie in the file
    "turned by 90": Readable(clip("clip.mp4", size=(96, 64), rotation=90), steady(20), "decord", "plain h264"),
    "turned by 180": Readable(clip("clip.mp4", size=(96, 64), rotation=180), steady(20), "decord", "plain h264"),
    "turned by 270": Readable(clip("clip.mp4", size=(96, 64), rotation=270), steady(20), "decord", "plain h264"),
    "turned mkv": Readable(
        clip("clip.mkv", size=(96, 64), rotation=90),
        steady(20), "pyav", "must be turned, which decord does in mp4 and mov",
    ),
    "interlaced": Readable(
        clip("clip.mp4", options=INTERLACED), steady(20), "decord", "plain h264", warnings=(INTERLACING,)
    ),
    "interlaced mpeg2": Readable(
        clip("clip.mpg", codec="mpeg2video", options={"flags": "+ildct+ilme"}),
        steady(20, start=Fraction(27, 50)), "pyav", "decord does not read mpeg2video", warnings=(INTERLACING,),
    ),
    "two streams": Readable(clip("clip.mp4", second_video=True), steady(20), "pyav", "2 video streams"),
    "no index mkv": Readable(without_index("clip.mkv", b"\x1c\x53\xbb\x6b"), steady(20), "decord", "plain h264"),
    "no index avi": Readable(
        without_index("clip.avi", b"idx1", codec="mpeg4", b_frames=0), steady(20), "decord", "plain mpeg4"
    ),
    "title that is no unicode": Readable(foreign_tag, steady(20), "decord", "plain h264"),
    "absurd duration": Readable(lying_duration, steady(20), "pyav", "reserve memory for the 25,000,000,000,000 frames"),
    # Names
    "non-ascii name": Readable(clip("Füße 映像.mp4"), steady(20), "decord", "plain h264"),
    "spaces and a leading dash": Readable(clip("- a b.mp4"), steady(20), "decord", "plain h264"),
    "colon in the name": Readable(clip("http:clip.mp4", container="mp4"), steady(20), "decord", "plain h264"),
    "percent in the name": Readable(clip("clip%03d.mp4"), steady(20), "decord", "plain h264"),
    "wrong suffix": Readable(clip("clip.avi", container="matroska"), steady(20), "decord", "plain h264"),
}  # fmt: skip


@pytest.mark.parametrize("which", READABLE)
def test_every_frame_once_at_its_time(tmp_path: Path, which: str) -> None:
    case = READABLE[which]
    with open_source(case.make(tmp_path)) as source:
        decoder, reason, expected = source.decoder, source.reason, source.expected
        frames = list(source)
    assert decoder == source.decoder == case.decoder, reason
    assert case.reason in reason
    wanted = tuple(range(len(case.times))) if case.numbers is None else case.numbers
    assert tuple(read_number(frame.pixels) for frame in frames) == wanted
    assert tuple(frame.pts * frame.time_base for frame in frames) == case.times
    assert [frame.index for frame in frames] == list(range(len(frames)))
    info = source.info
    assert info.frames == expected == (len(frames) if case.counted else None)
    assert info.start == case.times[0]
    for frame in frames:
        assert frame.pixels.shape == (info.height, info.width, 3)
        assert frame.pixels.dtype == np.uint8
        assert frame.pixels.flags.c_contiguous
    assert tuple(source.warnings) == case.warnings
    if decoder == "decord":
        again = list(open_source(source.info.path, decoder="pyav"))
        assert [frame.pts for frame in again] == [frame.pts for frame in frames]
        for one, other in zip(frames, again, strict=True):
            assert np.abs(one.pixels.astype(np.int16) - other.pixels).max() <= 3


KEPT = [
    "h264 mkv", "hevc 10 bit", "vp8 with frames not shown", "vp9", "transport stream", "raw stream", "gif", "ntsc",
    "variable rate mp4", "variable rate mkv", "late start", "sound later", "edit list", "times before 0 mkv",
    "clock jumps forwards", "clock leaps by a day",
    "one time for all", "end to end, of two sizes", "turned by 90", "turned mkv", "interlaced", "two streams",
    "title that is no unicode", "no index avi", "odd size h264", "one frame",
]  # fmt: skip


@pytest.mark.parametrize("which", KEPT)
def test_products_keep_it_all(tmp_path: Path, which: str) -> None:
    """The overlay, without any heat on it, is read back: the same frames at the same times, upright, with the sound."""
    case = READABLE[which]
    path, product = case.make(tmp_path), tmp_path / "product.mp4"
    prediction = predict(path, output=str(product), opacity=0.0, predictor=fake())
    with open_source(path) as before, open_source(product) as after:
        frames = list(after)
    moved = max(Fraction(0), -case.times[0])  # players hide what comes before 0
    assert tuple(frame.pts * frame.time_base - moved for frame in frames) == case.times
    wanted = tuple(range(len(case.times))) if case.numbers is None else case.numbers
    assert tuple(read_number(frame.pixels) for frame in frames) == wanted
    assert prediction.frames == len(frames) == after.info.frames
    assert (after.info.width, after.info.height, after.info.rotation) == (before.info.width, before.info.height, 0)
    assert set(case.warnings) <= set(prediction.warnings)
    assert (before.info.audio is None) == (after.info.audio is None)
    if before.info.audio and after.info.audio:
        assert abs(after.info.audio.start - before.info.audio.start - moved) < Fraction(1, 1000)


def cut_off(name: str, part: float, **options: object) -> Make:
    def make(folder: Path) -> Path:
        path = make_clip(folder / name, **options)  # type: ignore[arg-type]
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * part)])
        return path

    return make


@pytest.mark.parametrize(
    ("make", "least"),
    [
        (cut_off("clip.mp4", 0.8, frames=100, faststart=True), 60),
        (cut_off("clip.mkv", 0.7, frames=100), 60),
        (cut_off("clip.avi", 0.6, frames=100, codec="mpeg4", b_frames=0), 35),
        (cut_off("clip.ts", 0.7, frames=100), 60),
    ],
)
def test_a_truncated_file_is_read_as_far_as_it_goes(tmp_path: Path, make: Make, least: int) -> None:
    source = open_source(make(tmp_path))
    frames = list(source)
    assert source.decoder == "pyav" or source.info.frames == len(frames)
    assert least <= len(frames) < 100
    # The frames at the torn end refer to lost ones; those before are complete, and at their times
    whole = frames[:-4]
    assert [read_number(frame.pixels) for frame in whole] == list(range(len(whole)))
    assert [frame.pts * frame.time_base for frame in whole] == list(steady(len(whole), start=source.info.start))
    if source.info.path.endswith("mp4"):
        assert source.warnings == [f"{100 - len(frames)} of 100 frames of {source.info.path} could not be decoded."]


def written(name: str, content: bytes) -> Make:
    def write(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return write


def lost_index(folder: Path) -> Path:
    path = make_clip(folder / "clip.mp4", frames=5)
    path.write_bytes(path.read_bytes()[: box_range(path, b"moov").start])
    return path


def nothing_decodes(folder: Path) -> Path:
    path = make_clip(folder / "clip.mp4", frames=8)
    data = box_range(path, b"mdat")
    return overwrite(path, range(data.start + 8, data.stop))


REFUSED: dict[str, tuple[Make, str]] = {
    "missing": (lambda folder: folder / "nowhere.mp4", "does not exist"),
    "empty mp4": (written("empty.mp4", b""), "is empty"),
    "empty mkv": (written("empty.mkv", b""), "is empty"),
    "text": (written("text.mp4", b"not a video at all\n" * 20), "is a text file"),
    "text in utf-8": (written("text.mp4", "kein Film, nur Wörter\n".encode() * 400), "is a text file"),
    "text by name": (written("text.txt", b"not a video at all\n" * 20), "text"),
    "noise": (written("noise.mp4", np.random.default_rng(1).bytes(4096)), "is no media file"),
    "sound only": (lambda folder: make_sound(folder / "sound.m4a", Tone(seconds=0.2)), "has sound but no video"),
    "lost index": (lost_index, "has lost its index (moov)"),
    "name too long": (lambda folder: folder / ("a" * 300 + ".mp4"), "cannot be read (File name too long)"),
    "index of no length": (
        written("loop.mp4", b"\0\0\0\x10ftypisom" + bytes(4) + b"\0\0\0\1free" + bytes(64)), "has lost its index (moov)"
    ),
    "nothing decodes": (nothing_decodes, "no frame could be decoded"),
}  # fmt: skip


@pytest.mark.parametrize("which", REFUSED)
def test_what_cannot_be_read_is_refused_in_one_sentence(tmp_path: Path, which: str) -> None:
    make, phrase = REFUSED[which]
    path = make(tmp_path)
    with pytest.raises(ReadError) as caught:
        list(open_source(path))
    sentence = str(caught.value)
    assert sentence.startswith(str(path))
    assert phrase in sentence
    assert "\n" not in sentence
    assert sentence.endswith(".")
