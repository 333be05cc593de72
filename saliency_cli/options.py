"""What a prediction is asked for: frozen options, put together once from flags and environment."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Literal, get_args

from saliency_cli.errors import UsageError

__all__ = ["Colormap", "Decoder", "Form", "Layout", "Model", "Normalize", "Precision", "PredictOptions", "Product"]

Product = Literal["overlay", "heatmap", "side-by-side", "maps", "arrays", "stats"]
Form = Literal["auto", "video", "png", "mkv", "nut", "y4m", "gray"]
Layout = Literal["vsal", "dhf1k"]
Normalize = Literal["frame", "video", "none"]
Model = Literal["tsfp", "tased"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
Decoder = Literal["auto", "decord", "pyav"]
Colormap = Literal["turbo", "inferno", "magma", "viridis", "jet", "gray"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictOptions:
    """Everything that decides the products of ``predict``.

    Attributes:
        write: the products wanted, in the order in which they are reported.
        output: a file for one product, a folder for several, ``-`` for stdout; None writes into the current folder.
        form: what pictures become: ``video``, H.264 in mp4, or in ``mkv``; numbered ``png`` files; uncompressed video
            for other programs, ``nut`` (with its times and its sound), ``y4m``, or of maps the bare bytes, ``gray``.
            ``auto`` makes a video, PNG files of maps, and NUT on stdout.
        layout: how maps' PNG files are named: ``vsal``, ``clip.maps/000001.png``, or ``dhf1k``, as the DHF1K benchmark
            takes submissions, ``0701/0001.png`` in the folder ``output`` (see ``outputs.product_name``).
        bits: of maps, 8 or 16; videos have 8.
        model, weights: the architecture, and the name or path of its weights (None: the architecture's default).
        audio: use the sound, with a network that has a branch for it.
        raw: the network's own maps at its own size, without smoothing or scaling; for maps, arrays and statistics.
        normalize: what becomes 1: each frame's maximum, the video's, or nothing is scaled.
        colormap, opacity: of overlays and heatmaps.
        start, end: seconds from the first frame on.
        rate: frames per second of a frame folder.
        overwrite: replace earlier products; they stay until the new ones are complete.
        resume: keep the finished parts of a long prediction beside the products, and go on from them.
        threads: of torch, None leaves the choice to it.
    """

    write: tuple[Product, ...] = ("overlay",)
    output: str | None = None
    form: Form = "auto"
    layout: Layout = "vsal"
    bits: int = 8
    model: Model = "tsfp"
    weights: str | None = None
    audio: bool = False
    raw: bool = False
    normalize: Normalize = "frame"
    colormap: Colormap = "turbo"
    opacity: float = 0.7
    device: str = "auto"
    precision: Precision = "auto"
    exact: bool = False
    decoder: Decoder = "auto"
    start: float | None = None
    end: float | None = None
    rate: float | None = None
    crf: int = 18
    overwrite: bool = True
    resume: bool = False
    threads: int | None = None

    def __post_init__(self) -> None:
        for product in self.write:
            _one_of("--write", product, Product)
        _one_of("--format", self.form, Form)
        _one_of("--layout", self.layout, Layout)
        _one_of("--model", self.model, Model)
        _one_of("--normalize", self.normalize, Normalize)
        _one_of("--precision", self.precision, Precision)
        _one_of("--decoder", self.decoder, Decoder)
        _one_of("--colormap", self.colormap, Colormap)
        if not self.write:
            raise UsageError("--write: name at least one product.")
        if len(set(self.write)) < len(self.write):
            raise UsageError("--write: a product is named twice.")
        if self.bits not in (8, 16):
            raise UsageError(f"--bits {self.bits}: must be 8 or 16.")
        if not 0 <= self.opacity <= 1:
            raise UsageError(f"--opacity {self.opacity}: must lie between 0 and 1.")
        if not 0 <= self.crf <= 51:
            raise UsageError(f"--crf {self.crf}: must lie between 0 (lossless) and 51.")
        if self.start is not None and not 0 <= self.start < inf:
            raise UsageError(f"--start {self.start}: must be a number of seconds from 0 on.")
        if self.end is not None and not (self.start or 0) < self.end < inf:
            raise UsageError(f"--end {self.end}: must be a number of seconds after the start.")
        if self.rate is not None and not 0 < self.rate <= 1000:
            raise UsageError(f"--fps {self.rate}: must lie between 0 and 1000.")
        if self.threads is not None and self.threads < 1:
            raise UsageError(f"--threads {self.threads}: must be at least 1.")
        pictures = [product for product in self.write if product in ("overlay", "heatmap", "side-by-side")]
        if self.raw and pictures:
            raise UsageError(
                f"--raw gives the network's own values, which make no {pictures[0]}; "
                "use it with --write maps, arrays or stats."
            )
        if self.raw and self.normalize != "frame":
            raise UsageError("--raw leaves the maps as the network gave them; leave out --normalize.")
        if self.form == "gray" and pictures:
            raise UsageError("--format gray holds the bytes of maps alone; use it with --write maps.")
        if self.layout == "dhf1k":
            self._check_submission()

    def _check_submission(self) -> None:
        """Refuse what the DHF1K benchmark would: it takes an 8-bit map of each frame and nothing else."""
        if self.write != ("maps",):
            raise UsageError("--layout dhf1k is a form of maps alone; use it with --write maps.")
        if self.form not in ("auto", "png") or self.bits != 8:
            flag = f"--bits {self.bits}" if self.form in ("auto", "png") else f"--format {self.form}"
            raise UsageError(f"--layout dhf1k is made of 8-bit PNG files; leave out {flag}.")
        if self.raw:
            raise UsageError("--layout dhf1k has maps of the video's size, and --raw the network's; leave out --raw.")
        if self.start is not None or self.end is not None:
            raise UsageError("--layout dhf1k has a map of every frame; leave out --start and --end.")


def _one_of(flag: str, value: str, allowed: object) -> None:
    """Check ``value`` against a ``Literal``: the command line has done so, a notebook has not."""
    if value not in get_args(allowed):
        raise UsageError(f"{flag} {value}: must be one of {', '.join(get_args(allowed))}.")
