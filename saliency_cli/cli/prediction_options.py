"""The options that every command which predicts has: declared once, handed over as one :class:`PredictOptions`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any, cast, get_args

import typer

from saliency_cli.cli.console import Quiet, Verbose, setup
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

__all__ = [
    "CrfOption",
    "DecoderOption",
    "DeviceOption",
    "ExactOption",
    "ModelOption",
    "MomentOption",
    "OverwriteOption",
    "PrecisionOption",
    "RateOption",
    "ThreadsOption",
    "WeightsOption",
    "with_prediction_options",
]

DEFAULTS = PredictOptions()

# What several commands ask in the same words
ModelOption = Annotated[Model, typer.Option(help="The network.", envvar="VSAL_MODEL")]
WeightsOption = Annotated[
    str | None,
    typer.Option(help="Name (see vsal models list) or path.  [default: the model's own]", envvar="VSAL_WEIGHTS"),
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.", envvar="VSAL_DEVICE")]
PrecisionOption = Annotated[Precision, typer.Option(help="Of the network's arithmetic.", envvar="VSAL_PRECISION")]
ExactOption = Annotated[bool, typer.Option("--exact/--no-exact", help="The plain sliding window, in fp32.")]
DecoderOption = Annotated[Decoder, typer.Option(help="What reads videos.", envvar="VSAL_DECODER")]
CrfOption = Annotated[int, typer.Option(help="Quality of videos: 0 lossless to 51.")]
MomentOption = Annotated[float | None, typer.Option(help="Seconds from the first frame on.")]
RateOption = Annotated[float | None, typer.Option(help="Frames per second of a folder of frames.  [default: 30]")]
OverwriteOption = Annotated[bool, typer.Option(help="Replace earlier products, once the new ones are complete.")]
ThreadsOption = Annotated[
    int | None,
    typer.Option(
        help="Of the network, the decoder and the encoder, each.  [default: their choice]", envvar="VSAL_THREADS"
    ),
]


def with_prediction_options(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose parameter ``options`` is made of the options below, which stand in its place on the command line.

    ``--verbose`` and ``--quiet`` come last, and are taken into account before anything else.
    """
    own = inspect.signature(command, eval_str=True).parameters
    shared = inspect.signature(_asked, eval_str=True).parameters

    def run(**arguments: Any) -> None:
        setup(arguments.pop("verbose"), arguments.pop("quiet"))
        asked = {name: arguments.pop(name) for name in shared if name in arguments}
        command(**arguments, options=_asked(**asked, verbose=0, quiet=False))

    names = list(own)
    before, after = names[: names.index("options")], names[names.index("options") + 1 :]
    parameters = [own[name] for name in before]
    parameters += [each for name, each in shared.items() if name not in ("verbose", "quiet")]
    parameters += [own[name] for name in after]
    parameters += [shared["verbose"], shared["quiet"]]
    run.__name__, run.__doc__, run.__module__ = command.__name__, command.__doc__, command.__module__
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in parameters]
    )
    return run


def _asked(
    *,
    write: Annotated[
        list[str] | None,
        typer.Option(help=f"{', '.join(get_args(Product))}; repeats for several.  [default: overlay]"),
    ] = None,
    form: Annotated[
        Form,
        typer.Option(
            "--format",
            help="Of pictures: video (H.264), png files, or uncompressed for pipes: nut, y4m, gray (maps). "
            "auto: a video, png files of maps, and nut on stdout.",
        ),
    ] = DEFAULTS.form,
    layout: Annotated[
        Layout,
        typer.Option(
            help="Names of maps' PNG files: vsal's, or as the DHF1K benchmark takes submissions: "
            "0701/0001.png from 701.AVI, in the folder -o."
        ),
    ] = DEFAULTS.layout,
    bits: Annotated[int, typer.Option(help="Of maps: 8 or 16; videos have 8.")] = DEFAULTS.bits,
    model: ModelOption = DEFAULTS.model,
    weights: WeightsOption = None,
    audio: Annotated[
        bool, typer.Option("--audio/--no-audio", help="Use the sound; for weights with an audio branch.")
    ] = False,
    raw: Annotated[
        bool, typer.Option("--raw/--no-raw", help="The network's own maps and size: no smoothing, no scaling.")
    ] = False,
    normalize: Annotated[
        Normalize, typer.Option(help="What becomes 1: the maximum of each frame, of the video, or none.")
    ] = DEFAULTS.normalize,
    colormap: Annotated[Colormap, typer.Option(help="Of overlays and heatmaps.")] = DEFAULTS.colormap,
    opacity: Annotated[float, typer.Option(help="Of the overlay, 0 to 1.")] = DEFAULTS.opacity,
    crf: CrfOption = DEFAULTS.crf,
    device: DeviceOption = DEFAULTS.device,
    precision: PrecisionOption = DEFAULTS.precision,
    exact: ExactOption = False,
    decoder: DecoderOption = DEFAULTS.decoder,
    start: MomentOption = None,
    end: MomentOption = None,
    fps: RateOption = None,
    overwrite: OverwriteOption = True,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume/--no-resume", help="Keep the maps of a long prediction, and go on from them if it is stopped."
        ),
    ] = DEFAULTS.resume,
    threads: ThreadsOption = None,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> PredictOptions:
    """What was asked for on the command line, but for where the products go."""
    return PredictOptions(
        write=tuple(cast(Product, name) for name in write or DEFAULTS.write),
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
        resume=resume,
        threads=threads,
    )
