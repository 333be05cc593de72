"""A folder of recorded gaze, made on the spot in the form that ``GazeTable`` reads.

Stills are bright discs on dark ground, and people look at the discs. The videos' frames carry their number (see
``clips``); the one that is trained on starts late on the container's clock, as a video does whose sound comes first.
"""

from __future__ import annotations

import gzip
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from clips import make_clip
from numpy.typing import NDArray

__all__ = ["LATE", "RATE", "STILLS", "VIDEO_FRAMES", "disc", "make_gaze"]

STILLS = 12  # positions 0 and 10 validate
VIDEO_FRAMES = 12
RATE = 25  # frames per second
LATE = Fraction(6, 5)  # seconds at which the first frame of hevc/Moved is shown
SIZE = (96, 64)  # width, height

ITEMS = "dataset,item,kind,source_width,source_height,fps,frames"
FIXATIONS = "dataset,item,subject,onset_ms,duration_ms,x,y"


def disc(x: float, y: float, *, size: tuple[int, int] = SIZE, seed: int = 0) -> NDArray[np.uint8]:
    """A bright disc at (x, y), fractions of width and height, on dark noise: uint8 RGB (height, width, 3)."""
    width, height = size
    picture = np.random.default_rng(seed).integers(20, 60, (height, width, 3), dtype=np.uint8)
    cv2.circle(picture, (round(x * width), round(y * height)), height // 8, (250, 240, 200), -1)
    return picture


def make_gaze(folder: Path) -> Path:
    """Twelve stills, a video to train on, hevc/Moved, and one that validates, hevc/Yan, under ``folder``.

    In hevc/Moved all look to the left at first, and from 0.2 s after its first frame on to the right. In hevc/Yan
    nobody looks anywhere during the first two frames.
    """
    items, fixations = [ITEMS], [FIXATIONS]
    (folder / "photos").mkdir(parents=True)
    (folder / "hevc").mkdir()
    rng = np.random.default_rng(3)
    for number in range(STILLS):
        x, y = rng.uniform(0.2, 0.8, 2)
        picture = disc(x, y, seed=number)
        cv2.imwrite(str(folder / "photos" / f"{number:02}.jpg"), picture[:, :, ::-1])
        items.append(f"photos,{number:02},image,{SIZE[0]},{SIZE[1]},,")
        for subject in range(4):
            dx, dy = rng.normal(0, 0.02, 2)
            fixations.append(f"photos,{number:02},{subject},,200,{x + dx:.4f},{y + dy:.4f}")
    for name, start in (("Moved", LATE), ("Yan", Fraction(0))):
        make_clip(folder / "hevc" / f"{name}.mp4", frames=VIDEO_FRAMES, size=SIZE, rate=RATE, start=start)
        items.append(f"hevc,{name},video,{SIZE[0]},{SIZE[1]},{RATE},{VIDEO_FRAMES}")
    late = float(1000 * LATE)
    for subject in range(3):
        y = 0.3 + 0.2 * subject
        fixations.append(f"hevc,Moved,{subject},{late},199,0.2,{y}")
        fixations.append(f"hevc,Moved,{subject},{late + 200},2000,0.8,{y}")
        fixations.append(f"hevc,Yan,{subject},80,2000,0.5,{y}")
    (folder / "items.csv").write_text("\n".join(items) + "\n", encoding="utf-8")
    (folder / "fixations.csv.gz").write_bytes(gzip.compress(("\n".join(fixations) + "\n").encode()))
    return folder
