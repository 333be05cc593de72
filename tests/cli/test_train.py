"""``vsal train`` from end to end, on a tiny set."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from tiny_gaze import make_gaze
from tiny_layouts import make_dhf1k
from tiny_recipes import STREAMING, WINDOWED
from typer.testing import CliRunner, Result

from saliency_cli.cli.app import app
from saliency_cli.models import efficientnet, load_model, read_checkpoint

pytestmark = pytest.mark.usefixtures("folder")  # away from the user's environment


@pytest.fixture(scope="module")
def gaze(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_gaze(tmp_path_factory.mktemp("gaze") / "gaze")


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(STREAMING, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ImageNet weights that have never seen ImageNet."""
    ours = efficientnet.EfficientNetLite0().state_dict()
    path = tmp_path_factory.mktemp("encoder") / "lite0.pth"
    torch.save({source: ours[name] for name, source in efficientnet._published_names().items()}, path)
    return path


def vsal(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_train_and_resume(recipe: Path, gaze: Path, encoder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = ("train", recipe, "--gaze", gaze, "-o", run, "--encoder", encoder, "--device", "cpu")
    result = vsal(*command)
    assert result.exit_code == 0, result.output
    weights = run / "tiny.safetensors"
    assert result.stdout == f"{weights}\n"
    model = load_model("tsfp", weights=weights)
    assert model.metadata["validation_scores"] in result.stderr
    assert "all videos" not in model.metadata["validation_scores"]  # they come from one data set
    assert "hevc NSS " in model.metadata["validation_scores"]
    assert model.metadata["recipe"] == STREAMING
    assert model.config.input_size == (64, 96)
    assert model.config.encoder == "efficientnet-lite0"

    again = vsal(*command)
    assert again.exit_code == 2
    assert "last.pt is there already; go on with --resume" in again.stderr

    before = read_checkpoint(weights).state
    weights.unlink()
    assert vsal(*command, "--resume", "--no-evaluate").exit_code == 0
    after = read_checkpoint(weights).state
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())

    recipe.write_text(STREAMING.replace("seed = 1", "seed = 2"), encoding="utf-8")
    other = vsal(*command, "--resume")
    assert other.exit_code == 4
    assert "another recipe" in other.stderr


def test_cross_validation(recipe: Path, gaze: Path, encoder: Path, tmp_path: Path) -> None:
    """A fold goes on from the photographs' part, and is scored on the videos that it left out, and no others."""
    whole = ("train", recipe, "--gaze", gaze, "-o", tmp_path / "whole", "--encoder", encoder, "--no-evaluate")
    weights = vsal(*whole, "--device", "cpu").stdout.strip()
    for fold, left_out in ((1, "Moved"), (2, "Yan")):
        run = ("train", recipe, "--gaze", gaze, "-o", tmp_path / f"fold-{fold}", "--init", weights, "--device", "cpu")
        result = vsal(*run, "--set", f"fold={fold}")
        assert result.exit_code == 0, result.output
        metadata = read_checkpoint(result.stdout.strip()).metadata
        assert metadata["recipe"].endswith(f"[set]\nfold = {fold}\n")
        assert metadata["start"].startswith("tiny.safetensors (")
        assert metadata["validation_scores"] in result.stderr
        part = ("--select", f"fold-{fold}", "--device", "cpu", "--json")
        scored = vsal("evaluate", gaze, "--weights", result.stdout.strip(), *part)
        assert scored.exit_code == 0, scored.output
        (item,) = [item["item"] for item in json.loads(scored.stdout)["items"]]
        assert item == left_out
    lost = vsal("train", recipe, "--gaze", gaze, "-o", tmp_path / "fold-1", "--set", "fold=1", "--resume")
    assert lost.exit_code == 4
    assert "began elsewhere: resume with the same --init" in lost.stderr
    none = vsal("train", recipe, "--gaze", gaze, "-o", tmp_path / "none", "--init", weights, "--set", "fold=3")
    assert none.exit_code == 2
    assert "has no videos in fold 3" in none.stderr


def test_what_it_trained_can_be_evaluated(recipe: Path, gaze: Path, encoder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    trained = vsal("train", recipe, "--gaze", gaze, "-o", run, "--encoder", encoder, "-q", "--no-evaluate")
    assert trained.stderr == ""
    weights = trained.stdout.strip()
    scored = vsal("evaluate", gaze, "--weights", weights, "--dataset", "hevc", "--device", "cpu", "--json")
    assert scored.exit_code == 0, scored.output
    assert '"nss"' in scored.stdout


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (("seed = 1", "seed = 'x'"), 2, "seed = 'x' does not fit"),
        (("[64, 96]", "[60, 96]"), 2, "multiples of 32"),
        (("steps = 3", "step = 3"), 2, "unknown keys step"),
    ],
)
def test_a_wrong_recipe(
    recipe: Path, gaze: Path, tmp_path: Path, change: tuple[str, str], code: int, message: str
) -> None:
    recipe.write_text(STREAMING.replace(*change), encoding="utf-8")
    result = vsal("train", recipe, "--gaze", gaze, "-o", tmp_path / "run")
    assert (result.exit_code, result.stdout) == (code, "")
    assert message in result.stderr
    assert not (tmp_path / "run").exists()


