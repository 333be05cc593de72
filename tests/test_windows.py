"""Windows: against the papers' sentences written out literally, and the stream against both."""

from __future__ import annotations

import weakref
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saliency_cli.windows import Window, is_reversed, reversed_stream, sliding_windows, window_indices

LENGTHS = st.integers(1, 40)
COUNTS = st.integers(0, 130)


def literal(count: int, length: int) -> list[list[int]]:
    """Every real frame's clip as the papers put it: loop the video to 2T-1 frames, slide, turn the first T-1 round."""
    video = list(range(count))
    while video and len(video) < 2 * length - 1:
        video += range(count)
    clips = [video[end - length + 1 : end + 1] for end in range(length - 1, len(video))]
    backwards = [clip[::-1] for clip in clips[: length - 1]]
    return (backwards + clips)[:count]


@given(length=LENGTHS, count=COUNTS)
def test_indices_are_the_papers(length: int, count: int) -> None:
    assert [window_indices(frame, length=length, count=count) for frame in range(count)] == literal(count, length)


@given(length=LENGTHS, count=COUNTS)
def test_stream_agrees_with_indices(length: int, count: int) -> None:
    windows = list(sliding_windows(iter(range(count)), length=length))
    assert windows == [
        Window(frame, tuple(window_indices(frame, length=length, count=count)), is_reversed(frame, length))
        for frame in range(count)
    ]


@given(length=LENGTHS, count=st.integers(1, 130))
def test_the_predicted_frame_comes_last(length: int, count: int) -> None:
    for frame in range(count):
        clip = window_indices(frame, length=length, count=count)
        assert len(clip) == length
        assert clip[-1] == frame


@pytest.mark.parametrize(
    ("frame", "first", "second"), [(0, 31, 30), (30, 61, 60), (31, 0, 1), (32, 1, 2), (63, 32, 33)]
)
def test_published_clip_length(frame: int, first: int, second: int) -> None:
    assert window_indices(frame, length=32, count=64)[:2] == [first, second]
    assert is_reversed(frame, 32) is (frame < 31)


def test_one_frame_is_a_video() -> None:
    assert window_indices(0, length=32, count=1) == [0] * 32
    assert list(sliding_windows(["picture"], length=32)) == [Window(0, ("picture",) * 32, True)]


def test_no_frames_give_no_windows() -> None:
    assert list(sliding_windows([], length=32)) == []


class Thing:
    """A frame whose life can be watched."""

    def __init__(self, index: int) -> None:
        self.index = index


@pytest.mark.parametrize("length", [1, 2, 3, 8, 32])
@pytest.mark.parametrize("count", [1, 5, 62, 63, 100])
def test_memory_is_bounded(length: int, count: int) -> None:
    alive: weakref.WeakSet[Thing] = weakref.WeakSet()
    most = 0

    def source() -> Iterator[Thing]:
        nonlocal most
        for index in range(count):
            # What is alive when a frame is asked for is what the windows keep; that frame comes on top.
            held = len(alive) + 1
            most = max(most, held)
            if index >= 2 * length - 2:
                assert held <= length
            thing = Thing(index)
            alive.add(thing)
            yield thing
            del thing

    indices = []
    for window in sliding_windows(source(), length=length):
        indices.append(window.index)
        del window
    assert indices == list(range(count))
    assert most <= 2 * length - 1
    assert not alive


@given(length=LENGTHS, count=COUNTS)
def test_each_window_comes_as_soon_as_it_can(length: int, count: int) -> None:
    taken = 0

    def source() -> Iterator[int]:
        nonlocal taken
        for index in range(count):
            taken = index + 1
            yield index

    needed = 0
    for window in sliding_windows(source(), length=length):
        reach = window.index + length if window.reversed else window.index + 1
        needed = max(needed, min(reach, count))
        assert taken == needed


def test_nothing_is_read_before_the_first_window_is_asked_for() -> None:
    source = iter(range(10))
    sliding_windows(source, length=3)
    assert next(source) == 0


@pytest.mark.parametrize(("frame", "length", "count"), [(-1, 4, 9), (9, 4, 9), (0, 0, 9), (0, 4, 0), (0, -3, 9)])
def test_bad_arguments(frame: int, length: int, count: int) -> None:
    with pytest.raises(ValueError, match="frame"):
        window_indices(frame, length=length, count=count)


def test_bad_length_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="at least one frame, not 0"):
        sliding_windows([1], length=0)


@given(length=LENGTHS, count=COUNTS)
def test_the_reversed_windows_slide_over_one_stream(length: int, count: int) -> None:
    """From the last to frame 0's; of the video no more is looked at than its first 2T-2 frames."""
    first = list(range(min(count, 2 * length - 2)))
    stream = reversed_stream(first, length=length)
    slid = [stream[begin : begin + length] for begin in range(len(stream) - length + 1)]
    backwards = [frame for frame in range(count) if is_reversed(frame, length)]
    assert slid[::-1] == [window_indices(frame, length=length, count=count) for frame in backwards]
    assert len(stream) == (len(backwards) + length - 1 if backwards else 0)


def test_the_reversed_stream_of_the_published_clip_length() -> None:
    assert reversed_stream(range(62), length=32) == list(range(61, -1, -1))
    assert reversed_stream("abc", length=3) == ["a", "c", "b", "a"]
    assert reversed_stream("a", length=3) == ["a", "a", "a"]
    assert reversed_stream([], length=3) == []
    assert reversed_stream("abc", length=1) == []
    with pytest.raises(ValueError, match="at least one frame, not 0"):
        reversed_stream([1], length=0)


def test_repr_is_short() -> None:
    assert repr(Window(3, ("a", "b"), True)) == "Window(3, 2 frames, reversed)"
