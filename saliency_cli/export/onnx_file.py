"""A network as an ONNX file, compared with torch before it takes its name."""

from __future__ import annotations

import importlib.util
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from saliency_cli._version import __version__
from saliency_cli.errors import UsageError, WeightsError, WriteError
from saliency_cli.export.graphs import Graph, graph_of
from saliency_cli.media import atomic_file
from saliency_cli.models import manifest
from saliency_cli.models.checkpoint import read_checkpoint
from saliency_cli.models.registry import LoadedModel, load_model

__all__ = ["OPSETS", "TOLERANCE", "Exported", "export_onnx", "load_named", "write_onnx"]

OPSETS: Final = range(18, 24)  # what torch's exporter writes, from 2.6 on
# Between onnxruntime and torch, of any value of any map. With max-unpooling, of a map's mean: where two neighbours are
# equal but for rounding, another order of summation finds the maximum at the other one (docs/models.md).
TOLERANCE: Final = 1e-4
BATCHES: Final = (1, 2)  # that are compared
EXTRA: Final = "pip install 'vsal[export]'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """An ONNX file.

    Attributes:
        path: where it is.
        takes, gives: its input and its output, in words.
        metadata: what stands in it: architecture, input size, normalisation, the weights' SHA-256.
        difference: the largest between onnxruntime's maps and torch's; None if onnxruntime is not installed.
        mean_difference: the mean of the map where it is largest, without sign; None likewise.
    """

    path: Path
    takes: str
    gives: str
    metadata: dict[str, str]
    difference: float | None
    mean_difference: float | None


def export_onnx(weights: str | os.PathLike[str], goal: str | os.PathLike[str], *, opset: int = OPSETS[0]) -> Exported:
    """Write the network of some weights as ONNX; what stands at the goal is replaced when the file has been compared.

    Args:
        weights: a name of the manifest, or a path.
        goal: the ``.onnx`` file.
        opset: of ONNX's operations.

    Raises:
        UsageError: an opset that is not known, or the extra ``export`` is not installed.
        WeightsError: see ``load_model``; or the file computes something else than torch.
        WriteError: the goal cannot be written, or has another suffix.
    """
    goal = Path(goal)
    if goal.suffix != ".onnx":
        raise WriteError(f"{goal} must end in .onnx, the one format that vsal exports to.")
    if opset not in OPSETS:
        raise UsageError(f"--opset {opset}: must lie between {OPSETS[0]} and {OPSETS[-1]}.")
    for needed in ("onnx", "onnxscript"):
        if importlib.util.find_spec(needed) is None:
            raise UsageError(f"{needed} is not installed, and exporting needs it; {EXTRA}.")
    return write_onnx(load_named(weights), goal, opset=opset)


def load_named(weights: str | os.PathLike[str]) -> LoadedModel:
    """The network of weights that say themselves which one it is; of a ``.pt`` file, the released TASED-Net."""
    if isinstance(weights, str) and weights in manifest.entries():
        return load_model(manifest.entry(weights).architecture, weights=weights)
    path = Path(weights).expanduser()
    if not path.is_file():
        return load_model("tsfp", weights=weights)  # which says what is wrong
    named = read_checkpoint(path).metadata.get("architecture", "tased")
    return load_model("tased" if named == "tased" else "tsfp", weights=path)


def write_onnx(model: LoadedModel, goal: Path, *, opset: int = OPSETS[0]) -> Exported:
    """Write a loaded model; see :func:`export_onnx`."""
    graph = graph_of(model)
    config = model.config.to_metadata()
    metadata = {
        **config,
        "producer": f"vsal {__version__}",
        "weights": model.weights.name,
        "weights_sha256": model.sha256,
        "takes": graph.takes,
        "gives": graph.gives,
    }
    program = _program(graph, opset)
    program.model.producer_name, program.model.producer_version = "vsal", __version__
    program.model.metadata_props.update(metadata)
    with atomic_file(goal) as part:
        with _quiet():
            program.save(str(part))
        largest, mean = _difference(graph, part) or (None, None)
        judged = mean if graph.unpools else largest
        if judged is not None and not judged <= TOLERANCE:
            raise WeightsError(
                f"{goal} was not written: onnxruntime's maps differ from torch's by {judged:.2g}"
                f"{' in the mean' if graph.unpools else ''}, which is more than {TOLERANCE:g}; "
                "try another --opset, and report it."
            )
    return Exported(
        path=goal,
        takes=graph.takes,
        gives=graph.gives,
        metadata=metadata,
        difference=largest,
        mean_difference=mean,
    )


def _program(graph: Graph, opset: int) -> Any:
    batch = torch.export.Dim("batch", min=1)
    with _quiet(), torch.no_grad():
        return torch.onnx.export(
            graph.module,
            (graph.example(2),),  # two, as sizes of 1 are taken for constants
            input_names=[graph.input],
            output_names=[graph.output],
            dynamo=True,
            opset_version=opset,
            dynamic_shapes=({0: batch},),
            verbose=False,
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter warns of its own inner workings, and of packages that it would know about and nobody asked for."""
    log = logging.getLogger("torch.onnx")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(before)


def _difference(graph: Graph, path: Path) -> tuple[float, float] | None:
    """The largest difference between the file's maps and torch's, and a map's mean; None without onnxruntime."""
    if importlib.util.find_spec("onnxruntime") is None:
        return None
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    largest = mean = 0.0
    for batch in BATCHES:
        example = graph.example(batch, seed=batch)
        with torch.inference_mode():
            wanted = graph.module(example)
        (found,) = session.run(None, {graph.input: example.numpy()})
        difference = (torch.from_numpy(found) - wanted).abs().nan_to_num(nan=torch.inf)  # (batch, h, w)
        largest = max(largest, float(difference.max()))
        mean = max(mean, float(difference.mean((1, 2)).max()))
    return largest, mean
