"""Plain tables of fixations as a data set: paired by time on the container's clock, observers told apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from saliency_cli.datasets.base import Dataset, Recording, Truth
from saliency_cli.datasets.pictures import stimulus_size
from saliency_cli.errors import ReadError, UsageError
from saliency_cli.metrics import (
    SIGMA_STILL,
    SIGMA_VIDEO,
    Fixations,
    GazeTable,
    Item,
    active,
    density_map,
    fixation_counts,
    fixation_map,
    is_validation,
    split_observers,
)
from saliency_cli.metrics.split import same_content, video_folds

__all__ = ["GazeRecording", "open_gaze"]


@dataclass(frozen=True, kw_only=True, eq=False)
class GazeRecording(Recording):
    """An item of a gaze table with its fixations. Scored at the size of its stimulus, or of the source without one."""

    item: Item
    fixations: Fixations

    def truth(self, index: int, seconds: float, size: tuple[int, int] | None = None) -> Truth:
        """The fixations active at ``seconds``, of a still all of them, and their density of about one degree."""
        height, width = size or (self.height, self.width)
        still = self.kind == "image"
        points = self.fixations.points if still else active(self.fixations, seconds)
        counts = fixation_counts(points, height, width)
        return Truth(counts, density_map(counts, height * (SIGMA_STILL if still else SIGMA_VIDEO)))

    def fixated(self, height: int, width: int) -> NDArray[np.bool_]:
        return fixation_map(self.fixations.points, height, width)

    def same_content(self, other: Recording) -> bool:
        """Whether both show the same recording, published twice or not."""
        return same_content(self.item, other.item) if isinstance(other, GazeRecording) else super().same_content(other)

    def halves(self, seed: int = 0) -> tuple[Recording, Recording]:
        try:
            first, second = split_observers(self.fixations, seed=seed)
        except ValueError as error:
            raise UsageError(
                f"{self.dataset}/{self.name} cannot have half of its observers predict the others: {error}."
            ) from error
        return replace(self, fixations=first), replace(self, fixations=second)


def open_gaze(root: Path) -> Dataset:
    """The recordings of a gaze table, in file order; items whose stimulus is missing have none.

    Raises ReadError if a table or a stimulus's header is damaged.
    """
    table = GazeTable.load(root)
    folds = video_folds(table.items())
    return Dataset(root, "gaze", tuple(_recording(table, item, folds) for item in table.items()))


def _recording(table: GazeTable, item: Item, folds: Mapping[tuple[str, str], int]) -> GazeRecording:
    stimulus: Path | None
    try:
        stimulus = table.stimulus_path(item.dataset, item.name)
    except ReadError:  # not there: its gaze can still be held against maps that were made elsewhere
        stimulus = None
    height, width = stimulus_size(stimulus) if stimulus else (item.height, item.width)
    splits = {"validation" if is_validation(item) else "train"}
    if fold := folds.get((item.dataset, item.name)):
        splits.add(f"fold-{fold}")
    return GazeRecording(
        dataset=item.dataset,
        name=item.name,
        kind=item.kind,
        stimulus=stimulus,
        height=height,
        width=width,
        splits=frozenset(splits),
        pairing="time",
        item=item,
        fixations=table.fixations(item.dataset, item.name),
    )
