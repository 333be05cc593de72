"""``vsal predict``."""

from __future__ import annotations

import glob
import os
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from saliency_cli.cli.console import Quiet, Verbose, fail, guarded, progress_bar, say, setup, warn
from saliency_cli.errors import UsageError
from saliency_cli.options import (
    Colormap,
    Decoder,
    Form,
    Layout,
    Model,
    Normalize,
    Precision,
    PredictOptions,
    Product,
)

if TYPE_CHECKING:
    from saliency_cli.inference.predictor import SaliencyPredictor
    from saliency_cli.pipeline import Prediction

__all__ = ["predict"]

SOME_FAILED = 6
DEFAULTS = PredictOptions()


@guarded
def predict(
    inputs: Annotated[list[str], typer.Argument(metavar="INPUT...", help="Videos, folders of frames, or pictures.")],
    output: Annotated[
        str | None,
        typer.Option("-o", "--output", help="A file for one product, a folder for several, - for stdout (stats)."),
    ] = None,
    write: Annotated[
        list[str] | None,
        typer.Option(help=f"{', '.join(get_args(Product))}; repeats for several.  [default: overlay]"),
    ] = None,
    form: Annotated[
        Form, typer.Option("--format", help="Pictures as video or png; auto: a video, and png files of maps.")
    ] = DEFAULTS.form,
    layout: Annotated[
        Layout,
        typer.Option(
            help="Names of maps' PNG files: vsal's, or as the DHF1K benchmark takes submissions: "
            "0701/0001.png from 701.AVI, in the folder -o."
        ),
    ] = DEFAULTS.layout,
    bits: Annotated[int, typer.Option(help="Of the PNG files of maps: 8 or 16.")] = DEFAULTS.bits,
    model: Annotated[Model, typer.Option(help="The network.", envvar="VSAL_MODEL")] = DEFAULTS.model,
    weights: Annotated[
        str | None,
        typer.Option(help="Name (see vsal models list) or path.  [default: the model's own]", envvar="VSAL_WEIGHTS"),
    ] = None,
    audio: Annotated[bool, typer.Option("--audio", help="Use the sound; for weights with an audio branch.")] = False,
    raw: Annotated[
        bool, typer.Option("--raw", help="The network's own maps and size: no smoothing, no scaling.")
    ] = False,
    normalize: Annotated[
        Normalize, typer.Option(help="What becomes 1: the maximum of each frame, of the video, or none.")
    ] = DEFAULTS.normalize,
    colormap: Annotated[Colormap, typer.Option(help="Of overlays and heatmaps.")] = DEFAULTS.colormap,
    opacity: Annotated[float, typer.Option(help="Of the overlay, 0 to 1.")] = DEFAULTS.opacity,
    crf: Annotated[int, typer.Option(help="Quality of videos: 0 lossless to 51.")] = DEFAULTS.crf,
    device: Annotated[
        str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.", envvar="VSAL_DEVICE")
    ] = DEFAULTS.device,
    precision: Annotated[
        Precision, typer.Option(help="Of the network's arithmetic.", envvar="VSAL_PRECISION")
    ] = DEFAULTS.precision,
    exact: Annotated[bool, typer.Option("--exact", help="The plain sliding window, in fp32.")] = False,
    decoder: Annotated[Decoder, typer.Option(help="What reads videos.", envvar="VSAL_DECODER")] = DEFAULTS.decoder,
    start: Annotated[float | None, typer.Option(help="Seconds from the first frame on.")] = None,
    end: Annotated[float | None, typer.Option(help="Seconds from the first frame on.")] = None,
    fps: Annotated[float | None, typer.Option(help="Frames per second of a folder of frames.  [default: 30]")] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace earlier products, once the new ones are complete.")] = True,
    threads: Annotated[
        int | None,
        typer.Option(
            help="Of the network, the decoder and the encoder, each.  [default: their choice]", envvar="VSAL_THREADS"
        ),
    ] = None,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Predict where people look, and write it as a video, maps, arrays or statistics.

    Without options, clip.mp4 gives clip.saliency.mp4 in the current folder: the clip, with its sound, under a heatmap.
    """
    setup(verbose, quiet)
    options = PredictOptions(
        write=tuple(cast(Product, name) for name in write or DEFAULTS.write),
        output=output,
        form=form,
        layout=layout,
        bits=bits,
        model=model,
        weights=weights,
        audio=audio,
        raw=raw,
        normalize=normalize,
        colormap=colormap,
        opacity=opacity,
        crf=crf,
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
    sources = _expand(inputs)
    if len(sources) == 1:
        _predict_one(sources[0], options)
        return
    _check_names(sources, options)
    from saliency_cli.pipeline import load_predictor

    predictor = load_predictor(options)
    failed = 0
    for source in sources:
        try:
            _predict_one(source, options, predictor, others=[other for other in sources if other != source])
        except Exception as error:  # one input must not cost the others
            fail(error)
            failed += 1
    if failed:
        say(f"vsal: {failed} of {len(sources)} inputs failed.")
        raise typer.Exit(SOME_FAILED)


def _predict_one(
    source: Path,
    options: PredictOptions,
    predictor: SaliencyPredictor | None = None,
    *,
    others: Collection[Path] = (),
) -> None:
    from saliency_cli import pipeline  # torch and the decoders take a second: not for --help

    with progress_bar(source.name) as on_progress:
        prediction = pipeline.predict(source, options, predictor=predictor, others=others, on_progress=on_progress)
    for message in prediction.warnings:
        warn(message)
    say(_summary(prediction))
    for output in prediction.outputs:
        if output.path is not None:
            typer.echo(os.fsencode(output.path))  # as bytes: a name need not be UTF-8


def _summary(prediction: Prediction) -> str:
    """What was done, in one line; the reasons behind the choices stand in the sidecar."""
    device, precision, decoder = (
        choice.split(" (")[0] for choice in (prediction.device, prediction.precision, prediction.decoder)
    )
    return (
        f"{prediction.source}: {prediction.frames} frames at {prediction.frames_per_second:.1f} frames/s, "
        f"{prediction.weights} on {device} in {precision}, read by {decoder}"
    )


def _expand(inputs: list[str]) -> list[Path]:
    """Inputs as paths; patterns that the shell left alone are expanded."""
    sources: list[Path] = []
    for name in inputs:
        if not name:
            raise UsageError("INPUT: the name is empty; give a file, a folder, or . for this one.")
        if name == "-":
            raise UsageError("-: reading from stdin is not possible yet; give a file.")
        matches = sorted(glob.glob(name)) if not Path(name).exists() and glob.has_magic(name) else []
        sources.extend(map(Path, matches or [name]))
    return sources


def _check_names(sources: list[Path], options: PredictOptions) -> None:
    """Products are called after their inputs: two inputs of one name would overwrite each other's."""
    from saliency_cli.outputs import product_name  # the writers take a second to import

    seen: dict[str, Path] = {}
    for source in sources:
        stem = product_name(source, frames=source.is_dir(), layout=options.layout)
        if stem in seen:
            raise UsageError(f"{seen[stem]} and {source} would write to the same names; predict them one by one.")
        seen[stem] = source
