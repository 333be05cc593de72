"""Scores over time, one panel a metric; drawn with matplotlib, which the extra ``vsal[plot]`` brings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from saliency_cli.errors import UsageError
from saliency_cli.evaluation.results import Evaluation
from saliency_cli.evaluation.scoring import ItemScores
from saliency_cli.media import atomic_file
from saliency_cli.metrics import LABELS, MetricName

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Line = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Where, and how high."""

__all__ = ["PLOT_FORMATS", "check_plot", "plot_scores"]

PLOT_FORMATS: Final = (".png", ".svg")
# Okabe and Ito's colours, told apart in all kinds of colour vision; their yellow is too light for lines on white.
COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9")
DASHES: Final = ("-", (0, (5, 1.5)))
MANY: Final = len(COLOURS) * len(DASHES)  # from here on lines do not differ, and their mean says more
SPAN: Final = 0.5  # seconds over which a line is smoothed; frame by frame it is noise
FRAMES_SPAN: Final = 13  # the same, where only frames are counted

UNITS: Final[Mapping[MetricName, str]] = {
    "nss": "standard deviations",
    "cc": "correlation",
    "sim": "share",
    "auc_judd": "area",
    "auc_shuffled": "area",
    "kl": "nats",
    "information_gain": "bits per fixation",
}


def check_plot(path: str | Path) -> None:
    """Raise UsageError unless a plot can be drawn to ``path``: before hours of scoring, not after."""
    if Path(path).suffix.lower() not in PLOT_FORMATS:
        raise UsageError(f"--plot {path}: a plot is written as {' or '.join(PLOT_FORMATS)}; choose one of these.")
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise UsageError("--plot needs matplotlib: pip install 'vsal[plot]'.") from error


def plot_scores(evaluations: Sequence[Evaluation], path: str | Path) -> Path:
    """Draw each metric over time, and write the plot whole or not at all; its path.

    Of one source each video has a line. Several sources, or one with many videos, have a colour each: a bold line for
    the mean over their videos and thin ones for the videos. Time is the container's, in seconds, or the frame's number
    where gaze is paired by number. Lines are running means over half a second.

    Raises:
        UsageError: another suffix, no matplotlib, or nothing that has a duration.
        WriteError: the plot cannot be written.
    """
    check_plot(path)
    videos = [[item for item in evaluation.items if item.kind == "video" and item.scored] for evaluation in evaluations]
    if not any(videos):
        raise UsageError(f"--plot {path}: there is no video among the items, and scores of stills have no time.")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    metrics = evaluations[0].metrics
    timed = all(math.isfinite(frame.seconds) for rows in videos for item in rows for frame in item.scores.frames)
    figure = Figure(figsize=(9, 1.2 + 1.9 * len(metrics)), dpi=120, layout="constrained")
    panels = figure.subplots(len(metrics), 1, sharex=True, squeeze=False)[:, 0]
    for panel, metric in zip(panels, metrics, strict=True):
        if len(evaluations) == 1 and len(videos[0]) <= MANY:
            _draw_videos(panel, videos[0], metric, timed=timed)
        else:
            for number, (evaluation, rows) in enumerate(zip(evaluations, videos, strict=True)):
                _draw_source(panel, evaluation.source, rows, metric, COLOURS[number % len(COLOURS)], timed=timed)
        panel.set_ylabel(f"{LABELS[metric]}\n({UNITS[metric]})")
        panel.grid(True, color="#DDDDDD", linewidth=0.6)
        panel.spines[["top", "right"]].set_visible(False)
        panel.margins(x=0.01)
    panels[-1].set_xlabel("time on the container's clock (s)" if timed else "frame (number)")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=min(4, len(labels)), fontsize="small", frameon=False
    )
    names = " and ".join(evaluation.source for evaluation in evaluations)
    span = f"{SPAN:g} s" if timed else f"{FRAMES_SPAN} frames"
    figure.suptitle(f"{names}, running means over {span}", fontsize="medium")
    canvas = FigureCanvasSVG(figure) if Path(path).suffix.lower() == ".svg" else FigureCanvasAgg(figure)
    with atomic_file(path) as temporary:
        canvas.print_figure(temporary)
    return Path(path)


def _draw_videos(panel: Axes, videos: Sequence[ItemScores], metric: MetricName, *, timed: bool) -> None:
    for number, item in enumerate(videos):
        x, y = _line(item, metric, timed=timed)
        dash = DASHES[number // len(COLOURS)]
        panel.plot(x, y, color=COLOURS[number % len(COLOURS)], linestyle=dash, linewidth=1.3, label=item.label)


def _draw_source(
    panel: Axes, name: str, videos: Sequence[ItemScores], metric: MetricName, colour: str, *, timed: bool
) -> None:
    every = [_line(item, metric, timed=timed) for item in videos]
    lines = [line for line in every if np.isfinite(line[1]).any()]  # a score may be defined nowhere
    if len(lines) == 1:
        panel.plot(*lines[0], color=colour, linewidth=1.3, label=name)
        return
    for x, y in lines:
        panel.plot(x, y, color=colour, linewidth=0.6, alpha=0.35)
    if lines:
        panel.plot(*_mean_line(lines), color=colour, linewidth=2.0, label=f"{name}, mean over videos while all last")


def _line(item: ItemScores, metric: MetricName, *, timed: bool) -> Line:
    """Where and how high: a frame without the score leaves a gap."""
    frames = item.scores.frames
    x = np.array([frame.seconds if timed else frame.index for frame in frames], np.float64)
    y = np.array([frame.scores.get(metric, math.nan) for frame in frames], np.float64)
    gap = float(np.median(np.diff(x))) if len(x) > 1 else 1.0
    width = max(1, round(SPAN / max(gap, 1e-6))) if timed else FRAMES_SPAN
    return x, _smooth(y, min(width, max(1, len(y) // 2)))


def _smooth(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """The running mean over ``width`` values, of those that are there; NaN stays NaN."""
    there = np.isfinite(values)
    kernel = np.ones(width)
    total = np.convolve(np.where(there, values, 0), kernel, mode="same")
    count = np.convolve(there.astype(np.float64), kernel, mode="same")
    return np.where(there, total / np.maximum(count, 1), np.nan)


def _mean_line(lines: Sequence[Line]) -> Line:
    """The mean of lines over time, on the finest of their grids, while all last: no step where one begins or ends."""
    known = [(x[np.isfinite(y)], y[np.isfinite(y)]) for x, y in lines]
    start, end = max(x[0] for x, _ in known), min(x[-1] for x, _ in known)
    step = min((float(np.diff(x).min()) for x, _ in known if len(x) > 1), default=1.0)
    grid = np.arange(start, end + step / 2, step) if end >= start else np.empty(0)
    return grid, np.mean([np.interp(grid, x, y) for x, y in known], axis=0)
