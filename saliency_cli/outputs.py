"""Where the products of a prediction go: names by fixed rules, and the checks that protect what is there."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from saliency_cli.errors import UsageError, WriteError
from saliency_cli.media import (
    ARRAY_FORMATS,
    FRAME_FILES,
    IMAGE_FORMATS,
    STDIN,
    STDIN_NAME,
    STREAM_FORMATS,
    VIDEO_FORMATS,
    is_stdin,
    require_pipe,
    sidecar_path,
)
from saliency_cli.options import Form, Layout, PredictOptions, Product
from saliency_cli.types import SourceKind

__all__ = [
    "STDOUT",
    "Output",
    "Storage",
    "is_product",
    "no_folders_left",
    "no_folders_left_of",
    "plan_outputs",
    "product_name",
    "protect",
]

Storage = Literal["video", "nut", "y4m", "gray", "png", "image", "arrays", "stats"]

STDOUT = "-"
SUBMISSION_DIGITS = 4  # of a video's number in the DHF1K layout
MOVING: frozenset[Storage] = frozenset({"video", "nut", "y4m", "gray"})
VIDEO_SUFFIXES = (*VIDEO_FORMATS, *STREAM_FORMATS)
STATS_SUFFIXES = (".jsonl", ".ndjson", ".json")
PICTURES: tuple[Product, ...] = ("overlay", "heatmap", "side-by-side", "maps")


@dataclass(frozen=True, slots=True)
class Output:
    """One product: what it shows, how it is stored, and where. ``path`` is None for stdout."""

    product: Product
    storage: Storage
    path: Path | None


def plan_outputs(
    source: Path,
    kind: SourceKind,
    options: PredictOptions,
    *,
    others: Collection[Path] = (),
    folder: Path | None = None,
    name: str | None = None,
) -> tuple[Output, ...]:
    """The products of one input.

    Args:
        source: the input. Products are called after it, without its suffix.
        kind: what the input is: the picture of a still image is an image, not a video of one frame.
        others: the inputs beside it. If there are any, ``options.output`` is always a folder.
        folder: where the products go, under the names that the tool gives them, instead of ``options.output``.
        name: what the products are called after instead.

    Raises:
        UsageError: the output's name does not fit the product, or would replace an input.
        WriteError: something is there already and may not be replaced.
    """
    name = name or product_name(source, frames=kind == "frames", layout=options.layout)
    if folder is not None:
        if folder.exists() and not folder.is_dir():
            raise WriteError(f"{folder} is a file, and a folder is needed for the products; give another -o.")
        planned = _all_named(folder, name, kind, options)
        _keep_inside(folder, planned)
        return _checked(planned, (source, *others), options)
    goal, alone = options.output, not others
    if goal == "":
        raise UsageError("-o: the name is empty; give a file, a folder, or . for this one.")
    inputs = (source, *others)
    if goal == STDOUT:
        if len(options.write) != 1 or not alone:
            raise UsageError("-o -: only one product of one input can go to stdout; give a folder with -o.")
        return _checked((Output(options.write[0], _storage_on_stdout(kind, options), None),), inputs, options)
    submission = options.layout == "dhf1k"
    if goal is not None and alone and len(options.write) == 1 and not submission:
        product = options.write[0]
        storage = _storage_by_suffix(Path(goal), product, kind, options.form)
        if storage is not None:
            return _checked((Output(product, storage, Path(goal)),), inputs, options)
    folder = Path(goal) if goal is not None else Path()
    if folder.suffix.lower() in (*VIDEO_SUFFIXES, *IMAGE_FORMATS, *ARRAY_FORMATS, *STATS_SUFFIXES):
        if folder.is_dir():
            raise WriteError(f"{folder} is a folder with the name of a file; move it away or give another -o.")
        what = "--layout dhf1k needs" if submission else "several products or inputs need"
        raise UsageError(f"-o {goal}: {what} a folder, and this is the name of a file.")
    if folder.exists() and not folder.is_dir():
        raise WriteError(f"{folder} is a file, and a folder is needed for the products; give another -o.")
    return _checked(_all_named(folder, name, kind, options), inputs, options)


def product_name(source: Path, *, frames: bool, layout: Layout) -> str:
    """What the products of ``source``, a folder of frames or a file, are called after.

    A submission to the DHF1K benchmark is ``method/videoname/framename.png``, with the names that the data set's own
    script ``generate_frame.m`` gives to frames (README of wenguanwang/DHF1K, "Results submission"; a port of the script
    stands in its issue 19). They are those of the annotations, ``annotation/0601/maps/0001.png``: the video's number
    in four digits, though the file is called ``601.AVI``, and the frame's, from 1, in four. Frames of video 701 lie
    in ``0701/images`` then. A name that is no number stays as it is.
    """
    if source == STDIN:
        name = STDIN_NAME
    elif not frames:
        name = source.stem
    else:
        folder = source.resolve()
        name = folder.parent.name if layout == "dhf1k" and folder.name == "images" else folder.name
    return name.zfill(SUBMISSION_DIGITS) if layout == "dhf1k" and re.fullmatch(r"[0-9]+", name) else name


@contextmanager
def no_folders_left(planned: Sequence[Output]) -> Iterator[None]:
    """If the block fails, remove the folders that were made in it to hold the products."""
    with no_folders_left_of([output.path for output in planned if output.path]):
        yield


@contextmanager
def no_folders_left_of(paths: Sequence[Path]) -> Iterator[None]:
    """If the block fails, remove the folders that were made in it to hold the files at ``paths``."""
    parents = {parent for path in paths for parent in path.absolute().parents}
    missing = sorted((parent for parent in parents if not parent.exists()), reverse=True)  # the inner ones first
    try:
        yield
    except BaseException:
        for folder in missing:
            with suppress(OSError):  # not made, or not empty: somebody else uses it
                folder.rmdir()
        raise


def _storage_by_suffix(goal: Path, product: Product, kind: SourceKind, form: Form) -> Storage | None:
    """How a product called ``goal`` is stored; None where ``goal`` is a folder for files with names of their own."""
    if goal.name in ("", ".."):  # "." and its like have no name of their own
        return None
    suffix = goal.suffix.lower()
    allowed: tuple[str, ...]
    storage: Storage
    if product == "arrays":
        storage, allowed = "arrays", ARRAY_FORMATS
    elif product == "stats":
        storage, allowed = "stats", STATS_SUFFIXES
    elif kind == "image" and form in ("auto", "png") and suffix not in VIDEO_SUFFIXES:
        storage, allowed = "image", IMAGE_FORMATS
    else:
        storage = STREAM_FORMATS.get(suffix, "video")
        allowed = tuple(each for each in VIDEO_SUFFIXES if each != ".gray" or product == "maps")
    if suffix in allowed and not goal.is_dir():
        if storage in MOVING and form == "png":
            raise UsageError(f"--format png writes a folder, and -o {goal} is the name of a video.")
        if storage in MOVING and form not in ("auto", "video") and suffix != f".{form}":
            raise UsageError(f"--format {form} and -o {goal} ask for two formats; leave out --format.")
        return storage
    if (
        product in PICTURES
        and not suffix
        and kind != "image"
        and (form == "png" or (product, form) == ("maps", "auto"))
    ):
        return "png"
    if suffix and not goal.is_dir():
        raise UsageError(f"-o {goal}: {product} can be written as {', '.join(allowed)}, not as {suffix}.")
    return None


def _storage_on_stdout(kind: SourceKind, options: PredictOptions) -> Storage:
    """How the one product is stored that goes through a pipe."""
    product, form = options.write[0], options.form
    if product == "stats":
        return "stats"
    if product == "arrays":
        raise UsageError("-o -: arrays are completed at their beginning, which stdout cannot; give a file with -o.")
    if options.layout == "dhf1k":
        raise UsageError("-o -: --layout dhf1k makes a folder; give one with -o.")
    require_pipe()
    if kind == "image" and form in ("auto", "png"):
        return "image"
    match form:
        case "png":
            raise UsageError("-o -: numbered PNG files need a folder; give one with -o, or leave out --format png.")
        case "video" | "mkv":
            return "video"
        case "auto":
            return "nut"
        case _:
            return form


def _all_named(folder: Path, name: str, kind: SourceKind, options: PredictOptions) -> tuple[Output, ...]:
    """The products with the names that the tool gives them, in ``folder``."""
    if options.layout == "dhf1k":
        return (Output("maps", "png", folder / name),)
    return tuple(_named(folder, name, product, kind, options.form) for product in options.write)


def _named(folder: Path, name: str, product: Product, kind: SourceKind, form: Form) -> Output:
    """A product with the name that the tool gives it, in ``folder``."""
    label = "saliency" if product == "overlay" else product
    if product == "arrays":
        return Output(product, "arrays", folder / f"{name}.{label}.npz")
    if product == "stats":
        return Output(product, "stats", folder / f"{name}.{label}.jsonl")
    if kind == "image" and form in ("auto", "png"):
        return Output(product, "image", folder / f"{name}.{label}.png")
    if form == "png" or (form == "auto" and product == "maps"):
        return Output(product, "png", folder / f"{name}.{label}")
    if form in ("nut", "y4m", "gray"):
        return Output(product, STREAM_FORMATS[f".{form}"], folder / f"{name}.{label}.{form}")
    if form == "mkv":
        return Output(product, "video", folder / f"{name}.{label}.mkv")
    return Output(product, "video", folder / f"{name}.{label}.mp4")


def _checked(planned: Sequence[Output], inputs: Sequence[Path], options: PredictOptions) -> tuple[Output, ...]:
    for output in planned:
        if options.raw and output.storage in MOVING:
            raise UsageError("--raw keeps every value, and a video does not; use --format png or --write arrays.")
        if options.bits == 16 and output.product == "maps" and (output.storage == "video" or _is_jpeg(output.path)):
            raise UsageError("--bits 16: videos and JPEGs have 8; use --format png, nut, y4m or gray.")
        if output.path is not None:
            protect(output.path, output.storage, inputs, overwrite=options.overwrite)
    return tuple(planned)


def protect(path: Path, storage: Storage, inputs: Sequence[Path], *, overwrite: bool) -> None:
    """Refuse to replace an input, or what is not an earlier product. Raises UsageError, WriteError."""
    sidecar = sidecar_path(path)
    if sidecar.exists() and not _is_sidecar(sidecar):
        raise WriteError(f"{sidecar} is there already and not vsal's; move it away or give another -o.")
    if not path.exists():
        return
    for source in inputs:
        if source == STDIN:
            if is_stdin(path):
                raise UsageError(f"{path}: the product would replace the input, which stdin reads; give another -o.")
        elif source.exists() and (path.samefile(source) or (path.is_dir() and _holds(path, source))):
            raise UsageError(f"{path}: the product would replace the input {source}; give another -o.")
    if not overwrite:
        raise WriteError(f"{path} is there already; leave out --no-overwrite to replace it.")
    if path.is_dir() != (storage == "png"):
        wanted = "a folder" if storage == "png" else "a file"
        raise WriteError(f"{path} is there already and is not {wanted}; move it away or give another -o.")
    if path.is_dir():
        names = [entry.name for entry in path.iterdir()]
        foreign = next((name for name in names if not re.fullmatch(FRAME_FILES, name)), None)
        if foreign is not None:
            raise WriteError(f"{path} holds {foreign}, which is not a frame of vsal's; give a new or empty folder.")
        if names and not sidecar.exists():  # other programs number frames just so
            raise WriteError(f"{path} holds pictures that vsal did not make; give a new or empty folder.")


def _keep_inside(folder: Path, planned: Sequence[Output]) -> None:
    """Refuse links that stand at the products' places and lead elsewhere: nobody named them."""
    top = os.path.realpath(folder)
    for output in planned:
        assert output.path is not None
        for path in (output.path, sidecar_path(output.path)):
            if path.is_symlink() and os.path.dirname(os.path.realpath(path)) != top:
                raise WriteError(f"{path} is a link that leads out of {folder}; remove the link, or give another -o.")


def _holds(folder: Path, source: Path) -> bool:
    return folder.resolve() in source.resolve().parents


def is_product(path: Path) -> bool:
    """Whether the sidecar of a file or folder says that vsal made it."""
    return _is_sidecar(sidecar_path(path))


def _is_sidecar(path: Path) -> bool:
    """Whether a JSON file beside a product is what vsal wrote there."""
    try:
        written = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(written, dict) and "vsal" in written


def _is_jpeg(path: Path | None) -> bool:
    return path is not None and path.suffix.lower() in (".jpg", ".jpeg")
