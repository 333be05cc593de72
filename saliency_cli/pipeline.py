"""From a file to its products: frames are decoded, predicted and written at the same time.

::

    decoder thread ──4 frames──▶ predictor (the caller's thread) ──4 pairs──▶ renderer and writers' thread

The embedded model's predictor has workers of its own besides (``inference.overlap``), and so has the encoder. Every
stage takes as many threads as there are cores, or as ``--threads`` or ``OMP_NUM_THREADS`` say, and waits without
turning idly: whichever stage is behind has the cores.

The queues are short, so memory does not grow with the video. Every product is written beside its goal and renamed at
the end: whatever stops the run, an earlier product is still there and no half of a new one.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from saliency_cli import render
from saliency_cli.errors import UsageError
from saliency_cli.inference.predictor import Listen, SaliencyPredictor
from saliency_cli.media import STDIN, SidecarWriter, Source, open_source, read_sound, sound_window, source_path
from saliency_cli.models.config import SOUND_STUDY
from saliency_cli.models.registry import LoadedModel, load_model
from saliency_cli.options import PredictOptions
from saliency_cli.outputs import Output, no_folders_left, plan_outputs
from saliency_cli.postprocess import check_fit, finished
from saliency_cli.products import Sink, open_sink
from saliency_cli.provenance import digest_of, provenance
from saliency_cli.queues import Ahead, Behind
from saliency_cli.segments import Segments, open_segments, resumed_maps
from saliency_cli.timings import StageClock
from saliency_cli.types import Frame, SaliencyFrame

__all__ = ["Prediction", "check_rate", "load_predictor", "open_input", "predict", "saliency_frames", "use_threads"]

log = logging.getLogger(__name__)

DEPTH = 4  # frames that wait between two stages

Pair = tuple[Frame, SaliencyFrame]
OnProgress = Callable[[int, int | None], None]
"""Called with the number of frames done and, if it is known, of all."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a prediction did.

    ``outputs`` are the products in the order asked for. ``resumed``: frames whose maps an earlier run had kept.
    ``timings``: seconds that each stage was busy, and in all. ``delay``: of a stream that was read as it came, median
    and largest seconds from a frame's arrival to its map's having gone out.
    """

    source: Path
    outputs: tuple[Output, ...]
    frames: int
    decoder: str
    device: str
    precision: str
    weights: str
    warnings: tuple[str, ...]
    timings: dict[str, float]
    resumed: int = 0
    delay: dict[str, float] | None = None

    @property
    def frames_per_second(self) -> float:
        """Frames over all the time it took, loading included."""
        return self.frames / max(self.timings["total"], 1e-9)

    def record(self) -> dict[str, Any]:
        """How the run went, for the sidecars."""
        names = ("frames", "resumed", "decoder", "device", "precision", "timings", "delay", "warnings")
        return {name: getattr(self, name) for name in names}


def use_threads(options: PredictOptions) -> None:
    """Let torch and OpenCV, in this whole process, use as many threads as the options say, if they say it."""
    if options.threads is not None:
        torch.set_num_threads(options.threads)
        cv2.setNumThreads(options.threads)


def load_predictor(options: PredictOptions) -> SaliencyPredictor:
    """The predictor that the options ask for; one serves any number of videos.

    Raises:
        WeightsError, UsageError, DeviceError: see ``load_model`` and ``SaliencyPredictor``.
    """
    use_threads(options)
    model = load_model(options.model, weights=options.weights)
    check_fit(options, model)
    return SaliencyPredictor(model, device=options.device, precision=options.precision, exact=options.exact)


def predict(
    source: str | Path,
    options: PredictOptions | None = None,
    *,
    predictor: SaliencyPredictor | None = None,
    others: Collection[Path] = (),
    folder: Path | None = None,
    name: str | None = None,
    on_progress: OnProgress | None = None,
    **changes: Any,
) -> Prediction:
    """Predict one video, folder of frames or still image, and write the products.

    Args:
        source: the input; ``-`` is stdin.
        options: what is wanted; ``changes`` are fields of :class:`PredictOptions` that differ from it.
        predictor: a loaded one, to be used for several inputs, instead of what the options name.
        others: inputs beside this one, which no product may replace; with several, ``options.output`` is a folder.
        folder: where the products go, under the names that the tool gives them, instead of ``options.output``.
        name: what the products are called after, instead of the input.
        on_progress: called after each frame's map.

    Raises:
        ReadError, WriteError, WeightsError, DeviceError, UsageError: as in ``saliency_cli.errors``. No product is
            left then, and earlier products are untouched.
    """
    options = replace(options or PredictOptions(), **changes)
    path, clock = source_path(source), StageClock()
    warnings: list[str] = []
    if path == STDIN and options.resume:
        raise UsageError("--resume: stdin cannot be read a second time; save it to a file first.")
    with open_input(path, options) as reader:
        check_rate(reader, options)
        planned = plan_outputs(path, reader.info.kind, options, others=others, folder=folder, name=name)
        if options.resume and planned[0].path is None:
            raise UsageError("--resume: what went to stdout is gone, and cannot be gone on from; give a file with -o.")
        predictor, options = _ready(predictor, options)
        log.info("%s: read by %s (%s)", reader.name, reader.decoder, reader.reason)
        log.info("%s: on %s (%s)", reader.name, predictor.device, predictor.device_reason)
        log.info("%s: in %s (%s)", reader.name, predictor.precision, predictor.precision_reason)
        with no_folders_left(planned), ExitStack() as stack:
            # A long film takes long to read for its digest: once, and only where it is told
            origin = _origin(reader, predictor, options) if options.resume else None
            kept = stack.enter_context(_segments(reader, predictor, planned[0], origin)) if origin else None
            sinks = [stack.enter_context(open_sink(output, reader.info, options, reader.sound)) for output in planned]
            resumed = kept.frames if kept else 0
            frames = _write_all(reader, predictor, options, sinks, clock, warnings, on_progress, kept)
            # What can fail, fails before anything is put in its place.
            for sink in sinks:
                sink.writer.finish()
                warnings += map(reader.told, sink.writer.notes)
            prediction = Prediction(
                source=path,
                outputs=planned,
                frames=frames,
                decoder=f"{reader.decoder} ({reader.reason})",
                device=f"{predictor.device} ({predictor.device_reason})",
                precision=f"{predictor.precision} ({predictor.precision_reason})",
                weights=predictor.model.weights.name,
                warnings=(*warnings, *reader.warnings),
                timings=clock.timings(),
                resumed=resumed,
                delay=reader.delay,
            )
            for output in planned:
                if output.path is not None:
                    origin = origin or _origin(reader, predictor, options)
                    sidecar = stack.enter_context(SidecarWriter(output.path))
                    sidecar.write({"product": output.product, **origin, **prediction.record()})
                    sidecar.finish()
    return prediction


def _write_all(
    reader: Source,
    predictor: SaliencyPredictor,
    options: PredictOptions,
    sinks: Sequence[Sink],
    clock: StageClock,
    warnings: list[str],
    on_progress: OnProgress | None,
    kept: Segments | None,
) -> int:
    """Send every frame through the stages; the number of frames."""
    keep_pixels = any(sink.needs_pixels for sink in sinks)

    def write(pair: Pair) -> None:
        with clock("write"):
            for sink in sinks:
                sink.write(*pair)
        reader.delivered(pair[0])

    def interrupt() -> None:
        for sink in sinks:
            sink.writer.interrupt()

    frames = 0
    with (
        closing(
            _pairs(reader, predictor, options, clock, warnings, on_progress, keep_pixels=keep_pixels, kept=kept)
        ) as pairs,
        Behind(write, depth=DEPTH, stop=interrupt) as writer,
    ):
        for pair in pairs:
            writer.put(pair)
            frames += 1
    return frames


def saliency_frames(
    source: str | Path,
    options: PredictOptions | None = None,
    *,
    predictor: SaliencyPredictor | None = None,
    **changes: Any,
) -> Iterator[SaliencyFrame]:
    """The maps of a video one after the other, post-processed as for the products but at the network's size."""
    # Nothing is written, and of all products arrays allow every option
    options = replace(options or PredictOptions(write=("arrays",)), **changes)
    with open_input(source_path(source), options) as reader:
        predictor, options = _ready(predictor, options)
        warnings: list[str] = []
        with closing(_pairs(reader, predictor, options, StageClock(), warnings, None, keep_pixels=False)) as pairs:
            for _, saliency in pairs:
                yield saliency
        for warning in (*warnings, *reader.warnings):
            log.warning("%s", warning)


