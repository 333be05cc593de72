"""What is remembered of a stream: which positions are interior, which are computed, and where they lie."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from saliency_cli.inference.rings import Interior, Memory, Ring, Span

LAYER = st.sampled_from([(1, 1), (3, 1), (3, 2), (5, 1), (7, 1), (7, 2)])  # kernel, stride


def fields(length: int, layers: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Of each position of the last layer the first and last frame of its receptive field, padding counted."""
    result = [(frame, frame) for frame in range(length)]
    frames = 1  # that a position of the last layer is further on than the one before
    for kernel, stride in layers:
        reach = kernel // 2
        count = (len(result) + 2 * reach - kernel) // stride + 1
        centres = [result[0][0] + frames * stride * position for position in range(count)]
        width = result[0][1] - result[0][0]
        result = [(centre - frames * reach, centre + frames * reach + width) for centre in centres]
        frames *= stride
    return result


@given(length=st.integers(1, 70), layers=st.lists(LAYER, max_size=5))
def test_interior_positions_are_those_whose_receptive_field_meets_no_padding(
    length: int, layers: list[tuple[int, int]]
) -> None:
    # Padding at an earlier layer is told from features by their values; here, every layer's padding lies outside of
    # the frames, so that a position sees some if and only if its receptive field is not within them.
    interior = Interior(length, 0, length - 1)
    for kernel, stride in layers:
        interior = interior.after(kernel, stride)
    expected = fields(length, layers)
    assert interior.count == len(expected)
    inside = [n for n, (first, last) in enumerate(expected) if first >= 0 and last <= length - 1]
    if inside:
        assert (interior.first, interior.last) == (inside[0], inside[-1])
    else:
        assert interior.first > interior.last


