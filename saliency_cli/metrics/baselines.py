"""What to stand beside every score: a centre Gaussian, and observers who predict each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from saliency_cli.metrics.gaze import (
    SIGMA_VIDEO,
    Fixations,
    active,
    density_map,
    fixation_counts,
)

__all__ = ["CENTRE_SIGMA", "center_gaussian", "observers_baseline", "split_observers"]

# A share of the width across and of the height down: of the widths and shapes tried, 0.2 with the picture's own
# proportions comes closest to the centre scores of the gaze data's trial (within 0.06 NSS on every video once the first
# 0.5 s, when all look at the middle, are left out; round Gaussians are off by up to 0.4).
CENTRE_SIGMA = 0.2


def center_gaussian(height: int, width: int, *, sigma: float = CENTRE_SIGMA) -> NDArray[np.float64]:
    """A Gaussian on the picture's centre, (height, width), with its proportions: the score of knowing nothing.

    Its standard deviation is ``sigma`` · width across and ``sigma`` · height down; its value at the centre is 1.
    Raises ValueError for a size below 1 or a sigma not above 0.
    """
    if height < 1 or width < 1 or not sigma > 0:
        raise ValueError(f"no Gaussian of sigma {sigma} on {width}x{height}: all must be above 0")
    down, across = ((((np.arange(n) + 0.5) / n - 0.5) / sigma) ** 2 for n in (height, width))
    return np.exp(-0.5 * (down[:, None] + across[None, :]))


def split_observers(fixations: Fixations, *, seed: int = 0) -> tuple[Fixations, Fixations]:
    """The fixations of a random half of the observers, and those of the others.

    Of an odd number the second half has one more. Raises ValueError for fewer than two observers.
    """
    subjects = fixations.subjects
    if len(subjects) < 2:
        raise ValueError(f"two observers are needed to predict each other, and there are {len(subjects)}")
    chosen = np.random.default_rng(seed).permutation(subjects)[: len(subjects) // 2]
    first = np.isin(fixations.subject, chosen)
    return fixations.where(first), fixations.where(~first)


def observers_baseline(
    fixations: Fixations,
    times: Iterable[float],
    *,
    height: int,
    width: int,
    sigma: float | None = None,
    seed: int = 0,
) -> tuple[Iterator[tuple[float, NDArray[np.float32]]], Fixations]:
    """Half of the observers as a model of the other half: what a score can reach.

    ``times``: the frames' presentation times in seconds. Returns the stream (seconds, density (height, width) of the
    first half's active fixations) and the other half's fixations, to be passed on to :func:`evaluate_video`.
    ``sigma`` is in pixels, by default that of video. Frames at which the first half looks nowhere have a map of zeros.
    Raises ValueError for fewer than two observers.
    """
    first, second = split_observers(fixations, seed=seed)
    blur = height * SIGMA_VIDEO if sigma is None else sigma
    maps = ((time, density_map(fixation_counts(active(first, time), height, width), blur)) for time in times)
    return maps, second
