"""``vsal train`` from end to end, on a tiny set."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_gaze import make_gaze
from typer.testing import CliRunner, Result

from saliency_cli.cli.app import app
from saliency_cli.models import efficientnet, load_model, read_checkpoint

pytestmark = pytest.mark.usefixtures("folder")  # away from the user's environment

RECIPE = """
name = "tiny"
architecture = "tsfp"
encoder = "efficientnet-lite0"
seed = 1
input_size = [64, 96]
scales = [1.0]

[[stages]]
name = "stills"
materials = ["stills"]
steps = 2
batch = 2
temporal_rate = 0.0

[[stages]]
name = "videos"
materials = ["videos", "stills"]
steps = 2
batch = 2
clips = 1
clip_frames = 2
"""


@pytest.fixture(scope="module")
def gaze(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_gaze(tmp_path_factory.mktemp("gaze") / "gaze")


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(RECIPE, encoding="utf-8")
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
    assert model.metadata["recipe"] == RECIPE
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

    recipe.write_text(RECIPE.replace("seed = 1", "seed = 2"), encoding="utf-8")
    other = vsal(*command, "--resume")
    assert other.exit_code == 4
    assert "another recipe" in other.stderr


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
        (("steps = 2", "step = 2"), 2, "unknown keys step"),
    ],
)
def test_a_wrong_recipe(
    recipe: Path, gaze: Path, tmp_path: Path, change: tuple[str, str], code: int, message: str
) -> None:
    recipe.write_text(RECIPE.replace(*change), encoding="utf-8")
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
