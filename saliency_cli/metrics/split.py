"""Which items of the gaze tables validate, and which belong together."""

from __future__ import annotations

from saliency_cli.metrics.gaze import Item

__all__ = ["SAME_CONTENT", "STILL_STRIDE", "VALIDATION_VIDEOS", "is_validation", "same_content"]

# Never trained on: two that stills already teach, two that ask for motion, and one with faces and sound
VALIDATION_VIDEOS = frozenset(
    {("hevc", "BasketballPass"), ("hevc", "Yan"), ("hevc", "Vidyo4"), ("hevc", "Traffic"), ("find", "022")}
)
STILL_STRIDE = 10

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
