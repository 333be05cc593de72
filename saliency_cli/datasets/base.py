"""What every set of recorded gaze offers, whatever its layout on disk."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from saliency_cli.errors import UsageError

__all__ = ["Dataset", "Kind", "Pairing", "Recording", "Truth"]

Kind = Literal["image", "video"]
Pairing = Literal["time", "frame"]
"""How a prediction finds its ground truth: by presentation time in seconds, or by the frame's number."""


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """What was recorded for one frame or still.

    ``counts``: (H, W), fixations on each pixel; 0 and 1 where a data set stores binary maps. ``density``: (H, W)
    float32, not negative, of any scale.
    """

    counts: NDArray[Any]
    density: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class Recording(ABC):
    """One video or still, and where it was looked at.

    ``name`` is unique within its data set. ``stimulus`` is what a model predicts on: a video file, a folder of frames
    or a picture; None where the set came without it. ``height`` and ``width``, in pixels, are what maps are scored at.
    ``splits`` names the parts of the data set that it belongs to, such as ``validation`` or ``test-2``.
    ``frames`` is the number of frames that annotations run over where ``pairing`` is by frame, else None; a frame in
    between may lack one. ``numbers`` are those in the names of its frames' files where they are not 1, 2, 3 …, as in
    shots cut from a longer video; None elsewhere.
    """

    dataset: str
    name: str
    kind: Kind
    stimulus: Path | None
    height: int
    width: int
    splits: frozenset[str]
    pairing: Pairing
    frames: int | None = None
    numbers: tuple[int, ...] | None = None

    @abstractmethod
    def truth(self, index: int, seconds: float, size: tuple[int, int] | None = None) -> Truth | None:
        """What was recorded for frame ``index`` (from 0), presented at ``seconds`` of the container's clock.

        ``size`` is (height, width), by default that of the recording. None where the frame is not annotated at all;
        an annotated frame that nobody looked at has counts of zero.

        Raises:
            ReadError: an annotation is damaged.
        """

    @abstractmethod
    def fixated(self, height: int, width: int) -> NDArray[np.bool_]:
        """Every pixel fixated at any time, (height, width): what other stimuli's s-AUC takes its negatives from."""

    def same_content(self, other: Recording) -> bool:
        """Whether both show the same recording, as one does with itself."""
        return (self.dataset, self.name) == (other.dataset, other.name)

    def halves(self, seed: int = 0) -> tuple[Recording, Recording]:
        """A random half of the observers, and the others, each as a recording of its own.

        Raises:
            UsageError: the data set does not tell its observers apart.
        """
        raise UsageError(
            f"{self.dataset}/{self.name} does not tell observers apart, so that half of them cannot predict the "
            "other half; leave baseline:observers out."
        )


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """The recordings of one folder, in a fixed order. ``layout`` says how it was read."""

    root: Path
    layout: str
    recordings: Sequence[Recording]

    @property
    def splits(self) -> tuple[str, ...]:
        """The parts that the recordings belong to, sorted."""
        return tuple(sorted({split for recording in self.recordings for split in recording.splits}))

    def part(self, split: str) -> tuple[Recording, ...]:
        """The recordings of one part, in order.

        Raises:
            UsageError: no recording belongs to it.
        """
        found = tuple(recording for recording in self.recordings if split in recording.splits)
        if not found:
            known = ", ".join(self.splits) or "none"
            raise UsageError(f"{self.root} has no part {split!r}: choose one of those it has ({known}).")
        return found

    def __repr__(self) -> str:
        return f"Dataset({str(self.root)!r}, {self.layout}, {len(self.recordings)} recordings)"
