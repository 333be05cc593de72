"""From a decoded frame, as a codec stores it, to the picture that is handed on: upright, RGB, 8 bits, BT.709's range.

swscale converts with the matrix and range of each frame's own tags; where there are none it assumes BT.601, limited
range. decord does the same: measured on tagged and untagged H.264 and VP9, the two agree to the last bit. High dynamic
range takes a way of its own, through 16 bits; everything else is as swscale gives it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import av
import numpy as np
from av.sidedata.sidedata import SideData
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from saliency_cli.errors import ReadError
from saliency_cli.media.orientation import Orientation, orientation_of
from saliency_cli.media.tone_mapping import BT709, BT2020, DEFAULT_PEAK, ToneMapper, hdr_of
from saliency_cli.types import ColourInfo, Hdr, VideoInfo

__all__ = ["Converter", "Look", "colours_as_delivered", "look_of", "remarks"]

# As FFmpeg numbers matrices: those that swscale has, and those that it can be told to read as another
RGB, UNKNOWN, RESERVED, BT2020_CONSTANT = 0, 2, 3, 10
KNOWN: Final = frozenset({RGB, 1, UNKNOWN, 4, 5, 6, 7, BT2020})
# Constant luminance differs from the usual BT.2020 in colourful edges only; and what is reserved means nothing.
READ_AS: Final = {RESERVED: UNKNOWN, BT2020_CONSTANT: BT2020}
LIMITED: Final = 1
# Sample entries of Dolby Vision; those with a picture for all displays are tagged PQ, HLG or SDR under the codec's own
DOLBY_VISION: Final = frozenset({"dvhe", "dvh1", "dvav", "dva1", "dav1"})


UPRIGHT: Final = Orientation()


@dataclass(frozen=True, slots=True)
class Look:
    """What a video's first frame tells of how all are to be seen.

    ``orientation``: how stored frames must be turned. ``primaries`` (FFmpeg's number) and ``peak`` (cd/m²) are for the
    tone mapping of HDR. ``interlaced``: each frame holds two fields.
    """

    orientation: Orientation = UPRIGHT
    primaries: int = BT2020
    peak: float = DEFAULT_PEAK
    interlaced: bool = False


def look_of(first: av.VideoFrame | None) -> Look:
    """Read it from a video's first frame; the usual one where none could be decoded."""
    if first is None:
        return Look()
    return Look(
        orientation=orientation_of(first),
        primaries=int(first.color_primaries),
        peak=_mastering_peak(first),
        interlaced=bool(first.interlaced_frame),
    )


def remarks(stream: av.VideoStream, info: VideoInfo, look: Look) -> Iterator[str]:
    """What people should know of how they see a video, a sentence each."""
    if look.interlaced:
        yield "The video is interlaced: each frame is read as stored, two fields woven."
    if not info.hdr and _codec_tag(stream) in DOLBY_VISION:
        yield "The video is Dolby Vision without a picture for other displays: its colours are wrong; convert it first."


def _codec_tag(stream: av.VideoStream) -> str:
    try:
        return stream.codec_context.codec_tag
    except UnicodeDecodeError:  # four bytes of any kind
        return ""


class Converter:
    """Turns the frames of one video into pictures, uint8 RGB (height, width, 3), of the size that ``info`` says.

    ``resized`` is the first size, as stored, of frames that were larger or smaller and have been scaled to it.
    """

    def __init__(self, info: VideoInfo, look: Look) -> None:
        self._path, self._hdr, self._orientation = info.path, info.hdr, look.orientation
        turned = look.orientation.transpose
        self._size = (info.height, info.width) if turned else (info.width, info.height)  # as stored
        self._mapper = ToneMapper(info.hdr, peak=look.peak, primaries=look.primaries) if info.hdr else None
        self._reformatter = VideoReformatter()  # one for all frames: its tables take as long as a small picture
        self.resized: tuple[int, int] | None = None

    def picture(self, frame: av.VideoFrame) -> NDArray[np.uint8]:
        """A frame's picture. Raises ReadError for colours that cannot be converted."""
        width, height = self._size
        if (frame.width, frame.height) != self._size and self.resized is None:
            self.resized = (frame.width, frame.height)
        matrix = READ_AS.get(int(frame.colorspace), int(frame.colorspace))
        if self._hdr and matrix == UNKNOWN:
            matrix = BT2020
        if matrix != int(frame.colorspace):
            frame.colorspace = matrix
        try:
            converted = self._reformatter.reformat(
                frame, width=width, height=height, format="rgb48le" if self._mapper else "rgb24"
            ).to_ndarray()
        except (av.FFmpegError, ValueError) as error:
            what = f"matrix {matrix}" if matrix not in KNOWN else f"{frame.format.name}"
            raise ReadError(
                f"{self._path} stores its colours in a way that nothing here can read ({what}); "
                "convert it to H.264 in BT.709 first."
            ) from error
        if self._mapper:
            return self._orientation.apply(self._mapper.map(np.asarray(converted, dtype=np.uint16)))
        return self._orientation.apply(np.asarray(converted, dtype=np.uint8))


def colours_as_delivered(stored: ColourInfo) -> tuple[ColourInfo, Hdr]:
    """The colours of the pictures that come out of a ``Converter``, and what was mapped: HDR becomes plain BT.709."""
    hdr = hdr_of(stored.transfer)
    if not hdr:
        return stored, ""
    return replace(stored, space=BT709, range=LIMITED, primaries=BT709, transfer=BT709), hdr


def _mastering_peak(frame: av.VideoFrame) -> float:
    """cd/m² that the display could show on which PQ material was made (SMPTE ST 2086); 1000 where it is not said.

    The side data is FFmpeg's ``AVMasteringDisplayMetadata``: 22 integers, of which 18 and 19 are the numerator and
    denominator of the peak, and the last says whether it is known.
    """
    try:
        side_data = frame.side_data.get("MASTERING_DISPLAY_METADATA")
    except ValueError:  # see orientation
        return DEFAULT_PEAK
    if not isinstance(side_data, SideData):
        return DEFAULT_PEAK
    values = np.frombuffer(bytes(side_data), dtype=np.int32)
    if len(values) < 22 or not values[21] or values[19] <= 0:
        return DEFAULT_PEAK
    peak = float(values[18] / values[19])
    return peak if MIN_PEAK <= peak <= MAX_PEAK else DEFAULT_PEAK


MIN_PEAK, MAX_PEAK = 100.0, 10_000.0  # cd/m2: what lies outside is a mistake
