"""``vsal models``: which weights there are, where they lie, how to get and convert them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from saliency_cli.cli.console import Quiet, Verbose, guarded, progress_bar, say, setup, warn

__all__ = ["app"]

app = typer.Typer(
    help="List, download, check, convert and export weights.", no_args_is_help=True, rich_markup_mode=None
)

Name = Annotated[str, typer.Argument(help="A name that vsal models list shows.")]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON on stdout.")]


@app.command("list")
@guarded
def list_weights(as_json: AsJson = False) -> None:
    """Show the weights that vsal knows, and which are on this machine."""
    from saliency_cli.models import manifest

    rows = []
    for entry in manifest.entries().values():
        path = manifest.find(entry.name)
        rows.append(
            {
                "name": entry.name,
                "model": entry.architecture,
                "megabytes": round(entry.size / 1e6, 1) or None,
                "here": path is not None,
                "licence": entry.licence,
                "description": entry.description,
            }
        )
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("name", "model", "MB", "here", "licence", "description", box=None)
    for row in rows:
        shown = {**row, "megabytes": row["megabytes"] or "?", "here": "yes" if row["here"] else "no"}
        table.add_row(*map(str, shown.values()))
    Console().print(table)


@app.command()
@guarded
def info(name: Name, as_json: AsJson = False) -> None:
    """Show what is known about weights: where from, licence, size, and what their file's header says."""
    from dataclasses import asdict

    from saliency_cli.models import manifest
    from saliency_cli.models.checkpoint import read_checkpoint

    entry = manifest.entry(name)
    known: dict[str, Any] = {key: value for key, value in asdict(entry).items() if value}
    path = manifest.find(name)
    known["path"] = str(path) if path else None
    if path is not None:
        known |= {f"header.{key}": value for key, value in read_checkpoint(path).metadata.items() if key != "recipe"}
    if as_json:
        typer.echo(json.dumps(known, indent=2))
        return
    known["path"] = known["path"] or "not on this machine; vsal models pull gets it"
    for key, value in known.items():
        typer.echo(f"{key}: {value}")


@app.command()
@guarded
def path(name: Name) -> None:
    """Print where the file of weights lies."""
    from saliency_cli.models import manifest

    typer.echo(manifest.verify(name).path)


@app.command()
@guarded
def verify(name: Name) -> None:
    """Compare the file of weights with its SHA-256."""
    from saliency_cli.models import manifest

    verified = manifest.verify(name)
    said = "as it should be" if verified.expected else "nobody has said what it should be"
    typer.echo(f"{verified.path}: {verified.sha256}, {said}")


@app.command()
@guarded
def pull(
    name: Name,
    unverified: Annotated[
        bool, typer.Option("--unverified", help="Take weights whose publisher names no checksum as they come.")
    ] = False,
    place: Annotated[
        str | None,
        typer.Option("--from", metavar="PLACE", help="A folder, or an https address, that has the file."),
    ] = None,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Download weights, go on with an interrupted download, and check them."""
    setup(verbose, quiet)
    from saliency_cli.models import manifest

    with progress_bar(name, unit="bytes/s") as on_progress:
        file = manifest.pull(name, place=place, unverified=unverified, progress=on_progress)
    typer.echo(file)


@app.command()
@guarded
def convert(
    source: Annotated[Path, typer.Argument(help="A .pt, .pth, .safetensors or .npy file.")],
    goal: Annotated[Path, typer.Argument(help="The .safetensors file to write.")],
    model: Annotated[
        Literal["tased", "tsfp", "s3d", "soundnet"],
        typer.Option("--model", "--architecture", help="The network; s3d and soundnet are parts to train from."),
    ] = "tased",
    half: Annotated[bool, typer.Option("--half", help="Store kernels in half precision.")] = False,
) -> None:
    """Rewrite a checkpoint as safetensors with a header, after checking that it fits its network."""
    from saliency_cli.models.checkpoint import convert as convert_checkpoint

    typer.echo(convert_checkpoint(source, goal, model, half=half))
    if model in ("tased", "tsfp"):
        say("the file names its network; give it to --weights")
    else:
        say(f"the file holds {model}, a part of a network, to start a training from")


@app.command()
@guarded
def export(
    weights: Annotated[str, typer.Argument(metavar="NAME_OR_PATH", help="Weights: a name, or a file.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The .onnx file to write.")],
    opset: Annotated[int, typer.Option(help="Of ONNX's operations: 18 to 23.")] = 18,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Write a network as ONNX, for other programs, and compare it with torch (needs vsal[export]).

    Of the embedded model it is the network of photographs: motion is measured outside of it. Of TASED-Net, and TSFP-Net
    on S3D, it is one window. The batch may have any size.
    """
    setup(verbose, quiet)
    from saliency_cli.export.onnx_file import export_onnx

    exported = export_onnx(weights, output, opset=opset)
    say(f"takes {exported.takes}")
    say(f"gives {exported.gives}")
    if exported.difference is None:
        warn("it was not compared with torch, for want of onnxruntime; pip install 'vsal[export]'.")
    else:
        say(f"onnxruntime's maps are torch's to {exported.difference:.1e}, in the mean {exported.mean_difference:.1e}")
    typer.echo(exported.path)
