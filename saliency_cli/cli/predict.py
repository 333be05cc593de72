"""``vsal predict``."""

from __future__ import annotations

import glob
import os
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from saliency_cli.cli.console import fail, guarded, is_broken_pipe, progress_bar, say, warn
from saliency_cli.cli.prediction_options import with_prediction_options
from saliency_cli.errors import UsageError
from saliency_cli.options import PredictOptions

if TYPE_CHECKING:
    from saliency_cli.inference.predictor import SaliencyPredictor
    from saliency_cli.pipeline import Prediction

__all__ = ["expand", "predict"]

SOME_FAILED = 6
DEFAULTS = PredictOptions()


@guarded
@with_prediction_options
def predict(
    inputs: Annotated[
        list[str], typer.Argument(metavar="INPUT...", help="Videos, folders of frames, or pictures; - is stdin.")
    ],
    output: Annotated[
        str | None,
        typer.Option("-o", "--output", help="A file for one product, a folder for several, - for stdout."),
    ] = None,
    options: PredictOptions = DEFAULTS,
) -> None:
    """Predict where people look, and write it as a video, maps, arrays or statistics.

    Without options, clip.mp4 gives clip.saliency.mp4 in the current folder: the clip, with its sound, under a heatmap.
    """
    options = replace(options, output=output)
    sources = expand(inputs)
    if len(sources) == 1:
        _predict_one(sources[0], options)
        return
    sources = _without_products(sources)
    _check_names(sources, options)
    from saliency_cli.pipeline import load_predictor

    predictor = load_predictor(options)
    failed = 0
    for source in sources:
        try:
            _predict_one(source, options, predictor, others=[other for other in sources if other != source])
        except Exception as error:  # one input must not cost the others
            if is_broken_pipe(error):  # nobody is there to be told the names of the products
                raise
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

    with progress_bar(_called(source)) as on_progress:
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
    done = (
        f"{_called(prediction.source, whole=True)}: {prediction.frames} frames at "
        f"{prediction.frames_per_second:.1f} frames/s, {prediction.weights} on {device} in {precision}, "
        f"read by {decoder}"
    )
    if prediction.delay is None:
        return done
    return f"{done}, {prediction.delay['median']:.3f} s behind the stream (at most {prediction.delay['largest']:.3f} s)"


def _called(source: Path, *, whole: bool = False) -> str:
    """What a person calls an input."""
    return "stdin" if str(source) == "-" else str(source) if whole else source.name


def expand(inputs: list[str]) -> list[Path]:
    """Inputs as paths; patterns that the shell left alone are expanded."""
    from saliency_cli.media import source_path  # the decoders take a second to import

    sources: list[Path] = []
    for name in inputs:
        if not name:
            raise UsageError("INPUT: the name is empty; give a file, a folder, or . for this one.")
        matches = sorted(glob.glob(name)) if not Path(name).exists() and glob.has_magic(name) else []
        sources.extend(map(source_path, matches or [name]))
    return sources


def _without_products(sources: list[Path]) -> list[Path]:
    """Several inputs come of a pattern, which matches what an earlier run has put beside them."""
    from saliency_cli.outputs import is_product

    products = [source for source in sources if is_product(source)]
    if len(products) == len(sources):
        raise UsageError(f"{sources[0]} and the other inputs were all made by vsal; name one alone if it is meant.")
    for product in products:
        warn(f"{product} was made by vsal, and is left out; name it alone if it is meant.")
    return [source for source in sources if source not in products]


def _check_names(sources: list[Path], options: PredictOptions) -> None:
    """Products are called after their inputs: two inputs of one name would overwrite each other's."""
    from saliency_cli.outputs import product_name  # the writers take a second to import

    seen: dict[str, Path] = {}
    for source in sources:
        stem = product_name(source, frames=source.is_dir(), layout=options.layout)
        if stem in seen:
            raise UsageError(f"{seen[stem]} and {source} would write to the same names; predict them one by one.")
        seen[stem] = source
