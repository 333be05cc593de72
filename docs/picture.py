"""Makes the picture of the README from the clip in examples/, with the tool: ``python docs/picture.py``.

A row for each of three moments: the frame, the map, the heatmap over the frame, and where an upright crop goes.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:  # started as a script, vsal need not be installed
    sys.path.insert(0, str(ROOT))

from saliency_cli import predict, reframe  # noqa: E402

__all__ = ["main"]

MOMENTS = (45, 88, 125)  # frames, one of each shot
WIDTH, GAP = 320, 6  # pixels
QUALITY = 88


def frames_at(video: Path) -> Mapping[int, NDArray[Any]]:
    """The frames of a video at the moments, RGB, at the picture's width."""
    with av.open(str(video)) as container:
        shown = {
            index: frame.to_ndarray(format="rgb24")
            for index, frame in enumerate(container.decode(video=0))
            if index in MOMENTS
        }
    return {index: scaled(pixels) for index, pixels in shown.items()}


def scaled(pixels: NDArray[Any]) -> NDArray[Any]:
    height = round(WIDTH * pixels.shape[0] / pixels.shape[1])
    return cv2.resize(pixels, (WIDTH, height), interpolation=cv2.INTER_AREA)


def main(
    clip: Path = ROOT / "examples" / "photographs.mp4", goal: Path = ROOT / "docs" / "figures" / "picture.jpg"
) -> None:
    """Predict, cut, and put side by side."""
    with tempfile.TemporaryDirectory() as folder:
        made = {product: Path(folder) / f"{product}.mp4" for product in ("maps", "overlay", "preview")}
        for product in ("maps", "overlay"):
            predict(clip, output=str(made[product]), write=(product,))
        reframe(clip, "9:16", output=str(made["preview"]), preview=True)
        columns = [frames_at(path) for path in (clip, *made.values())]
    across = [np.hstack([padded(column[moment]) for column in columns])[:, GAP:] for moment in MOMENTS]
    picture = np.vstack([np.pad(row, ((GAP, 0), (0, 0), (0, 0)), constant_values=255) for row in across])[GAP:]
    cv2.imwrite(str(goal), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    print(goal)


def padded(pixels: NDArray[Any]) -> NDArray[Any]:
    return np.pad(pixels, ((0, 0), (GAP, 0), (0, 0)), constant_values=255)


if __name__ == "__main__":
    main()
