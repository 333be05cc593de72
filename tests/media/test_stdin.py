"""What comes through stdin: told apart, decoded as it comes or kept in a file, and gone afterwards."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import tempfile
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import pytest
from clips import Tags, Tone, box_range, draw_number, make_clip, make_sound, read_number
from piped import piped, raw_frames

from saliency_cli.errors import ReadError, UsageError, WriteError
from saliency_cli.media import SoundFeed, Source, open_source, stdin
from saliency_cli.media.contents import Contents, recognise
from saliency_cli.media.delays import Delays
from saliency_cli.media.stdin import Intake, source_path
from saliency_cli.media.streamed import StreamedSource

pytestmark = pytest.mark.timeout(30)

FRAGMENTED = {"movflags": "frag_keyframe+empty_moov"}
STREAMS: dict[str, dict[str, Any]] = {
    "raw.nut": {"codec": "rawvideo", "pix_fmt": "rgb24", "sound": Tone(codec="pcm_s16le")},
    "h264.nut": {},
    "a.y4m": {"codec": "rawvideo", "container": "yuv4mpegpipe"},
    "a.mkv": {"sound": Tone(start=0.3)},
    "a.webm": {"codec": "libvpx-vp9"},
    "a.ts": {"sound": Tone()},
    "ntsc.ts": {"rate": Fraction(24000, 1001)},
    "a.mpg": {"codec": "mpeg2video", "b_frames": 0},
    "a.flv": {},
    "fast.mp4": {"faststart": True, "sound": Tone()},
    "fragments.mp4": {"container_options": FRAGMENTED},
    "turned.mp4": {"faststart": True, "rotation": 90, "size": (48, 64)},
    "vfr.mkv": {"times": [Fraction(index * (index + 7), 100) for index in range(20)]},
    "tagged.mkv": {"tags": Tags(space=1, range=2), "pixel_aspect": Fraction(4, 3)},
}
FILES: dict[str, dict[str, Any]] = {
    "end.mp4": {},
    "a.avi": {"codec": "mpeg4"},
    "a.gif": {"codec": "gif", "pix_fmt": "rgb8"},
}


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where temporary files go, of which none may be left."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


def seen(source: Source) -> list[tuple[int | None, int, Fraction]]:
    return [(read_number(frame.pixels), frame.pts, frame.time_base) for frame in source]


@pytest.mark.parametrize("name", [*STREAMS, *FILES])
def test_what_comes_is_what_the_file_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    path = make_clip(tmp_path / name, **{"frames": 20, **STREAMS.get(name, {}), **FILES.get(name, {})})
    with open_source(path, decoder="pyav") as file:
        expected = seen(file)
    with piped(monkeypatch, path, step=700), open_source("-") as source:
        assert isinstance(source, StreamedSource) == (name in STREAMS)
        assert seen(source) == expected
        assert [number for number, *_ in expected] == list(range(20))
    assert source.warnings == file.warnings
    assert (source.name, source.info.path) == ("stdin", "-")
    assert source.reason.startswith("stdin is ")
    assert ("read as it comes" in source.reason) == (name in STREAMS)
    assert source.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    same = ["kind", "width", "height", "time_base", "start", "codec", "rotation", "colour", "pixel_aspect"]
    for field in [*same, *([] if name == "vfr.mkv" else ["rate"])]:  # a beginning tells no average
        assert getattr(source.info, field) == getattr(file.info, field), field
    if name in STREAMS:
        assert (source.info.frames, source.expected) == (None, None)
    assert (source.info.audio is None) == (file.info.audio is None)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif", ".webp"])
def test_a_picture_is_a_picture(monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    content = cv2.imencode(suffix, draw_number(7))[1].tobytes()
    with piped(monkeypatch, content), open_source("-") as source:
        assert [read_number(frame.pixels) for frame in source] == [7]
        assert [read_number(frame.pixels) for frame in source] == [7]
        assert (source.info.kind, source.info.path) == ("image", "-")
    with piped(monkeypatch, content[: len(content) // 3]), pytest.raises(ReadError, match=r"^stdin (is|gave) no pic"):
        open_source("-")


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_pictures_one_after_the_other_are_a_video(monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    pictures = [cv2.imencode(suffix, draw_number(number))[1].tobytes() for number in range(3)]
    with piped(monkeypatch, b"".join(pictures)), open_source("-") as source:
        assert [read_number(frame.pixels) for frame in source] == [0, 1, 2]
        assert source.reason.startswith("stdin is pictures one after the other")
    photograph = pictures[0][:2] + b"\xff\xe2\0\x08MPF\0xx" + pictures[0][2:] + pictures[1]
    if suffix == ".jpg":
        with piped(monkeypatch, photograph), open_source("-") as source:
            assert [read_number(frame.pixels) for frame in source] == [0]


def test_packets_that_are_hidden_or_untimed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an edit list hides is not lost; what Matroska has no times for comes before 0, in front of the others."""
    begins_before = {"start": -0.2, "container_options": {"avoid_negative_ts": "disabled"}}
    for name, numbers in (("cut.mp4", range(5, 20)), ("early.mkv", range(20))):
        path = make_clip(tmp_path / name, frames=20, faststart=name == "cut.mp4", **begins_before)
        with open_source(path, decoder="pyav") as file:
            expected = seen(file)
        with piped(monkeypatch, path), open_source("-") as source:
            assert isinstance(source, StreamedSource)
            assert seen(source) == expected
        assert [number for number, *_ in expected] == list(numbers)
        assert source.info.start == file.info.start
        assert source.warnings == []


