"""The path of the crop: smooth as an operator moves a camera, within limits, and never outside the frame.

The method is that of Grundmann, Kwatra and Essa, "Auto-directed video stabilization with robust L1 optimal camera
paths" (CVPR 2011, section 3): of all paths that keep the constraints, the one with the least sum of absolute first,
second and third derivatives, a linear programme. Sums of absolute values make most derivatives exactly zero, so the
path is made of holds, steady pans, and eased transitions between them. Their path stays near the camera's; ours stays
near the positions that ``targets`` chose, by a term of absolute distance.

Ours is in continuous time: acceleration is constant between knots, so position is a quadratic spline whose speed and
acceleration are bounded everywhere if they are at the knots; and it lies within the convex hull of its Bézier points,
so these are what is kept inside the frame. Knots have a distance of their own, so the path does not depend on the
frame rate; frames look up their presentation times.

Positions are parts of the frame's length, times are seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, sparse

from saliency_cli.errors import VsalError
from saliency_cli.reframing.targets import follow, gains

__all__ = ["Limits", "Motion", "plan_path", "smooth"]

Array = NDArray[np.float64]

STEP = 0.1  # seconds between knots
# Prices of a unit of the integrals of |speed|, |acceleration| and |jerk|, against a unit of that of the distance. An
# excursion is left out if it lasts for less than twice SPEED; a pan over free ground takes some sqrt(8 ACCELERATION).
SPEED, ACCELERATION, JERK = 0.3, 0.25, 0.01
# The dead zone: within this part of the crop's length, to either side, distance costs little, so that small changes of
# the target are ignored unless they last.
DEAD, WITHIN = 0.1, 0.1
# A long shot is solved part by part, so that the time grows with the length only: each part is planned with what comes
# after it in view, and ended at rest there, which leaves the next part a way out.
PART, AHEAD = 600, 150  # knots
SLACK = 1e-6  # what the solver may have overstepped where one part hands over to the next
FINEST = 10  # knots a frame: more would say nothing


@dataclass(frozen=True, slots=True)
class Limits:
    """Of the crop's movement: frame lengths per second, and per second squared."""

    speed: float = 0.5
    acceleration: float = 1.0


@dataclass(frozen=True, slots=True)
class Motion:
    """A path between knots ``step`` apart: positions and speeds at the knots, (K + 1,) each."""

    step: float
    position: Array
    speed: Array
    room: float

    def at(self, seconds: Array) -> Array:
        """Positions at times from the first knot on, by de Casteljau's construction: never outside."""
        cell = np.clip((seconds / self.step).astype(np.int64), 0, len(self.position) - 2)
        part = np.clip(seconds / self.step - cell, 0, 1)
        begin, end = self.position[cell], self.position[cell + 1]
        middle = np.clip(begin + self.speed[cell] * self.step / 2, 0, self.room)
        first, second = begin + part * (middle - begin), middle + part * (end - middle)
        return np.clip(first + part * (second - first), 0, self.room)


def plan_path(
    attention: NDArray[np.floating],
    seconds: Array,
    *,
    end: float,
    room: float,
    cuts: Sequence[int] = (),
    limits: Limits = Limits(),
) -> Array:
    """The crop's position in each frame, (N,), 0 to ``room``.

    Args:
        attention: (N, B), each frame's along the crop's axis; rows have the sum 1.
        seconds: (N,), presentation times, which grow.
        end: when the last frame ends.
        room: how far the crop can move, less than 1.
        cuts: the frames that begin a shot, but for the first: the only ones before which the crop may jump.

    Raises:
        VsalError: the solver failed, which is our fault.
    """
    found = np.empty(len(seconds))
    starts = [0, *cuts]
    for first, last in zip(starts, [*cuts, len(seconds)], strict=True):
        over = seconds[last] if last < len(seconds) else end
        found[first:last] = _shot(attention[first:last], seconds[first:last], float(over), room, limits)
    return found


def smooth(targets: Array, step: float, *, room: float, limits: Limits = Limits()) -> Motion:
    """The smoothest path near ``targets``, (K,): those of the cells between K + 1 knots."""
    cells = len(targets)
    position, speed = np.empty(cells + 1), np.empty(cells + 1)
    state: tuple[float, float] | None = None
    for first in range(0, cells, PART):
        last = min(first + PART + AHEAD, cells)
        solved = _solve(targets[first:last], step, room, limits, state, rest=last < cells)
        keep = min(PART, cells - first)
        position[first : first + keep + 1] = solved[0][: keep + 1]
        speed[first : first + keep + 1] = solved[1][: keep + 1]
        state = float(position[first + keep]), float(speed[first + keep])
        if last == cells and keep < cells - first:
            # The rest is in view as a whole, and solved
            position[first:], speed[first:] = solved
            break
    return Motion(step, np.clip(position, 0, room), speed, room)


