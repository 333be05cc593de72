from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from saliency_cli.errors import WriteError
from saliency_cli.render import VideoScale, normalise
from saliency_cli.types import SaliencyFrame


def frames(*peaks: float) -> list[SaliencyFrame]:
    ramp = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
    return [SaliencyFrame(i, i / 25, ramp * np.float32(peak)) for i, peak in enumerate(peaks)]


def test_a_map_is_divided_by_its_maximum() -> None:
    result = normalise(np.array([[0, 1], [2, 4]], np.float32))
    assert result.tolist() == [[0, 0.25], [0.5, 1]]
    assert result.dtype == np.float32


def test_a_map_of_zeros_stays_zero() -> None:
    assert not normalise(np.zeros((3, 4), np.float32)).any()


def test_the_smallest_number_there_is_becomes_one() -> None:
    assert normalise(np.array([[0, np.float32(1e-45)]], np.float32)).tolist() == [[0, 1]]


def test_a_video_has_one_scale(tmp_path: Path) -> None:
    with VideoScale(folder=tmp_path) as scale:
        for frame in frames(0.2, 0.8, 0.4):
            scale.add(frame)
        result = list(scale.scaled())
    assert [float(f.saliency.max()) for f in result] == pytest.approx([0.25, 1, 0.5])
    assert [(f.index, f.seconds) for f in result] == [(0, 0), (1, 0.04), (2, 0.08)]
    assert list(tmp_path.iterdir()) == []


def test_scaled_maps_can_be_read_twice() -> None:
    with VideoScale() as scale:
        for frame in frames(1, 2):
            scale.add(frame)
        first, second = list(scale.scaled()), list(scale.scaled())
    assert scale.peak == 2
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.saliency, other.saliency)


def test_no_temporary_file_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match="TMPDIR"):
        VideoScale(folder=tmp_path / "missing")


def test_a_full_disk_is_an_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def write(self, _: object) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        def close(self) -> None: ...

    with VideoScale() as scale:
        scale._file.close()
        monkeypatch.setattr(scale, "_file", Full())
        with pytest.raises(WriteError, match="No space left"):
            scale.add(frames(1)[0])
