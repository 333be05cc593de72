"""ONNX files: what stands in them, and that nothing wrong takes their name."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor, nn

from saliency_cli.benchmark.random_weights import random_model
from saliency_cli.errors import UsageError, WeightsError, WriteError
from saliency_cli.export import onnx_file
from saliency_cli.export.graphs import Graph
from saliency_cli.export.onnx_file import export_onnx, load_named, write_onnx
from saliency_cli.models.checkpoint import save_checkpoint
from saliency_cli.models.registry import LoadedModel

pytestmark = pytest.mark.timeout(280)


class Tiny(nn.Module):
    """A convolution, in the place of a network."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 1, 3, padding=1)

    def forward(self, frames: Tensor) -> Tensor:
        result: Tensor = self.layer(frames)
        return result[:, 0].sigmoid()


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> LoadedModel:
    """A model whose graph is tiny."""
    model = random_model("tased", 0, input_size=(32, 32), clip_length=4)
    graph = Graph(model)
    graph.module, graph.shape = Tiny().eval(), (3, 32, 32)
    monkeypatch.setattr(onnx_file, "graph_of", lambda model: graph)
    return model


def test_a_file_that_computes_what_torch_does(model: LoadedModel, tmp_path: Path) -> None:
    import onnxruntime

    exported = write_onnx(model, tmp_path / "model.onnx")
    assert exported.difference is not None
    assert exported.difference < 1e-5
    session = onnxruntime.InferenceSession(str(exported.path), providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    assert (metadata["architecture"], metadata["input_size"], metadata["mean"]) == ("tased", "32x32", "0.5")
    assert metadata["weights_sha256"] == model.sha256
    assert metadata["takes"] == exported.takes
    assert (session.get_inputs()[0].name, session.get_outputs()[0].name) == ("clip", "saliency")
    for batch in (1, 5):
        assert session.run(None, {"clip": np.zeros((batch, 3, 32, 32), np.float32)})[0].shape == (batch, 32, 32)
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_a_file_that_computes_something_else_is_not_left(
    model: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    goal = tmp_path / "model.onnx"
    goal.write_bytes(b"an earlier one")
    monkeypatch.setattr(onnx_file, "_difference", lambda graph, path: (0.6, 0.5))
    with pytest.raises(
        WeightsError, match=r"was not written: onnxruntime's maps differ from torch's by 0\.5 in the mean"
    ):
        write_onnx(model, goal)
    assert goal.read_bytes() == b"an earlier one"
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_what_is_refused_before_anything_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WriteError, match=r"must end in \.onnx"):
        export_onnx("tsfp-lite0", tmp_path / "model.pb")
    with pytest.raises(UsageError, match="--opset 9: must lie between 18 and 23"):
        export_onnx("tsfp-lite0", tmp_path / "model.onnx", opset=9)
    with pytest.raises(WeightsError, match="neither a file nor a name"):
        export_onnx("unisal", tmp_path / "model.onnx")
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxscript" else real(name))
    with pytest.raises(UsageError, match=r"onnxscript is not installed, and exporting needs it; pip install 'vsal\[ex"):
        export_onnx("tsfp-lite0", tmp_path / "model.onnx")


def test_weights_say_which_network_they_are_of(tmp_path: Path) -> None:
    model = random_model("tased", 0, input_size=(32, 32), clip_length=4)
    path = save_checkpoint(tmp_path / "w.safetensors", model.module, model.config)
    assert load_named(path).config == model.config
    assert load_named("tsfp-lite0").config.encoder == "efficientnet-lite0"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tased", "tsfp"])
def test_networks_with_a_window(name: str, tmp_path: Path) -> None:
    length = 4 if name == "tased" else 16
    model = random_model("tased" if name == "tased" else "tsfp", 0, input_size=(32, 32), clip_length=length)
    exported = write_onnx(model, tmp_path / "model.onnx")
    assert exported.difference is not None
    assert exported.difference <= 1e-4


@pytest.mark.slow
def test_the_embedded_model(tmp_path: Path) -> None:
    exported = export_onnx("tsfp-lite0", tmp_path / "model.onnx")
    assert exported.difference is not None
    assert exported.difference <= 1e-4
    assert exported.metadata["architecture"] == "tsfp"
