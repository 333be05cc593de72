"""From saliency maps to pictures and numbers: pure functions on arrays."""

from __future__ import annotations

from saliency_cli.render.colour import COLORMAPS, Colormap, colour, lookup_table
from saliency_cli.render.compose import cover_table, gray8, gray8_truncated, gray16, heatmap, overlay, side_by_side
from saliency_cli.render.normalise import VideoScale, normalise
from saliency_cli.render.smooth import TASED_SIGMA, blur, resize, tased_postprocess
from saliency_cli.render.statistics import FrameStatistics, frame_statistics

__all__ = [
    "COLORMAPS",
    "TASED_SIGMA",
    "Colormap",
    "FrameStatistics",
    "VideoScale",
    "blur",
    "colour",
    "cover_table",
    "frame_statistics",
    "gray8",
    "gray8_truncated",
    "gray16",
    "heatmap",
    "lookup_table",
    "normalise",
    "overlay",
    "resize",
    "side_by_side",
    "tased_postprocess",
]
