"""Stored maps of every form, read one by one."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from clips import make_clip
from numpy.typing import NDArray

from saliency_cli.errors import ReadError
from saliency_cli.evaluation.map_files import open_maps
from saliency_cli.media import ArrayWriter
from saliency_cli.types import SaliencyFrame

MAPS = np.random.default_rng(0).random((4, 12, 16)).astype(np.float32)


def pictures(folder: Path, names: list[str], dtype: type = np.uint8) -> Path:
    folder.mkdir()
    for number, name in enumerate(names):
        cv2.imwrite(str(folder / name), np.full((6, 8), 10 + number, dtype))
    return folder


@pytest.mark.parametrize(("dtype", "coarse", "form"), [(np.uint8, True, "8-bit"), (np.uint16, False, "16-bit")])
def test_pictures(tmp_path: Path, dtype: type, coarse: bool, form: str) -> None:
    maps = open_maps(pictures(tmp_path / "maps", ["0001.png", "0002.png", "0003.png"], dtype), still=False)
    assert [int(one[0, 0]) for one in maps] == [10, 11, 12]
    assert (len(maps), maps.frames, maps.seconds, maps.coarse) == (3, (0, 1, 2), None, coarse)
    assert maps.form == f"{form} pictures"


@pytest.mark.parametrize(
    ("names", "frames"),
    [
        (["000001.png", "000002.png"], (0, 1)),
        (["0000.png", "0001.png"], (0, 1)),
        (["frame_9.png", "frame_10.png"], (8, 9)),
        (["0601_0003.png", "0601_0007.png"], (2, 6)),
    ],
)
def test_pictures_are_numbered_by_their_names(tmp_path: Path, names: list[str], frames: tuple[int, ...]) -> None:
    assert open_maps(pictures(tmp_path / "maps", names), still=False).frames == frames


@pytest.mark.parametrize(
    ("names", "message"),
    [(["one.png"], "does not say which frame"), (["1.png", "01.png"], "are maps of one frame")],
)
def test_pictures_without_a_number_of_their_own(tmp_path: Path, names: list[str], message: str) -> None:
    with pytest.raises(ReadError, match=message):
        open_maps(pictures(tmp_path / "maps", names), still=False)


def test_the_picture_of_a_still_may_have_any_name(tmp_path: Path) -> None:
    (folder := tmp_path / "x").mkdir()
    cv2.imwrite(str(folder / "tree.png"), np.full((6, 8, 3), 50, np.uint8))
    maps = open_maps(folder / "tree.png", still=True)
    assert [one.shape for one in maps] == [(6, 8)]
    assert maps.frames is None


def test_coloured_pictures_are_no_maps(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), np.array([[[255, 0, 0], [0, 0, 255]]], np.uint8))
    with pytest.raises(ReadError, match=r"a\.png is coloured"):
        open_maps(path, still=True)
    path.write_bytes(b"no picture")
    with pytest.raises(ReadError, match="can be decoded"):
        open_maps(path, still=True)


def test_our_own_arrays(tmp_path: Path) -> None:
    for suffix in (".npy", ".npz"):
        path = tmp_path / f"a{suffix}"
        with ArrayWriter(path) as writer:
            for index, one in enumerate(MAPS):
                writer.write(SaliencyFrame(index + 2, 0.5 + index / 25, one))
        maps = open_maps(path, still=False)
        np.testing.assert_array_equal(np.stack(list(maps)), MAPS)
        assert (len(maps), maps.coarse, maps.form) == (4, False, "float32 arrays")
        if suffix == ".npz":
            assert maps.frames == (2, 3, 4, 5)
            assert maps.seconds == pytest.approx((0.5, 0.54, 0.58, 0.62))


@pytest.mark.parametrize("name", ["saliency", "maps", "anything"])
def test_arrays_of_others(tmp_path: Path, name: str) -> None:
    np.savez_compressed(tmp_path / "a.npz", **{name: MAPS.astype(np.float64)})
    maps = open_maps(tmp_path / "a.npz", still=False)
    np.testing.assert_array_equal(np.stack(list(maps)), MAPS)
    assert (maps.frames, maps.seconds) == (None, None)


def test_one_map_is_enough_for_a_still(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", MAPS[0])
    np.savez(tmp_path / "a.npz", saliency=MAPS[0])
    for suffix in ("npy", "npz"):
        assert [one.shape for one in open_maps(tmp_path / f"a.{suffix}", still=True)] == [(12, 16)]
        with pytest.raises(ReadError, match=r"holds an array of shape \(12, 16\)"):
            open_maps(tmp_path / f"a.{suffix}", still=False)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"saliency": MAPS[:, :, :, None]}, r"shape \(4, 12, 16, 1\)"),
        ({"saliency": MAPS[:0]}, r"shape \(0, 12, 16\)"),
        ({"saliency": np.array([[["a"]]])}, "holds <U1 values"),
        ({"saliency": MAPS, "seconds": np.arange(3.0)}, "of seconds: give one for each map"),
        ({"saliency": MAPS, "frame": np.arange(5)}, "of frame: give one for each map"),
        ({"saliency": MAPS, "frame": np.array([0, 1, 1, 2])}, "several maps of one frame"),
        ({"saliency": MAPS, "frame": np.array([0, 0.5, 1, 2])}, "no whole numbers: number frames from 0"),
        ({"saliency": MAPS, "frame": np.array([0, np.nan, 1, 2])}, "no whole numbers"),
        ({"saliency": MAPS, "frame": np.array(list("abcd"))}, "no whole numbers"),
        ({"saliency": MAPS, "seconds": np.array([0, np.nan, 1, 2])}, "seconds that are no times"),
        ({"saliency": MAPS, "seconds": np.array(list("abcd"))}, "seconds that are no times"),
        ({"one": MAPS, "two": MAPS}, "holds one, two: call the maps saliency"),
        ({"saliency": np.asfortranarray(MAPS)}, "Fortran order"),
    ],
)
def test_arrays_that_are_no_maps(tmp_path: Path, arrays: dict[str, NDArray[np.generic]], message: str) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ReadError, match=message):
        open_maps(tmp_path / "a.npz", still=False)


def test_damaged_arrays(tmp_path: Path) -> None:
    for name in ("a.npy", "a.npz"):
        (tmp_path / name).write_bytes(b"nothing of the kind")
        with pytest.raises(ReadError, match="that can be read"):
            open_maps(tmp_path / name, still=False)
    content = io.BytesIO()
    np.lib.format.write_array(content, MAPS)
    with zipfile.ZipFile(tmp_path / "short.npz", "w") as archive:
        archive.writestr("saliency.npy", content.getvalue()[:-40])
    with pytest.raises(ReadError, match="ends within map 3"):
        list(open_maps(tmp_path / "short.npz", still=False))


def test_gray_videos(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4", frames=5, size=(64, 48), rate=25)
    maps = open_maps(clip, still=False)
    assert maps.seconds == pytest.approx([n / 25 for n in range(5)])
    assert (maps.frames, maps.coarse, maps.form) == (None, True, "gray video")
    assert [one.shape for one in maps] == [(48, 64)] * 5
    coloured = make_clip(tmp_path / "b.mp4", frames=2, size=(64, 48), dark=(200, 0, 0), bright=(0, 0, 200))
    with pytest.raises(ReadError, match=r"b\.mp4 is coloured"):
        list(open_maps(coloured, still=False))