def test_a_part_of_a_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_clip(tmp_path / "a.mkv", frames=20, sound=Tone())
    with piped(monkeypatch, path), open_source("-", start=0.2, end=0.6) as source:
        assert [(frame.index, read_number(frame.pixels)) for frame in source] == [
            (index, index) for index in range(5, 15)
        ]
    assert source.warnings == []
    with (
        piped(monkeypatch, path),
        open_source("-", start=9) as source,
        pytest.raises(ReadError, match=r"^stdin gave no"),
    ):
        list(source)


def test_a_stream_can_be_read_once_and_a_kept_one_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_clip(tmp_path / "a.mkv", frames=3)
    with piped(monkeypatch, path), open_source("-") as source:
        assert len(seen(source)) == 3
        with pytest.raises(ReadError, match="stdin can be read once only"):
            iter(source)
    with piped(monkeypatch, path), open_source("-", spool=True) as source:
        assert seen(source) == seen(source)
        assert "stdin is Matroska, needed as a whole" in source.reason
        assert isinstance(source.sound, Path)
    with piped(monkeypatch, path), open_source("-", decoder="decord") as source:
        assert (source.decoder, len(seen(source))) == ("decord", 3)


def test_the_kept_file_is_private_and_goes_with_its_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, temporary: Path
) -> None:
    path = make_clip(tmp_path / "end.mp4", frames=3)
    with piped(monkeypatch, path):
        source = open_source("-")
        (kept,) = temporary.iterdir()
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
        assert kept.read_bytes() == path.read_bytes()
        del source  # nobody closed it


def _full(*_: object) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_while_it_is_kept_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: type[BaseException]
) -> None:
    """FFmpeg's callbacks swallow interrupts, so that they are raised when it has returned."""
    reads = iter(range(10))

    def interrupted(descriptor: int, size: int) -> bytes:
        if next(reads) == 3:
            raise stop
        return plain(descriptor, min(size, 500))

    plain = os.read
    for name in ("end.mp4", "a.mkv"):
        path = make_clip(tmp_path / name, frames=60, codec="mpeg4")
        reads = iter(range(10))
        with piped(monkeypatch, path), monkeypatch.context() as patch:
            patch.setattr(os, "read", interrupted)
            with pytest.raises(stop), open_source("-") as source:
                list(source)


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, temporary: Path) -> None:
    path = make_clip(tmp_path / "end.mp4", frames=3)
    with piped(monkeypatch, path), monkeypatch.context() as patch:
        patch.setattr(stdin, "open", lambda *_, **__: _Full(), raising=False)
        with pytest.raises(WriteError, match=r"stdin cannot be kept in .*: the disk is full; set TMPDIR"):
            open_source("-")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with piped(monkeypatch, path), pytest.raises(WriteError, match="No such file or directory; set TMPDIR"):
        open_source("-")


