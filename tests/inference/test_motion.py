"""The motion meter, on textured ground that a camera pans over and a square moves across."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from saliency_cli.inference.motion import GAP, SIDE, Motion, MotionMeter
from saliency_cli.models.streaming import MOTION_CHANNELS

OWN, OWN_SLOW, CHANGED, CHANGED_SLOW, SPEED, CAMERA = range(MOTION_CHANNELS)
WIDTH, HEIGHT = 384, 216
MARGIN = 200  # pixels of ground beyond the picture
SQUARE = 70  # pixels

Picture = NDArray[np.uint8]
Floats = NDArray[np.float32]


def texture(height: int, width: int, seed: int, *, blur: float = 3) -> Picture:
    """Smooth noise in gray levels from 30 to 220, (height, width)."""
    noise = np.random.default_rng(seed).normal(size=(height, width)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), blur)
    return np.asarray(np.clip(125 + 40 * smooth / smooth.std(), 30, 220), np.uint8)


GROUND = texture(HEIGHT + 2 * MARGIN, WIDTH + 2 * MARGIN, 1)
THING = texture(SQUARE, SQUARE, 2)


def picture(
    *, pan: tuple[float, float] = (0, 0), zoom: float = 1, square: tuple[float, float] | None = None, seed: int = 1
) -> Picture:
    """What a camera sees that has moved by ``pan`` pixels, (H, W, 3); the square's corner is given in the picture."""
    ground = GROUND if seed == 1 else texture(*GROUND.shape, seed)
    centre = np.array([WIDTH / 2, HEIGHT / 2])
    shift = centre - zoom * (centre + MARGIN + np.array(pan))
    gray = cv2.warpAffine(ground, np.array([[zoom, 0, shift[0]], [0, zoom, shift[1]]]), (WIDTH, HEIGHT))
    if square is not None:
        move = np.array([[1, 0, square[0]], [0, 1, square[1]]], np.float64)
        mask = cv2.warpAffine(np.ones(THING.shape, np.float32), move, (WIDTH, HEIGHT))
        gray = gray * (1 - mask) + cv2.warpAffine(THING, move, (WIDTH, HEIGHT)) * mask
    return np.repeat(np.asarray(np.round(gray), np.uint8)[..., None], 3, axis=2)


def measured(frames: Iterable[tuple[Picture, float]]) -> list[Motion]:
    meter = MotionMeter()
    return [meter.measure(pixels, seconds) for pixels, seconds in frames]


def moving(
    seconds: float = 1.0,
    *,
    rate: float = 25,
    start: float = 0.0,
    square: tuple[float, float] | None = None,
    pan: tuple[float, float] = (0, 0),
    zoom: float = 1.0,
) -> list[tuple[Picture, float]]:
    """A shot; speeds in pixels per second, the zoom as a factor per second, the square's relative to the picture."""
    frames = []
    for number in range(round(seconds * rate) + 1):
        t = number / rate
        at = None if square is None else (60 + square[0] * t, 70 + square[1] * t)
        frames.append((picture(pan=(pan[0] * t, pan[1] * t), zoom=zoom**t, square=at), start + t))
    return frames


