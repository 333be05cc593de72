from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from saliency_cli.render import blur, resize, tased_postprocess

VECTORS = Path(__file__).parents[1] / "data" / "tased_seed1.npz"


@pytest.mark.parametrize("sigma", [0.6, 2.0, 7.0, 12.3])
@pytest.mark.parametrize("shape", [(40, 70), (5, 9), (1, 1)])
def test_blur_is_scipys(sigma: float, shape: tuple[int, int]) -> None:
    saliency = np.random.default_rng(1).random(shape, np.float32)
    expected = gaussian_filter(saliency.astype(np.float64), sigma, mode="reflect")
    np.testing.assert_allclose(blur(saliency, sigma), expected, atol=2e-6)


def test_no_sigma_no_blur() -> None:
    saliency = np.random.default_rng(1).random((4, 5), np.float32)
    result = blur(saliency, 0)
    np.testing.assert_array_equal(result, saliency)
    assert result is not saliency


def test_the_authors_pictures_are_met_to_the_bit() -> None:
    with np.load(VECTORS) as vectors:
        for probability, expected in zip(vectors["probability"], vectors["postprocessed"], strict=True):
            result = tased_postprocess(probability)
            np.testing.assert_array_equal((result * np.float32(255)).astype(np.uint8), expected)


def test_nothing_stays_nothing() -> None:
    assert not tased_postprocess(np.full((20, 30), 0.003, np.float32)).any()


def test_resizing_averages_where_it_shrinks() -> None:
    assert resize(np.array([[0, 1], [1, 0]], np.float32), 1, 1).tolist() == [[0.5]]


def test_resizing_is_linear_where_it_grows() -> None:
    result = resize(np.array([[0, 1]], np.float32), 4, 1)
    np.testing.assert_allclose(result, [[0, 0.25, 0.75, 1]])


def test_the_same_size_is_left_alone() -> None:
    saliency = np.random.default_rng(2).random((4, 5), np.float32)
    np.testing.assert_array_equal(resize(saliency, 5, 4), saliency)
