"""One way to read anything: a video, a folder of frames, a still image, or what comes through stdin.

::

    with open_source("clip.mp4") as source:
        for frame in source:
            ...
    for warning in source.warnings:
        ...
"""

from __future__ import annotations

import math
import os
from bisect import bisect_left
from collections.abc import Generator, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from saliency_cli.errors import ReadError, UsageError
from saliency_cli.media.choice import choose_decoder
from saliency_cli.media.contents import holds_series, recognise
from saliency_cli.media.decode_decord import DecordStopError, decode_decord, has_decord
from saliency_cli.media.decode_pyav import decode_pyav
from saliency_cli.media.folder import PICTURE_SUFFIXES, describe_pictures, list_frames, read_pictures
from saliency_cli.media.probe import Probe, probe
from saliency_cli.media.sound_feed import SoundFeed
from saliency_cli.media.stdin import STDIN, STDIN_NAME, Spool, open_intake, source_path, told_apart
from saliency_cli.types import Frame, VideoInfo

__all__ = ["DecoderChoice", "Source", "open_source"]

DecoderChoice = Literal["auto", "decord", "pyav"]


class Source:
    """Frames of one input, strictly forwards. A context manager; made by ``open_source``.

    ``decoder`` and ``reason`` say what reads it and why; they change if the decoder has to be changed on the way.
    ``expected`` is how many frames will come, None where only reading tells. ``warnings`` fills while reading. A new
    iteration begins from the start and ends the one before; a stream from stdin has only one.
    """

    def __init__(
        self,
        info: VideoInfo,
        *,
        found: Probe | None = None,
        pictures: tuple[Path, ...] = (),
        decoder: str,
        reason: str,
        strict: bool = False,
        threads: int | None = None,
        start: float | None = None,
        end: float | None = None,
        spool: Spool | None = None,
    ) -> None:
        self.info = info
        self.decoder = decoder
        self.reason = reason
        self.warnings: list[str] = list(found.notes) if found is not None else []
        self._found = found
        self._pictures = pictures
        self._strict = strict  # a decoder asked for by name that fails at its first frame is an error
        self._threads = threads
        self._begin = _first_at(info, start)
        self._end = _first_at(info, end)
        self._reading: Generator[Frame, None, None] | None = None
        self._spool = spool  # the temporary file, if the input is stdin

    @property
    def name(self) -> str:
        """What messages call the input."""
        return STDIN_NAME if self.info.path == str(STDIN) else self.info.path

    @property
    def scan(self) -> Probe | None:
        """What the scan of a video file found; None for pictures, and for what is read as it comes."""
        return self._found

    @property
    def pictures(self) -> tuple[Path, ...]:
        """The files of a folder of frames, or of a still image; empty for a video."""
        return self._pictures

    @property
    def sound(self) -> Path | SoundFeed | None:
        """Where the sound is: in a file that can be opened, or in a stream whose packets come while it is read."""
        return Path(self._found.info.path) if self._found is not None else None

    @property
    def sha256(self) -> str | None:
        """Of stdin, as far as it was read; None for a file, which can be read again."""
        return None if self._spool is None else self._spool.sha256

    @property
    def delay(self) -> dict[str, float] | None:
        """Median and largest seconds from the arrival of a frame to ``delivered``; None for what does not arrive."""
        return None

    def told(self, message: str) -> str:
        """A message about the file that ``sound`` names, as one about the input."""
        return message if self._spool is None else self._spool.told(message)

    def delivered(self, frame: Frame) -> None:
        """Note that everything about a frame has gone out."""

    def interrupt(self) -> None:
        """Let an iteration end that waits for a pipe; from another thread than the one that iterates."""

    @property
    def expected(self) -> int | None:
        """How many frames iterating will give."""
        if self.info.frames is None:
            return None
        times = self._found.pts if self._found else range(len(self._pictures))
        last = len(times) if self._end is None else bisect_left(times, self._end)
        return max(0, last - (0 if self._begin is None else bisect_left(times, self._begin)))

    def __iter__(self) -> Iterator[Frame]:
        self.close()
        self._reading = self._read()
        return self._reading

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
        if self._spool is not None:
            self._spool.remove()

    def close(self) -> None:
        """Stop decoding and free the file; harmless when repeated."""
        if self._reading is not None:
            self._reading.close()
            self._reading = None

    def __repr__(self) -> str:
        info = self.info
        return f"Source({info.path!r}, {info.width}x{info.height}, {info.frames} frames, {self.decoder})"

    def _read(self) -> Generator[Frame, None, None]:
        """Frames from ``start`` to before ``end``; those in front are decoded and dropped, which keeps cuts exact."""
        with told_apart(self._spool):
            yield from self._chosen()

    def _chosen(self) -> Generator[Frame, None, None]:
        decoded = given = 0
        stopped = False
        for frame in self._decode():
            if self._end is not None and frame.pts >= self._end:
                stopped = True
                break
            decoded += 1
            if self._begin is None or frame.pts >= self._begin:
                given += 1
                yield frame
        if self._found is not None:
            self._count_losses(self._found, decoded, stopped=stopped)
        if given == 0:
            if decoded == 0:
                what, remedy = "no frame could be decoded", "copy or record it again, or try the other --decoder"
            else:
                what, remedy = "no frame lies between the start and end asked for", "choose others"
            raise ReadError(f"{self.name} gave no pictures: {what}; {remedy}.")

    def _decode(self) -> Iterator[Frame]:
        if self._found is None:
            first = 0 if self._begin is None else max(0, self._begin)
            yield from read_pictures(self.info, self._pictures, first=first)
            return
        last: Frame | None = None
        if self.decoder == "decord":
            try:
                for last in decode_decord(self._found, threads=self._threads):
                    yield last
                return
            except DecordStopError as error:
                if self._strict and last is None:
                    raise
                at = 0 if last is None else last.index + 1
                self.decoder, self.reason = "pyav", f"decord gave up at frame {at}"
                self._warn(f"{error.reason}: PyAV reads the frames from there on.")
        yield from decode_pyav(
            self._found,
            threads=self._threads,
            first=0 if last is None else last.index + 1,
            after=None if last is None else last.pts,
            warn=self._warn,
        )

    def _count_losses(self, found: Probe, decoded: int, *, stopped: bool) -> None:
        expected = found.expected
        if stopped and self._end is not None:
            if found.untimed or found.backward:
                return  # nobody knows how many frames lie before a time
            expected = bisect_left(found.pts, self._end)
        if decoded < expected:
            self._warn(f"{expected - decoded} of {expected} frames of {self.name} could not be decoded.")

    def _warn(self, message: str) -> None:
        if message not in self.warnings:
            self.warnings.append(message)


