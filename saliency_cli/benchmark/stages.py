"""A prediction's stages, each alone, and all of them together in the pipeline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from saliency_cli import render
from saliency_cli.benchmark.material import Material
from saliency_cli.benchmark.results import StageSpeed
from saliency_cli.benchmark.timing import rounds_of, timing_of
from saliency_cli.inference.motion import MotionMeter
from saliency_cli.inference.predictor import SaliencyPredictor
from saliency_cli.inference.preparing import prepare
from saliency_cli.inference.windowed import prepared_frames
from saliency_cli.media import Source, VideoWriter
from saliency_cli.models.config import ModelConfig
from saliency_cli.models.streaming import input_size_for
from saliency_cli.options import PredictOptions
from saliency_cli.pipeline import predict
from saliency_cli.types import Frame, SaliencyFrame

__all__ = ["CASES", "measure_stages", "prepare_all", "rendered"]

DECODE, PREPARE, PREDICT, RENDER, ENCODE, PIPELINE = "decode", "prepare", "predict", "render", "encode", "pipeline"
CASES = (DECODE, PREPARE, PREDICT, RENDER, ENCODE, PIPELINE)


def measure_stages(
    material: Material,
    reader: Source,
    predict_some: Callable[[], Sequence[SaliencyFrame]],
    predictor: SaliencyPredictor,
    options: PredictOptions,
    folder: Path,
    *,
    rounds: int,
    on_turn: Callable[[], None] | None = None,
) -> tuple[StageSpeed, ...]:
    """Milliseconds a frame of every stage, which take turns, and of the pipeline.

    ``predict`` is from frames in memory to maps, so it comprises ``prepare``, with which it may overlap. The pipeline
    goes through all of the material; it takes its turn with the others, but for a network with a window, whose maps
    take so long that it runs once, after them.

    Args:
        reader: gives the material's frames.
        predict_some: makes maps, always as many; nothing of it goes on when it returns.
        predictor, options: for the pipeline; the options' one output lies in ``folder``, where other files appear, too.
    """
    config, frames = predictor.model.config, material.frames
    windowed = config.encoder == "s3d"
    maps = predict_some()
    pairs = list(zip(frames, islice(cycle(maps), len(frames)), strict=True))
    pictures = [rendered(frame, saliency, config, options) for frame, saliency in pairs]

    def decode() -> None:
        for _ in islice(reader, len(frames)):
            pass
        reader.close()

    def encode() -> None:
        info = material.info
        with VideoWriter(
            folder / "encoded.mp4",
            info=info,
            width=info.width,
            height=info.height,
            crf=options.crf,
            threads=options.threads,
        ) as video:
            for frame, picture in zip(frames, pictures, strict=True):
                video.write(picture, frame.pts)

    cases: dict[str, Callable[[], object]] = {
        DECODE: decode,
        PREPARE: lambda: prepare_all(frames, config),
        PREDICT: predict_some,
        RENDER: lambda: [rendered(frame, saliency, config, options) for frame, saliency in pairs],
        ENCODE: encode,
    }
    whole = {PIPELINE: lambda: predict(material.info.path, options, predictor=predictor)}
    items = {**dict.fromkeys(cases, len(frames)), PREDICT: len(maps), PIPELINE: material.length}
    if windowed:
        times = rounds_of(cases, rounds=rounds, items=items, on_turn=on_turn)
        times |= rounds_of(whole, rounds=1, items=items, uncounted=0, on_turn=on_turn)
    else:
        times = rounds_of({**cases, **whole}, rounds=rounds, items=items, on_turn=on_turn)
    return tuple(StageSpeed(name, timing_of(times[name])) for name in CASES)


def prepare_all(frames: Sequence[Frame], config: ModelConfig) -> None:
    """What is done to frames before the network sees them: resizing and, for the embedded model, measuring motion."""
    if config.encoder == "s3d":
        for _ in prepared_frames(frames, config):
            pass
        return
    height, width = frames[0].pixels.shape[:2]
    size = input_size_for(width, height, budget=config.input_size)
    meter = MotionMeter()
    for frame in frames:
        prepare(frame, config, size, cv2.INTER_AREA)
        meter.measure(frame.pixels, frame.seconds)


def rendered(frame: Frame, raw: SaliencyFrame, config: ModelConfig, options: PredictOptions) -> NDArray[np.uint8]:
    """The overlay of a frame, uint8 (H, W, 3), from the network's own map, post-processed as in the pipeline."""
    finish = render.tased_postprocess if config.architecture == "tased" else render.normalise
    finished = replace(raw, saliency=finish(raw.saliency))
    return render.overlay(frame.pixels, finished.saliency, options.colormap, opacity=options.opacity)
