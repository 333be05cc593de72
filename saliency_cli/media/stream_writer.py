"""Video out, uncompressed, for the next program in a pipe: NUT, y4m or nothing but the maps' bytes.

NUT carries exact times and the sound; y4m a constant rate; gray neither. All go as they come, to stdout or to a file.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, Literal, cast

import av
import av.video.stream
import numpy as np
from av.container import OutputContainer
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from saliency_cli.errors import WriteError
from saliency_cli.media.atomic import write_errors
from saliency_cli.media.product import Product
from saliency_cli.media.sound_copy import SoundCopy
from saliency_cli.media.sound_feed import SoundFeed
from saliency_cli.media.stdout import Outlet
from saliency_cli.media.video_writer import BT601, FULL, LIMITED, LIVE, libav_errors, shift_of
from saliency_cli.types import VideoInfo

__all__ = ["STREAM_FORMATS", "StreamFormat", "StreamWriter"]

StreamFormat = Literal["nut", "y4m", "gray"]
STREAM_FORMATS: Final[dict[str, StreamFormat]] = {".nut": "nut", ".y4m": "y4m", ".gray": "gray"}
MUXERS: Final = {"nut": "nut", "y4m": "yuv4mpegpipe"}
GRAY: Final = {8: "gray", 16: "gray16le"}


class StreamWriter(Product):
    """Writes frames at once, uncompressed. Maps are 8 or 16 bits of gray, all of whose levels are used.

    ``nut``: the source's times, so that a variable rate stays variable, and its sound, copied where NUT takes it and as
    PCM otherwise; pictures are RGB. ``y4m``: as many frames a second as the source has on average, whatever their
    times; pictures are 4:4:4 in BT.601's limited range, as programs read y4m that know no more. ``gray``: maps only,
    the rows of one frame after the other, 16 bits with the low byte first.

    A product begins when the source does, wherever the first frame comes from (see ``VideoWriter``).

    Args:
        path: None is stdout.
        info: of the source.
        width, height: of the frames to come, in pixels.
        gray: frames are (H, W), uint8 or with ``bits`` 16 uint16; otherwise (H, W, 3) RGB, uint8.
        source: the file, or the stream, whose sound goes along into NUT; None for no sound.

    Raises:
        UsageError: stdout is a terminal.
        WriteError: nothing can be written there.
    """

    def __init__(
        self,
        path: Path | str | None,
        *,
        form: StreamFormat,
        info: VideoInfo,
        width: int,
        height: int,
        gray: bool,
        bits: int = 8,
        source: Path | SoundFeed | None = None,
    ) -> None:
        if form == "gray" and not gray:
            raise ValueError("bare bytes are for maps")
        self._info, self._form, self._shape = info, form, (height, width) if gray else (height, width, 3)
        self._pixels = GRAY[bits] if gray else "rgb24"
        self._stored = "yuv444p" if form == "y4m" and not gray else self._pixels
        self._container: OutputContainer | None = None
        self._sound: SoundCopy | None = None
        self._reformatter = VideoReformatter()
        self._shift = self._written = 0
        self._uneven = False  # whether a frame's time is not that of a constant rate
        self._last = 0
        self._out: Outlet | None = None
        super().__init__(path)
        try:
            if path is not None:
                with write_errors(self.path):
                    self._file = self._replacement.temporary.open("wb")
                self._out = Outlet(self._file)
            else:
                self._out = Outlet()
            if form in MUXERS:
                self._open(width, height, source)
        except BaseException:
            self.discard()
            raise

    def write(self, pixels: NDArray[np.uint8] | NDArray[np.uint16], pts: int) -> None:
        """Add a frame, shown from ``pts`` on (units of the source's time base). Times must grow. Raises WriteError."""
        if pixels.shape != self._shape:
            raise ValueError(f"a frame of shape {self._shape} is due, not {pixels.shape}")
        if not self._written:
            self._begin(pts)
        elif pts <= self._last:
            raise ValueError(f"frame times must grow, and {pts} does not")
        self._last = pts
        with self._errors():
            if self._container is None:
                assert self._out is not None
                self._out.write(pixels.astype(pixels.dtype.newbyteorder("<"), copy=False).tobytes())
            else:
                self._encode(pixels, pts)
        self._written += 1

    def interrupt(self) -> None:
        if self._out is not None:
            self._out.stop()

    def _open(self, width: int, height: int, source: Path | SoundFeed | None) -> None:
        with self._errors():
            self._container = av.open(
                cast(Any, self._out),
                "w",
                format=MUXERS[self._form],
                # y4m of 16 bits is FFmpeg's own
                container_options={**LIVE, "avoid_negative_ts": "disabled", "strict": "-1"},
            )
            stream = self._container.add_stream("rawvideo", rate=self._info.rate)
            assert isinstance(stream, av.video.stream.VideoStream)
            context = stream.codec_context
            context.width, context.height, context.pix_fmt = width, height, self._stored
            context.time_base = 1 / self._info.rate if self._form == "y4m" else self._info.time_base
            if self._stored == "yuv444p":
                context.color_range = LIMITED
            self._stream = stream
            if self._info.pixel_aspect != 1:  # PyAV cannot set what these muxers look at
                self.notes.append(f"{self.path}: the source's pixels are not square, which is not told here.")
            if self._form == "nut" and source is not None:
                self._sound = SoundCopy.open(source, self._container, "nut", self.notes)

    def _begin(self, pts: int) -> None:
        self._first, self._shift = pts, shift_of(self._info, pts)
        if self._sound:
            self._sound.begin_with(self._info, pts, shift=self._shift, negative=False)  # which NUT has not

    def _encode(self, pixels: NDArray[Any], pts: int) -> None:
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format=self._pixels)
        if self._stored != self._pixels:
            frame = self._reformatter.reformat(
                frame, format=self._stored, src_color_range=FULL, dst_colorspace=BT601, dst_color_range=LIMITED
            )
        period = 1 / self._info.rate
        if self._form == "y4m":
            due = (pts - self._first) * self._info.time_base
            self._uneven |= abs(due - self._written * period) > period / 2
            frame.pts, frame.time_base = self._written, period
        else:
            frame.pts, frame.time_base = pts - self._shift, self._info.time_base
        assert self._container is not None
        seconds = pts * self._info.time_base
        if self._sound:
            self._sound.advance(seconds)
        self._container.mux(self._stream.encode(frame))
        if self._sound:  # the muxer lets go of a picture when sound is there that comes behind it
            self._sound.advance(seconds + period)

    def _finish(self) -> None:
        if not self._written:
            raise WriteError(f"{self.path} cannot be written: there are no frames; check the input.")
        assert self._out is not None
        with self._errors():
            if self._container is not None:
                self._container.mux(self._stream.encode(None))
                if self._sound:
                    self._sound.finish(self._last * self._info.time_base + 1 / self._info.rate)
                self._container.close()
        self._release()
        if self._uneven:
            rate = float(Fraction(self._info.rate))
            self.notes.append(
                f"{self.path}: the source's rate varies, and y4m shows {rate:g} frames a second; NUT keeps the times."
            )

    def _abandon(self) -> None:
        self.interrupt()
        if self._sound:
            self._sound.close()
        if self._container is not None:
            with contextlib.suppress(OSError, av.FFmpegError):  # what it still writes goes nowhere
                self._container.close()
        with contextlib.suppress(OSError):
            self._release()

    def _release(self) -> None:
        if self._out is not None:
            self._out.finish()
        if hasattr(self, "_file"):
            self._file.close()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        with libav_errors(self.path):
            yield
            assert self._out is not None
            self._out.check()
