"""The timeline of a report as SVG: concentration, and attention's place across and down, with the cuts.

Drawn in units of 1000 by 100, which the page stretches; lines keep their width. All text stands outside, in HTML.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import ceil

import numpy as np
from numpy.typing import NDArray

__all__ = ["concentration_chart", "place_chart", "scale_of"]

WIDTH, HEIGHT = 1000, 100
COLUMNS = 500  # more points than these cannot be told apart

Floats = NDArray[np.float64]


def scale_of(values: Floats) -> float:
    """The upper end of an axis from 0: the largest value, rounded up to tenths."""
    return max(ceil(float(values.max(initial=0.0)) * 10 - 1e-9) / 10, 0.1)


def concentration_chart(seconds: Floats, values: Floats, cuts: Sequence[float], end: float) -> str:
    """The area under the concentration, (n,), over ``seconds``, (n,)."""
    times, drawn = _thinned(seconds, values, end, mean=True)
    top = scale_of(values)
    points = [(_x(time, end), HEIGHT * (1 - value / top)) for time, value in zip(times, drawn, strict=True)]
    last = points[-1][1]
    steps = " ".join(f"L{x:.1f} {y:.1f}" for x, y in [*points, (WIDTH, last)])
    area = f'<path class="area" d="M0 {HEIGHT} L0 {points[0][1]:.1f} {steps} L{WIDTH} {HEIGHT} Z"/>'
    line = f'<path class="line" d="M0 {points[0][1]:.1f} {steps}"/>'
    return _chart(area + line, cuts, end)


def place_chart(seconds: Floats, peak: Floats, centroid: Floats, cuts: Sequence[float], end: float) -> str:
    """One coordinate, 0..1, of the peak and of the centroid, (n,) each, over ``seconds``, broken at cuts."""
    paths = [
        f'<path class="{name}" d="{_broken(seconds, values, cuts, end)}"/>'
        for name, values in (("centroid", centroid), ("peak", peak))
    ]
    return _chart("".join(paths), cuts, end)


def _chart(content: str, cuts: Sequence[float], end: float) -> str:
    lines = "".join(f'<path class="cut" d="M{_x(cut, end):.1f} 0 V{HEIGHT}"/>' for cut in cuts)
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" aria-hidden="true" focusable="false">'
        f"{lines}{content}</svg>"
    )


def _broken(seconds: Floats, values: Floats, cuts: Sequence[float], end: float) -> str:
    """A path that is lifted at cuts, across which nothing moves; every shot is drawn, if it has one point only."""
    times, drawn = _thinned(seconds, values, end, mean=False)
    shots = np.searchsorted(np.asarray(cuts, np.float64), times, side="right")
    parts: list[str] = []
    for number, (time, value, shot) in enumerate(zip(times, drawn, shots, strict=True)):
        begins = number == 0 or shot != shots[number - 1]
        parts.append(f"{'M' if begins else 'L'}{_x(time, end):.1f} {HEIGHT * value:.1f}")
        if number + 1 == len(times) or shot != shots[number + 1]:
            parts.append("h1")
    return " ".join(parts)


def _thinned(seconds: Floats, values: Floats, end: float, *, mean: bool) -> tuple[Floats, Floats]:
    """At most ``COLUMNS`` points: of each column the mean, or the first."""
    if len(seconds) <= COLUMNS:
        return seconds, values
    column = np.minimum((seconds / end * COLUMNS).astype(int), COLUMNS - 1)
    firsts = np.flatnonzero(np.diff(column, prepend=-1))
    if not mean:
        return seconds[firsts], values[firsts]
    return seconds[firsts], np.array([values[a:b].mean() for a, b in _stretches(firsts, len(values))])


def _stretches(firsts: NDArray[np.intp], length: int) -> Iterator[tuple[int, int]]:
    yield from pairwise([*firsts.tolist(), length])


def _x(time: float, end: float) -> float:
    return WIDTH * time / end if end else 0.0