@settings(deadline=None)
@given(length=st.integers(1, 12).map(lambda n: 4 * n), layers=st.lists(LAYER, min_size=1, max_size=4))
def test_interior_features_depend_on_the_frames_alone(length: int, layers: list[tuple[int, int]]) -> None:
    """Brute force: what a window has changes at other positions, and there only, if other frames are around it."""
    generator = torch.Generator().manual_seed(length)
    stream = torch.rand(3 * length, generator=generator, dtype=torch.float64) + 1
    interior = Interior(length, 0, length - 1)
    padded, whole = stream[length : 2 * length], stream
    start = length  # in `whole`, of the window's first position
    for kernel, stride in layers:
        interior = interior.after(kernel, stride)
        weight = torch.rand(1, 1, kernel, generator=generator, dtype=torch.float64) + 0.5
        padded = torch.conv1d(padded[None, None], weight, None, stride, kernel // 2)[0, 0]
        # Along the whole stream: at the window's own phase.
        first = start % stride
        whole = torch.conv1d(whole[None, None, first:], weight, None, stride, kernel // 2)[0, 0]
        start = (start - first) // stride
    same = torch.isclose(padded, whole[start : start + len(padded)], rtol=1e-12)
    assert [bool(each) for each in same] == [interior.first <= n <= interior.last for n in range(interior.count)]


@given(length=st.integers(2, 70).map(lambda n: 2 * n), layers=st.lists(LAYER, max_size=3), windows=st.integers(2, 9))
def test_what_is_computed_and_what_was_kept_cover_all_positions(
    length: int, layers: list[tuple[int, int]], windows: int
) -> None:
    interior = Interior(length, 0, length - 1)
    for kernel, stride in layers:
        interior = interior.after(kernel, stride)
    kept: dict[int, str] = {}  # position: whether its features are an interior's
    for window in range(windows):
        kept = {position - 1: kind for position, kind in kept.items()}
        spans = interior.missing(fresh=window == 0)
        computed = [position for span in spans for position in range(*span)]
        assert all(span.begin < span.end for span in spans)
        assert len(set(computed)) == len(computed)  # none twice
        kept |= {n: "interior" if interior.first <= n <= interior.last else "an end" for n in computed}
        for position in range(interior.count):
            assert kept[position] == ("interior" if interior.first <= position <= interior.last else "an end")
        if window and interior.first < interior.last:
            assert len(computed) == interior.count - (interior.last - interior.first)  # no more than needed


@pytest.mark.parametrize(
    ("interior", "fresh", "spans"),
    [
        (Interior(16, 2, 14), False, [(0, 2), (14, 16)]),
        (Interior(16, 2, 14), True, [(0, 16)]),
        (Interior(8, 0, 7), False, [(7, 8)]),
        (Interior(8, 4, 4), False, [(0, 8)]),
        (Interior(8, 5, 3), False, [(0, 8)]),
    ],
)
def test_missing_positions(interior: Interior, fresh: bool, spans: list[tuple[int, int]]) -> None:
    assert interior.missing(fresh=fresh) == spans


def test_the_published_clip_length() -> None:
    """What the design counts on: the interiors of S3D's layers at T = 32."""
    stem = Interior(32, 0, 31).after(7, 2)
    assert (stem.count, stem.first, stem.last) == (16, 2, 14)
    assert stem.after(3) == Interior(16, 3, 13)
    assert stem.after(3).after(3).after(3) == Interior(16, 5, 11)
    assert stem.after(3).after(3).after(3).after(3, 2) == Interior(8, 3, 5)


@settings(deadline=None)
@given(count=st.integers(1, 7), steps=st.integers(0, 40), longest=st.integers(1, 8))
def test_a_ring_is_a_list_that_moves_on(count: int, steps: int, longest: int) -> None:
    ring = Ring(count, torch.Size((2, 3)), torch.zeros(1), longest=longest)
    ring.put(0, torch.arange(float(count))[:, None, None].expand(count, 2, 3))
    plain = [float(value) for value in range(count)]
    for step in range(steps):
        ring.advance()
        ring.put(count - 1, torch.full((1, 2, 3), 100.0 + step))
        plain = [*plain[1:], 100.0 + step]
        assert ring[0, count].shape == (count, 2, 3)
        for begin in range(count + 1):
            for end in range(begin, count + 1):
                view = ring[begin, end]
                assert view[:, 1, 2].tolist() == plain[begin:end]
                assert view.is_contiguous()
                if end > begin and end - begin <= longest:  # nothing is copied
                    assert view.untyped_storage().data_ptr() == ring._slots.untyped_storage().data_ptr()


@settings(deadline=None)
@given(count=st.integers(1, 7), steps=st.integers(0, 20), longest=st.integers(1, 8), data=st.data())
def test_a_ring_takes_several_positions_at_once(count: int, steps: int, longest: int, data: st.DataObject) -> None:
    ring = Ring(count, torch.Size((3,)), torch.zeros(1), longest=longest)
    plain = torch.zeros(count, 3)
    ring.put(0, plain)
    for step in range(steps):
        ring.advance()
        plain = torch.cat([plain[1:], torch.full((1, 3), -1.0)])
        ring.put(count - 1, plain[-1:])
        begin = data.draw(st.integers(0, count - 1))
        end = data.draw(st.integers(begin + 1, count))
        plain[begin:end, 1:] = step + torch.rand(end - begin, 2)
        ring.put(begin, plain[begin:end, 1:], at=1)
        assert torch.equal(ring[0, count], plain)


def test_a_ring_claims_its_memory_once() -> None:
    for longest in (2, 4, None):
        ring = Ring(4, torch.Size((2,)), torch.zeros(1, dtype=torch.bfloat16), longest=longest)
        found = set[int]()
        for _ in range(30):
            ring.advance()
            found.add(ring[2, 3].untyped_storage().data_ptr())
        assert len(found) == 1
        assert ring[0, 4].dtype == torch.bfloat16


def test_memory_keeps_slices_of_channels_side_by_side() -> None:
    memory = Memory()
    memory.advance()
    one, two = torch.rand(3, 2, 2, 4), torch.rand(1, 2, 2, 5)
    memory.put("joined", 6, 1, one, width=9)
    memory.put("joined", 6, 2, two, at=4, width=9)
    found = memory["joined"][0, 6]
    assert found.shape == (6, 2, 2, 9)
    assert torch.equal(found[1:4, ..., :4], one)
    assert torch.equal(found[2:3, ..., 4:], two)
    assert not found[0].any()
    assert not found[4:].any()
    assert not found[[1, 3], ..., 4:].any()
    memory.put("joined", 6, 2, 2 * two, at=4, width=9)  # what is put again replaces
    assert torch.equal(memory["joined"][2, 3][..., 4:], 2 * two)
    assert torch.equal(memory["joined"][1, 4][..., :4], one)


def test_the_rings_of_a_memory_move_on_together_after_the_first_window() -> None:
    memory = Memory()
    assert memory.age == -1
    memory.advance()
    assert memory.age == 0
    for name in ("a", "b"):
        memory.put(name, 3, 0, torch.arange(3.0)[:, None])
    for step in range(9):
        memory.advance()
        for name in ("a", "b"):
            memory.put(name, 3, 2, torch.full((1, 1), 3.0 + step))
            assert memory[name][0, 3].flatten().tolist() == [1.0 + step, 2.0 + step, 3.0 + step]
    assert memory.age == 9
    memory.forget()
    memory.advance()
    assert memory.age == 0
    assert memory["a"][0, 3].flatten().tolist() == [9, 10, 11]  # the first window moves nothing
    with pytest.raises(KeyError):
        memory["c"]


def test_a_span_is_a_pair() -> None:
    begin, end = Span(2, 5)
    assert list(range(begin, end)) == [2, 3, 4]
