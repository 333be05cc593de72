"""Which items of the gaze tables validate, and which belong together."""

from __future__ import annotations

from collections.abc import Iterable

from saliency_cli.metrics.gaze import Item

__all__ = ["FOLDS", "SAME_CONTENT", "STILL_STRIDE", "VALIDATION_VIDEOS", "is_validation", "same_content", "video_folds"]

# Never trained on: two that stills already teach, two that ask for motion, and one with faces and sound
VALIDATION_VIDEOS = frozenset(
    {("hevc", "BasketballPass"), ("hevc", "Yan"), ("hevc", "Vidyo4"), ("hevc", "Traffic"), ("find", "022")}
)
STILL_STRIDE = 10
FOLDS = 5

# One recording published twice: what is learnt from one is known of the other
SAME_CONTENT = (
    frozenset({("hevc", "RaceHorsesC"), ("hevc", "RaceHorsesD")}),
    frozenset({("hevc", "BasketballDrill"), ("hevc", "BasketballDrillText")}),
)


def is_validation(item: Item) -> bool:
    """Whether ``item`` is kept back for validation: the videos named above, and every tenth still of each dataset.

    Stills count in file order from the first: positions 0, 10, 20 … of each dataset.
    """
    if item.kind == "video":
        return (item.dataset, item.name) in VALIDATION_VIDEOS
    return item.position % STILL_STRIDE == 0


def same_content(one: Item, other: Item) -> bool:
    """Whether both items show the same recording, as an item and itself do."""
    keys = {(one.dataset, one.name), (other.dataset, other.name)}
    return len(keys) == 1 or any(keys <= pair for pair in SAME_CONTENT)


def video_folds(items: Iterable[Item]) -> dict[tuple[str, str], int]:
    """The fold, 1 to 5, of each video, by data set and name: for cross-validation.

    Videos go to the folds in turn, in their order; one that shows the content of an earlier one goes where that is and
    takes no turn.
    """
    folds: dict[tuple[str, str], int] = {}
    placed: list[Item] = []
    turn = 0
    for item in items:
        if item.kind != "video":
            continue
        twin = next((other for other in placed if same_content(other, item)), None)
        if twin is None:
            folds[item.dataset, item.name] = turn % FOLDS + 1
            turn += 1
        else:
            folds[item.dataset, item.name] = folds[twin.dataset, twin.name]
        placed.append(item)
    return folds
