"""The loss against the metrics, which were written without it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from saliency_cli import metrics
from saliency_cli.training.losses import LossWeights, cc, kl, nss, probability_loss, saliency_loss


def maps(seed: int = 0, *, height: int = 16, width: int = 24) -> tuple[Tensor, Tensor, Tensor]:
    """Log densities, targets and counts of three maps, (3, height, width); no pixel has two fixations."""
    rng = np.random.default_rng(seed)
    log_density = torch.from_numpy(rng.normal(0, 1, (3, height * width)).astype(np.float32)).log_softmax(1)
    counts = (rng.random((3, height, width)) < 0.04).astype(np.float32)
    target = np.stack([metrics.density_map(one, 2.0) for one in counts])
    target /= target.sum((1, 2), keepdims=True)
    return log_density.view(3, height, width), torch.from_numpy(target), torch.from_numpy(counts)


@pytest.mark.parametrize("seed", range(4))
def test_terms_are_the_metrics(seed: int) -> None:
    log_density, target, counts = maps(seed)
    density = log_density.exp()
    for number in range(3):
        prediction = density[number].numpy()
        truth, fixations = target[number].numpy(), counts[number].numpy()
        assert float(kl(log_density, target)[number]) == pytest.approx(metrics.kl(prediction, truth), rel=1e-4)
        assert float(cc(density, target)[number]) == pytest.approx(metrics.cc(prediction, truth), rel=1e-4, abs=1e-6)
        expected = metrics.nss(prediction, fixations)
        assert float(nss(density, counts)[number]) == pytest.approx(expected, rel=1e-3, abs=1e-5)


def test_fixations_count_as_often_as_they_occur() -> None:
    log_density, _, _ = maps()
    density = log_density.exp()
    once, twice = torch.zeros(3, 16, 24), torch.zeros(3, 16, 24)
    once[:, 2, 3], once[:, 9, 9] = 1, 1
    twice[:, 2, 3], twice[:, 9, 9] = 2, 1
    scored = (density - density.mean((1, 2), keepdim=True)) / density.std((1, 2), keepdim=True)
    torch.testing.assert_close(nss(density, twice), (2 * scored[:, 2, 3] + scored[:, 9, 9]) / 3, rtol=1e-3, atol=1e-4)
    assert not torch.allclose(nss(density, once), nss(density, twice))


def test_the_loss_is_the_papers_sum() -> None:
    log_density, target, counts = maps()
    density = log_density.exp()
    expected = (kl(log_density, target) - 0.5 * cc(density, target) - 0.1 * nss(density, counts)).mean()
    torch.testing.assert_close(saliency_loss(log_density, target, counts, LossWeights()), expected)
    only = saliency_loss(log_density, target, counts, LossWeights(kl=0, cc=2, nss=0))
    torch.testing.assert_close(only, -2 * cc(density, target).mean())


def test_a_perfect_prediction() -> None:
    _, target, counts = maps()
    perfect = target.clamp_min(1e-12).log()
    torch.testing.assert_close(kl(perfect, target), torch.zeros(3), rtol=0, atol=1e-5)
    torch.testing.assert_close(cc(perfect.exp(), target), torch.ones(3), rtol=0, atol=1e-4)
    best = saliency_loss(perfect, target, counts, LossWeights())
    for seed in range(5):
        assert saliency_loss(maps(seed)[0], target, counts, LossWeights()) > best


@pytest.mark.parametrize("kind", ["flat", "peaked", "random"])
def test_gradients_are_finite(kind: str) -> None:
    """For a map without any contrast and for one with hardly anything but a peak too."""
    random, target, counts = maps()
    logits = {"flat": torch.zeros(3, 16, 24), "peaked": torch.zeros(3, 16, 24), "random": random.clone()}[kind]
    if kind == "peaked":
        logits[:, 4, 4] = 60
    logits.requires_grad_(True)
    log_density = logits.flatten(1).softmax(1).clamp_min(1e-12).log().view_as(logits)
    loss = saliency_loss(log_density, target, counts, LossWeights())
    loss.backward()
    assert loss.isfinite()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_no_maps_cost_nothing() -> None:
    """As of a clip that nobody looked at: neither NaN nor a gradient."""
    logits = torch.zeros(2, 4, 4, requires_grad=True)
    none = torch.zeros(2, dtype=torch.bool)
    loss = saliency_loss(logits[none], torch.zeros(0, 4, 4), torch.zeros(0, 4, 4), LossWeights())
    loss.backward()
    assert loss == 0
    assert logits.grad is not None
    assert not logits.grad.any()


@pytest.mark.parametrize("scale", [1.0, 0.01])
def test_a_sigmoids_map_is_a_density_once_divided_by_its_sum(scale: float) -> None:
    log_density, target, counts = maps()
    probability = log_density.exp() / log_density.exp().amax((1, 2), keepdim=True) * scale
    expected = saliency_loss(log_density, target, counts, LossWeights())
    torch.testing.assert_close(
        probability_loss(probability, target, counts, LossWeights()), expected, rtol=1e-3, atol=0
    )


def test_an_untrained_sigmoids_map_is_scored_by_its_shape() -> None:
    """A hardly varying map has a standard deviation near the epsilon's once divided by its sum."""
    log_density, target, counts = maps()
    flat = 0.5 + 1e-3 * (log_density - log_density.mean())
    found = probability_loss(flat, target, counts, LossWeights(kl=0, cc=0, nss=1))
    expected = np.mean([metrics.nss(flat[n].numpy(), counts[n].numpy()) for n in range(3)])
    assert float(found) == pytest.approx(-expected, rel=1e-2)


def test_a_sigmoid_that_reaches_zero_has_a_gradient() -> None:
    _, target, counts = maps()
    logits = torch.full((3, 16, 24), -200.0)
    logits[:, 4, 4] = 3
    logits.requires_grad_(True)
    loss = probability_loss(torch.sigmoid(logits), target, counts, LossWeights())
    loss.backward()
    assert loss.isfinite()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    none = torch.zeros(0, 16, 24, requires_grad=True)
    assert probability_loss(none, none, none, LossWeights()) == 0


@pytest.mark.parametrize("level", [0.0, -200.0, 17.3, 0.3])
def test_an_even_map_has_neither_a_score_nor_a_slope(level: float) -> None:
    """As of a network whose last ReLU gives nothing but zeros: its CC and NSS would divide by nothing."""
    _, target, counts = maps(height=16, width=16)
    logits = torch.full((3, 16, 16), level, requires_grad=True)
    saliency = torch.sigmoid(logits)
    assert not cc(saliency, target).any()
    assert not nss(saliency, counts).any()
    assert not cc(target, torch.full_like(target, 1 / 256)).any()
    probability_loss(saliency, target, counts, LossWeights(kl=0)).backward()
    assert logits.grad is not None
    assert not logits.grad.any()
    probability_loss(torch.sigmoid(logits), target, counts, LossWeights()).backward()
    assert logits.grad.isfinite().all()
