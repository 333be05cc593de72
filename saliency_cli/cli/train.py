"""``vsal train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, cast

import typer

from saliency_cli.cli.console import Quiet, Verbose, guarded, progress_bar, say, setup
from saliency_cli.options import Precision

__all__ = ["train"]


@guarded
def train(
    recipe: Annotated[Path, typer.Argument(help="A TOML file; see recipes/ and docs/training.md.")],
    gaze: Annotated[Path, typer.Option(help="The folder of a data set with its stimuli.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="A folder for checkpoints, logs and the result.")],
    layout: Annotated[
        str, typer.Option(help="auto, gaze, dhf1k, hollywood2, ucf-sports or stavis: how GAZE is laid out.")
    ] = "auto",
    change: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change the recipe, e.g. model.decoding=multi-level; repeats."),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(help="S3D's checkpoint of Kinetics; for the embedded model its encoder's of ImageNet."),
    ] = None,
    init: Annotated[
        str | None, typer.Option(help="Weights of a whole network to go on from; of the embedded one's photographs.")
    ] = None,
    soundnet: Annotated[str | None, typer.Option(help="SoundNet's weights, for a network with sound.")] = None,
    pictures: Annotated[
        Path | None, typer.Option(help="A folder of photographs without gaze, for recipes with a teacher.")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="A folder for decoded frames.  [default: frames, in the output's]")
    ] = None,
    evaluate: Annotated[
        bool, typer.Option(help="Score the embedded model on the validation items, for its header.")
    ] = True,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where an earlier run stopped.")] = False,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Draw the curves for TensorBoard too.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.", envvar="VSAL_DEVICE")] = "auto",
    precision: Annotated[
        Precision, typer.Option(help="bf16 is faster where the processor has it.", envvar="VSAL_PRECISION")
    ] = "auto",
    threads: Annotated[int | None, typer.Option(help="Of the network.", envvar="VSAL_THREADS", min=1)] = None,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Train a network from a recipe; the result is a safetensors file for --weights.

    On several GPUs: torchrun --nproc-per-node N -m saliency_cli train ...
    """
    setup(verbose, quiet)
    from saliency_cli.training.ranks import is_first
    from saliency_cli.training.recipe import load_recipe
    from saliency_cli.training.streaming_recipe import StreamingRecipe

    if not is_first():
        setup(verbose, quiet=True)  # one of several processes speaks
    wanted = load_recipe(recipe, change or ())  # before anything slow
    from saliency_cli.training.run import run_recipe
    from saliency_cli.training.saving import LAST

    try:
        say("reading the gaze data")
        with progress_bar("training", unit="steps/s") as on_step:
            result = run_recipe(
                wanted,
                gaze=gaze,
                folder=output,
                layout=cast(Any, layout),
                encoder=encoder,
                init=init,
                soundnet=soundnet,
                pictures=pictures,
                cache=cache,
                resume=resume,
                device=device,
                precision=precision,
                threads=threads,
                tensorboard=tensorboard,
                on_step=on_step,
            )
    except KeyboardInterrupt:
        made = (output / LAST).exists()
        raise KeyboardInterrupt(
            f"{output / LAST} holds the last checkpoint: add --resume to go on from there"
            if made
            else "no checkpoint was made yet, and the same command starts anew"
        ) from None
    if result is None:
        return
    if isinstance(wanted, StreamingRecipe):
        if evaluate:
            from saliency_cli.evaluation import record_scores

            with progress_bar("evaluating", unit="items/s") as on_item:
                split = f"fold-{wanted.fold}" if wanted.fold else None
                say(record_scores(result, gaze, split=split, device=device, on_item=on_item))
    else:
        from saliency_cli.models import read_checkpoint

        say(read_checkpoint(result).metadata.get("validation_scores", "not validated"))
    typer.echo(result)
