from __future__ import annotations

import io
import json
import os
import sys
import threading
import zipfile
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from piped import stdout_pipe

from saliency_cli.errors import UsageError, WriteError
from saliency_cli.media import ArrayWriter, ImageWriter, PngWriter, SidecarWriter, StatsStream, StatsWriter
from saliency_cli.types import SaliencyFrame

PICTURE = np.random.default_rng(5).integers(0, 256, (9, 13, 3), np.uint8)


def maps(count: int) -> list[SaliencyFrame]:
    values = np.random.default_rng(6).random((count, 5, 7), np.float32)
    return [SaliencyFrame(10 + i, 0.5 + i / 30, value) for i, value in enumerate(values)]


def read(path: Path) -> np.ndarray:
    found = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert found is not None
    return found[..., ::-1] if found.ndim == 3 else found


def test_png_files_are_numbered_from_one(tmp_path: Path) -> None:
    with PngWriter(tmp_path / "maps") as writer:
        writer.write(PICTURE, 0)
        writer.write(PICTURE[..., 0], 41)
        writer.write(PICTURE[..., 0].astype(np.uint16) * 257, 1_234_567)
    assert sorted(path.name for path in (tmp_path / "maps").iterdir()) == ["000001.png", "000042.png", "1234568.png"]
    np.testing.assert_array_equal(read(tmp_path / "maps" / "000001.png"), PICTURE)
    np.testing.assert_array_equal(read(tmp_path / "maps" / "000042.png"), PICTURE[..., 0])
    deep = read(tmp_path / "maps" / "1234568.png")
    assert deep.dtype == np.uint16
    np.testing.assert_array_equal(deep, PICTURE[..., 0].astype(np.uint16) * 257)


def test_png_files_with_fewer_digits_replace_an_earlier_folder(tmp_path: Path) -> None:
    for _ in range(2):
        with PngWriter(tmp_path / "0701", digits=4) as writer:
            writer.write(PICTURE, 0)
            writer.write(PICTURE, 9_999)
        assert sorted(path.name for path in (tmp_path / "0701").iterdir()) == ["0001.png", "10000.png"]
    with pytest.raises(ValueError, match="4 digits or more"):
        PngWriter(tmp_path / "0702", digits=3)


@pytest.mark.parametrize("name", ["übersicht.png", "a.jpg", "b.JPEG"])
def test_a_single_picture(tmp_path: Path, name: str) -> None:
    smooth = np.full((16, 16, 3), (200, 90, 30), np.uint8)
    with ImageWriter(tmp_path / name) as writer:
        writer.write(smooth)
    found = cv2.imdecode(np.frombuffer((tmp_path / name).read_bytes(), np.uint8), cv2.IMREAD_COLOR_RGB)
    assert np.abs(found.astype(int) - smooth).max() <= (0 if name.endswith("png") else 4)