class _Full:
    write = staticmethod(_full)

    def __enter__(self) -> _Full:
        return self

    def __exit__(self, *_: object) -> None:
        pass


TEXT = b"Dear diary,\n"
BAD: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "stdin is empty"),
    "text": (TEXT, "stdin is a text file, not a video"),
    "noise": (bytes(range(256)) * 9, "stdin is no media file that can be opened"),
    "much text": (TEXT * 100_000, "stdin is no video that can be opened"),
    "much noise": (os.urandom(100) + bytes(2 << 20), "stdin is no video that can be opened"),
    "no NUT": (b"nut/multimedia container\0" + bytes(999), "stdin begins like NUT but cannot be read as such"),
    "no y4m": (b"YUV4MPEG2 Wx\n" + bytes(999), "stdin begins like y4m but cannot be read as such"),
    "vast y4m": (b"YUV4MPEG2 W100000 H100000 F25:1\nFRAME\n" + bytes(999), "stdin "),
    "a y4m header": (b"YUV4MPEG2 W64 H48 F25:1\n", "stdin "),
    "no frame": (b"YUV4MPEG2 W64 H48 F25:1\nFRAME\n" + bytes(99), "stdin announces a video but gives no frame"),
    "no mp4": (b"\0\0\0\x10ftypisom\0\0\0\0\0\0\0\x08moov", "stdin "),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_video_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    content, sentence = BAD[kind]
    with piped(monkeypatch, content), pytest.raises(ReadError, match=sentence) as error, open_source("-") as source:
        list(source)
    assert "/" not in str(error.value)
    assert str(error.value).endswith(".")


def test_sound_without_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("sound.mka", "sound.mp4"):
        with (
            piped(monkeypatch, make_sound(tmp_path / name, Tone())),
            pytest.raises(ReadError, match="sound but no video"),
        ):
            open_source("-")


def test_no_stdin_and_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    out, into = os.pipe()
    os.close(into)
    os.close(out)
    monkeypatch.setattr(stdin, "DESCRIPTOR", out)
    with pytest.raises(ReadError, match="stdin is closed"):
        open_source("-")
    keyboard, terminal = os.openpty()
    monkeypatch.setattr(stdin, "DESCRIPTOR", terminal)
    with pytest.raises(UsageError, match="that is the keyboard"):
        open_source("-")
    os.close(keyboard)
    os.close(terminal)


def test_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    monkeypatch.setattr(stdin, "DESCRIPTOR", descriptor)
    with pytest.raises(ReadError, match="stdin is a folder"):
        open_source("-")
    os.close(descriptor)


