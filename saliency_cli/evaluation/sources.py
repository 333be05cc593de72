"""Where maps come from: a model, a Gaussian on the centre, half of the observers. Stored ones are in ``stored``.

A source gives trials: maps, and the recording that judges them. All have one trial an item but the observers, of whom
several random halves predict the other half.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from saliency_cli.datasets.base import Recording
from saliency_cli.errors import UsageError
from saliency_cli.evaluation.timeline import frame_times
from saliency_cli.inference.predictor import SaliencyPredictor
from saliency_cli.metrics import center_gaussian
from saliency_cli.models.registry import LoadedModel
from saliency_cli.options import PredictOptions
from saliency_cli.pipeline import load_predictor, saliency_frames
from saliency_cli.types import SaliencyFrame

__all__ = ["CENTRE", "OBSERVERS", "SPLITS", "Centre", "MapSource", "Observers", "PredictedMaps", "Trial", "label_of"]

CENTRE = "baseline:center"
OBSERVERS = "baseline:observers"
SPLITS = 10
"""Random halves of the observers, over which :data:`OBSERVERS` is averaged."""


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """Maps in the order of their frames, and whose gaze they are scored on."""

    maps: Iterator[SaliencyFrame]
    judge: Recording


class MapSource(ABC):
    """What is scored. ``name`` is what reports call it."""

    name: str
    steady = True
    """Whether the maps of an item follow each other in time, so that their change says something."""

    def prepare(self, recordings: Sequence[Recording], limit: int | None) -> Mapping[str, str]:
        """Look at everything before anything is scored; the items without maps, by label, each with the reason.

        Raises:
            ReadError: maps that cannot be those of their item.
        """
        return {}

    @abstractmethod
    def trials(self, recording: Recording, limit: int | None) -> Iterator[Trial]:
        """One or more series of maps for the recording's first ``limit`` frames. Raises ReadError."""

    @abstractmethod
    def about(self) -> dict[str, Any]:
        """What a report says of it, as JSON takes it."""

    def notes(self) -> tuple[str, ...]:
        """What a reader of the scores should know, a sentence each; complete when all is scored."""
        return ()


def label_of(recording: Recording) -> str:
    """``dataset/name``, as reports call an item."""
    return f"{recording.dataset}/{recording.name}"


class PredictedMaps(MapSource):
    """A model, run on the stimuli; maps are post-processed as ``vsal predict`` does, and stay floating point.

    Raises:
        WeightsError, UsageError, DeviceError: the model cannot be loaded (see ``load_predictor``).
    """

    def __init__(
        self,
        options: PredictOptions | None = None,
        *,
        predictor: SaliencyPredictor | None = None,
        name: str | None = None,
    ) -> None:
        self.options = options or PredictOptions()
        self.predictor = predictor or load_predictor(self.options)
        self.name = name or f"model:{self.model.weights.name.removesuffix('.safetensors')}"

    @property
    def model(self) -> LoadedModel:
        """The network and where its weights come from."""
        return self.predictor.model

    def prepare(self, recordings: Sequence[Recording], limit: int | None) -> Mapping[str, str]:
        return {label_of(one): "no stimulus to predict on" for one in recordings if one.stimulus is None}

    def trials(self, recording: Recording, limit: int | None) -> Iterator[Trial]:
        yield Trial(self._maps(recording, limit), recording)

    def _maps(self, recording: Recording, limit: int | None) -> Iterator[SaliencyFrame]:
        assert recording.stimulus is not None  # prepare has seen to it
        maps = saliency_frames(recording.stimulus, self.options, predictor=self.predictor)
        with closing(cast("Generator[SaliencyFrame, None, None]", maps)):  # stopping early stops the decoder
            for one in maps:
                if limit is not None and one.index >= limit:
                    break
                yield one

    def about(self) -> dict[str, Any]:
        return {
            "kind": "model",
            "weights": self.model.weights.name,
            "sha256": self.model.sha256,
            "bytes": self.model.weights.stat().st_size if self.model.weights.is_file() else None,
            **self.model.config.to_metadata(),
            "device": str(self.predictor.device),
            "precision": self.predictor.precision,
            "exact": self.options.exact,
            "use_audio": self.options.audio,
        }


class Centre(MapSource):
    """A Gaussian on the centre, the same for every frame: what knows nothing of the picture."""

    name = CENTRE

    def prepare(self, recordings: Sequence[Recording], limit: int | None) -> Mapping[str, str]:
        return _timeless(recordings)

    def trials(self, recording: Recording, limit: int | None) -> Iterator[Trial]:
        centre = center_gaussian(recording.height, recording.width).astype(np.float32)
        times = enumerate(frame_times(recording, limit))
        yield Trial((SaliencyFrame(index, seconds, centre) for index, seconds in times), recording)

    def about(self) -> dict[str, Any]:
        return {"kind": "baseline", "what": "a Gaussian on the centre, sigma 0.2 of the width and of the height"}


class Observers(MapSource):
    """The density of a random half of the observers, scored on the other half, for several random splits."""

    name = OBSERVERS
    steady = False

    def __init__(self, splits: int = SPLITS, *, seed: int = 0) -> None:
        if splits < 1:
            raise UsageError(f"{OBSERVERS}: {splits} splits are too few; take at least 1.")
        self.splits, self.seed = splits, seed

    def prepare(self, recordings: Sequence[Recording], limit: int | None) -> Mapping[str, str]:
        reasons = dict(_timeless(recordings))
        for recording in recordings:
            try:
                recording.halves(self.seed)
            except UsageError as error:
                reasons[label_of(recording)] = str(error).removesuffix(".")
        return reasons

    def trials(self, recording: Recording, limit: int | None) -> Iterator[Trial]:
        times = frame_times(recording, limit)
        for split in range(self.splits):
            first, second = recording.halves(self.seed + split)
            yield Trial(self._maps(first, times), second)

    def _maps(self, half: Recording, times: Sequence[float]) -> Iterator[SaliencyFrame]:
        for index, seconds in enumerate(times):
            truth = half.truth(index, seconds)
            if truth is not None:
                yield SaliencyFrame(index, seconds, truth.density)

    def about(self) -> dict[str, Any]:
        what = "the density of half of the observers, scored on the other half, averaged over random splits"
        return {"kind": "baseline", "what": what, "splits": self.splits, "seed": self.seed}


def _timeless(recordings: Sequence[Recording]) -> Mapping[str, str]:
    return {
        label_of(one): "no stimulus that tells when its frames are shown"
        for one in recordings
        if one.kind == "video" and one.pairing == "time" and one.stimulus is None
    }