def test_pictures_have_known_formats_and_depths(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.png, \.jpg, \.jpeg"):
        ImageWriter(tmp_path / "a.webp")
    with pytest.raises(UsageError, match="8 bits"), ImageWriter(tmp_path / "a.jpg") as writer:
        writer.write(np.zeros((2, 2), np.uint16))
    with pytest.raises(WriteError, match="no picture"), ImageWriter(tmp_path / "a.png"):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("count", [0, 1, 12])
def test_npz(tmp_path: Path, count: int) -> None:
    with ArrayWriter(tmp_path / "a.npz") as writer:
        for frame in maps(count):
            writer.write(frame)
    assert list(tmp_path.iterdir()) == [tmp_path / "a.npz"]
    with zipfile.ZipFile(tmp_path / "a.npz") as file:
        assert file.testzip() is None  # checksums
    with np.load(tmp_path / "a.npz") as found:
        assert sorted(found) == ["frame", "saliency", "seconds"]
        assert [found[name].dtype for name in ("saliency", "seconds", "frame")] == [np.float32, np.float64, np.int64]
        assert found["saliency"].shape == ((count, 5, 7) if count else (0, 0, 0))
        for i, frame in enumerate(maps(count)):
            np.testing.assert_array_equal(found["saliency"][i], frame.saliency)
        assert found["seconds"].tolist() == [frame.seconds for frame in maps(count)]
        assert found["frame"].tolist() == [frame.index for frame in maps(count)]


def test_npy_can_be_mapped(tmp_path: Path) -> None:
    with ArrayWriter(tmp_path / "a.npy") as writer:
        for frame in maps(3):
            writer.write(frame)
    found = np.load(tmp_path / "a.npy", mmap_mode="r")
    assert isinstance(found, np.memmap)
    np.testing.assert_array_equal(found, [frame.saliency for frame in maps(3)])


def test_arrays_are_on_disk_before_the_end(tmp_path: Path) -> None:
    frame = SaliencyFrame(0, 0.0, np.ones((256, 256), np.float32))
    with ArrayWriter(tmp_path / "a.npz") as writer:
        for _ in range(8):
            writer.write(frame)
        (growing,) = tmp_path.iterdir()
        assert growing.stat().st_size > 7 * frame.saliency.nbytes


def test_arrays_have_known_formats_and_one_size(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.npz or \.npy"):
        ArrayWriter(tmp_path / "a.mat")
    odd = SaliencyFrame(1, 0.0, np.zeros((3, 3), np.float32))
    with ArrayWriter(tmp_path / "a.npz") as writer:
        writer.write(maps(1)[0])
        with pytest.raises(ValueError, match="shape"):
            writer.write(odd)
        writer.discard()
    assert list(tmp_path.iterdir()) == []


def test_statistics_are_json_lines(tmp_path: Path) -> None:
    with StatsWriter(tmp_path / "a.jsonl") as writer:
        writer.write(0, 0.0, {"peak": (0.5, 0.25), "mean": np.float32(0.5)})
        writer.write(1, 1 / 3, {"peak": (0.5, 0.25), "mean": 1.0})
        assert not (tmp_path / "a.jsonl").exists()
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert lines[0] == {"frame": 0, "seconds": 0.0, "peak": [0.5, 0.25], "mean": 0.5}
    assert lines[1]["seconds"] == 0.333333


def test_statistics_on_stdout_come_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    line = '{"frame": 3, "seconds": 0.12}\n'
    with stdout_pipe(monkeypatch) as pipe, StatsStream() as writer:
        writer.write(3, 0.12, {})
        print("a library talks", flush=True)
        assert os.read(pipe, 1000).decode() == line
    letters = io.StringIO()  # as in a notebook
    monkeypatch.setattr(sys, "stdout", letters)
    with StatsStream() as writer:
        writer.write(3, 0.12, {})
        assert letters.getvalue() == line
    assert not letters.closed
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(WriteError, match="stdout is closed"):
        StatsStream()


def test_statistics_that_nobody_reads_can_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    with stdout_pipe(monkeypatch) as pipe:
        stats = StatsStream()

        def write() -> None:
            for index in range(5000):  # more than a pipe holds
                stats.write(index, 0.0, {"mean": 0.5})

        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        os.read(pipe, 1)  # it has begun
        stats.interrupt()
        writer.join(10)
        assert not writer.is_alive()
        stats.discard()


def test_a_reader_that_went_away(monkeypatch: pytest.MonkeyPatch) -> None:
    with stdout_pipe(monkeypatch) as pipe:
        os.close(pipe)
        with pytest.raises(WriteError, match="program that read the output"), StatsStream() as writer:
            writer.write(0, 0.0, {})


@pytest.mark.parametrize("name", ["maps", "a.png", "a.npz", "a.npy", "a.jsonl"])
def test_interrupted_products_leave_nothing(tmp_path: Path, name: str) -> None:
    def interrupted() -> None:
        match name.rpartition(".")[2]:
            case "maps":
                with PngWriter(tmp_path / name) as pngs:
                    pngs.write(PICTURE, 0)
                    raise KeyboardInterrupt
            case "png":
                with ImageWriter(tmp_path / name) as image:
                    image.write(PICTURE)
                    raise KeyboardInterrupt
            case "jsonl":
                with StatsWriter(tmp_path / name) as stats:
                    stats.write(0, 0.0, {})
                    raise KeyboardInterrupt
            case _:
                with ArrayWriter(tmp_path / name) as arrays:
                    arrays.write(maps(1)[0])
                    raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_closing_and_discarding_twice_is_harmless(tmp_path: Path) -> None:
    writer = ArrayWriter(tmp_path / "a.npy")
    writer.write(maps(1)[0])
    writer.close()
    writer.close()
    writer.discard()
    assert (tmp_path / "a.npy").exists()


def test_a_finished_product_is_not_in_its_place_yet(tmp_path: Path) -> None:
    with StatsWriter(tmp_path / "a.jsonl") as writer:
        writer.write(0, 0.0, {})
        writer.finish()
        assert not (tmp_path / "a.jsonl").exists()
    assert (tmp_path / "a.jsonl").exists()
    arrays = ArrayWriter(tmp_path / "a.npz")
    arrays.write(maps(1)[0])
    arrays.finish()
    arrays.discard()
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


def write_sidecar(product: Path, mapping: dict[str, object]) -> Path:
    with SidecarWriter(product) as sidecar:
        sidecar.write(mapping)
    return sidecar.path


def test_a_sidecar_lies_beside_its_product(tmp_path: Path) -> None:
    (tmp_path / "maps").mkdir()
    path = write_sidecar(tmp_path / "maps", {"rate": Fraction(30000, 1001), "n": np.int64(3), "path": Path("ä.mp4")})
    assert path == tmp_path / "maps.json"
    assert json.loads(path.read_text(encoding="utf-8")) == {"rate": "30000/1001", "n": 3, "path": "ä.mp4"}
    assert write_sidecar(tmp_path / "clip.mp4", {}).name == "clip.mp4.json"


def test_a_sidecar_may_name_what_is_no_utf8(tmp_path: Path) -> None:
    path = write_sidecar(tmp_path / "clip.mp4", {"path": "bad\udcff.mp4"})
    assert json.loads(path.read_text(encoding="utf-8")) == {"path": "bad\udcff.mp4"}
