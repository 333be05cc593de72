"""Small trees in the form in which data sets of video saliency are released, made on the spot.

Every frame is looked at in one place, ``gaze_at(frame)``, a fixation wide in its map and a soft spot in its density.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import cv2
import numpy as np
from clips import draw_number, make_clip
from numpy.typing import NDArray
from scipy.io import savemat

__all__ = ["FRAMES", "SIZE", "density_at", "fixations_at", "gaze_at", "make_clips", "make_dhf1k", "make_stavis"]

FRAMES = 5
SIZE = (64, 48)  # width, height

Array = NDArray[np.uint8]


def gaze_at(frame: int, shift: int = 0) -> tuple[int, int]:
    """Row and column that frame number ``frame``, from 0, is looked at in; ``shift`` tells videos apart."""
    return 10 + 3 * frame, 20 + 5 * frame + shift


def fixations_at(frame: int, *, value: int = 255, shift: int = 0) -> Array:
    """The binary map of a frame, (H, W)."""
    picture = np.zeros(SIZE[::-1], np.uint8)
    picture[gaze_at(frame, shift)] = value
    return picture


def density_at(frame: int, *, shift: int = 0) -> Array:
    """The density of a frame, (H, W), with its maximum of 255 where the frame is looked at."""
    spot = cv2.GaussianBlur(fixations_at(frame, shift=shift).astype(np.float32), (0, 0), 3.0)
    return np.asarray(np.round(255 * spot / spot.max()), np.uint8)


def write(path: Path, picture: Array) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), picture)


def write_matrix(path: Path, name: str, picture: Array) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {name: picture.astype(np.float64), "other": np.arange(3)})


def make_dhf1k(
    root: Path, numbers: Collection[int] = (1, 601, 602), *, matrices: bool = False, value: int = 255
) -> Path:
    """``annotation/`` with PNGs, or fixations as ``.mat``, and ``video/`` with a clip for each of ``numbers``.

    A video 701 has frames and, as in the release, no annotation.
    """
    (root / "video").mkdir(parents=True)
    for number in numbers:
        folder = root / "annotation" / f"{number:04}"
        for frame in range(FRAMES):
            write(folder / "maps" / f"{frame + 1:04}.png", density_at(frame, shift=number % 7))
            fixations = fixations_at(frame, value=value, shift=number % 7)
            if matrices:
                write_matrix(folder / "fixation" / "maps" / f"{frame + 1:04}.mat", "I", fixations > 0)
            else:
                write(folder / "fixation" / f"{frame + 1:04}.png", fixations)
        make_clip(root / "video" / f"{number:03}.AVI", frames=FRAMES, size=SIZE, codec="mpeg4", container="avi")
    (root / "annotation" / "0701").mkdir()
    return root


def make_clips(root: Path, names: dict[str, list[str]], *, first: int = 1, missing: Collection[int] = ()) -> Path:
    """``training/`` and ``testing/`` with the clips that ``names`` gives for each, as pictures.

    The frames of a clip ``Run-Side-001`` are ``Run-Side_001_001.png`` and so on, numbered from ``first``. The frames
    ``missing``, counted from 0, have no map.
    """
    for part, clips in names.items():
        for shift, clip in enumerate(clips):
            folder, stem = root / part / clip, f"{clip[:-4]}_{clip[-3:]}"
            for frame in range(FRAMES):
                name = f"{stem}_{frame + first:03}.png"
                write(folder / "images" / name, draw_number(frame, SIZE))
                if frame not in missing:
                    write(folder / "maps" / name, density_at(frame, shift=shift))
                write(folder / "fixation" / name, fixations_at(frame, shift=shift))
    return root


def make_stavis(root: Path, videos: dict[str, list[str]], *, listed: int = FRAMES) -> Path:
    """The databases and videos of ``videos``; video i of each is tested in split i + 1 and trained on in the others.

    Of DIEM, which has a single pair of lists, the first is tested. The lists give ``listed`` frames to each.
    """
    (root / "fold_lists").mkdir(parents=True)
    for database, names in videos.items():
        for shift, name in enumerate(names):
            folder = root / "annotations" / database / name
            for frame in range(FRAMES):
                number = f"{frame + 1:05}"
                write(folder / "maps" / f"eyeMap_{number}.jpg", density_at(frame, shift=shift))
                write_matrix(folder / f"fixMap_{number}.mat", "eyeMap", fixations_at(frame, value=1, shift=shift))
                write(root / "video_frames" / database / name / f"img_{number}.jpg", draw_number(frame, SIZE))
        for fold in ("",) if database == "DIEM" else ("_1", "_2", "_3"):
            tested = names[int(fold[1:] or 1) - 1 :][:1]
            for part, chosen in (("test", tested), ("train", [name for name in names if name not in tested])):
                text = "".join(f"{name} {listed} 29.999700\n" for name in chosen)
                (root / "fold_lists" / f"{database}_list_{part}{fold}_fps.txt").write_text(text, encoding="utf-8")
    return root
