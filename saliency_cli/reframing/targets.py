"""Where the crop should be: which window holds the most attention, without running after every flicker.

Attention is given as its distribution along the axis on which the crop moves, (cells, B), each row with the sum 1:
cell ``k`` is the mean over a short stretch of time. Positions are those of the window's edge, as parts of the frame's
length: 0 to ``room = 1 - share``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["MOVE", "follow", "gains", "held", "positions"]

Array = NDArray[np.float64]

STEPS = 200  # positions in a frame's length
EDGE = 0.5  # what attention counts at the window's edge, against 1 in its middle: subjects are framed, not grazed
CENTRE = 1e-3  # a frame's length off the middle costs this much attention: decides only where nothing else does
# What a move of one frame's length must bring: the whole attention for so many seconds. A small shift that brings
# little is not made, nor is one to something that is soon over.
MOVE = 0.5


def positions(room: float) -> Array:
    """The positions that are compared: (M,), from 0 to ``room``."""
    return np.linspace(0.0, room, int(np.ceil(room * STEPS)) + 1)


def gains(attention: Array, room: float) -> Array:
    """What each position is worth: (cells, M), the attention within the window, weighted towards its middle."""
    where = positions(room)
    worth = attention @ _windows(attention.shape[1], where, 1 - room, edge=EDGE)
    return np.asarray(worth - CENTRE * np.abs(where - room / 2))


def held(attention: NDArray[np.floating], room: float, where: Array) -> Array:
    """The part of each row's attention that lies within the window at ``where``: (cells,)."""
    total = np.concatenate([np.zeros((len(attention), 1)), np.cumsum(attention, axis=1)], axis=1)
    bins = attention.shape[1]
    rows = np.arange(len(attention))

    def before(edge: Array) -> Array:
        at = np.clip(edge, 0, 1) * bins
        whole = np.minimum(at.astype(np.int64), bins - 1)
        return np.asarray(total[rows, whole] + (at - whole) * attention[rows, whole])

    return before(where + 1 - room) - before(where)


def follow(worth: Array, room: float, step: float, move: float = MOVE) -> Array:
    """The positions (cells,) that together hold the most attention, where moving has its price.

    Maximises the sum of ``step * worth[k, u[k]] - move * |u[k] - u[k-1]|`` by dynamic programming (Viterbi, 1967). That
    price is the total variation, so the result holds still and moves on rather than drifting. The price is a distance,
    so the best predecessor of all positions comes of two running maxima (Felzenszwalb and Huttenlocher, 2012, section
    5): the time is proportional to ``worth``'s size.
    """
    cells, count = worth.shape
    where = positions(room)
    ramp = move * where
    best = np.empty((cells, count), np.float64)
    best[0] = step * worth[0]
    for cell in range(1, cells):
        from_left = np.maximum.accumulate(best[cell - 1] + ramp) - ramp
        from_right = np.maximum.accumulate((best[cell - 1] - ramp)[::-1])[::-1] + ramp
        best[cell] = np.maximum(from_left, from_right) + step * worth[cell]
    chosen = np.empty(cells, np.int64)
    chosen[-1] = best[-1].argmax()
    for cell in range(cells - 2, -1, -1):
        after = chosen[cell + 1]
        value = best[cell] - move * np.abs(where - where[after])
        # Of equals the one that needs no move
        chosen[cell] = after if value[after] >= value.max() - 1e-12 else value.argmax()
    return where[chosen]


def _windows(bins: int, where: Array, share: float, *, edge: float) -> Array:
    """What a bin of attention counts for each position: (bins, M).

    The mean over the bin of a parabola that is 1 in the window's middle and ``edge`` at its edges, and 0 outside.
    """
    edges = np.arange(bins + 1)[:, None] / bins
    offset = np.clip((edges - where - share / 2) / (share / 2), -1, 1)  # -1 to 1 within the window
    integral = offset - (1 - edge) * offset**3 / 3
    return np.asarray(np.diff(integral, axis=0) * share / 2 * bins)
