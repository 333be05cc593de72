"""A reframing's first pass: of each frame its time, whether a shot begins, and where attention is along one axis."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from saliency_cli.inference.predictor import SaliencyPredictor
from saliency_cli.media import Source
from saliency_cli.postprocess import finished
from saliency_cli.queues import Ahead
from saliency_cli.reframing.aspect import Crop
from saliency_cli.reframing.cuts import CutFinder
from saliency_cli.reframing.options import ReframeOptions
from saliency_cli.timings import StageClock
from saliency_cli.types import Frame, SaliencyFrame

__all__ = ["DEPTH", "Seen", "look"]

DEPTH = 4  # frames that wait between two stages
BINS = 128  # of the attention along the axis


@dataclass(slots=True)
class Seen:
    """What the first pass remembers; ``first`` is the number of the first frame in the whole input."""

    first: int = 0
    pts: list[int] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)
    attention: list[NDArray[np.float32]] = field(default_factory=list)


def look(
    reader: Source,
    predictor: SaliencyPredictor | None,
    options: ReframeOptions,
    crop: Crop,
    clock: StageClock,
    seen: Seen,
) -> Iterator[None]:
    """The first pass: times, cuts, and where attention is along the crop's axis."""
    finder = CutFinder(reader.info.rate)

    def passing(frames: Iterable[Frame]) -> Iterator[Frame]:
        for frame in frames:
            if not seen.pts:
                seen.first = frame.index
            seen.pts.append(frame.pts)
            if predictor is not None:
                finder.add(frame)
            yield frame

    with Ahead(clock.around("decode", reader), depth=DEPTH, stop=reader.interrupt) as frames:
        shown = passing(clock.around("wait", frames))
        if predictor is None:
            for _ in shown:
                yield
            return
        for raw in clock.around("predict", predictor.predict(shown)):
            seen.attention.append(_along(finished(raw, predictor.model.config, options.prediction), crop))
            yield
    seen.cuts = finder.cuts


def _along(saliency: SaliencyFrame, crop: Crop) -> NDArray[np.float32]:
    """The distribution of a map's attention along the crop's axis, (B,), with the sum 1; even if there is none."""
    line = np.maximum(saliency.saliency, 0).sum(axis=0 if crop.along == "x" else 1, dtype=np.float64)
    if len(line) > BINS:
        line = cv2.resize(line[None], (BINS, 1), interpolation=cv2.INTER_AREA)[0]
    total = line.sum()
    if not (np.isfinite(total) and total > 0):
        line, total = np.ones(len(line)), len(line)
    return np.asarray(line / total, np.float32)
