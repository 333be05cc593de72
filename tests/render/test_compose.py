from __future__ import annotations

from typing import get_args

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saliency_cli.errors import UsageError
from saliency_cli.render import (
    COLORMAPS,
    Colormap,
    colour,
    gray8,
    gray16,
    heatmap,
    lookup_table,
    overlay,
    resize,
    side_by_side,
)

FRAME = np.random.default_rng(3).integers(0, 256, (37, 53, 3), np.uint8)


def hill() -> np.ndarray:
    y, x = np.mgrid[:14, :24]
    return np.exp(-((x - 6) ** 2 + (y - 6) ** 2) / 8).astype(np.float32)


@pytest.mark.parametrize("name", get_args(Colormap))
def test_colours_are_opencvs_in_rgb(name: Colormap) -> None:
    levels = np.arange(256, dtype=np.uint8)[None]
    assert colour(levels, name)[0].tolist() == lookup_table(name).tolist()
    if name != "gray":
        theirs = cv2.applyColorMap(levels, getattr(cv2, f"COLORMAP_{name.upper()}"))[0, :, ::-1]
        assert lookup_table(name).tolist() == theirs.tolist()


def test_inferno_ends_in_yellow_not_in_blue() -> None:
    red, green, blue = lookup_table("inferno")[230].tolist()
    assert red > 200
    assert blue < green < red


def test_an_unknown_colour_map_names_the_known() -> None:
    with pytest.raises(UsageError, match="inferno, turbo"):
        lookup_table("rainbow")  # type: ignore[arg-type]
    assert COLORMAPS[0] == "inferno"


def test_gray_is_rounded_and_cut_off() -> None:
    saliency = np.array([[-1, 0, 0.5 / 255 + 1e-4, 1, 2]], np.float32)
    assert gray8(saliency).tolist() == [[0, 0, 1, 255, 255]]
    assert gray16(np.array([[0, 0.5, 1, 2]], np.float32)).tolist() == [[0, 32768, 65535, 65535]]


@given(st.floats(0, 1, width=32))
def test_gray_is_off_by_half_a_level_at_most(value: float) -> None:
    saliency = np.array([[value]], np.float32)
    assert abs(float(gray8(saliency)[0, 0]) / 255 - value) <= 0.5001 / 255
    assert abs(float(gray16(saliency)[0, 0]) / 65535 - value) <= 0.51 / 65535


def test_a_heatmap_has_the_size_asked_for() -> None:
    result = heatmap(hill(), "viridis", size=(53, 37))
    np.testing.assert_array_equal(result, colour(gray8(resize(hill(), 53, 37)), "viridis"))


def test_what_draws_no_attention_stays_the_picture() -> None:
    np.testing.assert_array_equal(overlay(FRAME, np.zeros((14, 24), np.float32)), FRAME)


def test_an_overlay_of_no_opacity_is_the_picture() -> None:
    np.testing.assert_array_equal(overlay(FRAME, hill(), opacity=0), FRAME)


def test_full_opacity_at_the_peak_is_the_colour_map() -> None:
    result = overlay(FRAME, np.ones((14, 24), np.float32), "turbo", opacity=1)
    assert (result == lookup_table("turbo")[255]).all()


@pytest.mark.parametrize("level", [40, 128, 200, 255])
def test_an_overlay_is_a_blend(level: int) -> None:
    saliency = np.full(FRAME.shape[:2], level / 255, np.float32)
    cover = 0.7 * (level / 255) ** 0.8  # above the fade-in
    expected = FRAME * (1 - cover) + lookup_table("jet")[level] * cover
    assert np.abs(overlay(FRAME, saliency, "jet", opacity=0.7, gamma=0.8) - expected).max() < 2


def test_an_overlay_leaves_its_frame_alone() -> None:
    frame = FRAME.copy()
    overlay(frame, hill())
    np.testing.assert_array_equal(frame, FRAME)


def test_side_by_side() -> None:
    result = side_by_side(FRAME, hill(), "magma")
    assert result.shape == (37, 106, 3)
    np.testing.assert_array_equal(result[:, :53], FRAME)
    expected = heatmap(hill(), "magma", size=(53, 37))
    np.testing.assert_array_equal(result[:, 53:], expected)
