"""``vsal bench``."""

from __future__ import annotations

import json
import re
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from saliency_cli.cli.console import PIPED_WIDTH, Quiet, Verbose, guarded, is_json, progress_bar, say, setup, warn
from saliency_cli.cli.prediction_options import DecoderOption, DeviceOption, ModelOption, ThreadsOption, WeightsOption
from saliency_cli.errors import UsageError
from saliency_cli.options import Precision, PredictOptions

if TYPE_CHECKING:
    from saliency_cli.benchmark.results import Speed

__all__ = ["bench"]

DEFAULTS = PredictOptions()
STDOUT = "-"


@guarded
def bench(
    clip: Annotated[
        Path | None,
        typer.Argument(metavar="CLIP", help="A video or a folder of frames.  [default: a clip made on the spot]"),
    ] = None,
    output: Annotated[
        str | None, typer.Option("-o", "--output", help="A JSON file for what the tables say; - is --json.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON on stdout, too.")] = False,
    model: ModelOption = DEFAULTS.model,
    weights: WeightsOption = None,
    random_weights: Annotated[
        int | None,
        typer.Option(metavar="SEED", help="TASED-Net, or TSFP-Net on S3D, with stand-in weights: for times only."),
    ] = None,
    input_size: Annotated[
        str | None,
        typer.Option(metavar="HxW", help="What the network sees, with --random-weights.  [default: 224x384]"),
    ] = None,
    device: DeviceOption = DEFAULTS.device,
    precision: Annotated[
        Precision, typer.Option(help="Of the engine; auto: all that the device has.", envvar="VSAL_PRECISION")
    ] = DEFAULTS.precision,
    decoder: DecoderOption = DEFAULTS.decoder,
    size: Annotated[
        str | None, typer.Option(metavar="WxH", help="Of the clip made on the spot.  [default: 640x360]")
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(help="Of the clip, from its beginning.  [default: 4; 2.6 for networks with a window]"),
    ] = None,
    rounds: Annotated[int, typer.Option(help="Timings of each case, of which the median counts.")] = 7,
    threads: ThreadsOption = None,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Measure how fast this machine predicts: frames per second, stage by stage and from end to end.

    TASED-Net and TSFP-Net on S3D are also measured against the plain sliding window, with how far their maps differ.
    All that is compared takes turns, and medians are told; use the machine for nothing else meanwhile.
    """
    setup(verbose, quiet)
    picture = None if size is None else _sides("--size", size, "640x360")
    seen = (224, 384) if input_size is None else _sides("--input-size", input_size, "224x384")
    if random_weights is None and input_size is not None:
        raise UsageError("--input-size: weights know theirs; use it with --random-weights, or leave it out.")
    if random_weights is not None and weights is not None:
        raise UsageError("--random-weights and --weights exclude each other; leave one out.")
    options = PredictOptions(
        model=model, weights=weights, device=device, precision=precision, decoder=decoder, threads=threads
    )
    with ExitStack() as stack:
        from saliency_cli.benchmark.results import result_file  # the writers take a second to import
        from saliency_cli.benchmark.speed import check_request, measure_speed

        check_request(clip, options, size=picture, seconds=seconds, rounds=rounds)
        goal = None if output in (None, STDOUT) else stack.enter_context(result_file(output))
        from saliency_cli.benchmark.random_weights import random_model

        network = None if random_weights is None else random_model(model, random_weights, input_size=seen)
        with progress_bar("measuring", unit="turns/s") as on_progress:
            speed = measure_speed(
                clip,
                options,
                model=network,
                size=picture,
                seconds=seconds,
                rounds=rounds,
                on_progress=on_progress,
            )
        text = json.dumps(speed.record(), indent=2, allow_nan=False) + "\n"
        if goal is not None:
            goal.write_text(text, encoding="utf-8")
    if not quiet:
        _print(speed)
    for note in speed.notes:
        warn(note)
    if as_json or output == STDOUT:
        typer.echo(text, nl=False)
    if goal is not None:
        say(f"written to {output}")


def _sides(flag: str, text: str, example: str) -> tuple[int, int]:
    if not re.fullmatch(r"[0-9]{1,5}x[0-9]{1,5}", text):
        raise UsageError(f"{flag} {text}: must be two numbers of pixels, as {example}.")
    first, second = text.split("x")
    return int(first), int(second)


def _print(speed: Speed) -> None:
    """The tables and what belongs to them, on stderr."""
    from rich.console import Console

    from saliency_cli.benchmark.tables import speed_summary, speed_tables

    if is_json():  # the tables are for people; --json has all that they say
        return
    console = Console(stderr=True, width=None if sys.stderr.isatty() else PIPED_WIDTH, highlight=False)
    for table in speed_tables(speed):
        console.print(table)
        console.print()
    for line in speed_summary(speed):
        say(line)
