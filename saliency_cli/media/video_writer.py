"""Video out: H.264 with the source's presentation times, size, colours and sound."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, cast

import av
import av.container
import av.video.stream
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from saliency_cli.errors import UsageError, WriteError
from saliency_cli.media.atomic import write_errors
from saliency_cli.media.product import Product
from saliency_cli.media.sound_copy import SoundCopy
from saliency_cli.media.sound_feed import SoundFeed
from saliency_cli.media.stdout import Outlet
from saliency_cli.media.threads import encoder_threads
from saliency_cli.types import ColourInfo, VideoInfo

__all__ = ["BT601", "FULL", "LIMITED", "LIVE", "VIDEO_FORMATS", "VideoWriter", "libav_errors", "shift_of"]

VIDEO_FORMATS: Final = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
SETTINGS: Final = {
    "preset": "veryfast",  # encoding must keep up with the network
    "bf": "0",  # packets come in the order of presentation, so the last one carries the last frame's duration
    # With it, one video in a hundred came out with other bytes from the same pictures on a processor with AVX-512,
    # when other threads were at work: x264's macroblock tree in that form. Files are a quarter larger without.
    "mbtree": "0",
}
# To a pipe: every packet goes at once, and hardly waits for those of another stream
LIVE: Final = {"flush_packets": "1", "max_interleave_delta": "1"}
SHORT_CLUSTERS: Final = {"cluster_time_limit": "1"}  # milliseconds; Matroska goes cluster by cluster
BT709, UNKNOWN, BT470BG, SMPTE170M = 1, 2, 5, 6  # as FFmpeg numbers them
LIMITED, FULL = 1, 2
BT601 = SMPTE170M  # the matrix that untagged video is decoded with, whatever its size
MIN_CLOCK: Final = 10_000  # ticks per second
HD_LINES = 720  # from here on, players take video without a tag for BT.709


class VideoWriter(Product):
    """Writes frames at given presentation times; the file appears when ``close`` has completed it.

    Frames keep the source's time base, so that a variable rate stays variable, and a start later than 0 is kept. If
    the first frame is not the source's first (``--start``), picture and sound are moved together so that the product
    begins when the source does. A first frame before 0, which players would hide, moves both to 0. H.264's usual
    4:2:0 cannot hold odd sizes: those are stored as 4:4:4, of the exact size, which fewer players know.

    Args:
        path: ``.mp4``, ``.m4v``, ``.mov`` or ``.mkv``; None is stdout, which gets Matroska, each frame when the one
            after the next has come.
        info: of the source: time base, average rate, start, colours, kind.
        width, height: of the frames to come, in pixels.
        source: the file, or the stream, whose sound goes along, copied where the container takes it and encoded as AAC
            otherwise; None for no sound. A folder of frames has none in any case.
        crf: x264's quality, 0 (lossless) to 51.
        gray: frames are (H, W), and stored in limited range whatever the source's, as programs that ignore tags expect.
        end_pts: when the last frame ends, in units of the time base; may be set until ``close``. None: it lasts as long
            as a frame at the average rate.
        threads: of the encoder; None: see ``encoder_threads``.

    Raises:
        UsageError: another suffix.
        WriteError: the file cannot be written.
    """

    def __init__(
        self,
        path: Path | str | None,
        *,
        info: VideoInfo,
        width: int,
        height: int,
        source: Path | str | SoundFeed | None = None,
        crf: int = 18,
        gray: bool = False,
        end_pts: int | None = None,
        threads: int | None = None,
    ) -> None:
        kind = "matroska" if path is None else VIDEO_FORMATS.get(Path(path).suffix.lower())
        if kind is None:
            raise UsageError(f"{path}: a video is written as {', '.join(VIDEO_FORMATS)}; choose one of these suffixes.")
        self.info, self.width, self.height, self.gray, self.end_pts = info, width, height, gray, end_pts
        self._shift = 0  # units of the time base, taken off every time
        self._waiting: av.VideoFrame | None = None  # a frame's duration is known when the next one comes
        self._sound: SoundCopy | None = None
        self._colour = _colour(info, height, gray=gray)
        self._reformatter = VideoReformatter()  # one for all frames: its tables take as long as a small picture
        super().__init__(path)
        self._out = Outlet() if path is None else None
        if kind == "matroska":
            # Sound begins a little before 0 (the encoder's run-in), which must not move the picture.
            settings = {"avoid_negative_ts": "disabled", **({**LIVE, **SHORT_CLUSTERS} if self._out else {})}
        else:
            # Both clocks of an mp4, the frames' and that of a late start, or the latter is rounded to milliseconds.
            clock = str(_clock(info.time_base))
            settings = {"movflags": "+faststart", "video_track_timescale": clock, "movie_timescale": clock}
        try:
            with write_errors(self.path):
                # "file:" keeps FFmpeg from taking a name with a colon for a protocol.
                self._container = av.open(
                    cast(Any, self._out or f"file:{self._replacement.temporary}"),
                    "w",
                    format=kind,
                    container_options=settings,
                )
            self._stream = self._add_video(crf, threads)
            if source is not None and info.kind == "video":
                sound = source if isinstance(source, SoundFeed) else Path(source)
                self._sound = SoundCopy.open(sound, self._container, kind, self.notes)
        except BaseException:
            self.discard()
            raise

    def write(self, pixels: NDArray[np.uint8], pts: int) -> None:
        """Add a frame, uint8 (H, W, 3) RGB or, if ``gray``, (H, W), shown from ``pts`` on (units of the time base).

        Times must grow. Raises WriteError.
        """
        expected = (self.height, self.width) if self.gray else (self.height, self.width, 3)
        if pixels.shape != expected:
            raise ValueError(f"a frame of shape {expected} is due, not {pixels.shape}")
        if self._waiting is None:
            self._begin(pts)
        elif pts - self._shift <= self._pts(self._waiting):
            raise ValueError(f"frame times must grow, and {pts} does not")
        frame = self._convert(pixels)
        frame.pts, frame.time_base = pts - self._shift, self.info.time_base
        if self._waiting is not None:
            self._encode(self._waiting, ends=frame.pts)
        self._waiting = frame

    def _begin(self, pts: int) -> None:
        self._shift = shift_of(self.info, pts)
        if self._sound:
            self._sound.begin_with(self.info, pts, shift=self._shift)

    def _pts(self, frame: av.VideoFrame) -> int:
        assert frame.pts is not None
        return frame.pts

    def _convert(self, pixels: NDArray[np.uint8]) -> av.VideoFrame:
        # The pixels are not copied but read where they are: the conversion is done before the caller has them back.
        frame = av.VideoFrame.from_numpy_buffer(np.ascontiguousarray(pixels), format="gray" if self.gray else "rgb24")
        colour = self._colour
        frame = self._reformatter.reformat(
            frame,
            format=self._stream.codec_context.pix_fmt,
            src_color_range=FULL,
            dst_colorspace=BT601 if colour.space == UNKNOWN else colour.space,
            dst_color_range=colour.range,
        )
        frame.colorspace, frame.color_range = colour.space, colour.range
        frame.color_primaries, frame.color_trc = colour.primaries, colour.transfer
        return frame

    def _encode(self, frame: av.VideoFrame, *, ends: int) -> None:
        self._durations[self._pts(frame)] = max(ends - self._pts(frame), 1)
        self._mux(self._stream.encode(frame))

    def _mux(self, packets: list[av.Packet[av.video.stream.VideoStream]]) -> None:
        with self._libav_errors():
            for packet in packets:
                assert packet.pts is not None
                packet.duration = self._durations.pop(packet.pts)  # libx264 leaves it out
                if self._sound:  # what sounds before it goes first: nothing has to wait in memory
                    self._sound.advance((packet.pts + self._shift) * self.info.time_base)
                self._container.mux(packet)

    def _finish(self) -> None:
        if self._waiting is None:
            raise WriteError(f"{self.path} cannot be written: there are no frames; check the input.")
        begins = self._pts(self._waiting)
        ends = begins + max(round(1 / self.info.rate / self.info.time_base), 1)
        if self.end_pts is not None and self.end_pts - self._shift > begins:
            ends = self.end_pts - self._shift
        self._encode(self._waiting, ends=ends)
        self._mux(self._stream.encode(None))
        with self._libav_errors():
            if self._sound:
                self._sound.finish((ends + self._shift) * self.info.time_base)
            self._container.close()
            if self._out:
                self._out.check()
                self._out.finish()

    def interrupt(self) -> None:
        if self._out:
            self._out.stop()

    def _abandon(self) -> None:
        if self._out:
            self._out.stop()
        if self._sound:
            self._sound.close()
        if hasattr(self, "_container"):
            with contextlib.suppress(OSError, av.FFmpegError):  # the file goes away in any case
                self._container.close()
        if self._out:
            self._out.finish()

    @contextlib.contextmanager
    def _libav_errors(self) -> Iterator[None]:
        with libav_errors(self.path):
            yield
            if self._out:
                self._out.check()

    def _add_video(self, crf: int, threads: int | None) -> av.video.stream.VideoStream:
        stream = self._container.add_stream(
            "libx264",
            rate=self.info.rate,
            options={**SETTINGS, "crf": str(crf), **({"tune": "zerolatency"} if self._out else {})},
        )
        assert isinstance(stream, av.video.stream.VideoStream)
        context = stream.codec_context
        context.width, context.height = self.width, self.height
        even = self.width % 2 == 0 and self.height % 2 == 0
        context.pix_fmt = "yuv420p" if even else "yuv444p"
        if not even:
            self.notes.append(
                f"{self.path.name}: {self.width}x{self.height} is an odd size and was stored as 4:4:4, "
                "which some players cannot show."
            )
        context.time_base = self.info.time_base
        context.sample_aspect_ratio = self.info.pixel_aspect
        context.thread_count = encoder_threads(threads)
        context.colorspace, context.color_range = self._colour.space, self._colour.range
        context.color_primaries, context.color_trc = self._colour.primaries, self._colour.transfer
        self._durations: dict[int, int] = {}
        return stream


@contextlib.contextmanager
def libav_errors(path: Path) -> Iterator[None]:
    """Turn FFmpeg's errors, those without an errno too, into a WriteError that names ``path``."""
    try:
        with write_errors(path):
            yield
    except av.FFmpegError as error:
        raise WriteError(f"{path} cannot be written: {error.strerror}; choose another format.") from error


