"""The folds of cross-validation: every video in one, twins together, in turn."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saliency_cli.metrics.gaze import Item
from saliency_cli.metrics.split import FOLDS, SAME_CONTENT, same_content, video_folds


def video(name: str, dataset: str = "hevc", kind: str = "video") -> Item:
    return Item(dataset, name, kind, 64, 48, 25.0, 9, 0)  # type: ignore[arg-type]


def folds_of(*names: str) -> list[int]:
    folds = video_folds(video(name) for name in names)
    return [folds["hevc", name] for name in names]


def test_videos_take_turns() -> None:
    assert FOLDS == 5
    assert folds_of(*"abcdefg") == [1, 2, 3, 4, 5, 1, 2]
    assert video_folds([]) == {}


def test_stills_have_no_fold_and_take_no_turn() -> None:
    items = [video("a"), video("p", kind="image"), video("b"), video("q", "photos", "image"), video("c", "find")]
    assert video_folds(items) == {("hevc", "a"): 1, ("hevc", "b"): 2, ("find", "c"): 3}


def test_the_same_content_lies_in_one_fold_and_takes_one_turn() -> None:
    assert folds_of("a", "RaceHorsesC", "b", "RaceHorsesD", "c", "d", "e") == [1, 2, 3, 2, 4, 5, 1]
    assert folds_of("BasketballDrillText", "BasketballDrill", "a") == [1, 1, 2]


def test_the_same_name_in_another_set_is_another_video() -> None:
    folds = video_folds([video("RaceHorsesC"), video("RaceHorsesD", "find"), video("RaceHorsesD")])
    assert folds == {("hevc", "RaceHorsesC"): 1, ("find", "RaceHorsesD"): 2, ("hevc", "RaceHorsesD"): 1}


twins = sorted(name for pair in SAME_CONTENT for _, name in pair)
names = st.lists(st.one_of(st.sampled_from(twins), st.text("abcdef", min_size=1, max_size=3)), unique=True, max_size=40)


@given(names=names, kinds=st.lists(st.booleans(), min_size=40, max_size=40))
def test_every_video_has_exactly_one_fold(names: list[str], kinds: list[bool]) -> None:
    items = [video(name, kind="video" if kind else "image") for name, kind in zip(names, kinds, strict=False)]
    folds = video_folds(items)
    videos = [item for item in items if item.kind == "video"]
    assert list(folds) == [(item.dataset, item.name) for item in videos]
    assert set(folds.values()) <= set(range(1, FOLDS + 1))
    for one in videos:
        for other in videos:
            if same_content(one, other):
                assert folds[one.dataset, one.name] == folds[other.dataset, other.name]
    # Turns are even: contents, not videos, are counted
    contents = Counter(
        folds[item.dataset, item.name]
        for number, item in enumerate(videos)
        if not any(same_content(earlier, item) for earlier in videos[:number])
    )
    counts = [contents[fold] for fold in range(1, FOLDS + 1)]
    assert counts == sorted(counts, reverse=True)
    assert max(counts) - min(counts) <= 1
    assert video_folds(items) == folds


@pytest.mark.parametrize("pair", SAME_CONTENT)
def test_twins_never_lie_on_two_sides(pair: frozenset[tuple[str, str]]) -> None:
    others = [video(f"v{number}") for number in range(7)]
    one, other = (video(name, dataset) for dataset, name in sorted(pair))
    for begin in range(7):
        for end in range(begin, 7):
            items = [*others[:begin], one, *others[begin:end], other, *others[end:]]
            folds = video_folds(items)
            assert folds[one.dataset, one.name] == folds[other.dataset, other.name]
