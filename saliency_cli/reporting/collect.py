"""One pass over a prediction: what a page shows, small enough to go into it.

Pictures and maps go to temporary files as they come; of each frame only a few numbers stay in memory. Every frame of
the embedded video has its own map, and its time: a video of more than ``MOST_FRAMES`` frames is thinned, the two alike.
The summary is that of all frames.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from saliency_cli import render
from saliency_cli.inference.motion import MotionMeter
from saliency_cli.inference.predictor import SaliencyPredictor
from saliency_cli.media import Source, VideoWriter, open_source
from saliency_cli.postprocess import finished
from saliency_cli.queues import Ahead
from saliency_cli.reporting.measures import Summary, Tally, frame_at, key_times
from saliency_cli.reporting.options import ReportOptions
from saliency_cli.reporting.sheets import Sheets, SheetWriter, tile_size
from saliency_cli.timings import StageClock
from saliency_cli.types import Frame, SaliencyFrame, VideoInfo

__all__ = ["MOST_FRAMES", "KeyFrame", "Report", "collect"]

MOST_FRAMES = 18_000  # of the embedded video: 10 minutes at 30 frames a second
LONG_SIDE = 432  # pixels of the embedded video's longer side, where frames are left out
MAP_SIDE, LONG_MAP_SIDE = 96, 64  # of the maps', as far as tiles can have it
QUALITY = 26  # x264's crf
PICTURE_SIDE, PICTURE_QUALITY = 360, 82  # of key frames
DEPTH = 4  # frames that wait between two stages

Floats = NDArray[np.float64]
OnProgress = Callable[[int, int | None], None]
"""Called with the number of frames done and, if it is known, of all."""


@dataclass(frozen=True, slots=True)
class KeyFrame:
    """A frame with its overlay. ``frame`` counts those of the embedded video; ``picture`` is a JPEG."""

    frame: int
    seconds: float
    picture: bytes


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """What a page shows. Times are seconds of the embedded video, which begins at 0 with the first frame.

    ``step``: of so many frames of the source one was kept. ``size``: of the embedded video, width and height.
    ``seconds``: (n,), when each frame kept is shown, and ``end`` when the last one ends. ``concentration``: (n,).
    ``peak``, ``centroid``: (n, 2), x and y, fractions of the picture. ``cuts``: when each shot but the first begins.
    ``video``, ``sheets``: temporary files.
    """

    info: VideoInfo
    step: int
    size: tuple[int, int]
    seconds: Floats
    end: float
    concentration: Floats
    peak: Floats
    centroid: Floats
    cuts: tuple[float, ...]
    summary: Summary
    key_frames: tuple[KeyFrame, ...]
    video: Path
    sheets: Sheets
    sound: bool
    notes: tuple[str, ...]


@dataclass(slots=True)
class _Rows:
    """What is noted of the frames that are kept."""

    seconds: list[float] = field(default_factory=list)
    concentration: list[float] = field(default_factory=list)
    peak: list[tuple[float, float]] = field(default_factory=list)
    centroid: list[tuple[float, float]] = field(default_factory=list)
    cuts: list[float] = field(default_factory=list)


def collect(
    reader: Source,
    predictor: SaliencyPredictor,
    options: ReportOptions,
    folder: Path,
    *,
    clock: StageClock | None = None,
    on_progress: OnProgress | None = None,
) -> Report:
    """Predict every frame, and keep what the page needs; pictures and maps in ``folder``, an empty one.

    Raises:
        ReadError, WriteError, DeviceError: as in ``saliency_cli.errors``.
    """
    clock = clock or StageClock()
    info, step = reader.info, max(1, -(-_at_most(reader, options) // MOST_FRAMES))
    size = _fitted(info, options.size if step == 1 else min(options.size, LONG_SIDE))
    tally, rows, last = Tally(), _Rows(), Fraction(0)
    video = folder / "video.mp4"
    with (
        VideoWriter(
            video,
            info=_embedded(info, step),
            width=size[0],
            height=size[1],
            source=reader.sound,
            crf=QUALITY,
            threads=options.threads,
        ) as pictures,
        SheetWriter(folder / "maps.bin", tile_size(*size, MAP_SIDE if step == 1 else LONG_MAP_SIDE)) as maps,
    ):
        first: int | None = None
        for count, (frame, cut, raw) in enumerate(_predicted(reader, predictor, clock)):
            first = frame.pts if first is None else first
            last = (frame.pts - first) * frame.time_base
            saliency = finished(raw, predictor.model.config, options.prediction).saliency
            statistics = render.frame_statistics(saliency)
            firm = tally.add(float(last), statistics, saliency.size, cut=cut)
            if cut:
                rows.cuts.append(float(last))
            if count % step == 0:
                with clock("write"):
                    pictures.write(_shrunk(frame.pixels, size), frame.pts)
                    maps.add(saliency)
                rows.seconds.append(float(last))
                rows.concentration.append(firm)
                rows.peak.append(statistics.peak)
                rows.centroid.append(statistics.centroid)
            if on_progress:
                on_progress(count + 1, reader.expected)
        end = float(last + 1 / info.rate)
        pictures.end_pts = None if first is None else first + round((last + 1 / info.rate) / info.time_base)
    key_frames = _key_frames(video, maps.sheets, rows, end, options)
    return Report(
        info=info,
        step=step,
        size=size,
        seconds=np.array(rows.seconds),
        end=end,
        concentration=np.array(rows.concentration),
        peak=np.array(rows.peak),
        centroid=np.array(rows.centroid),
        cuts=tuple(rows.cuts),
        summary=tally.summary(end),
        key_frames=key_frames,
        video=video,
        sheets=maps.sheets,
        sound=info.audio is not None and info.kind == "video",
        notes=tuple(map(reader.told, pictures.notes)),
    )


def _predicted(
    reader: Source, predictor: SaliencyPredictor, clock: StageClock
) -> Iterator[tuple[Frame, bool, SaliencyFrame]]:
    """Every frame, whether it begins a shot other than the first, and its raw map."""
    waiting: deque[tuple[Frame, bool]] = deque()
    # The embedded model's own idea of a cut, whichever network predicts
    meter = MotionMeter()

    def passing(frames: Iterable[Frame]) -> Iterator[Frame]:
        for number, frame in enumerate(frames):
            begins = meter.measure(frame.pixels, frame.seconds).since == 0
            waiting.append((frame, begins and number > 0))
            yield frame

    with Ahead(clock.around("decode", reader), depth=DEPTH, stop=reader.interrupt) as frames:
        shown = passing(clock.around("wait", frames))
        for raw in clock.around("predict", predictor.predict(shown, still=reader.info.kind == "image")):
            yield *waiting.popleft(), raw


def _at_most(reader: Source, options: ReportOptions) -> int:
    """How many frames will come: where a video is damaged the reader does not say it, but its packets do."""
    found, info = reader.scan, reader.info
    if reader.expected is not None or found is None:
        return reader.expected or 0
    if not found.pts:  # the clock jumps back
        return found.packets
    unit, begin = float(info.time_base), float(info.start)
    first, last = options.start or 0.0, float("inf") if options.end is None else options.end
    return sum(first <= pts * unit - begin < last for pts in found.pts)


def _embedded(info: VideoInfo, step: int) -> VideoInfo:
    """The embedded video begins at 0, has square pixels, and the frames that are kept."""
    return replace(info, start=Fraction(0), rate=info.rate / step, pixel_aspect=Fraction(1))


def _fitted(info: VideoInfo, longest: int) -> tuple[int, int]:
    """Even width and height of the embedded video, in square pixels, in the picture's shape."""
    width, height = float(info.width * info.pixel_aspect), float(info.height)
    scale = min(1.0, longest / max(width, height))
    return max(2, 2 * round(width * scale / 2)), max(2, 2 * round(height * scale / 2))


def _shrunk(pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    if pixels.shape[1::-1] == size:
        return pixels
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def _key_frames(video: Path, sheets: Sheets, rows: _Rows, end: float, options: ReportOptions) -> tuple[KeyFrame, ...]:
    """Which frames those are is known when all have been seen: their pictures are those of the embedded video."""
    wanted = sorted({frame_at(rows.seconds, time) for time in key_times(rows.cuts, end)})
    found: list[KeyFrame] = []
    with open_source(video, threads=options.threads) as again:
        for frame in again:
            if len(found) == len(wanted):
                break
            if frame.index == wanted[len(found)]:
                picture = render.overlay(
                    frame.pixels, sheets.map(frame.index), options.colormap, opacity=options.opacity
                )
                found.append(KeyFrame(frame.index, rows.seconds[frame.index], _jpeg(picture)))
    return tuple(found)


def _jpeg(picture: NDArray[np.uint8]) -> bytes:
    height, width = picture.shape[:2]
    scale = min(1.0, PICTURE_SIDE / max(width, height))
    small = _shrunk(picture, (max(1, round(width * scale)), max(1, round(height * scale))))
    ordered = cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", ordered, [cv2.IMWRITE_JPEG_QUALITY, PICTURE_QUALITY])[1].tobytes()
