"""The loss of TSFP-Net's section 3.2: KL − α₁·CC − α₂·NSS, on densities.

The paper prints ρ as the variance in equations 2 and 3; correlation and NSS need the standard deviation, which stands
here. Equation 1's KL is computed from log densities, so that no epsilon is needed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["LossWeights", "cc", "kl", "nss", "probability_loss", "saliency_loss"]

EPS = 1e-8
FLAT = 1e-6  # of its mean: a map that deviates less is even to float32's rounding, which has no slope worth following


@dataclass(frozen=True, slots=True)
class LossWeights:
    """What each term weighs. The paper's (section 3.2): 1, 0.5, 0.1."""

    kl: float = 1.0
    cc: float = 0.5
    nss: float = 0.1


def kl(log_density: Tensor, target: Tensor) -> Tensor:
    """Kullback–Leibler divergence Σ G ln(G / S), one value a map.

    Args:
        log_density: (N, h, w), logarithm of a density that sums to 1.
        target: (N, h, w), a density that sums to 1.
    """
    return (torch.xlogy(target, target) - target * log_density).sum((1, 2))


def cc(density: Tensor, target: Tensor) -> Tensor:
    """Linear correlation of two maps (N, h, w), one value a map; 0 without a gradient for a map that is even."""
    s = density - density.mean((1, 2), keepdim=True)
    g = target - target.mean((1, 2), keepdim=True)
    even = _is_even(density) | _is_even(target)
    norms = (s.square().sum((1, 2)) * g.square().sum((1, 2))).masked_fill(even, 1.0)  # sqrt has no slope at 0
    return ((s * g).sum((1, 2)) / (norms.sqrt() + EPS**2)).masked_fill(even, 0.0)


def nss(density: Tensor, counts: Tensor) -> Tensor:
    """Normalised scanpath saliency of (N, h, w) at fixations counted in ``counts`` (N, h, w), one value a map.

    0 without a gradient for a map that is even, as a network's is whose last ReLU gives nothing but zeros.
    """
    mean, std = density.mean((1, 2), keepdim=True), density.std((1, 2), keepdim=True)
    scored = (density - mean) / (std + EPS)
    found = (scored * counts).sum((1, 2)) / counts.sum((1, 2)).clamp_min(1)
    return found.masked_fill(_is_even(density), 0.0)


def _is_even(density: Tensor) -> Tensor:
    """Which of the maps (N, h, w), none of whose values is negative, do not vary: (N,) of bool."""
    deviation, mean = torch.std_mean(density.detach(), (1, 2))
    return deviation <= FLAT * mean


def saliency_loss(log_density: Tensor, target: Tensor, counts: Tensor, weights: LossWeights) -> Tensor:
    """The weighted sum, averaged over the N maps; a scalar, and 0 for no maps."""
    if not len(log_density):
        return log_density.sum()
    return _weighted(log_density, log_density.exp(), target, counts, weights)


def probability_loss(probability: Tensor, target: Tensor, fixated: Tensor, weights: LossWeights) -> Tensor:
    """The same for a sigmoid's maps (N, h, w), of values in 0 … 1 that sum to anything.

    KL takes such a map for a density once it is divided by its sum; neither paper says how, this is the usual reading.
    CC and NSS do not depend on a map's scale, and see it as it is.
    """
    if not len(probability):
        return probability.sum()
    positive = probability + EPS  # a sigmoid in float32 reaches 0
    log_density = positive.log() - positive.sum((1, 2), keepdim=True).log()
    return _weighted(log_density, probability, target, fixated, weights)


def _weighted(log_density: Tensor, saliency: Tensor, target: Tensor, counts: Tensor, weights: LossWeights) -> Tensor:
    each = weights.kl * kl(log_density, target) - weights.cc * cc(saliency, target)
    return (each - weights.nss * nss(saliency, counts)).mean()