def _shot(attention: NDArray[np.floating], seconds: Array, end: float, room: float, limits: Limits) -> Array:
    """The positions of one shot's frames."""
    if room <= 0:
        return np.zeros(len(seconds))
    span = max(end - seconds[0], 1e-6)
    cells = int(min(max(np.ceil(span / STEP - 1e-6), 1), FINEST * len(seconds)))
    step = span / cells
    # Each cell's attention is the mean of the frames that are shown in it, each for as long as it is shown
    shown = _overlaps(np.append(seconds, end) - seconds[0], step, cells)
    targets = follow(gains(np.asarray(shown @ attention, np.float64), room), room, step)
    return smooth(targets, step, room=room, limits=limits).at(seconds - seconds[0])


def _overlaps(edges: Array, step: float, cells: int) -> sparse.csr_array:
    """For each cell, which part of it each frame fills: (cells, N), rows have the sum 1."""
    grid = np.arange(cells + 1) * step
    grid[-1] = edges[-1]
    cuts = np.unique(np.concatenate([edges, grid]))
    middle, length = (cuts[:-1] + cuts[1:]) / 2, np.diff(cuts)
    cell = np.clip(np.searchsorted(grid, middle) - 1, 0, cells - 1)
    frame = np.clip(np.searchsorted(edges, middle) - 1, 0, len(edges) - 2)
    return sparse.csr_array((length / np.diff(grid)[cell], (cell, frame)), shape=(cells, len(edges) - 1))


def _solve(
    targets: Array, step: float, room: float, limits: Limits, state: tuple[float, float] | None, *, rest: bool
) -> tuple[Array, Array]:
    """Positions and speeds at the knots, (K + 1,) each: from ``state`` on, if given, and at rest in the end, if asked.

    The variables are p, then v, a, j, and the distance from the targets, d within the dead zone and e beyond, each as
    the difference of two that are not negative, whose sum is then the absolute value.
    """
    cells = len(targets)
    knots, jerks = cells + 1, cells - 1
    sizes = (knots, knots, knots, cells, cells, jerks, jerks, cells, cells, cells, cells)
    forward, mean = _forward(cells), abs(_forward(cells)) / 2
    one, cell, rise = sparse.eye_array(knots), sparse.eye_array(cells), _forward(jerks)
    jerk = sparse.eye_array(jerks)
    equal = sparse.block_array(
        [
            # p[k+1] - p[k] = step (v[k] + v[k+1]) / 2
            [forward, -step * mean, step * mean, None, None, None, None, None, None, None, None],
            # v[k+1] - v[k] = step a[k]
            [None, forward, -forward, -step * cell, step * cell, None, None, None, None, None, None],
            # a[k+1] - a[k] = step j[k]
            [None, None, None, rise, -rise, -step * jerk, step * jerk, None, None, None, None],
            # (p[k] + p[k+1]) / 2 - d[k] - e[k] = target[k]
            [mean, None, None, None, None, None, None, -cell, cell, -cell, cell],
        ],
        format="csc",
    )
    right = np.concatenate([np.zeros(2 * cells + jerks), targets])
    # The middle Bézier point of each cell, p[k] + step v[k] / 2, is inside as well
    head = one.tocsr()[:cells]
    width = sum(sizes[3:])
    middle = sparse.hstack([head, head * (step / 2), head * (-step / 2), sparse.csr_array((cells, width))])
    prices = [0, SPEED, SPEED, ACCELERATION, ACCELERATION, JERK, JERK, WITHIN, WITHIN, 1, 1]
    low = np.zeros(sum(sizes))
    dead = DEAD * (1 - room)
    bounds = [room, *[limits.speed] * 2, *[limits.acceleration] * 2, *[np.inf] * 2, dead, dead, np.inf, np.inf]
    high = np.repeat(bounds, sizes)
    if state is not None:
        position, speed = np.clip(state[0], 0, room), np.clip(state[1], -limits.speed, limits.speed)
        low[0], high[0] = max(position - SLACK, 0), min(position + SLACK, room)
        for index, value in ((knots, max(speed, 0)), (2 * knots, max(-speed, 0))):
            low[index], high[index] = max(value - SLACK, 0), value + SLACK
    if rest:
        high[[2 * knots - 1, 3 * knots - 1]] = 0
    result = optimize.linprog(
        np.repeat(prices, sizes) * step,
        A_ub=sparse.vstack([middle, -middle], format="csc"),
        b_ub=np.repeat([room, 0.0], cells),
        A_eq=equal,
        b_eq=right,
        bounds=np.stack([low, high], axis=1),
        method="highs-ds",
    )
    if result.x is None:
        raise VsalError(f"the crop's path could not be planned ({result.message}); please report it, with the video.")
    found = np.split(result.x, np.cumsum(sizes)[:-1])
    return found[0], found[1] - found[2]


def _forward(count: int) -> sparse.dia_array:
    """Forward differences of ``count + 1`` values: (count, count + 1)."""
    return sparse.diags_array([-np.ones(count), np.ones(count)], offsets=[0, 1], shape=(count, count + 1))
