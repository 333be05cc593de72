"""Stored maps are found by name, and paired with the frames they belong to or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from clips import make_clip
from tiny_recordings import TinyRecording, ideal, recording

from saliency_cli.datasets import Recording
from saliency_cli.errors import ReadError
from saliency_cli.evaluation import StoredMaps
from saliency_cli.media import ArrayWriter
from saliency_cli.types import SaliencyFrame

TIMES = tuple(1 + n / 25 for n in range(5))


def write_pngs(folder: Path, numbers: Sequence[int], *, bits: int = 8) -> None:
    folder.mkdir(parents=True)
    for number in numbers:
        picture = np.full((6, 8), number, np.uint16 if bits == 16 else np.uint8)
        cv2.imwrite(str(folder / f"{number:04}.png"), picture)


def write_npz(path: Path, seconds: Sequence[float], frames: Sequence[int] | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with ArrayWriter(path) as writer:
        for index, time in enumerate(seconds):
            number = index if frames is None else frames[index]
            writer.write(SaliencyFrame(number, time, np.full((6, 8), number, np.float32)))


def taken(source: StoredMaps, one: Recording, limit: int | None = None) -> list[tuple[int, float, int]]:
    """(frame, seconds, the value of the map) of what the source gives for its only item."""
    assert source.prepare([one], limit) == {}
    (trial,) = source.trials(one, limit)
    assert trial.judge is one
    return [(m.index, m.seconds, int(m.saliency[0, 0])) for m in trial.maps]


@pytest.fixture
def timed(tmp_path: Path) -> TinyRecording:
    """A recording of 5 frames, the first of them shown at 1 s."""
    clip = make_clip(tmp_path / "stimuli" / "a.mp4", frames=5, size=(64, 48), rate=25, start=Fraction(1))
    return recording(pairing="time", frames=None, stimulus=clip)


@pytest.fixture(autouse=True)
def stimuli(tmp_path: Path) -> None:
    (tmp_path / "stimuli").mkdir()


@pytest.mark.parametrize("place", ["a", "a.maps", "tiny/a", "tiny/a.maps"])
def test_folders_of_numbered_maps(tmp_path: Path, place: str) -> None:
    write_pngs(tmp_path / "maps" / place, range(1, 6))
    source = StoredMaps(tmp_path / "maps")
    assert [(frame, value) for frame, _, value in taken(source, recording())] == [(n, n + 1) for n in range(5)]
    assert "have 8 bits" in source.notes()[0]


def test_floating_point_comes_before_pictures(tmp_path: Path) -> None:
    write_pngs(tmp_path / "maps" / "a", range(1, 6))
    write_npz(tmp_path / "maps" / "a.arrays.npz", TIMES)
    source = StoredMaps(tmp_path / "maps")
    taken(source, recording())
    about = source.about()
    assert about["files"]["tiny/a"]["form"] == "float32 arrays"
    assert source.notes() == ()
    assert len(about["sha256"]) == len(about["files"]["tiny/a"]["sha256"]) == 64


def test_numbers_decide_where_maps_are_missing(tmp_path: Path) -> None:
    write_pngs(tmp_path / "maps" / "a", [2, 5], bits=16)
    source = StoredMaps(tmp_path / "maps")
    assert [(frame, value) for frame, _, value in taken(source, recording())] == [(1, 2), (4, 5)]
    assert source.notes() == ()
    assert [frame for frame, _, _ in taken(StoredMaps(tmp_path / "maps"), recording(), 3)] == [1]


SHOT = (3, 4, 5, 6, 7)  # the numbers of a shot's frames, cut from a longer video


@pytest.mark.parametrize(
    ("numbers", "frames"),
    [
        ((1, 2, 3, 4, 5), [0, 1, 2, 3, 4]),  # from the first frame, as vsal counts
        ((1, 2), [0, 1]),
        (SHOT, [0, 1, 2, 3, 4]),  # as the frames' own files are called
        ((6, 7), [3, 4]),
    ],
)
def test_maps_of_a_shot_are_numbered_as_its_frames_or_from_1(
    tmp_path: Path, numbers: tuple[int, ...], frames: list[int]
) -> None:
    write_pngs(tmp_path / "maps" / "a", numbers)
    found = taken(StoredMaps(tmp_path / "maps"), recording(numbers=SHOT))
    assert [(frame, value) for frame, _, value in found] == list(zip(frames, numbers, strict=True))


@pytest.mark.parametrize(("numbers", "message"), [((3, 4, 5), "may count frames from 1, or as"), ((7, 8), "number 8")])
def test_maps_of_a_shot_that_may_belong_to_other_frames(tmp_path: Path, numbers: tuple[int, ...], message: str) -> None:
    write_pngs(tmp_path / "maps" / "a", numbers)
    with pytest.raises(ReadError, match=message):
        StoredMaps(tmp_path / "maps").prepare([recording(numbers=SHOT)], None)


def test_pictures_of_a_timed_set_are_shown_when_the_stimulus_is(tmp_path: Path, timed: TinyRecording) -> None:
    write_pngs(tmp_path / "maps" / "a", range(1, 6))
    found = taken(StoredMaps(tmp_path / "maps"), timed)
    assert [(frame, value) for frame, _, value in found] == [(n, n + 1) for n in range(5)]
    assert [seconds for _, seconds, _ in found] == pytest.approx(TIMES)


def test_arrays_with_times_are_paired_by_them(tmp_path: Path, timed: TinyRecording) -> None:
    write_npz(tmp_path / "a.npz", TIMES[2:], [0, 1, 2])  # numbered from its own beginning: the times decide
    found = taken(StoredMaps(tmp_path / "a.npz"), timed)
    assert [(frame, value) for frame, _, value in found] == [(2, 0), (3, 1), (4, 2)]
    assert [seconds for _, seconds, _ in found] == pytest.approx(TIMES[2:])


def test_arrays_of_a_numbered_set_are_paired_by_number(tmp_path: Path) -> None:
    write_npz(tmp_path / "a.npz", [7.0, 8.0], [1, 3])
    assert [frame for frame, _, _ in taken(StoredMaps(tmp_path / "a.npz"), recording())] == [1, 3]


def test_arrays_without_times_are_one_map_a_frame(tmp_path: Path, timed: TinyRecording) -> None:
    np.save(tmp_path / "a.npy", np.arange(5.0)[:, None, None] * np.ones((5, 6, 8)))
    for one in (timed, recording()):
        assert [(frame, value) for frame, _, value in taken(StoredMaps(tmp_path / "a.npy"), one)] == [
            (n, n) for n in range(5)
        ]
    np.save(tmp_path / "b.npy", np.ones((2, 6, 8)))
    assert len(taken(StoredMaps(tmp_path / "b.npy"), recording(), 2)) == 2
    with pytest.raises(ReadError, match="holds 2 maps, but tiny/a has 5 frames"):
        StoredMaps(tmp_path / "b.npy").prepare([recording()], None)


def test_gray_videos_are_paired_by_their_times(tmp_path: Path, timed: TinyRecording) -> None:
    make_clip(tmp_path / "maps.mp4", frames=3, size=(64, 48), rate=25, start=Fraction(27, 25))
    assert [frame for frame, _, _ in taken(StoredMaps(tmp_path / "maps.mp4"), timed)] == [2, 3, 4]
    make_clip(tmp_path / "early.mp4", frames=5, size=(64, 48), rate=25)
    with pytest.raises(ReadError, match=r"has a map at 0\.000 s where its stimulus shows no frame"):
        StoredMaps(tmp_path / "early.mp4").prepare([timed], None)
    assert len(taken(StoredMaps(tmp_path / "early.mp4"), recording())) == 5  # frames that are only counted


def test_the_annotation_may_end_before_the_stimulus(tmp_path: Path, timed: TinyRecording) -> None:
    short = recording(stimulus=timed.stimulus, frames=4)
    np.save(tmp_path / "a.npy", np.ones((5, 6, 8)))
    write_pngs(tmp_path / "maps" / "a", range(1, 6))
    for path in ("a.npy", "maps"):
        assert [frame for frame, _, _ in taken(StoredMaps(tmp_path / path), short)] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("numbers", [[1, 2, 3, 4, 5, 6], [0, 1, 2, 3, 4, 5], [100]])
def test_maps_of_frames_that_are_not_there(tmp_path: Path, timed: TinyRecording, numbers: list[int]) -> None:
    write_pngs(tmp_path / "maps" / "a", numbers)
    for one in (timed, recording()):
        with pytest.raises(ReadError, match=r"has a map number \d+, counted from 1, but tiny/a has 5 frames"):
            StoredMaps(tmp_path / "maps").prepare([one], None)


def test_a_timed_set_without_its_stimulus(tmp_path: Path) -> None:
    bare = recording(pairing="time", frames=None)
    write_npz(tmp_path / "a.npz", TIMES)
    assert [seconds for _, seconds, _ in taken(StoredMaps(tmp_path / "a.npz"), bare)] == pytest.approx(TIMES)
    np.save(tmp_path / "a.npy", np.ones((5, 6, 8)))
    with pytest.raises(ReadError, match="has no stimulus that tells when"):
        StoredMaps(tmp_path / "a.npy").prepare([bare], None)


def test_stills(tmp_path: Path) -> None:
    still = recording(kind="image", frames=None, pairing="time")
    (tmp_path / "maps").mkdir()
    for name in ("a.maps.png", "a.png"):  # a.png is found first
        cv2.imwrite(str(tmp_path / "maps" / name), np.full((6, 8), len(name), np.uint8))
    assert taken(StoredMaps(tmp_path / "maps"), still) == [(0, 0.0, len("a.png"))]
    np.save(tmp_path / "maps" / "a.npy", np.ones((2, 6, 8)))
    with pytest.raises(ReadError, match="holds 2 maps, but tiny/a is a still"):
        StoredMaps(tmp_path / "maps").prepare([still], None)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    write_pngs(tmp_path / "maps" / "a", range(1, 6))
    (tmp_path / "maps" / "c").mkdir()  # holds no pictures
    missing = StoredMaps(tmp_path / "maps").prepare([recording("a"), recording("b"), recording("c")], None)
    assert list(missing) == ["tiny/b", "tiny/c"]
    assert missing["tiny/b"] == f"no prediction called b in {tmp_path / 'maps'}"


def test_a_file_has_the_maps_of_one_item(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((5, 6, 8)))
    missing = StoredMaps(tmp_path / "a.npy").prepare([recording("a"), recording("b")], None)
    assert list(missing) == ["tiny/a", "tiny/b"]
    assert missing["tiny/a"].endswith("a.npy is one file, and 2 items are selected; choose its own with --item")


def test_the_stimulus_lends_its_name(tmp_path: Path, timed: TinyRecording) -> None:
    write_pngs(tmp_path / "maps" / "a.maps", range(1, 6))
    one, other = (recording(name, stimulus=timed.stimulus) for name in ("0601", "0602"))
    source = StoredMaps(tmp_path / "maps")
    assert source.prepare([one], None) == {}
    assert list(StoredMaps(tmp_path / "maps").prepare([one, other], None)) == ["tiny/0601", "tiny/0602"]  # whose?


def test_one_item_takes_the_whole_folder_or_file(tmp_path: Path) -> None:
    write_pngs(tmp_path / "maps", range(1, 6))
    assert len(taken(StoredMaps(tmp_path / "maps"), recording())) == 5
    assert list(StoredMaps(tmp_path / "maps").prepare([recording("a"), recording("b")], None)) == ["tiny/a", "tiny/b"]
    write_npz(tmp_path / "a.npz", TIMES)
    assert list(StoredMaps(tmp_path / "a.npz").prepare([recording("a"), recording("b")], None)) == ["tiny/a", "tiny/b"]


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="nowhere does not exist"):
        StoredMaps(tmp_path / "nowhere")


def test_maps_are_what_was_written(tmp_path: Path) -> None:
    one = recording()
    with ArrayWriter(tmp_path / "a.npz") as writer:
        for index in range(5):
            writer.write(SaliencyFrame(index, index / 25, ideal(one, index)))
    source = StoredMaps(tmp_path / "a.npz")
    source.prepare([one], None)
    (trial,) = source.trials(one, None)
    for index, found in enumerate(trial.maps):
        np.testing.assert_array_equal(found.saliency, ideal(one, index))
