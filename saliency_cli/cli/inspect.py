"""``vsal inspect``."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from saliency_cli.cli.console import Quiet, Verbose, fail, guarded, is_broken_pipe, printable, say, setup
from saliency_cli.errors import UsageError
from saliency_cli.options import Decoder, PredictOptions

if TYPE_CHECKING:
    from saliency_cli.inspection.costs import Cost
    from saliency_cli.inspection.looking import Inspection

__all__ = ["inspect"]

DEFAULTS = PredictOptions()
SOME_FAILED = 6


@guarded
def inspect(
    inputs: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="Videos, folders of frames, or pictures; - is stdin.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a file, each on a line.")] = False,
    measure: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NETWORK",
            help="Predict two seconds, to tell how long all will take and how much memory: tsfp, tased or tsfp-s3d; "
            "repeats.",
        ),
    ] = None,
    decoder: Annotated[Decoder, typer.Option(help="What reads videos.", envvar="VSAL_DECODER")] = DEFAULTS.decoder,
    fps: Annotated[float | None, typer.Option(help="Frames per second of a folder of frames.  [default: 30]")] = None,
    device: Annotated[
        str, typer.Option(help="For --measure: auto, cpu, cuda, cuda:N or mps.", envvar="VSAL_DEVICE")
    ] = DEFAULTS.device,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Show what is in a video, and how it will be read: streams, size, colours, times, decoder and its reason.

    Packets are scanned, and one frame is decoded. The streams that a prediction takes have a star.
    """
    setup(verbose, quiet)
    options = PredictOptions(decoder=decoder, device=device, rate=fps)
    _check_networks(measure or ())
    failed = 0
    for number, name in enumerate(inputs):
        try:
            if not name:
                raise UsageError("FILE: the name is empty; give a file, a folder, or . for this one.")
            _inspect_one(name, options, measure or (), as_json=as_json, apart=number > failed)
        except Exception as error:  # one input must not cost the others
            if len(inputs) == 1 or is_broken_pipe(error):
                raise
            fail(error)
            failed += 1
    if failed:
        say(f"vsal: {failed} of {len(inputs)} inputs failed.")
        raise typer.Exit(SOME_FAILED)


def _check_networks(names: list[str] | tuple[str, ...]) -> None:
    if not names:
        return
    from typing import get_args

    from saliency_cli.inspection.costs import Network

    for name in names:
        if name not in get_args(Network):
            raise UsageError(f"--measure {name}: must be one of {', '.join(get_args(Network))}.")


def _inspect_one(
    name: str, options: PredictOptions, networks: list[str] | tuple[str, ...], *, as_json: bool, apart: bool
) -> None:
    from saliency_cli.inspection.looking import inspect_source  # the decoders take a second to import

    found = inspect_source(name, decoder=options.decoder, fps=options.rate)
    costs: list[Cost] = []
    if networks:
        from saliency_cli.inspection.costs import measure_cost

        costs = [measure_cost(found, network, options) for network in networks]  # type: ignore[arg-type]
    if as_json:
        typer.echo(json.dumps({**found.record(), "costs": [asdict(cost) for cost in costs]}, allow_nan=False))
    else:
        if apart:
            typer.echo()
        _print(found, costs)


def _print(found: Inspection, costs: list[Cost]) -> None:
    from saliency_cli.cli.console import PIPED_WIDTH
    from saliency_cli.inspection.tables import cost_lines, inspection_lines, streams_table

    typer.echo(printable(found.source))
    lines = [*inspection_lines(found), *(line for cost in costs for line in cost_lines(cost))]
    for what, how in lines:
        typer.echo(f"  {what:<9} {printable(how)}")
    if found.streams:
        from rich.console import Console

        console = Console(width=None if sys.stdout.isatty() else PIPED_WIDTH, highlight=False, markup=False)
        console.print(streams_table(found.streams))
