"""Which recordings of a data set are evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from saliency_cli.datasets import Dataset, Recording
from saliency_cli.errors import UsageError
from saliency_cli.evaluation.sources import label_of

__all__ = ["ALL", "default_split", "select", "splits_of"]

ALL = "all"
PREFERRED = ("validation", "test", "test-1")


def splits_of(recordings: Sequence[Recording]) -> tuple[str, ...]:
    """The parts that the recordings belong to, sorted."""
    return tuple(sorted({split for recording in recordings for split in recording.splits}))


def default_split(dataset: Dataset) -> str:
    """``validation`` where the data set has it, else ``test``, else ``test-1``, else ``all``."""
    known = splits_of(dataset.recordings)
    return next((split for split in PREFERRED if split in known), ALL)


def select(
    dataset: Dataset,
    split: str | None = None,
    *,
    datasets: Sequence[str] = (),
    items: Sequence[str] = (),
) -> tuple[Recording, ...]:
    """The recordings of one part, in their order.

    Args:
        split: the name of a part, ``all``, or None for :func:`default_split`.
        datasets: only these.
        items: only those whose name, or ``dataset/name``, is one of these or matches such a pattern (``hevc/Race*``).

    Raises:
        UsageError: a name that does not exist, or nothing is left.
    """
    chosen: Sequence[Recording] = dataset.recordings
    names = tuple(dict.fromkeys(recording.dataset for recording in chosen))
    if strange := [name for name in datasets if name not in names]:
        raise UsageError(f"{dataset.root} has no dataset {strange[0]!r}: choose among {', '.join(names)}.")
    if datasets:
        chosen = [recording for recording in chosen if recording.dataset in datasets]
    known = splits_of(chosen)
    split = default_split(dataset) if split is None else split
    everywhere = splits_of(dataset.recordings)
    if split != ALL and split not in everywhere:
        raise UsageError(f"--select {split}: {dataset.root} has no such part; choose {', '.join((*everywhere, ALL))}.")
    if split != ALL:
        chosen = [recording for recording in chosen if split in recording.splits]
    if items:
        chosen = _matching(chosen, items, dataset, split)
    if not chosen:
        raise UsageError(
            f"{dataset.root}: nothing is selected; use --select all or other data sets "
            f"(those chosen have {', '.join(known) or 'no parts'})."
        )
    return tuple(chosen)


def _matching(
    recordings: Sequence[Recording], patterns: Sequence[str], dataset: Dataset, split: str
) -> list[Recording]:
    kept: set[str] = set()
    for pattern in patterns:
        found = {
            label_of(one) for one in recordings if any(fnmatchcase(name, pattern) for name in (one.name, label_of(one)))
        }
        if not found:
            raise UsageError(
                f"--item {pattern}: there is no such item in the part {split!r} of {dataset.root}; "
                "check the name, or use --select all."
            )
        kept |= found
    return [one for one in recordings if label_of(one) in kept]
