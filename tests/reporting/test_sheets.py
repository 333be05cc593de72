"""Maps in sheets: each comes back as it was, as far as 8 bits and JPEG keep it, and none bleeds into another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saliency_cli.reporting.sheets import TILES, SheetWriter, tile_size


def blob(number: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    y, x = np.mgrid[:24, :32].astype(np.float32)
    return np.exp(-((x - number % 32) ** 2 + (y - number % 24) ** 2) / 40).astype(np.float32)


@pytest.mark.parametrize("count", [1, TILES - 1, TILES, 2 * TILES + 9])
def test_every_map_comes_back(tmp_path: Path, count: int) -> None:
    with SheetWriter(tmp_path / "maps.bin", (32, 24)) as writer:
        for number in range(count):
            writer.add(blob(number))
    sheets = writer.sheets
    assert len(sheets.lengths) == -(-count // TILES)
    assert sum(sheets.lengths) == (tmp_path / "maps.bin").stat().st_size
    assert [len(sheet) for sheet in sheets] == list(sheets.lengths)
    assert all(sheet.startswith(b"\xff\xd8\xff") for sheet in sheets)
    for number in range(count):
        assert np.abs(sheets.map(number) - blob(number)).max() < 0.04


def test_neighbours_do_not_bleed(tmp_path: Path) -> None:
    with SheetWriter(tmp_path / "maps.bin", (16, 8)) as writer:
        for number in range(20):
            writer.add(np.full((8, 16), number % 2, np.float32))
    assert all((writer.sheets.map(number) == number % 2).all() for number in range(20))


@given(st.integers(1, 8000), st.integers(1, 8000), st.sampled_from([64, 96]))
def test_tiles_are_made_of_whole_blocks(width: int, height: int, longest: int) -> None:
    tile = tile_size(width, height, longest)
    assert all(side % 8 == 0 and 8 <= side <= longest for side in tile)
    assert max(tile) == longest
