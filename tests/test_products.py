"""How a map becomes each product."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from saliency_cli import render
from saliency_cli.errors import UsageError
from saliency_cli.options import PredictOptions
from saliency_cli.outputs import Output
from saliency_cli.products import open_sink
from saliency_cli.types import Frame, SaliencyFrame, VideoInfo

INFO = VideoInfo(
    path="clip.mp4",
    kind="frames",
    width=12,
    height=9,
    frames=1,
    rate=Fraction(25),
    time_base=Fraction(1, 25),
    start=Fraction(0),
    codec="png",
)
PIXELS = np.random.default_rng(1).integers(0, 256, (9, 12, 3), np.uint8)
FRAME = Frame(4, PIXELS, 4, Fraction(1, 25))
MAP = np.linspace(0, 1, 6 * 8, dtype=np.float32).reshape(6, 8)
SEEN = SaliencyFrame(4, 0.16, MAP)


def made(path: Path, product: Any, storage: Any, **options: Any) -> bool:
    """Write one frame; whether its pixels were asked for."""
    with open_sink(Output(product, storage, path), INFO, PredictOptions(write=(product,), **options)) as sink:
        sink.write(FRAME, SEEN)
    return sink.needs_pixels


def read(path: Path) -> NDArray[Any]:
    found = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert found is not None
    return found[..., ::-1] if found.ndim == 3 else found


@pytest.mark.parametrize(
    ("product", "expected", "needs_pixels"),
    [
        ("overlay", lambda: render.overlay(PIXELS, MAP, "jet", opacity=0.4), True),
        ("heatmap", lambda: render.heatmap(MAP, "jet", size=(12, 9)), False),
        ("side-by-side", lambda: render.side_by_side(PIXELS, MAP, "jet"), True),
        ("maps", lambda: render.gray8(render.resize(MAP, 12, 9)), False),
    ],
)
def test_pictures(tmp_path: Path, product: str, expected: Any, needs_pixels: bool) -> None:
    asked = made(tmp_path / "o.png", product, "image", colormap="jet", opacity=0.4)
    assert asked == needs_pixels
    assert made(tmp_path / "o", product, "png", colormap="jet", opacity=0.4) == needs_pixels
    np.testing.assert_array_equal(read(tmp_path / "o.png"), expected())
    np.testing.assert_array_equal(read(tmp_path / "o" / "000005.png"), expected())


def test_maps_in_16_bits(tmp_path: Path) -> None:
    made(tmp_path / "o.png", "maps", "image", bits=16)
    found = read(tmp_path / "o.png")
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, render.gray16(render.resize(MAP, 12, 9)))
    with pytest.raises(UsageError, match="8 bits"):
        made(tmp_path / "o.jpg", "maps", "image", bits=16)
    assert not (tmp_path / "o.jpg").exists()


def test_maps_of_tased_are_cut_off_as_its_authors_do(tmp_path: Path) -> None:
    made(tmp_path / "o.png", "maps", "image", model="tased", raw=True)
    np.testing.assert_array_equal(read(tmp_path / "o.png"), render.gray8_truncated(MAP))
    made(tmp_path / "p.png", "maps", "image", raw=True)
    np.testing.assert_array_equal(read(tmp_path / "p.png"), render.gray8(MAP))
    assert (read(tmp_path / "o.png") != read(tmp_path / "p.png")).any()


def test_arrays_have_the_source_s_size_or_the_network_s(tmp_path: Path) -> None:
    assert not made(tmp_path / "o.npz", "arrays", "arrays")
    made(tmp_path / "raw.npz", "arrays", "arrays", raw=True)
    with np.load(tmp_path / "o.npz") as file:
        np.testing.assert_array_equal(file["saliency"], render.resize(MAP, 12, 9)[None])
        assert (file["seconds"].tolist(), file["frame"].tolist()) == ([0.16], [4])
    with np.load(tmp_path / "raw.npz") as file:
        np.testing.assert_array_equal(file["saliency"], MAP[None])


def test_statistics_are_those_of_the_map(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert not made(tmp_path / "o.jsonl", "stats", "stats")
    line = json.loads((tmp_path / "o.jsonl").read_text())
    assert line == {"frame": 4, "seconds": 0.16, **render.frame_statistics(MAP).as_dict()}
    with open_sink(Output("stats", "stats", None), INFO, PredictOptions(write=("stats",), output="-")) as sink:
        sink.write(FRAME, SEEN)
    assert json.loads(capsys.readouterr().out) == line


def test_a_product_that_fails_is_not_there(tmp_path: Path) -> None:
    for product, storage, name in (
        ("overlay", "video", "o.mp4"),
        ("overlay", "png", "o"),
        ("arrays", "arrays", "o.npz"),
        ("stats", "stats", "o.jsonl"),
    ):
        output: Any = Output(product, storage, tmp_path / name)  # type: ignore[arg-type]
        options: Any = PredictOptions(write=(product,))  # type: ignore[arg-type]
        with pytest.raises(ZeroDivisionError), open_sink(output, INFO, options) as sink:  # noqa: PT012
            sink.write(FRAME, SEEN)
            raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
