"""From a video to its crop: read once to see where attention is, and once more to cut.

::

    reframe("clip.mp4", "9:16")

    decoder ──▶ cuts, network ──▶ attention along the axis ──▶ path of the crop
    decoder ──────────────────────────────────────────────────▶ crop ──▶ encoder

Of each frame only the attention along one axis is kept, half a kilobyte, until the path is planned.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saliency_cli.errors import ReadError, UsageError
from saliency_cli.inference.predictor import SaliencyPredictor
from saliency_cli.media import STDIN, SidecarWriter, Source, VideoWriter, source_path
from saliency_cli.media.atomic import ReplacementFile, write_errors
from saliency_cli.outputs import STDOUT, no_folders_left_of
from saliency_cli.pipeline import check_rate, load_predictor, open_input, use_threads
from saliency_cli.provenance import digest_of, provenance
from saliency_cli.queues import Ahead
from saliency_cli.reframing.aspect import Aspect, Crop
from saliency_cli.reframing.crop import Box, cut_out, drawn
from saliency_cli.reframing.goals import Goals, plan_goals
from saliency_cli.reframing.options import ReframeOptions
from saliency_cli.reframing.path import plan_path
from saliency_cli.reframing.result import Reframing
from saliency_cli.reframing.script import as_commands, as_json
from saliency_cli.reframing.seeing import DEPTH, Seen, look
from saliency_cli.reframing.targets import held
from saliency_cli.timings import StageClock

__all__ = ["reframe"]

log = logging.getLogger(__name__)

LARGEST = 16384  # pixels of a side, which H.264 encoders take

OnProgress = Callable[[int, int | None], None]
"""Called with the number of frames seen or written and, if it is known, of all: each counts in both passes."""


def reframe(
    source: str | Path,
    aspect: str = "9:16",
    *,
    predictor: SaliencyPredictor | None = None,
    on_progress: OnProgress | None = None,
    **options: Any,
) -> Reframing:
    """Crop a video, or a folder of frames, to another shape along the predicted attention.

    Args:
        source: the input, which is read twice; not stdin.
        aspect: ``W:H`` or a number, width over height.
        predictor: a loaded one, instead of what the options name.
        on_progress: called after each frame, in both passes.
        options: fields of :class:`~saliency_cli.reframing.options.ReframeOptions`: ``output``, ``path``, ``preview``,
            ``height``, ``max_speed``, ``max_acceleration`` and those of a prediction, such as ``start`` and ``end``.

    Raises:
        ReadError, WriteError, WeightsError, DeviceError, UsageError: as in ``saliency_cli.errors``. No product is
            left then, and earlier products are untouched.
    """
    asked = ReframeOptions(aspect=str(aspect), **options)
    shape, path, clock = Aspect.parse(asked.aspect), source_path(source), StageClock()
    if path == STDIN:
        raise UsageError("reframe reads its input twice, and stdin can be read once; save it to a file first.")
    with open_input(path, asked.prediction) as reader:
        if reader.info.kind == "image":
            raise UsageError(f"{path} is a picture, and nothing in it moves; give a video or a folder of frames.")
        check_rate(reader, asked.prediction)
        info = reader.info
        crop = Crop.largest((info.width, info.height), shape, pixel_aspect=info.pixel_aspect)
        goals = plan_goals(path, shape, asked, frames=info.kind == "frames")
        warnings = [f"{path} has this shape already; the whole picture is kept."] if crop.whole else []
        use_threads(asked.prediction)
        if crop.whole:
            predictor = None  # nothing is to be found
        elif predictor is None:
            predictor = load_predictor(asked.prediction)
        with no_folders_left_of(goals.files), ExitStack() as stack:
            writer = stack.enter_context(_writer(goals.video, reader, crop, asked)) if goals.video else None
            # Now, as a place that cannot be written is told before the work and not after it
            script = stack.enter_context(_replacing(goals.path)) if goals.path and str(goals.path) != STDOUT else None
            passes = 1 if writer is None else 2
            total = None if reader.expected is None else passes * reader.expected

            def tell(done: int) -> None:
                if on_progress:
                    on_progress(done, total)

            seen = Seen()
            for done, _ in enumerate(look(reader, predictor, asked, crop, clock, seen), 1):
                tell(done)
            seconds, positions, attention = _planned(seen, reader, crop, asked)
            boxes = [crop.box(position) for position in positions]
            if writer is not None:
                _write(reader, writer, seen.pts, boxes, asked, crop, clock, tell)
                writer.finish()
                warnings += writer.notes
            result = Reframing(
                source=path,
                output=goals.video,
                path=goals.path,
                size=(crop.width, crop.height),
                seconds=seconds,
                boxes=np.array(boxes, np.int64).reshape(-1, 4),
                cuts=tuple(float(seconds[index]) for index in seen.cuts),
                attention=attention,
                decoder=f"{reader.decoder} ({reader.reason})",
                device="" if predictor is None else f"{predictor.device} ({predictor.device_reason})",
                precision="" if predictor is None else f"{predictor.precision} ({predictor.precision_reason})",
                weights="" if predictor is None else predictor.model.weights.name,
                warnings=(*warnings, *reader.warnings),
                timings=clock.timings(),
            )
            header = _header(reader, predictor, asked, result)
            _tell_path(
                result, boxes, goals, header, stack, script, first=seen.first, stretch=_stretch(reader, seen, asked)
            )
    return result


def _writer(goal: Path, reader: Source, crop: Crop, options: ReframeOptions) -> VideoWriter:
    width, height = crop.frame if options.preview else _scaled(crop, options.height) or (crop.width, crop.height)
    return VideoWriter(
        goal,
        info=reader.info,
        width=width,
        height=height,
        source=reader.sound,
        crf=options.crf,
        threads=options.threads,
    )


def _scaled(crop: Crop, height: int | None) -> tuple[int, int] | None:
    """The size (width, height) of the result, if a height is asked for. Raises UsageError for one too large."""
    if height is None:
        return None
    width = max(2, 2 * round(height * crop.width / crop.height / 2))
    if width > LARGEST:
        raise UsageError(f"--height {height}: the result would be {width} pixels wide; at most {LARGEST} are possible.")
    return width, height


def _planned(
    seen: Seen, reader: Source, crop: Crop, options: ReframeOptions
) -> tuple[NDArray[np.float64], NDArray[np.float64], float | None]:
    """The frames' times, the crop's positions, and the part of the attention that these hold."""
    tick, first = reader.info.time_base, seen.pts[0]
    seconds = np.array([float(pts * tick) for pts in seen.pts])
    if not seen.attention:
        return seconds, np.zeros(len(seconds)), None
    # From the first frame on, where a float has digits left
    since = np.array([float((pts - first) * tick) for pts in seen.pts])
    attention, room = np.stack(seen.attention), crop.room / crop.length
    positions = plan_path(
        attention,
        since,
        end=float(since[-1] + 1 / reader.info.rate),
        room=room,
        cuts=seen.cuts,
        limits=options.limits,
    )
    return seconds, positions, float(held(attention, room, positions).mean())


def _write(
    reader: Source,
    writer: VideoWriter,
    times: list[int],
    boxes: list[Box],
    options: ReframeOptions,
    crop: Crop,
    clock: StageClock,
    tell: Callable[[int], None],
) -> None:
    """The second pass: the same frames, cut or drawn upon."""
    size, count = _scaled(crop, options.height), 0
    with Ahead(clock.around("decode", reader), depth=DEPTH, stop=reader.interrupt) as frames:
        for count, frame in enumerate(frames, 1):
            if count > len(times) or frame.pts != times[count - 1]:
                raise _changed(reader)
            box = boxes[count - 1]
            with clock("write"):
                writer.write(
                    drawn(frame.pixels, box) if options.preview else cut_out(frame.pixels, box, size), frame.pts
                )
            tell(len(times) + count)
    if count != len(times):
        raise _changed(reader)


def _changed(reader: Source) -> ReadError:
    return ReadError(f"{reader.name} gave other frames when it was read again; wait until nobody writes to it.")


def _header(
    reader: Source, predictor: SaliencyPredictor | None, options: ReframeOptions, result: Reframing
) -> dict[str, Any]:
    """What the products say of where they come from, and how."""
    model = None if predictor is None else predictor.model
    origin = provenance(reader.info, model, options.prediction, digest_of(Path(reader.info.path)))
    return {**origin, "options": asdict(options), **result.record()}


def _stretch(reader: Source, seen: Seen, options: ReframeOptions) -> tuple[float, float | None] | None:
    """Where the part asked for begins, with a frame, and ends, on the source's clock; None if that is all of it."""
    if options.start is None and options.end is None:
        return None
    tick = reader.info.time_base
    begins = float(seen.pts[0] * tick)
    if options.end is None:
        return begins, None
    # Rounded to the source's clock, the end may fall upon the last frame, which is before it
    return begins, max(options.end + float(reader.info.start), float((seen.pts[-1] + 1) * tick))


