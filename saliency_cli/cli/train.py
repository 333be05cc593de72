"""``vsal train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from saliency_cli.cli.console import Quiet, Verbose, guarded, progress_bar, say, setup
from saliency_cli.options import Precision

__all__ = ["train"]


@guarded
def train(
    recipe: Annotated[Path, typer.Argument(help="A TOML file; see recipes/.")],
    gaze: Annotated[Path, typer.Option(help="A folder with items.csv, fixations.csv.gz and the stimuli.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="A folder for checkpoints and the result.")],
    encoder: Annotated[
        Path | None,
        typer.Option(help="The encoder's ImageNet checkpoint.  [default: that of the extra vsal[train]]"),
    ] = None,
    evaluate: Annotated[bool, typer.Option(help="Score the result on the validation items, for its header.")] = True,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where an earlier run stopped.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.", envvar="VSAL_DEVICE")] = "auto",
    precision: Annotated[
        Precision, typer.Option(help="bf16 is faster where the processor has it.", envvar="VSAL_PRECISION")
    ] = "auto",
    threads: Annotated[int | None, typer.Option(help="Of the network.", envvar="VSAL_THREADS", min=1)] = None,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Train the embedded model's network from a recipe; the result is a safetensors file for --weights."""
    setup(verbose, quiet)
    from saliency_cli.training.recipe import load_recipe

    wanted = load_recipe(recipe)  # before anything slow
    from saliency_cli.training.run import run_recipe

    say("reading the gaze data")
    with progress_bar("training", unit="steps/s") as on_step:
        result = run_recipe(
            wanted,
            gaze=gaze,
            folder=output,
            encoder=encoder,
            resume=resume,
            device=device,
            precision=precision,
            threads=threads,
            on_step=on_step,
        )
    if evaluate:
        from saliency_cli.evaluation import record_scores

        with progress_bar("evaluating", unit="items/s") as on_item:
            say(record_scores(result, gaze, device=device, on_item=on_item))
    typer.echo(result)