def _ready(predictor: SaliencyPredictor | None, options: PredictOptions) -> tuple[SaliencyPredictor, PredictOptions]:
    """The predictor, loaded if need be, and the options with the architecture that it has."""
    if predictor is None:
        return load_predictor(options), options
    check_fit(options, predictor.model)
    return predictor, replace(options, model=predictor.model.config.architecture)


def open_input(path: Path, options: PredictOptions) -> Source:
    """An input, opened as the options say. Raises ReadError, UsageError: see ``open_source``."""
    rate = None if options.rate is None else Fraction(options.rate).limit_denominator(100_000)
    # What is needed a second time, or before the pictures, cannot be had from a pipe as it comes
    twice = options.normalize == "video" and any(product in ("overlay", "side-by-side") for product in options.write)
    return open_source(
        path,
        decoder=options.decoder,
        fps=rate,
        threads=options.threads,
        start=options.start,
        end=options.end,
        spool=twice or options.audio,
    )


def check_rate(reader: Source, options: PredictOptions) -> None:
    """Raise UsageError for a rate that is given to what has times of its own."""
    if options.rate is not None and reader.info.kind == "video":
        raise UsageError(f"--fps {options.rate:g}: {reader.name} is a video and has its own times; leave it out.")


def _pairs(
    reader: Source,
    predictor: SaliencyPredictor,
    options: PredictOptions,
    clock: StageClock,
    warnings: list[str],
    on_progress: OnProgress | None,
    *,
    keep_pixels: bool,
    kept: Segments | None = None,
) -> Generator[Pair, None, None]:
    """Every frame with its post-processed map, in order. Frames come without pixels where nobody wants them."""
    listen = _listener(reader, predictor.model, warnings) if options.audio else None
    if options.normalize != "video" or options.raw:
        for frame, raw in _predicted(reader, predictor, clock, listen, on_progress, keep_pixels=keep_pixels, kept=kept):
            yield frame, finished(raw, predictor.model.config, options)
        return
    # The scale is known when the last map is: maps wait on disk, and pictures are decoded a second time.
    with render.VideoScale() as scale:
        bare: list[Frame] = []
        for frame, raw in _predicted(reader, predictor, clock, listen, on_progress, keep_pixels=False, kept=kept):
            scale.add(finished(raw, predictor.model.config, options))
            bare.append(frame)
        with Ahead(clock.around("decode", reader if keep_pixels else bare), depth=DEPTH) as frames:
            for pair in zip(frames, scale.scaled(), strict=True):
                yield pair
                if on_progress:
                    on_progress(len(bare), reader.expected)  # nothing new, but a sign of life