def _tell_path(
    result: Reframing,
    boxes: list[Box],
    goals: Goals,
    header: dict[str, Any],
    stack: ExitStack,
    script: Path | None,
    *,
    first: int,
    stretch: tuple[float, float | None] | None,
) -> None:
    """The sidecar, and the path into ``script`` or to stdout; files appear when the stack ends."""
    if goals.video is not None:
        sidecar = stack.enter_context(SidecarWriter(goals.video))
        sidecar.write({"product": "reframed", **header})
        sidecar.finish()
    if goals.path is None:
        return
    seconds = result.seconds.tolist()
    if goals.path.suffix.lower() in (".cmd", ".txt"):
        text = as_commands(result.source, goals.path, seconds, boxes, stretch=stretch)
    else:
        text = as_json({"product": "path", **header}, seconds, boxes, first=first)
    with write_errors(goals.path):
        if script is not None:
            script.write_bytes(text.encode("utf-8", "surrogateescape"))
        else:
            sys.stdout.write(text)
            sys.stdout.flush()


@contextmanager
def _replacing(goal: Path) -> Iterator[Path]:
    """A file that takes the goal's name when the block ends well; what fails in the block is no fault of the file."""
    file = ReplacementFile(goal)
    try:
        yield file.temporary
    except BaseException:
        file.discard()
        raise
    file.commit()