@pytest.mark.parametrize("name", ["a.mkv", "a.ts", "fast.mp4", "fragments.mp4", "a.y4m", "h264.nut"])
def test_a_stream_that_breaks_off_gives_what_came(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    options = {**STREAMS[name], "sound": None, "frames": 40, "b_frames": 0}
    content = make_clip(tmp_path / name, **options).read_bytes()
    with piped(monkeypatch, content[: len(content) * 6 // 10 + 1]), open_source("-") as source:
        numbers = [read_number(frame.pixels) for frame in source]
    assert 2 < len(numbers) < 40
    assert numbers == list(range(len(numbers)))
    assert source.warnings == [f"stdin broke off after {len(numbers)} frames; check what writes to it."]


def test_an_mp4_that_breaks_off_before_its_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_clip(tmp_path / "end.mp4", frames=30)
    content = path.read_bytes()[: box_range(path, b"moov").start]
    with piped(monkeypatch, content), pytest.raises(ReadError, match="stdin has lost its index"):
        open_source("-")


def test_frames_come_as_they_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frame n is there before a byte of frame n+1 was written."""
    for form in ("nut", "y4m"):
        frames = raw_frames(12, form)
        out, into = os.pipe()
        monkeypatch.setattr(stdin, "DESCRIPTOR", out)
        # Without a rate in its header, NUT tells it by two frames; y4m does by one.
        os.write(into, b"".join(frames[:2]))
        with open_source("-") as source:
            stream = iter(source)
            assert [next(stream).index, next(stream).index] == [0, 1]
            for number in range(2, 12):
                os.write(into, frames[number])
                frame = next(stream)
                assert (frame.index, read_number(frame.pixels)) == (number, number)
                source.delivered(frame)
            os.close(into)
            assert list(stream) == []
        assert source.delay is not None
        assert 0 <= source.delay["median"] <= source.delay["largest"] < 10
        os.close(out)


def test_a_reader_that_waits_can_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    out, into = os.pipe()
    monkeypatch.setattr(stdin, "DESCRIPTOR", out)
    os.write(into, b"".join(raw_frames(3)))
    with open_source("-") as source:
        stream = iter(source)
        assert [next(stream).index for _ in range(3)] == [0, 1, 2]
        waiting = threading.Thread(target=lambda: list(stream), daemon=True)
        waiting.start()
        source.interrupt()
        waiting.join(10)
        assert not waiting.is_alive()
    os.close(into)
    os.close(out)


def test_errors_of_reading_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(descriptor: int, size: int) -> bytes:
        if next(reads) > 2:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return plain(descriptor, min(size, 20_000))

    plain, reads = os.read, iter(range(99))
    with piped(monkeypatch, b"".join(raw_frames(20))), monkeypatch.context() as patch:
        patch.setattr(os, "read", broken)
        with open_source("-") as source, pytest.raises(ReadError, match="stdin cannot be read"):
            list(source)


def test_the_sound_goes_to_who_asked_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_clip(tmp_path / "a.mkv", frames=20, sound=Tone(seconds=0.8))
    with av.open(str(path)) as file:
        expected = [(bytes(packet), packet.pts) for packet in file.demux(audio=0) if packet.size]
    with piped(monkeypatch, path), open_source("-") as source:
        feed = source.sound
        assert isinstance(feed, SoundFeed)
        one, other, gone = (feed.subscribe() for _ in range(3))
        feed.leave(gone)
        list(source)
        assert [(piece.content, piece.pts) for piece in one] == expected
        assert list(other) == list(one)
        assert not gone


def contents(data: bytes, **how: Any) -> Contents:
    out, into = os.pipe()
    os.write(into, data)
    os.close(into)
    intake = Intake(out)
    try:
        found = recognise(intake)
        assert intake.read(10) == data[:10]  # nothing is lost
        return found
    finally:
        intake.close()
        os.close(out)


def test_signatures() -> None:
    def box(kind: bytes, length: int = 16) -> bytes:
        return length.to_bytes(4, "big") + kind + bytes(length - 8)

    long = (1).to_bytes(4, "big") + b"free" + (24).to_bytes(8, "big") + bytes(8)
    assert contents(box(b"ftyp") + box(b"free") + box(b"moov")).format == "mov"
    assert contents(box(b"ftyp") + long + box(b"moov")).format == "mov"
    assert contents(box(b"styp") + box(b"moof")).format == "mov"
    for late in (box(b"ftyp") + box(b"mdat") + box(b"moov"), box(b"ftyp"), b"\0\0\0\0ftyp" + bytes(9)):
        found = contents(late)
        assert (found.format, found.suffix) == (None, ".mp4")
    packet = b"\x47" + bytes(187)
    assert contents(packet * 4).unit == 188
    assert contents((bytes(4) + packet) * 4).unit == 192
    assert contents(b"\x47" + bytes(900)).format is None
    assert contents(b"RIFF\0\0\0\0AVI LIST").suffix == ".avi"
    assert contents(b"nu").format is None
    # Sizes of Matroska: unknown, and known
    assert contents(b"\x1aE\xdf\xa3\x80\x18S\x80g\x01" + b"\xff" * 7).size is None
    assert contents(b"\x1aE\xdf\xa3\x80\x18S\x80g\x88" + bytes(8)).size == 18


def test_delays() -> None:
    delays = Delays()
    assert delays.summary() is None
    for milliseconds in range(1, 1000):
        delays.add(milliseconds / 1000)
    summary = delays.summary()
    assert summary is not None
    assert summary["median"] == pytest.approx(0.5, rel=0.02)
    assert summary["largest"] == 0.999


def test_a_file_called_minus_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert source_path("-") == Path("-")
    assert source_path("./-") == tmp_path / "-"
    assert source_path("a/../-") == Path("a/../-")
    make_clip(tmp_path / "-", frames=2, container="matroska")
    with open_source("./-") as source:
        assert len(seen(source)) == 2