def on_square(last: tuple[float, float]) -> NDArray[np.bool_]:
    """Well inside the square whose corner is at ``last``, at the size of the maps."""
    mask = np.zeros((SIDE * HEIGHT // WIDTH // 2, SIDE // 2), bool)
    scale = mask.shape[1] / WIDTH
    x, y = (round((place + 15) * scale) for place in last)
    side = round((SQUARE - 30) * scale)
    mask[y : y + side, x : x + side] = True
    return mask


def away(last: tuple[float, float], *, border: int = 10) -> NDArray[np.bool_]:
    """Neither near the square and where it just was, nor near the border of the picture."""
    mask = np.zeros((SIDE * HEIGHT // WIDTH // 2, SIDE // 2), bool)
    mask[border:-border, border:-border] = True
    scale = mask.shape[1] / WIDTH
    x, y = (round(place * scale) for place in last)
    side = round(SQUARE * scale)
    mask[max(y - 12, 0) : y + side + 12, max(x - 28, 0) : x + side + 12] = False
    return mask


@pytest.mark.parametrize(
    ("pan", "zoom"), [((0, 0), 1.0), ((60, 0), 1.0), ((-40, 50), 1.0), ((0, 0), 1.2), ((30, 20), 0.85)]
)
def test_what_moves_by_itself_stands_out_whatever_the_camera_does(pan: tuple[float, float], zoom: float) -> None:
    speed = 60.0  # pixels per second, to the right
    maps = measured(moving(square=(speed, 0), pan=pan, zoom=zoom))[-1].maps
    last = (60 + speed, 70.0)
    assert maps.shape == (MOTION_CHANNELS, 54, 96)
    assert maps.dtype == np.float32
    # Relative to the ground, which runs against a pan: a zoom moves it little where the square is
    expected = np.hypot(speed + pan[0], pan[1]) / WIDTH
    assert np.median(maps[OWN][on_square(last)]) == pytest.approx(expected, rel=0.3)
    assert np.median(maps[OWN_SLOW][on_square(last)]) > 0.4 * expected
    for channel in (OWN, OWN_SLOW):
        assert np.percentile(maps[channel][away(last)], 95) < 0.1 * expected


def test_a_still_camera_and_nothing_moves() -> None:
    motion = measured(moving(0.4))[-1]
    assert motion.maps.max() < 1e-3
    assert motion.maps.min() >= 0
    assert motion.since == pytest.approx(0.4)


@pytest.mark.parametrize("pan", [(80, 0), (0, -60), (48, 64)])
def test_the_cameras_speed_is_the_pan_in_longer_sides_per_second(pan: tuple[float, float]) -> None:
    maps = measured(moving(pan=pan))[-1].maps
    expected = np.hypot(*pan) / WIDTH
    assert np.ptp(maps[CAMERA]) == 0
    assert maps[CAMERA, 0, 0] == pytest.approx(expected, rel=0.06)
    inside = away((-100, -100))
    assert np.median(maps[SPEED][inside]) == pytest.approx(expected, rel=0.08)
    assert np.median(maps[OWN][inside]) < 0.05 * expected


def test_a_pan_alone_changes_nothing_once_it_is_undone() -> None:
    inside = away((-100, -100))
    panned = measured(moving(pan=(90, 30)))[-1].maps
    walking = measured(moving(pan=(90, 30), square=(130, 0)))[-1].maps
    for channel in (CHANGED, CHANGED_SLOW):
        assert panned[channel][inside].max() < 0.06  # hundreds of gray levels
        assert walking[channel].max() > 4 * panned[channel][inside].max()
    # As it would without the camera's movement undone
    first, last = (moving(pan=(90, 30))[number][0][..., 0].astype(float) for number in (-2, -1))
    assert np.abs(first - last).mean() / 100 > 3 * panned[CHANGED][inside].mean()


def test_speeds_do_not_depend_on_the_resolution() -> None:
    frames = moving(square=(130, 0), pan=(40, 0))
    large = [(cv2.resize(p, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC).astype(np.uint8), t) for p, t in frames]
    one, other = (measured(each)[-1].maps for each in (frames, large))
    assert one.shape == other.shape
    assert np.abs(one - other).mean() < 0.01
    assert one[CAMERA, 0, 0] == pytest.approx(other[CAMERA, 0, 0], rel=0.05)


def test_speeds_do_not_depend_on_the_frame_rate() -> None:
    last = (60 + 100.0, 70.0)
    found = {
        rate: measured(moving(square=(100, 0), pan=(50, 0), rate=rate))[-1].maps for rate in (12.5, 25.0, 50.0, 100.0)
    }
    usual = found[25.0]
    for rate, maps in found.items():
        for channel in (OWN, OWN_SLOW):
            place = on_square(last) if channel == OWN else on_square((last[0] - 10, last[1]))
            assert np.median(maps[channel][place]) == pytest.approx(np.median(usual[channel][place]), rel=0.25), rate
            assert np.median(maps[channel][away(last)]) < 0.02, rate
        assert maps[CAMERA, 0, 0] == pytest.approx(usual[CAMERA, 0, 0], rel=0.06), rate
        assert np.median(maps[SPEED]) == pytest.approx(np.median(usual[SPEED]), rel=0.1), rate


def test_frames_that_are_too_close_share_their_maps() -> None:
    frames = moving(0.2, rate=100, square=(130, 0))  # a frame every 0.01 s
    found = measured(frames)
    distinct = [number for number in range(1, len(found)) if found[number].maps is not found[number - 1].maps]
    compared = [number for number in distinct if found[number].maps.any()]
    gaps = np.diff([0.0, *(frames[number][1] for number in compared)])
    assert gaps.min() >= GAP - 1e-9
    assert gaps.max() < GAP + 0.011
    assert len(compared) >= 5
    assert [motion.since for motion in found] == pytest.approx([seconds for _, seconds in frames])


def test_memories_fade_by_half_in_their_half_lives() -> None:
    """A square that stops: from then on nothing moves."""
    meter = MotionMeter()
    for pixels, seconds in moving(0.6, square=(130, 0)):
        before = meter.measure(pixels, seconds).maps
    # The comparison with the frame shown last is of two pictures alike from here on.
    after = [before, *(meter.measure(pixels, 0.6 + 0.05 * n).maps for n in range(1, 11))]
    peaks = np.array([maps.max(axis=(1, 2)) for maps in after])
    for channel, half_life in ((OWN, 0.15), (CHANGED, 0.15), (SPEED, 0.15), (OWN_SLOW, 0.5), (CHANGED_SLOW, 0.5)):
        steps = round(half_life / 0.05)
        ratio = peaks[steps, channel] / peaks[0, channel]
        assert ratio == pytest.approx(0.5, rel=0.03), channel
    one_step = MotionMeter()
    for old, seconds in moving(0.6, square=(130, 0)):
        one_step.measure(old, seconds)
    at_once = one_step.measure(pixels, 0.6 + 0.5).maps
    np.testing.assert_allclose(at_once, after[-1], atol=2e-3)  # in one step as in ten


def test_a_cut_begins_anew() -> None:
    meter = MotionMeter()
    for pixels, seconds in moving(0.4, square=(130, 0), start=3.0):
        before = meter.measure(pixels, seconds)
    assert before.since == pytest.approx(0.4)
    assert before.maps.max() > 0.2
    other = np.asarray(cv2.equalizeHist(texture(HEIGHT, WIDTH, 9)) // 2, np.uint8)
    other = np.repeat(other[..., None], 3, axis=2)
    cut = meter.measure(other, 3.44)
    assert cut.since == 0
    assert not cut.maps.any()
    assert cut.maps.shape == before.maps.shape
    after = meter.measure(other, 3.48)
    assert after.since == pytest.approx(0.04)
    assert after.maps.max() < 1e-3


def test_a_cut_between_compared_frames_is_seen_when_they_are() -> None:
    one, other = picture(), np.asarray(picture(seed=5) // 3, np.uint8)
    found = measured((one if n < 10 else other, n / 100) for n in range(16))
    assert [motion.since for motion in found[:10]] == pytest.approx([n / 100 for n in range(10)])
    begins = [n for n in range(1, 16) if found[n].since == 0]
    assert len(begins) == 1
    assert 10 <= begins[0] <= 12


@pytest.mark.parametrize("step", [-25, 25, 40])
def test_a_change_of_light_is_no_cut(step: int) -> None:
    dark = picture()
    lit = np.asarray(np.clip(dark.astype(int) + step, 0, 255), np.uint8)
    found = measured([(dark, 0.0), (dark, 0.04), (lit, 0.08), (lit, 0.12)])
    assert [motion.since for motion in found] == pytest.approx([0, 0.04, 0.08, 0.12])


@pytest.mark.parametrize(
    "shot",
    [
        {"pan": (450, 0)},
        {"pan": (0, 300)},
        {"square": (400, 0)},
        {"zoom": 4.0},
        {"pan": (200, 100), "square": (-300, 200)},
    ],
)
def test_fast_motion_is_no_cut(shot: dict[str, tuple[float, float]]) -> None:
    found = measured(moving(0.4, **shot))  # type: ignore[arg-type]
    assert [motion.since for motion in found] == pytest.approx([number / 25 for number in range(11)])
    assert found[-1].maps[SPEED].max() > 0.3


def test_a_shot_counts_from_its_first_frame() -> None:
    found = measured(moving(0.2, start=7.5))
    assert [motion.since for motion in found] == pytest.approx([number / 25 for number in range(6)])
    assert not found[0].maps.any()


@pytest.mark.parametrize(
    ("size", "maps"),
    [
        ((1080, 1920), (54, 96)),
        ((1920, 1080), (96, 54)),
        ((333, 501), (64, 96)),
        ((97, 97), (96, 96)),
        ((7, 5), (96, 69)),
        ((1, 1), (96, 96)),
        ((2, 400), (8, 96)),
        ((400, 3), (96, 8)),
    ],
)
def test_pictures_of_all_sizes(size: tuple[int, int], maps: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    base = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    found = measured((np.roll(base, number, axis=1), number / 25) for number in range(4))
    assert {motion.maps.shape for motion in found} == {(MOTION_CHANNELS, *maps)}
    assert all(np.isfinite(motion.maps).all() and motion.maps.min() >= 0 for motion in found)


def test_a_portrait_is_a_landscape_turned() -> None:
    frames = moving(0.6, square=(130, 0), pan=(30, 0))
    turned = [(np.ascontiguousarray(pixels.swapaxes(0, 1)), seconds) for pixels, seconds in frames]
    lying, standing = (measured(each)[-1].maps for each in (frames, turned))
    assert standing.shape == (MOTION_CHANNELS, 96, 54)
    assert np.abs(standing.swapaxes(1, 2) - lying).mean() < 0.01
    assert standing[CAMERA, 0, 0] == pytest.approx(lying[CAMERA, 0, 0], rel=0.05)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_frames_of_one_gray_do_not_move(level: int) -> None:
    plain = np.full((90, 160, 3), level, np.uint8)
    found = measured((plain, number / 25) for number in range(6))
    assert all(motion.maps.max() < 1e-3 for motion in found)
    assert [motion.since for motion in found] == pytest.approx([number / 25 for number in range(6)])


def test_fading_to_black_and_back_stays_finite() -> None:
    base = picture()
    found = measured((np.asarray(base * max(0.0, 1 - n / 10), np.uint8), n / 25) for n in range(14))
    assert all(np.isfinite(motion.maps).all() for motion in found)


@settings(max_examples=15, deadline=None)
@given(times=st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=5), seed=st.integers(0, 9))
def test_strange_clocks_do_no_harm(times: list[float], seed: int) -> None:
    rng = np.random.default_rng(seed)
    meter = MotionMeter()
    for seconds in times:
        motion = meter.measure(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8), seconds)
        assert motion.maps.shape == (MOTION_CHANNELS, 72, 96)
        assert np.isfinite(motion.maps).all()
        assert np.isfinite(motion.since)
        assert motion.since >= 0


def test_times_that_run_back_count_as_none() -> None:
    frames = moving(0.2, square=(130, 0), start=5.0)
    meter = MotionMeter()
    for pixels, seconds in frames:
        before = meter.measure(pixels, seconds)
    again = meter.measure(frames[0][0], 5.1)
    assert again.maps is before.maps
    assert again.since == pytest.approx(0.1)
    assert meter.measure(frames[-1][0], 5.24).maps.max() > 0  # and it goes on


def test_it_is_deterministic() -> None:
    """To the last bit, wherever the arrays come to lie in memory: a training run that is resumed measures again."""
    frames = moving(0.3, square=(130, 0), pan=(40, 10))
    first = measured(frames)
    elsewhere: list[NDArray[np.uint8]] = []
    for size in (1, 77, 1000, 4097):
        elsewhere.append(np.empty(size, np.uint8))
        for one, other in zip(first, measured(frames), strict=True):
            np.testing.assert_array_equal(one.maps, other.maps)
            assert one.since == other.since


def test_frames_and_earlier_maps_are_left_alone() -> None:
    frames = moving(0.3, square=(130, 0))
    kept = [pixels.copy() for pixels, _ in frames]
    for pixels, _ in frames:
        pixels.flags.writeable = False
    meter, found, copies = MotionMeter(), [], []
    for pixels, seconds in frames:
        motion = meter.measure(pixels, seconds)
        found.append(motion)
        copies.append(motion.maps.copy())
    for (pixels, _), before in zip(frames, kept, strict=True):
        np.testing.assert_array_equal(pixels, before)
    for motion, copied in zip(found, copies, strict=True):
        np.testing.assert_array_equal(motion.maps, copied)


def test_two_videos_do_not_mix() -> None:
    frames, others = moving(0.2, square=(130, 0)), moving(0.2, pan=(80, 0))
    first, second = MotionMeter(), MotionMeter()
    for (pixels, seconds), (other, _), alone in zip(frames, others, measured(frames), strict=True):
        second.measure(other, seconds)
        np.testing.assert_array_equal(first.measure(pixels, seconds).maps, alone.maps)


def test_memory_does_not_grow() -> None:
    frames = [pixels for pixels, _ in moving(0.4, square=(130, 0))]
    meter = MotionMeter()

    def watch(begin: int, count: int) -> int:
        for number in range(begin, begin + count):
            meter.measure(frames[number % len(frames)], number / 25)
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        early = watch(0, 20)
        late = watch(20, 60)
    finally:
        tracemalloc.stop()
    assert late - early < 60_000  # one of its maps is 20 kB, six of them and a picture 140 kB
