"""Gaze tables, the clock of fixations, maps of them, and the split."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saliency_cli.errors import ReadError, UsageError
from saliency_cli.metrics import (
    SIGMA_VIDEO,
    VALIDATION_VIDEOS,
    Fixations,
    GazeTable,
    active,
    density_map,
    fixation_counts,
    fixation_map,
    is_validation,
)
from saliency_cli.metrics.split import SAME_CONTENT, same_content

SHARED = Path(__file__).resolve().parents[3] / "shared" / "gaze"

ITEMS = """dataset,item,kind,source_width,source_height,fps,frames
faces,01,video,1280,720,23.976,400
photos,a,image,800,600,,
photos,b,image,640,480,,
"""
FIXATIONS = """dataset,item,subject,onset_ms,duration_ms,x,y
photos,a,1,,200,0.5,0.25
faces,01,2,1000,200,0.1,0.9
photos,a,3,,150,0.75,1.0
faces,01,1,1001,50,0.3,0.2
"""


def write(folder: Path, *, items: str = ITEMS, fixations: str = FIXATIONS, packed: bool = True) -> Path:
    """A folder of gaze tables."""
    (folder / "items.csv").write_text(items, encoding="utf-8")
    if packed:
        (folder / "fixations.csv.gz").write_bytes(gzip.compress(fixations.encode()))
    else:
        (folder / "fixations.csv").write_text(fixations, encoding="utf-8")
    return folder


@pytest.fixture
def shared() -> GazeTable:
    if not SHARED.is_dir():
        pytest.skip("the gaze recordings are not beside the checkout (../shared/gaze)")
    return GazeTable.load(SHARED)


@pytest.mark.parametrize("packed", [True, False])
def test_load(tmp_path: Path, packed: bool) -> None:
    table = GazeTable.load(write(tmp_path, packed=packed))
    assert [(item.dataset, item.name, item.position) for item in table.items()] == [
        ("faces", "01", 0),
        ("photos", "a", 0),
        ("photos", "b", 1),
    ]
    video = table.item("faces", "01")
    assert (video.kind, video.width, video.height, video.rate, video.frames) == ("video", 1280, 720, 23.976, 400)
    assert [item.name for item in table.items("photos")] == ["a", "b"]
    photo = table.fixations("photos", "a")
    assert photo.subjects == ("1", "3")
    assert np.isnan(photo.onset).all()
    np.testing.assert_array_equal(photo.duration, [200, 150])
    np.testing.assert_array_equal(photo.points, [[0.5, 0.25], [0.75, 1]])
    assert len(table.fixations("photos", "b")) == 0
    assert fixation_map(table.fixations("photos", "b").points, 4, 4).sum() == 0


def test_a_table_without_fixations(tmp_path: Path) -> None:
    table = GazeTable.load(write(tmp_path, fixations=FIXATIONS.splitlines()[0] + "\n"))
    assert all(len(table.fixations(item.dataset, item.name)) == 0 for item in table.items())


def test_stimulus_path(tmp_path: Path) -> None:
    table = GazeTable.load(write(tmp_path))
    (tmp_path / "faces").mkdir()
    (tmp_path / "faces" / "01.mp4").touch()
    assert table.stimulus_path("faces", "01") == tmp_path / "faces" / "01.mp4"
    with pytest.raises(ReadError, match=r"a\.jpg is missing"):
        table.stimulus_path("photos", "a")


def test_unknown_names(tmp_path: Path) -> None:
    table = GazeTable.load(write(tmp_path))
    with pytest.raises(UsageError, match="no dataset 'cats': choose one of faces, photos"):
        table.items("cats")
    with pytest.raises(UsageError, match="no item 'c' in dataset 'photos'"):
        table.fixations("photos", "c")


@pytest.mark.parametrize(
    ("items", "fixations", "message"),
    [
        (ITEMS.replace("kind", "sort"), FIXATIONS, r"items\.csv does not start with the header dataset,item,kind"),
        (ITEMS.replace("image,800", "sculpture,800"), FIXATIONS, "kind 'sculpture' in line 3"),
        (ITEMS.replace("800", "wide"), FIXATIONS, "no number where one belongs in line 3"),
        (ITEMS, FIXATIONS + "photos,a,1,,200,0.5\n", r"fixations\.csv\.gz has 6 cells, not 7, in line 6"),
        (ITEMS, FIXATIONS.replace("0.1,", "left,"), "text where a number belongs"),
        (ITEMS, FIXATIONS.replace("0.9", ""), "fixation without a place in line 3"),
        ("", FIXATIONS, "does not start with the header"),
    ],
)
def test_damaged_tables(tmp_path: Path, items: str, fixations: str, message: str) -> None:
    with pytest.raises(ReadError, match=message):
        GazeTable.load(write(tmp_path, items=items, fixations=fixations))


def test_missing_and_truncated_files(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=r"items\.csv is missing: name a folder"):
        GazeTable.load(tmp_path)
    packed = write(tmp_path) / "fixations.csv.gz"
    packed.write_bytes(packed.read_bytes()[:-12])
    with pytest.raises(ReadError, match=r"fixations\.csv\.gz cannot be read"):
        GazeTable.load(tmp_path)
    packed.write_bytes(b"no gzip at all")
    with pytest.raises(ReadError, match=r"fixations\.csv\.gz cannot be read"):
        GazeTable.load(tmp_path)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.9999, []), (1.0, [0.1]), (1.001, [0.1, 0.3]), (1.051, [0.1, 0.3]), (1.052, [0.1]), (1.2, [0.1]), (1.2001, [])],
)
def test_active_includes_both_ends(tmp_path: Path, seconds: float, expected: list[float]) -> None:
    points = active(GazeTable.load(write(tmp_path)).fixations("faces", "01"), seconds)
    assert points[:, 0].tolist() == expected


@given(onset=st.integers(0, 10**7), duration=st.integers(1, 2000))
def test_active_is_exact_on_whole_milliseconds(onset: int, duration: int) -> None:
    fixations = Fixations(
        np.array(["1"]), np.array([float(onset)]), np.array([float(duration)]), np.array([[0.5, 0.5]])
    )
    looks = [len(active(fixations, ms / 1000)) for ms in (onset - 1, onset, onset + duration, onset + duration + 1)]
    assert looks == [0, 1, 1, 0]


def test_fixations_without_an_onset_are_never_active(tmp_path: Path) -> None:
    assert len(active(GazeTable.load(write(tmp_path)).fixations("photos", "a"), 0.1)) == 0


def test_fixation_counts() -> None:
    points = np.array([[0, 0], [0.499, 0.24], [0.5, 0.25], [1, 1], [1, 1], [1.01, 0.5], [0.5, -0.01]])
    np.testing.assert_array_equal(fixation_counts(points, 4, 2), [[2, 0], [0, 1], [0, 0], [0, 2]])
    np.testing.assert_array_equal(fixation_map(points, 4, 2), [[1, 0], [0, 1], [0, 0], [0, 1]])
    assert fixation_counts(np.empty((0, 2)), 3, 5).shape == (3, 5)
    with pytest.raises(ValueError, match=r"shape \(N, 2\)"):
        fixation_counts(np.zeros((2, 3)), 4, 4)
    with pytest.raises(ValueError, match="at least one pixel"):
        fixation_map(points, 0, 4)


def test_density_is_a_gaussian() -> None:
    counts = np.zeros((101, 121), np.int64)
    counts[50, 60] = 2
    density = density_map(counts, 6)
    y, x = np.mgrid[-50:51, -60:61]
    expected = 2 * np.exp(-(x**2 + y**2) / 72) / (72 * np.pi)
    np.testing.assert_allclose(density, expected, atol=0.002 * expected.max())
    assert density.dtype == np.float32


def test_density_loses_mass_at_the_edge() -> None:
    counts = np.zeros((80, 80), np.bool_)
    counts[0, 40] = True
    density = density_map(counts, 80 * SIGMA_VIDEO)
    assert density.min() >= 0
    assert 0.5 < density.sum() < 0.6  # half, and half of the pixel itself
    with pytest.raises(ValueError, match="sigma"):
        density_map(counts, 0)
    with pytest.raises(ValueError, match="shape"):
        density_map(counts[None], 3)


def test_split_of_a_plain_table(tmp_path: Path) -> None:
    stills = "".join(f"photos,{n},image,8,8,,\n" for n in range(23))
    others = "".join(f"more,{n},image,8,8,,\nfaces,{n},video,8,8,25,9\n" for n in range(11))
    table = GazeTable.load(write(tmp_path, items=ITEMS.splitlines()[0] + "\n" + stills + others))
    chosen = [(item.dataset, item.name) for item in table.items() if is_validation(item)]
    assert chosen == [("photos", "0"), ("photos", "10"), ("photos", "20"), ("more", "0"), ("more", "10")]


def test_shared_table(shared: GazeTable) -> None:
    counts = {name: len(shared.items(name)) for name in ("osie", "eyecrowd", "scene", "hevc", "find")}
    assert counts == {"osie": 600, "eyecrowd": 450, "scene": 500, "hevc": 24, "find": 5}
    assert all(shared.stimulus_path(item.dataset, item.name) for item in shared.items())
    assert sum(len(shared.fixations(item.dataset, item.name)) for item in shared.items()) == 265_208
    observers = {len(shared.fixations("scene", item.name).subjects) for item in shared.items("scene")}
    assert max(observers) == 12
    assert min(observers) < 12  # an observer without an item has no fixation there, not an empty one


def test_shared_split(shared: GazeTable) -> None:
    kept = [item for item in shared.items() if is_validation(item)]
    assert {(item.dataset, item.name) for item in kept if item.kind == "video"} == VALIDATION_VIDEOS
    assert sum(item.kind == "image" for item in kept) == 60 + 45 + 50
    for pair in SAME_CONTENT:
        one, other = (shared.item(*key) for key in sorted(pair))
        assert same_content(one, other)
        assert is_validation(one) == is_validation(other)
    assert not same_content(shared.item("hevc", "Yan"), shared.item("hevc", "Simo"))


def test_shared_clock(shared: GazeTable) -> None:
    """About 28 fixations are active in a frame of hevc, 32 in one of find."""
    means = {}
    for dataset in ("hevc", "find"):
        active_counts = [
            len(active(shared.fixations(dataset, item.name), frame / item.rate))
            for item in shared.items(dataset)
            if item.rate is not None and item.frames is not None
            for frame in range(int(3 * item.rate), min(item.frames, int(6 * item.rate)), 10)
        ]
        means[dataset] = np.mean(active_counts)
    assert means["hevc"] == pytest.approx(28, abs=2)
    assert means["find"] == pytest.approx(32, abs=3)
