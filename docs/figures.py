"""Draws the figures of docs/how-it-works.md: python docs/figures.py [FOLDER]; needs matplotlib.

What is arithmetic is not drawn by hand: windows come from saliency_cli.windows, and what windows share from the
engine's own rule. Files have no dates, and the same version of matplotlib writes the same bytes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:  # started as a script, vsal need not be installed
    sys.path.insert(0, str(ROOT))

from saliency_cli.inference.rings import Interior  # noqa: E402
from saliency_cli.windows import is_reversed, window_indices  # noqa: E402

__all__ = ["FIGURES", "main"]

# Told apart without colour, too: light and dark, hatched and plain
INK, PALE, BLUE, ORANGE, GREEN = "#222222", "#eef1f4", "#9cc3e6", "#f0a35e", "#b9d9a8"
STYLE: Final[Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "svg.fonttype": "path",  # looks the same whatever fonts the reader has
    "svg.hashsalt": "vsal",
    "hatch.linewidth": 0.6,
    "savefig.facecolor": "white",  # dark pages show it on its own ground
}


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """An empty drawing whose units are tenths of an inch, y downwards."""
    figure = Figure(figsize=(width / 10, height / 10))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    return figure, axes


def _cell(axes: Axes, x: float, y: float, size: float, colour: str, *, hatch: str = "", bold: bool = False) -> None:
    axes.add_patch(
        Rectangle((x, y), size, size, facecolor=colour, edgecolor=INK, linewidth=1.8 if bold else 0.6, hatch=hatch)
    )


def _box(
    axes: Axes, x: float, y: float, width: float, height: float, text: str, colour: str = PALE, *, line: str = "-"
) -> None:
    axes.add_patch(
        FancyBboxPatch(
            (x, y), width, height, boxstyle="round,pad=0,rounding_size=0.8", facecolor=colour, edgecolor=INK,
            linewidth=0.9, linestyle=line,
        )
    )  # fmt: skip
    axes.text(x + width / 2, y + height / 2, text, ha="center", va="center", color=INK, linespacing=1.35)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], *, line: str = "-") -> None:
    axes.annotate(
        "", xy=end, xytext=start, arrowprops={"arrowstyle": "-|>", "color": INK, "linewidth": 1.0, "linestyle": line,
                                              "shrinkA": 0, "shrinkB": 0},
    )  # fmt: skip


def windows() -> Figure:
    """Which frames a map sees."""
    length, count, size, left, top = 4, 11, 3.0, 13.0, 8.0
    figure, axes = _canvas(75, 44)
    for frame in range(count):
        axes.text(left + (frame + 0.5) * size, top - 1.3, str(frame), ha="center", va="center", color=INK)
    axes.text(left + count * size / 2, top - 4.2, "frames of the video", ha="center", va="center", color=INK)
    for row in range(count - 1):
        seen = window_indices(row, length=length, count=count)
        backwards = is_reversed(row, length)
        y = top + row * size
        axes.text(left - 1, y + size / 2, f"map of frame {row}", ha="right", va="center", color=INK)
        for frame in range(count):
            if frame not in seen:
                _cell(axes, left + frame * size, y, size, "white")
        for frame in seen:
            hatch = "////" if backwards else ""
            _cell(axes, left + frame * size, y, size, ORANGE if backwards else BLUE, hatch=hatch, bold=frame == row)
        _arrow(
            axes,
            (left + (seen[0] + 0.5) * size, y + size / 2),
            (left + (seen[-1] + (0.75 if backwards else 0.25)) * size, y + size / 2),
        )
    x = left + count * size + 3
    for place, (colour, hatch, bold, text) in enumerate(
        [
            (ORANGE, "////", False, "played backwards: too few\nframes come before"),
            (BLUE, "", False, "the window that ends\nwith the frame"),
            ("white", "", True, "the frame whose\nmap it is"),
        ]
    ):
        y = top + 2 + place * 7
        _cell(axes, x, y, size, colour, hatch=hatch, bold=bold)
        axes.text(x + size + 1.2, y + size / 2, text, ha="left", va="center", color=INK, linespacing=1.35)
    axes.text(x, top + 26, "Drawn for windows of 4 frames;\nthe networks have 32.", va="center", color=INK,
              linespacing=1.35)  # fmt: skip
    axes.text(left + count * size / 2, top + 10 * size + 3.2, "arrows: the order in which the network takes the frames",
              ha="center", va="center", color=INK)  # fmt: skip
    return figure


def pipeline() -> Figure:
    """Threads, and the queues between them."""
    figure, axes = _canvas(96, 43)
    for x, y, height, title in (
        (13, 5, 14, "a thread"),
        (42, 5, 28, "the caller's thread"),
        (74, 19, 14, "a thread"),
    ):
        width = 17 if x == 13 else 20
        axes.add_patch(Rectangle((x, y), width, height, facecolor="none", edgecolor=INK, linewidth=0.8, linestyle=":"))
        axes.text(x, y - 1.6, title, ha="left", va="center", color=INK, style="italic")
    axes.text(5.5, 12, "video,\nfolder,\npicture,\nstdin", ha="center", va="center", color=INK, linespacing=1.35)
    _arrow(axes, (9.5, 12), (14.5, 12))
    _box(axes, 14.5, 8, 14, 8, "decode,\nturn upright,\nHDR to BT.709", BLUE)
    _queue(axes, 31, 10, "4 frames")
    _box(axes, 43.5, 8, 17, 8, "measure motion,\nlisten (--audio)", BLUE)
    _box(axes, 43.5, 22, 17, 8, "smooth over time,\nin order again", BLUE)
    _queue(axes, 63, 24, "4 frames\nwith maps")
    _box(axes, 75.5, 22, 17, 8, "render, encode,\nwrite beside the goal", BLUE)
    _box(axes, 75.5, 4, 17, 8, "all are complete:\ngive them their\nnames (the caller)", GREEN)
    _arrow(axes, (28.5, 12), (31, 12))
    _arrow(axes, (41, 12), (43.5, 12))
    _arrow(axes, (60.5, 26), (63, 26))
    _arrow(axes, (73, 26), (75.5, 26))
    _arrow(axes, (84, 22), (84, 12))
    # The network's workers lie between the caller's two boxes.
    for place in range(3):
        _box(axes, 43.5 + place * 6, 35, 5, 5, "look", ORANGE)
    axes.text(63, 37.5, "workers, one thread each: shrink\ntwo frames, and run the network", ha="left", va="center",
              color=INK, linespacing=1.35)  # fmt: skip
    axes.plot([43.5, 40.2, 40.2], [14.5, 14.5, 37.5], color=INK, linewidth=1.0)
    _arrow(axes, (40.2, 37.5), (43.5, 37.5))
    _arrow(axes, (52, 35), (52, 30))
    return figure


def _queue(axes: Axes, x: float, y: float, text: str) -> None:
    for place in range(4):
        _cell(axes, x + place * 2.5, y + 0.75, 2.5, "white")
    axes.text(x + 5, y + 6.4, text, ha="center", va="center", color=INK, linespacing=1.35)


def reuse() -> Figure:
    """What a window of 32 frames takes over from the one two frames before."""
    frames = Interior(32, 0, 31)
    first = frames.after(7, 2)
    second = first.after(3)
    third = second.after(3)
    fourth = third.after(3)
    rows = [
        ("first temporal convolution", first),
        ("second temporal convolution", second),
        ("first Inception block", third),
        ("second Inception block", fourth),
    ]
    size, left = 1.9, 24.0
    figure, axes = _canvas(97, 36)
    _row(axes, "frames, through the\nfirst convolution in space", left, 3, size, [place >= 30 for place in range(32)],
         "2 of 32")  # fmt: skip
    for number, (name, interior) in enumerate(rows):
        anew = [False] * interior.count
        for begin, end in interior.missing(fresh=False):
            anew[begin:end] = [True] * (end - begin)
        _row(axes, name, left, 8 + 4 * number, 2 * size, anew, f"{sum(anew)} of {interior.count}", height=size)
    _row(axes, "third block, and all above", left, 8 + 16, 4 * size, [True] * 8, "8 of 8", height=size)
    for x, colour, hatch, text in (
        (left, PALE, "", "taken from the window two frames before"),
        (left + 38, ORANGE, "////", "computed for this window"),
    ):
        _cell(axes, x, 31, size, colour, hatch=hatch)
        axes.text(x + size + 1, 31 + size / 2, text, va="center", color=INK)
    return figure


def _row(
    axes: Axes,
    name: str,
    left: float,
    y: float,
    width: float,
    anew: list[bool],
    told: str,
    *,
    height: float | None = None,
) -> None:
    height = height or width
    axes.text(left - 1.2, y + height / 2, name, ha="right", va="center", color=INK, linespacing=1.2)
    for place, computed in enumerate(anew):
        colour, hatch = (ORANGE, "////") if computed else (PALE, "")
        axes.add_patch(
            Rectangle((left + place * width, y), width, height, facecolor=colour, edgecolor=INK, linewidth=0.6,
                      hatch=hatch)
        )  # fmt: skip
    axes.text(left + len(anew) * width + 1.5, y + height / 2, told, ha="left", va="center", color=INK)


def embedded() -> Figure:
    """The embedded model's two parts."""
    figure, axes = _canvas(100, 44)
    axes.add_patch(Rectangle((11, 4), 47, 14, facecolor="none", edgecolor=INK, linewidth=0.8, linestyle=":"))
    axes.text(34.5, 2.2, "learnt from photographs", ha="center", va="center", color=INK, style="italic")
    axes.add_patch(Rectangle((63, 4), 18, 24, facecolor="none", edgecolor=INK, linewidth=0.8, linestyle=":"))
    axes.text(72, 2.2, "learnt from videos", ha="center", va="center", color=INK, style="italic")
    axes.text(5, 11, "a frame", ha="center", va="center", color=INK)
    _arrow(axes, (9, 11), (13, 11))
    _box(axes, 13, 7, 17, 8, "EfficientNet-Lite0:\nfour levels,\nstrides 4 to 32", BLUE)
    _arrow(axes, (30, 11), (37, 11))
    _box(axes, 37, 7, 19, 8, "TSFP-Net's pyramid,\nand the centre prior:\nthe photograph's map", BLUE)
    _arrow(axes, (56, 11), (65, 11))
    axes.text(60.5, 8.4, "map,\nfeatures", ha="center", va="center", color=INK, fontsize=7.5)
    _box(axes, 65, 7, 14, 18, "motion branch:\nmean of four\nopinions; two\nsee features", ORANGE)
    axes.text(5, 24, "the frame\nbefore it", ha="center", va="center", color=INK, linespacing=1.35)
    _arrow(axes, (9, 24), (13, 24))
    axes.plot([5, 5], [12.5, 18], color=INK, linewidth=1.0)
    _arrow(axes, (5, 18), (13, 21.5))
    _box(axes, 13, 20, 17, 8, "optical flow,\nless the camera's\nmovement", GREEN)
    _arrow(axes, (30, 24), (37, 24))
    _box(axes, 37, 20, 19, 8, "what moves and what\nchanged: six maps,\nfading in 0.15 and 0.5 s", GREEN)
    _arrow(axes, (56, 23), (65, 23))
    _box(axes, 37, 31, 19, 8, "place in the picture,\ntime since the shot\nbegan", GREEN)
    axes.plot([56, 72], [35, 35], color=INK, linewidth=1.0)
    _arrow(axes, (72, 35), (72, 25))
    _box(axes, 13, 31, 17, 8, "sound of the last\n1.28 s (--audio)", "white", line="--")
    axes.plot([21.5, 21.5, 89.5], [39, 42, 42], color=INK, linewidth=1.0, linestyle="--")
    _arrow(axes, (89.5, 42), (89.5, 28), line="--")
    _arrow(axes, (79, 16), (83, 16))
    _box(axes, 83, 8, 14, 20, "a density that\nsums to 1;\nthe last map\nfades with 0.1 s", BLUE)
    return figure


FIGURES: Final[Mapping[str, Callable[[], Figure]]] = {
    "windows": windows,
    "pipeline": pipeline,
    "reuse": reuse,
    "embedded": embedded,
}


def main(folder: Path = ROOT / "docs" / "figures", suffix: str = ".svg") -> None:
    """Draw every figure into a folder; as ``.png`` to be looked at."""
    folder.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(STYLE):
        for name, draw in FIGURES.items():
            figure = draw()
            nothing = {"Date": None, "Creator": None} if suffix == ".svg" else None
            figure.savefig(folder / f"{name}{suffix}", dpi=110, metadata=nothing)


if __name__ == "__main__":
    main(Path(sys.argv[1])) if len(sys.argv) > 1 else main()