def test_files_that_are_not_there(recipe: Path, gaze: Path, encoder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert vsal("train", tmp_path / "no.toml", "--gaze", gaze, "-o", run).exit_code == 3
    assert vsal("train", recipe, "--gaze", tmp_path, "-o", run, "--encoder", encoder).exit_code == 3
    assert vsal("train", recipe, "--gaze", gaze, "-o", run, "--encoder", tmp_path / "no.pth").exit_code == 4
    assert vsal("train", recipe, "--gaze", gaze, "-o", run, "--threads", "0").exit_code == 2
    (tmp_path / "file").write_text("")
    result = vsal("train", recipe, "--gaze", gaze, "-o", tmp_path / "file" / "run", "--encoder", encoder)
    assert result.exit_code == 3
    assert "cannot be written" in result.stderr


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dhf1k(tmp_path_factory.mktemp("videos") / "dhf1k", (1, 2, 601))


@pytest.fixture
def windowed(tmp_path: Path) -> Path:
    path = tmp_path / "windowed.toml"
    path.write_text(WINDOWED, encoding="utf-8")
    return path


def test_a_network_with_a_window(windowed: Path, videos: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    changes = ("--set", "schedule.length=2", "--set", "schedule.batch=2", "--set", "model.upsampling=trilinear")
    command = ("train", windowed, "--gaze", videos, "-o", run, "--device", "cpu", "--layout", "dhf1k")
    result = vsal(*command, *changes)
    assert result.exit_code == 0, result.output
    weights = run / "tiny.safetensors"
    assert result.stdout == f"{weights}\n"
    model = load_model("tased", weights=weights)
    assert model.config.upsampling == "trilinear"
    assert model.metadata["recipe"].endswith(
        '\n[set]\nschedule.length = 2\nschedule.batch = 2\nmodel.upsampling = "trilinear"\n'
    )
    assert model.metadata["validation_scores"] in result.stderr

    # The recipe that lies in the result makes the same run, without any --set.
    windowed.write_text(model.metadata["recipe"], encoding="utf-8")
    weights.unlink()
    again = vsal(*command, "--resume", "--quiet")
    assert (again.exit_code, again.stderr) == (0, "")
    assert read_checkpoint(weights).metadata == model.metadata

    other = vsal(*command, "--resume", "--set", "seed=2")
    assert other.exit_code == 4
    assert "another recipe" in other.stderr


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--set", "model.decodings=x"), 2, "windowed.toml: [model]: unknown keys decodings"),
        (("--set", "seed"), 2, "--set seed: must be key=value"),
        (("--set", "model.clip_length=5"), 2, "has no clip length 5"),
        (("--set", "data.validation=test"), 2, "has no part 'test'"),
        (("--layout", "mine"), 2, "there is no layout 'mine'"),
        (("--layout", "stavis"), 3, "no video with annotations"),
        (("--encoder", "no.pt"), 2, "add --set start=encoder"),
        (("--encoder", "no.pt", "--set", "start=encoder"), 4, "cannot start from no.pt"),
        (("--set", "start=checkpoint"), 2, "with --init"),
        (("--soundnet", "no.pt"), 2, "has no sound"),
        (("--precision", "fp16"), 5, "fp16"),
        (("--device", "tpu"), 2, "--device tpu"),
    ],
)
def test_what_does_not_fit(
    windowed: Path, videos: Path, tmp_path: Path, options: tuple[str, ...], code: int, message: str
) -> None:
    command = ("train", windowed, "--gaze", videos, "-o", tmp_path / "run")
    given = options if "--device" in options else (*options, "--device", "cpu")
    result = vsal(*command, *given)
    assert (result.exit_code, result.stdout) == (code, ""), result.output
    assert message in result.stderr
    assert result.stderr.count("vsal: error: ") == 1
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "run").exists()


def test_options_of_other_recipes(recipe: Path, gaze: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ("train", recipe, "--gaze", gaze, "-o", tmp_path / "run")
    for option in ("--cache", "--layout"):
        result = vsal(*command, option, "gaze")
        assert result.exit_code == 2
        assert f"{option}: the recipe tiny trains the embedded model" in result.stderr
    result = vsal(*command, "--soundnet", "ears.pt")
    assert result.exit_code == 2
    assert "--soundnet ears.pt: the recipe tiny has no [sound]" in result.stderr
    result = vsal(*command, "--init", "none.safetensors")
    assert result.exit_code == 4
    assert "training cannot start from none.safetensors" in result.stderr
    assert not (tmp_path / "run").exists()
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    result = vsal(*command)
    assert result.exit_code == 2
    assert "on one device; start one process" in result.stderr


def test_tensorboard_is_an_extra(windowed: Path, videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    result = vsal("train", windowed, "--gaze", videos, "-o", tmp_path / "run", "--tensorboard")
    assert result.exit_code == 2
    assert "TensorBoard is missing: pip install 'vsal[train]'" in result.stderr
    assert not (tmp_path / "run").exists()