def _first_at(info: VideoInfo, seconds: float | None) -> int | None:
    """The first pts not before a time that counts from the first frame; rounding a tick's thousandth for decimals."""
    if seconds is None:
        return None
    return math.ceil((Fraction(seconds) + info.start) / info.time_base - Fraction(1, 1000))


def _stretch(start: float, end: float | None) -> str:
    return f"{start:g} s to {'the end' if end is None else f'{end:g} s'}"


def open_source(
    path: str | Path,
    *,
    decoder: DecoderChoice = "auto",
    fps: Fraction | float | None = None,
    threads: int | None = None,
    start: float | None = None,
    end: float | None = None,
    spool: bool = False,
) -> Source:
    """Open a video, a folder of frames, a still image, or stdin (``-``) for reading.

    Stdin is decoded as it comes where its format allows that, and can then be iterated once; anything else that comes
    is kept in a temporary file, until the source is left as a context manager, or is gone. ``spool`` asks for the
    latter: for whoever needs the frames twice, or the sound before them.

    ``fps`` is the rate of a folder of frames (30 if not given); a video keeps its own times. ``threads`` are the
    decoder's. ``start`` and ``end``, in seconds from the first frame's appearance, choose the frames shown at or after
    the one and before the other; ``Frame.index`` remains that of the whole input.

    Raises ReadError for what cannot be read, UsageError for times that make no sense or a decoder that is not
    installed.
    """
    path = source_path(path)
    name = STDIN_NAME if path == STDIN else path
    begin = 0.0 if start is None else start
    if begin < 0 or not math.isfinite(begin) or (end is not None and not end > begin):
        raise UsageError(
            f"{name} cannot be read from {_stretch(begin, end)}; the start is at least 0 and the end comes after it."
        )
    if path == STDIN:
        return _open_stdin(decoder, fps, threads, start, end, spool=spool)
    return _open_file(path, decoder, fps, threads, start, end)


def _open_stdin(
    decoder: DecoderChoice,
    fps: Fraction | float | None,
    threads: int | None,
    start: float | None,
    end: float | None,
    *,
    spool: bool,
) -> Source:
    from saliency_cli.media.streamed import open_stream  # it knows Source

    intake = open_intake()
    try:
        contents = recognise(intake)
        if contents.format is not None and not spool and decoder != "decord":
            return open_stream(intake, contents, threads=threads, start=start, end=end)
        kept = Spool(intake, contents.suffix or ".video")
    except BaseException:
        intake.close()
        raise
    intake.close()
    try:
        if contents.suffix in PICTURE_SUFFIXES and holds_series(kept.path):
            contents = replace(contents, reason="pictures one after the other, read from a temporary file")
            kept.mark_series()
        with told_apart(kept):
            source = _open_file(kept.path, decoder, fps, threads, start, end, spool=kept)
    except BaseException:
        kept.remove()
        raise
    what = contents.reason if contents.format is None else f"{contents.reason.split(',')[0]}, needed as a whole"
    source.info = replace(source.info, path=str(STDIN))
    source.reason = f"{STDIN_NAME} is {what}; {source.reason}"
    return source


def _open_file(
    path: Path,
    decoder: DecoderChoice,
    fps: Fraction | float | None,
    threads: int | None,
    start: float | None,
    end: float | None,
    *,
    spool: Spool | None = None,
) -> Source:
    folder = os.path.isdir(path)  # a path that cannot be looked up is refused below, in one sentence
    if folder or path.suffix.lower() in PICTURE_SUFFIXES:
        pictures = tuple(list_frames(path)) if folder else (path,)
        info = describe_pictures(path, pictures, kind="frames" if folder else "image", fps=fps)
        source = Source(info, pictures=pictures, decoder="opencv", reason="pictures", start=start, end=end, spool=spool)
    else:
        found = probe(path)
        name, reason = choose_decoder(found, decoder)
        if name == "decord" and not has_decord():
            if decoder == "decord":
                raise UsageError(f"{path} cannot be read with decord, which is not installed; use --decoder pyav.")
            name, reason = "pyav", "decord is not installed"
        source = Source(
            found.info,
            found=found,
            decoder=name,
            reason=reason,
            strict=decoder == "decord",
            threads=threads,
            start=start,
            end=end,
            spool=spool,
        )
    if source.expected == 0:
        duration = float(source.info.duration or 0)
        raise UsageError(
            f"{path} lasts {duration:.3f} s and has no frame from {_stretch(start or 0, end)}; choose others."
        )
    return source
