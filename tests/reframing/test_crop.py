"""The window cut out of a frame, or drawn upon it."""

from __future__ import annotations

import numpy as np

from saliency_cli.reframing.crop import LINE, cut_out, drawn


def picture() -> np.ndarray:  # type: ignore[type-arg]
    return np.random.default_rng(0).integers(0, 255, (48, 64, 3)).astype(np.uint8)


def test_a_window_has_the_pixels_of_the_frame() -> None:
    frame = picture()
    window = cut_out(frame, (10, 4, 20, 40))
    assert window.flags["C_CONTIGUOUS"]
    assert (window == frame[4:44, 10:30]).all()


def test_a_window_can_be_scaled() -> None:
    frame = np.full((48, 64, 3), 77, np.uint8)
    for size in ((10, 20), (40, 80)):
        window = cut_out(frame, (10, 4, 20, 40), size)
        assert window.shape == (size[1], size[0], 3)
        assert (window == 77).all()


def test_a_preview_is_dark_outside_and_has_a_border() -> None:
    frame = picture()
    before = frame.copy()
    preview = drawn(frame, (10, 4, 20, 40))
    assert (frame == before).all()
    assert (preview[5:43, 11:29] == frame[5:43, 11:29]).all()
    for row, column in ((4, 10), (4, 29), (43, 10), (43, 29), (20, 10)):
        assert tuple(preview[row, column]) == LINE
    outside = np.ones((48, 64), bool)
    outside[4:44, 10:30] = False
    assert (preview[outside] == np.rint(frame[outside] * 0.35)).all()
