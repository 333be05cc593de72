from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from clips import make_clip

from saliency_cli.errors import ReadError
from saliency_cli.media.glance import glance


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi"])
def test_a_header_tells_how_much_there_is(tmp_path: Path, suffix: str) -> None:
    codec = "mpeg4" if suffix == "avi" else "libx264"
    seen = glance(make_clip(tmp_path / f"clip.{suffix}", frames=20, codec=codec))
    assert (seen.width, seen.height, seen.frames) == (64, 48, 20)
    assert seen.seconds == pytest.approx(0.8, abs=0.05)


def test_pictures_are_counted(tmp_path: Path) -> None:
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.zeros((6, 8, 3), np.uint8))
    assert (glance(tmp_path).width, glance(tmp_path).height, glance(tmp_path).frames) == (8, 6, 3)
    assert glance(tmp_path / "0.png").frames == 1


@pytest.mark.parametrize("content", [b"", b"text", bytes(5000)])
def test_what_has_no_header(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "clip.mp4").write_bytes(content)
    with pytest.raises(ReadError, match=r"clip\.mp4"):
        glance(tmp_path / "clip.mp4")