def shift_of(info: VideoInfo, pts: int) -> int:
    """What is taken off the times of a product whose first frame comes at ``pts``, so that it begins as its source.

    A source that begins before 0, where players would hide frames, has a product that begins at 0.
    """
    return pts - max(round(info.start / info.time_base), 0)


def _clock(time_base: Fraction) -> int:
    """Ticks per second in which the times are whole numbers, and those of other tracks nearly."""
    ticks = time_base.denominator
    return ticks * -(-MIN_CLOCK // ticks)


def _colour(info: VideoInfo, height: int, *, gray: bool) -> ColourInfo:
    """The tags of the product, and the matrix and range that its pixels are converted with: the source's, if known.

    Video without a tag was decoded as BT.601, so that is what leads back to the source's own values. Where players
    guess another matrix for both, the product stays without a tag as well.
    """
    given = info.colour
    if given.space == UNKNOWN and info.kind == "video" and not gray:
        if min(info.height, height) >= HD_LINES:
            return replace(given, range=FULL if given.range == FULL else LIMITED)
        height = 0
    usual = BT709 if height >= HD_LINES else SMPTE170M
    # Rarer matrices (BT.2020 and others) become what every player knows; RGB is what arrives here.
    space = given.space if given.space in (BT709, BT470BG, SMPTE170M) else usual
    return ColourInfo(
        space=space,
        range=FULL if given.range == FULL and not gray else LIMITED,
        primaries=space if given.primaries == UNKNOWN else given.primaries,
        transfer=(BT709 if space == BT709 else SMPTE170M) if given.transfer == UNKNOWN else given.transfer,
    )
