"""One product: how each frame and its map become a picture or numbers, and the writer that stores them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from saliency_cli import render
from saliency_cli.media import (
    ArrayWriter,
    ImageWriter,
    PngWriter,
    ProductWriter,
    SoundFeed,
    StatsStream,
    StatsWriter,
    StreamWriter,
    VideoWriter,
)
from saliency_cli.options import PredictOptions
from saliency_cli.outputs import Output
from saliency_cli.types import Frame, SaliencyFrame, VideoInfo

__all__ = ["Sink", "open_sink"]

Render = Callable[[Frame, SaliencyFrame], Any]
Store = Callable[[Frame, SaliencyFrame], None]


@dataclass(frozen=True, slots=True)
class Sink:
    """Takes frames with their maps, at the network's size, in order: ``write(frame, saliency)``.

    ``needs_pixels``: whether frames have to come with their pixels.
    """

    write: Store
    writer: ProductWriter
    needs_pixels: bool


@contextmanager
def open_sink(
    output: Output, info: VideoInfo, options: PredictOptions, sound: Path | SoundFeed | None = None
) -> Iterator[Sink]:
    """The sink of a product. The product is complete when the block ends, and absent if the block fails.

    ``sound`` is what goes along into videos, if the source has any.

    Raises:
        WriteError: the product cannot be written.
    """
    if output.storage == "stats":
        with StatsStream() if output.path is None else StatsWriter(output.path) as stats:
            yield Sink(_measure(stats), stats, False)
        return
    if output.storage == "arrays":
        assert output.path is not None  # not to stdout
        with ArrayWriter(output.path) as arrays:
            yield Sink(_keep(arrays, info, options), arrays, False)
        return
    picture, needs_pixels = _renderer(output, info, options)
    if output.storage == "png":
        assert output.path is not None
        digits = {"vsal": 6, "dhf1k": 4}[options.layout]
        with PngWriter(output.path, digits=digits) as pngs:
            yield Sink(lambda frame, saliency: pngs.write(picture(frame, saliency), frame.index), pngs, needs_pixels)
    elif output.storage == "image":
        with ImageWriter(output.path) as image:
            yield Sink(lambda frame, saliency: image.write(picture(frame, saliency)), image, needs_pixels)
    else:
        video = _video(output, info, options, sound)
        with video:
            yield Sink(lambda frame, saliency: video.write(picture(frame, saliency), frame.pts), video, needs_pixels)


def _video(
    output: Output, info: VideoInfo, options: PredictOptions, sound: Path | SoundFeed | None
) -> VideoWriter | StreamWriter:
    """The writer of moving pictures, compressed or not."""
    width = 2 * info.width if output.product == "side-by-side" else info.width
    gray = output.product == "maps"
    if output.storage == "nut" or output.storage == "y4m" or output.storage == "gray":
        return StreamWriter(
            output.path,
            form=output.storage,
            info=info,
            width=width,
            height=info.height,
            gray=gray,
            bits=options.bits,
            source=sound,
        )
    return VideoWriter(
        output.path,
        info=info,
        width=width,
        height=info.height,
        source=sound,
        crf=options.crf,
        gray=gray,
        threads=options.threads,
    )


def _measure(stats: StatsStream | StatsWriter) -> Store:
    """A line of numbers for each map. Places are fractions of the picture, so the map need not be enlarged."""

    def store(frame: Frame, saliency: SaliencyFrame) -> None:
        stats.write(frame.index, saliency.seconds, render.frame_statistics(saliency.saliency).as_dict())

    return store


def _keep(arrays: ArrayWriter, info: VideoInfo, options: PredictOptions) -> Store:
    """The maps as numbers: at the source's size, or as the network gave them."""

    def store(frame: Frame, saliency: SaliencyFrame) -> None:
        size = saliency.saliency if options.raw else render.resize(saliency.saliency, info.width, info.height)
        arrays.write(replace(saliency, saliency=size))

    return store


def _renderer(output: Output, info: VideoInfo, options: PredictOptions) -> tuple[Render, bool]:
    """How the product looks, and whether that takes the frame's own pixels."""
    size, colours = (info.width, info.height), options.colormap
    if output.product == "overlay":
        return lambda f, s: render.overlay(f.pixels, s.saliency, colours, opacity=options.opacity), True
    if output.product == "side-by-side":
        return lambda f, s: render.side_by_side(f.pixels, s.saliency, colours), True
    if output.product == "heatmap":
        return lambda f, s: render.heatmap(s.saliency, colours, size=size), False
    # TASED-Net's authors cut the 8 bits of their maps off; theirs are met to the level.
    gray8 = render.gray8_truncated if options.model == "tased" else render.gray8
    gray = render.gray16 if options.bits == 16 and output.storage != "video" else gray8
    if options.raw:
        return lambda f, s: gray(s.saliency), False
    return lambda f, s: gray(render.resize(s.saliency, *size)), False
