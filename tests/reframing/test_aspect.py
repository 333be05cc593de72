"""Shapes as people write them, and the largest window of each."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saliency_cli.errors import UsageError
from saliency_cli.reframing.aspect import Aspect, Crop


@pytest.mark.parametrize(
    ("text", "ratio", "label"),
    [
        ("9:16", Fraction(9, 16), "9x16"),
        ("1:1", Fraction(1), "1x1"),
        ("2.39:1", Fraction(239, 100), "2.39x1"),
        ("2.39", Fraction(239, 100), "2.39x1"),
        (" 4:5 ", Fraction(4, 5), "4x5"),
    ],
)
def test_a_shape_is_two_numbers_or_one(text: str, ratio: Fraction, label: str) -> None:
    assert Aspect.parse(text) == Aspect(ratio, label)


@pytest.mark.parametrize(
    "text", ["", "wide", "9x16", "9:16:1", "-9:16", "0:1", "1:0", "nan", "1e9", "1:11", "100", "9/16", "٣:٤"]
)
def test_what_is_no_shape_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"--aspect"):
        Aspect.parse(text)


@pytest.mark.parametrize(
    ("frame", "aspect", "pixel_aspect", "size", "along"),
    [
        ((640, 360), "9:16", 1, (202, 360), "x"),
        ((1920, 1080), "9:16", 1, (608, 1080), "x"),
        ((1080, 1920), "16:9", 1, (1080, 608), "y"),
        ((640, 360), "1:1", 1, (360, 360), "x"),
        ((640, 360), "2.39:1", 1, (640, 268), "y"),
        ((720, 576), "1:1", Fraction(16, 15), (540, 576), "x"),  # a square as shown, of pixels that are wide
        ((67, 49), "1:1", 1, (48, 48), "x"),
    ],
)
def test_the_largest_window(
    frame: tuple[int, int], aspect: str, pixel_aspect: Fraction, size: tuple[int, int], along: str
) -> None:
    crop = Crop.largest(frame, Aspect.parse(aspect), pixel_aspect=Fraction(pixel_aspect))
    assert ((crop.width, crop.height), crop.along, crop.whole) == (size, along, False)


@pytest.mark.parametrize(("frame", "aspect"), [((640, 360), "16:9"), ((853, 480), "16:9"), ((67, 49), "67:49")])
def test_a_video_of_that_shape_stays_whole(frame: tuple[int, int], aspect: str) -> None:
    crop = Crop.largest(frame, Aspect.parse(aspect))
    assert crop.whole
    assert crop.box(0.0) == (0, 0, *frame)


def test_next_to_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="only 6x60 would be left"):
        Crop.largest((64, 60), Aspect.parse("1:10"))


@given(
    st.tuples(st.integers(32, 4000), st.integers(32, 4000)),
    st.fractions(Fraction(1, 10), 10, max_denominator=100),
    st.floats(-1, 2),
)
def test_the_window_is_inside_even_and_of_its_shape(frame: tuple[int, int], ratio: Fraction, position: float) -> None:
    try:
        crop = Crop.largest(frame, Aspect(ratio, "a"))
    except UsageError:
        return
    x, y, width, height = crop.box(position)
    assert 0 <= x <= x + width <= frame[0]
    assert 0 <= y <= y + height <= frame[1]
    assert 0 <= crop.room / crop.length < 1
    if not crop.whole:
        assert width % 2 == 0
        assert height % 2 == 0
        assert abs(width - height * ratio) <= 2 * (1 + ratio)
        assert width >= frame[0] - 2 or height >= frame[1] - 2
