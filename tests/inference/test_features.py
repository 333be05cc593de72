"""Poolings, resizing and unpooling against torch's own, in the forms that the networks are written in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from saliency_cli.inference.features import (
    double_places,
    double_time,
    max_of_three,
    max_over_groups,
    max_pool,
    max_pool_halving,
    max_pool_halving_time,
    switches,
    unpool,
)

DTYPES = [torch.float32, torch.bfloat16, torch.float16]
SIDES = st.integers(1, 9)
SEEDS = st.integers(0, 2**31)


def rectified(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """As ReLU leaves it: half of it zeros; with ties among the rest, and extremes."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=generator).relu_()
    coarse = (2 * x).round() / 2
    x = torch.where(torch.rand(shape, generator=generator) < 0.3, coarse, x)
    x = torch.where(torch.rand(shape, generator=generator) < 0.02, x * 1e4, x)
    return torch.where(torch.rand(shape, generator=generator) < 0.02, x * 1e-6, x).to(dtype)


def volume(x: Tensor) -> Tensor:
    """(N, t, h, w, C) to (N, C, t, h, w)."""
    return x.movedim(-1, 1)


def back(x: Tensor) -> Tensor:
    return x.movedim(1, -1)


@pytest.mark.parametrize("dtype", DTYPES)
@settings(deadline=None)  # torch's first call of a kind takes long
@given(n=st.integers(1, 3), h=SIDES, w=SIDES, seed=SEEDS)
def test_pooling_of_places(dtype: torch.dtype, n: int, h: int, w: int, seed: int) -> None:
    x = rectified(n, h, w, 3, seed=seed, dtype=dtype)
    expected = functional.max_pool2d(volume(x.float()), 3, 1, 1)
    assert torch.equal(max_pool(x), back(expected).to(dtype))
    x = rectified(n, 2 * h, 2 * w, 3, seed=seed, dtype=dtype)
    expected = functional.max_pool2d(volume(x.float()), 3, 2, 1)
    assert torch.equal(max_pool_halving(x), back(expected).to(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@settings(deadline=None)  # torch's first call of a kind takes long
@given(n=st.integers(1, 3), t=SIDES, w=st.integers(1, 3), seed=SEEDS)
def test_pooling_of_times(dtype: torch.dtype, n: int, t: int, w: int, seed: int) -> None:
    x = rectified(n, t, 2, w, 3, seed=seed, dtype=dtype)
    expected = functional.max_pool3d(volume(x.float()), (3, 1, 1), 1, (1, 0, 0))
    assert torch.equal(max_of_three(x, 1), back(expected).to(dtype))
    x = rectified(n, 2 * t, 2, w, 3, seed=seed, dtype=dtype)
    expected = functional.max_pool3d(volume(x.float()), (3, 1, 1), (2, 1, 1), (1, 0, 0))
    assert torch.equal(max_pool_halving_time(x), back(expected).to(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_poolings_together_are_the_networks(dtype: torch.dtype) -> None:
    """Inception's 3x3x3 with stride 1 and ``maxp3``, 3x3x3 with stride 2; also of a slice of a longer run."""
    x = rectified(2, 10, 6, 8, 5, dtype=dtype)[:, 1:9]
    whole = volume(x.float())
    found = max_of_three(max_pool(x.flatten(0, 1)).unflatten(0, (2, 8)), 1)
    assert torch.equal(found, back(nn.MaxPool3d(3, 1, 1)(whole)).to(dtype))
    found = max_pool_halving_time(max_pool_halving(x.flatten(0, 1)).unflatten(0, (2, 8)))
    assert torch.equal(found, back(nn.MaxPool3d(3, 2, 1)(whole)).to(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [1, 2, 3, 4, 6])
def test_the_maximum_over_groups_of_times(dtype: torch.dtype, size: int) -> None:
    x = rectified(12, 3, 2, 5, seed=size, dtype=dtype)
    kept = x.clone()
    expected = functional.max_pool3d(volume(x.float()[None]), (size, 1, 1))
    assert torch.equal(max_over_groups(x, size), back(expected)[0].to(dtype))
    assert torch.equal(x, kept)


@pytest.mark.parametrize("function", [max_pool, max_pool_halving, max_pool_halving_time])
def test_poolings_leave_their_input_alone(function: type[max_pool]) -> None:
    x = rectified(2, 4, 6, 3)
    kept = x.clone()
    function(x)
    assert torch.equal(x, kept)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@settings(deadline=None)  # torch's first call of a kind takes long
@given(n=st.integers(1, 2), t=st.integers(1, 5), h=st.integers(1, 5), w=st.integers(1, 5), seed=SEEDS)
def test_doubling_is_trilinear(dtype: torch.dtype, n: int, t: int, h: int, w: int, seed: int) -> None:
    x = torch.randn(n, t, h, w, 3, generator=torch.Generator().manual_seed(seed)).to(dtype)

    def larger(*factors: float) -> Tensor:
        whole = volume(x.float())
        return back(functional.interpolate(whole, scale_factor=factors, mode="trilinear", align_corners=False))

    bounds = {"rtol": 1e-5, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 2e-2, "atol": 2e-2}
    torch.testing.assert_close(double_time(x).float(), larger(2, 1, 1), **bounds)
    places = double_places(x.flatten(0, 1)).unflatten(0, (n, t))
    torch.testing.assert_close(places.float(), larger(1, 2, 2), **bounds)
    both = double_places(double_time(x).flatten(0, 1)).unflatten(0, (n, 2 * t))
    torch.testing.assert_close(both.float(), larger(2, 2, 2), **bounds)


# Switches and unpooling -------------------------------------------------------------------------------------------


@pytest.fixture(params=[1, 2, 3, 5])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def networks(x: Tensor, level: Tensor, kernel: int) -> tuple[Tensor, Tensor]:
    """Switches and unpooled values as ``Unpooling`` has them, of (N, h, w, C) and (N, 2h, 2w, C); one at a time."""
    size = ((1, kernel, kernel), (1, 2, 2), (0, kernel // 3, kernel // 3))
    pool, undo = nn.MaxPool3d(*size, return_indices=True), nn.MaxUnpool3d(*size)
    found, results = [], []
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for values, features in zip(x, level, strict=True):
            where = pool(features.float().movedim(-1, 0)[None, :, None].contiguous())[1]
            put = undo(
                values.float().movedim(-1, 0)[None, :, None].contiguous(), where, output_size=[1, *features.shape[:2]]
            )
            found.append(where[0, :, 0].movedim(0, -1))
            results.append(put[0, :, 0].movedim(0, -1))
    finally:
        torch.set_num_threads(before)
    return torch.stack(found), torch.stack(results)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kernel", [2, 3])
@pytest.mark.parametrize(("n", "h", "w", "c"), [(1, 1, 1, 40), (2, 3, 5, 7), (4, 7, 6, 33), (3, 14, 24, 48)])
def test_unpooling_is_the_networks_with_any_number_of_threads(
    threads: int, dtype: torch.dtype, kernel: int, n: int, h: int, w: int, c: int
) -> None:
    """Half of the features are zeros, so that some windows are nothing but zeros, and others have ties."""
    level = rectified(n, 2 * h, 2 * w, c, seed=threads, dtype=dtype)
    level[:, :2] = 0
    x = torch.randn(n, h, w, c, generator=torch.Generator().manual_seed(1)).to(dtype)
    where, expected = networks(x, level, kernel)
    found = switches(level, kernel)
    assert torch.equal(found, where)
    result = unpool(x, found, overlapping=kernel == 3)
    assert result.dtype == dtype
    assert torch.equal(result.float(), expected)
    for _ in range(3):
        assert torch.equal(unpool(x, found, overlapping=kernel == 3), result)
    if (n, h) == (3, 14) and kernel == 3:  # so that it matters who comes last
        doubled = where.flatten(1, 2).sort(1).values
        assert (doubled[:, 1:] == doubled[:, :-1]).sum() > 100


def test_of_windows_that_share_their_maximum_the_last_in_raster_order_wins() -> None:
    level = torch.zeros(1, 4, 4, 1)
    level[0, 1, 1, 0] = 9  # in all four windows
    x = torch.tensor([[[[1.0], [2.0]], [[3.0], [4.0]]]])
    for count in (1, 2, 3):
        result = unpool(x.expand(count, -1, -1, -1), switches(level, 3).expand(count, -1, -1, -1), overlapping=True)
        assert result.shape == (count, 4, 4, 1)
        for each in result:
            assert each[1, 1, 0] == 4
            assert int((each != 0).sum()) == 1


@pytest.mark.parametrize(("kernel", "first"), [(2, [0, 2, 8, 10]), (3, [0, 1, 4, 5])])
def test_of_equal_maxima_the_first_in_raster_order_counts(kernel: int, first: list[int]) -> None:
    for value in (0.0, 1.0):
        assert switches(torch.full((1, 4, 4, 1), value), kernel).flatten().tolist() == first