def _predicted(
    reader: Source,
    predictor: SaliencyPredictor,
    clock: StageClock,
    listen: Listen | None,
    on_progress: OnProgress | None,
    *,
    keep_pixels: bool,
    kept: Segments | None,
) -> Iterator[Pair]:
    """Every frame with its raw map."""
    waiting: deque[Frame] = deque()

    def passing(frames: Iterable[Frame]) -> Iterator[Frame]:
        for frame in frames:
            waiting.append(frame if keep_pixels else replace(frame, pixels=NO_PIXELS))
            yield frame

    with Ahead(clock.around("decode", reader), depth=DEPTH, stop=reader.interrupt) as frames:
        shown = passing(clock.around("wait", frames))
        if kept is not None:
            maps = resumed_maps(shown, predictor, kept, listen)
        else:
            maps = predictor.predict(shown, still=reader.info.kind == "image", listen=listen)
        for done, saliency in enumerate(clock.around("predict", maps), 1):
            yield waiting.popleft(), saliency
            if on_progress:
                on_progress(done, reader.expected)


def _origin(reader: Source, predictor: SaliencyPredictor, options: PredictOptions) -> dict[str, Any]:
    """What the sidecars say of where the products come from."""
    digest = reader.sha256 or digest_of(Path(reader.info.path))
    return provenance(reader.info, predictor.model, options, digest)


def _segments(
    reader: Source, predictor: SaliencyPredictor, product: Output, origin: Mapping[str, Any]
) -> AbstractContextManager[Segments | None]:
    """The finished parts of a prediction; None for a picture, which is soon done."""
    if reader.info.kind == "image" or product.path is None:
        return nullcontext()
    run = {"device": str(predictor.device), "precision": predictor.precision, "decoder": reader.decoder}
    return open_segments(product.path, {**origin, **run})


NO_PIXELS: NDArray[np.uint8] = np.empty((0, 0, 3), np.uint8)


def _listener(reader: Source, model: LoadedModel, warnings: list[str]) -> Listen | None:
    """The sound of the source's windows; without a sound track a warning, and the visual network.

    What is known of the sound's use, from the weights' header, is noted with the warnings.
    """
    sound = read_sound(reader.sound) if isinstance(reader.sound, Path) and reader.info.audio else None
    if sound is None:
        warnings.append(f"{reader.name} has no sound: its maps are the visual network's.")
        return None
    if study := model.metadata.get(SOUND_STUDY):
        warnings.append(f"--audio: {study}")
    # The embedded model asks for a stretch of time between two instants, whatever the frame rate.
    frame_seconds = float(1 / reader.info.rate) if model.config.encoder == "s3d" else 0.0

    def listen(seconds: Sequence[float], reverse: bool) -> NDArray[np.float32]:
        return sound_window(sound, seconds, frame_seconds, reverse=reverse)

    return listen
