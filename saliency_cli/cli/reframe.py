"""``vsal reframe``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from saliency_cli.cli.console import Quiet, Verbose, guarded, progress_bar, say, setup, warn
from saliency_cli.cli.prediction_options import (
    CrfOption,
    DecoderOption,
    DeviceOption,
    ModelOption,
    MomentOption,
    OverwriteOption,
    PrecisionOption,
    RateOption,
    ThreadsOption,
    WeightsOption,
)
from saliency_cli.options import PredictOptions

if TYPE_CHECKING:
    from saliency_cli.reframing.result import Reframing

__all__ = ["reframe"]

DEFAULTS = PredictOptions()
STDOUT = Path("-")


@guarded
def reframe(
    clip: Annotated[str, typer.Argument(metavar="CLIP", help="A video or a folder of frames.")],
    aspect: Annotated[
        str, typer.Option(metavar="W:H", help="The shape wanted: 9:16, 1:1, 4:5, 2.39:1, or 2.39.")
    ] = "9:16",
    output: Annotated[
        str | None,
        typer.Option("-o", "--output", help="A video, or a folder for it.  [default: clip.9x16.mp4, without --path]"),
    ] = None,
    path: Annotated[
        str | None,
        typer.Option(
            help="Where the crop goes: .json, or .cmd or .txt for FFmpeg's sendcmd; - is JSON on stdout. "
            "Without -o no video is written."
        ),
    ] = None,
    preview: Annotated[
        bool, typer.Option("--preview/--no-preview", help="Draw the crop on the whole video instead.")
    ] = False,
    height: Annotated[
        int | None, typer.Option(help="Of the result, in pixels; even.  [default: the crop's own]")
    ] = None,
    max_speed: Annotated[
        float, typer.Option(help="Of the crop, in frame widths (heights, where it moves up and down) per second.")
    ] = 0.5,
    max_acceleration: Annotated[float, typer.Option(help="The same, per second squared.")] = 1.0,
    model: ModelOption = DEFAULTS.model,
    weights: WeightsOption = None,
    crf: CrfOption = DEFAULTS.crf,
    device: DeviceOption = DEFAULTS.device,
    precision: PrecisionOption = DEFAULTS.precision,
    decoder: DecoderOption = DEFAULTS.decoder,
    start: MomentOption = None,
    end: MomentOption = None,
    fps: RateOption = None,
    overwrite: OverwriteOption = True,
    threads: ThreadsOption = None,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Crop a video to another shape along the predicted attention, moving as a camera operator would.

    Without options, clip.mp4 gives clip.9x16.mp4 in the current folder, with its sound. The crop holds still, pans
    smoothly, jumps only at cuts, and never leaves the frame.
    """
    setup(verbose, quiet)
    from saliency_cli.reframing.reframe import reframe as run  # torch and the decoders take a second: not for --help

    with progress_bar(Path(clip).name) as on_progress:
        result = run(
            clip,
            aspect,
            output=output,
            path=path,
            preview=preview,
            height=height,
            max_speed=max_speed,
            max_acceleration=max_acceleration,
            model=model,
            weights=weights,
            crf=crf,
            device=device,
            precision=precision,
            decoder=decoder,
            start=start,
            end=end,
            rate=fps,
            overwrite=overwrite,
            threads=threads,
            on_progress=on_progress,
        )
    for message in result.warnings:
        warn(message)
    say(_summary(result))
    for product in (result.output, result.path):
        if product is not None and result.path != STDOUT:
            typer.echo(os.fsencode(product))  # as bytes: a name need not be UTF-8


def _summary(result: Reframing) -> str:
    """What was done, in one line; the reasons behind the choices stand in the sidecar."""
    width, height = result.size
    shots = len(result.cuts) + 1
    done = f"{result.source}: {len(result.seconds)} frames, {width}x{height} pixels of each"
    if result.attention is None:
        return done
    shown = f"{shots} shot{'s' if shots > 1 else ''}, {result.attention:.0%} of the attention"
    kept = f"{result.weights} on {result.device.split(' (')[0]} in {result.precision.split(' (')[0]}"
    return f"{done}, {shown}; {kept}, {result.timings['total']:.1f} s"
