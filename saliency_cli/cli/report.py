"""``vsal report``."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from saliency_cli.cli.console import Quiet, Verbose, fail, guarded, progress_bar, say, setup, warn
from saliency_cli.cli.predict import expand
from saliency_cli.cli.prediction_options import (
    DecoderOption,
    DeviceOption,
    ExactOption,
    ModelOption,
    MomentOption,
    PrecisionOption,
    RateOption,
    ThreadsOption,
    WeightsOption,
)
from saliency_cli.options import Colormap
from saliency_cli.reporting.options import ReportOptions

if TYPE_CHECKING:
    from saliency_cli.reporting.result import ReportFailure, ReportPage

__all__ = ["report"]

SOME_FAILED = 6
DEFAULTS = ReportOptions()


@guarded
def report(
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="INPUT...", help="Videos, folders of videos or of frames, or pictures."),
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            help="An .html file, or a folder; several inputs need a folder.  [default: clip.report.html]",
        ),
    ] = None,
    size: Annotated[
        int, typer.Option(metavar="PIXELS", help="The longest side of the embedded video, at most.")
    ] = DEFAULTS.size,
    colormap: Annotated[Colormap, typer.Option(help="What the overlay begins with.")] = DEFAULTS.colormap,
    opacity: Annotated[float, typer.Option(help="What the overlay begins with, 0 to 1.")] = DEFAULTS.opacity,
    model: ModelOption = DEFAULTS.model,
    weights: WeightsOption = None,
    device: DeviceOption = DEFAULTS.device,
    precision: PrecisionOption = DEFAULTS.precision,
    exact: ExactOption = False,
    decoder: DecoderOption = DEFAULTS.decoder,
    start: MomentOption = None,
    end: MomentOption = None,
    fps: RateOption = None,
    overwrite: Annotated[bool, typer.Option(help="Replace earlier pages, once the new ones are complete.")] = True,
    threads: ThreadsOption = None,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Predict where people look, and write a page to look at: the video with a live overlay, charts, key frames.

    One HTML file that needs no network. Without options, clip.mp4 gives clip.report.html in the current folder. Several
    inputs, or a folder of videos, give a page each and an index.html, in the folder -o.
    """
    setup(verbose, quiet)
    options = ReportOptions(
        output=output,
        size=size,
        colormap=colormap,
        opacity=opacity,
        model=model,
        weights=weights,
        device=device,
        precision=precision,
        exact=exact,
        decoder=decoder,
        start=start,
        end=end,
        rate=fps,
        overwrite=overwrite,
        threads=threads,
    )
    sources = expand(inputs)
    from saliency_cli.reporting.goals import holds_videos  # the decoders take a second to import

    if len(sources) > 1 or (sources[0].is_dir() and holds_videos(sources[0])):
        _report_all(sources, options)
        return
    from saliency_cli.reporting.report import report as run

    with progress_bar(sources[0].name) as on_progress:
        page = run(sources[0], options, on_progress=on_progress)
    _tell(page)


def _report_all(sources: list[Path], options: ReportOptions) -> None:
    from saliency_cli.reporting.report import report_all

    with ExitStack() as bars:
        bar: Callable[[float, int | None], None] = lambda done, total: None  # noqa: E731 - replaced for each input

        def begin(source: Path) -> None:
            nonlocal bar
            bars.close()
            bar = bars.enter_context(progress_bar(source.name))

        def on_page(page: ReportPage) -> None:
            bars.close()
            _tell(page)

        def on_failure(failure: ReportFailure, error: BaseException) -> None:
            bars.close()
            fail(error)

        index = report_all(
            sources,
            options,
            on_begin=begin,
            on_progress=lambda done, total: bar(done, total),
            on_page=on_page,
            on_failure=on_failure,
        )
    if index.output is not None:
        typer.echo(os.fsencode(index.output))
    if index.failures:
        say(f"vsal: {len(index.failures)} of {len(index.failures) + len(index.pages)} inputs failed.")
        raise typer.Exit(SOME_FAILED)


def _tell(page: ReportPage) -> None:
    for message in page.warnings:
        warn(message)
    device, precision, decoder = (choice.split(" (")[0] for choice in (page.device, page.precision, page.decoder))
    say(
        f"{page.source}: {page.summary.frames} frames at {page.frames_per_second:.1f} frames/s, {page.weights} on "
        f"{device} in {precision}, read by {decoder}"
    )
    typer.echo(os.fsencode(page.output))  # as bytes: a name need not be UTF-8
