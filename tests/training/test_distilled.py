"""TSFP-Net and TASED-Net taught by the embedded model, from a recipe to a file that predicts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from tiny_gaze import disc, make_gaze
from tiny_networks import awake
from torch import Tensor

from saliency_cli.errors import DeviceError, ReadError, UsageError, WeightsError
from saliency_cli.models import ModelConfig, load_model, read_checkpoint, save_checkpoint
from saliency_cli.models.registry import build
from saliency_cli.models.streaming import StreamingTSFPNet
from saliency_cli.training.distilled_recipe import DistilledRecipe
from saliency_cli.training.recipe import parse_recipe
from saliency_cli.training.run import run_recipe
from saliency_cli.training.tables import with_changes

RECIPE = """
name = "tiny"
seed = 1
start = "scratch"
licence = "MIT"

[model]
architecture = "tsfp"
clip_length = 32
input_size = [32, 64]

[teacher]
weights = "teacher.safetensors"

[[stages]]
kind = "pictures"
size = [64, 64]
batch = 3
steps = 3
rate = 1e-3
last_rate = 5e-4
checkpoint_every = 2
validate_every = 2

[[stages]]
kind = "clips"
size = [32, 32]
clip_length = 16
batch = 2
steps = 2
rate = 1e-3
last_rate = 5e-4
checkpoint_every = 1

[[stages]]
kind = "clips"
size = [32, 64]
clip_length = 32
batch = 1
steps = 2
rate = 1e-3
last_rate = 5e-4
"""
TASED = ("model.architecture=tased", "start=encoder", "stages.0.taps=sum", "stages.0.encoder_rate=0")
STEPS = 7


@pytest.fixture(scope="module")
def gaze(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_gaze(tmp_path_factory.mktemp("gaze") / "gaze")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(5)
    config = replace(ModelConfig.embedded(), input_size=(64, 96), still_size=(64, 96))
    path = tmp_path_factory.mktemp("teacher") / "teacher.safetensors"
    return save_checkpoint(path, awake(StreamingTSFPNet()), config, half=False)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures") / "pictures"
    (folder / "below").mkdir(parents=True)
    (folder / "notes.txt").write_text("no picture")
    for number, path in enumerate((folder / "one.png", folder / "below" / "two.JPG", folder / ".hidden.png")):
        cv2.imwrite(str(path), disc(0.3, 0.6, seed=number))
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TSFP-Net, of whose encoder another network makes use."""
    torch.manual_seed(7)
    config = ModelConfig.tsfp()
    return save_checkpoint(tmp_path_factory.mktemp("encoder") / "tsfp.safetensors", build(config), config, half=False)


def distilled(teacher: Path, *changes: str) -> DistilledRecipe:
    text = with_changes(RECIPE, (f"teacher.weights={teacher}", *changes), "tiny.toml")
    recipe = parse_recipe(text, "tiny.toml")
    assert isinstance(recipe, DistilledRecipe)
    return recipe


class StopError(Exception):
    """Ends a run."""


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_from_a_recipe_to_a_model(
    gaze: Path, teacher: Path, pictures: Path, cache: Path, tmp_path: Path, precision: str
) -> None:
    seen: list[tuple[int, int | None]] = []
    recipe = distilled(teacher)
    path = run_recipe(
        recipe,
        gaze=gaze,
        folder=tmp_path / "run",
        pictures=pictures,
        cache=cache,
        device="cpu",
        precision=precision,
        on_step=lambda done, total: seen.append((done, total)),
    )
    assert path == tmp_path / "run" / "tiny.safetensors"
    assert seen == [(step, STEPS) for step in range(1, STEPS + 1)]
    model = load_model("tsfp", weights=path)
    assert model.config == recipe.model
    said = dict(model.metadata)
    assert (said["name"], said["licence"], said["recipe"]) == ("tiny", "MIT", recipe.text)
    assert said["started_from"] == "random weights"
    assert said["training_data"] == "10 stills, 1 videos, 2 unlabelled pictures; hevc, photos, train"
    assert said["teacher"].startswith("teacher.safetensors, SHA-256 ")
    assert len(said["teacher"].rpartition(" ")[2]) == 64
    assert said["made_with"].endswith(precision)
    assert "NSS" in said["validation_scores"]
    assert "on 2 stills; NSS" in said["validation_scores"]
    assert "on 1 videos, 12 frames of each; hevc, photos, validation" in said["validation_scores"]
    state = read_checkpoint(path).state
    assert {tensor.dtype for tensor in state.values()} == {torch.float16, torch.float32, torch.int64}
    average = torch.load(tmp_path / "run" / "last.pt", weights_only=True)["average"]
    for name, tensor in average.items():
        torch.testing.assert_close(state[name].to(tensor.dtype), tensor, rtol=1e-3, atol=1e-4)
    log = [line.split(",") for line in (tmp_path / "run" / "log.csv").read_text().splitlines()[1:]]
    assert [line[0] for line in log] == ["1-pictures"] * 3 + ["2-clips"] * 2 + ["3-clips"] * 2
    assert all(math.isfinite(float(value)) for line in log for value in line[1:])
    assert [float(line[3]) > 0 for line in log] == [True] * 3 + [False] * 4  # pictures match features
    scored = (tmp_path / "run" / "validation.csv").read_text().splitlines()[1:]
    assert [line.split(",")[:2] for line in scored] == [
        ["1-pictures", "2"],
        ["1-pictures", "3"],
        ["2-clips", "2"],
        ["3-clips", "2"],
    ]


@pytest.mark.slow
@pytest.mark.parametrize("changes", [(), TASED], ids=["tsfp", "tased"])
def test_a_stopped_run_ends_as_one_that_was_not(
    gaze: Path, teacher: Path, encoder: Path, cache: Path, tmp_path: Path, changes: Sequence[str]
) -> None:
    """Stopped after a step that no checkpoint knows of, at a stage's end, and at the very end."""
    recipe, threads = distilled(teacher, *changes), torch.get_num_threads()
    given = str(encoder) if changes else None

    def run(folder: str, *, until: int = 0, resume: bool = False) -> Path | None:
        def told(done: int, total: int | None) -> None:
            if done == until:
                raise StopError

        torch.manual_seed(until + 100)  # whatever happened before
        return run_recipe(
            recipe,
            gaze=gaze,
            folder=tmp_path / folder,
            encoder=None if resume else given,
            cache=cache,
            device="cpu",
            threads=1,
            resume=resume,
            on_step=told,
        )

    try:
        whole = run("whole")
        with pytest.raises(StopError):
            run("parts", until=1)
        assert not (tmp_path / "parts" / "last.pt").exists()
        (tmp_path / "parts" / "log.csv").unlink()
        with pytest.raises(StopError):
            run("parts", until=2)
        with pytest.raises(StopError):
            run("parts", until=3, resume=True)
        with pytest.raises(StopError):
            run("parts", until=6, resume=True)
        parts = run("parts", resume=True)
        again = run("parts", resume=True)
    finally:
        torch.set_num_threads(threads)
    assert whole is not None
    assert parts is not None
    assert again is not None
    one, other = read_checkpoint(whole), read_checkpoint(parts)
    assert one.metadata == other.metadata == read_checkpoint(again).metadata
    assert same(one.state, other.state)
    for name in ("log.csv", "validation.csv"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()
    if changes:
        assert one.metadata["started_from"].startswith("tsfp.safetensors (")
        assert load_model("tased", weights=whole).config == recipe.model


def test_a_frozen_encoder_stays(gaze: Path, teacher: Path, encoder: Path, cache: Path, tmp_path: Path) -> None:
    """In the stage of pictures; its batch norms too."""
    changes = (*TASED, "stages.1.steps=1", "stages.2.steps=1", "stages.2.rate=1e-9", "stages.2.last_rate=1e-9")

    def stop(done: int, total: int | None) -> None:
        if done == 3:
            raise StopError

    recipe = distilled(teacher, *changes)
    with pytest.raises(StopError):
        run_recipe(recipe, gaze=gaze, folder=tmp_path, encoder=str(encoder), cache=cache, device="cpu", on_step=stop)
    average = torch.load(tmp_path / "last.pt", weights_only=True)["average"]
    start = read_checkpoint(encoder).state
    ours = {name: value for name, value in average.items() if name.startswith("base")}
    assert ours
    assert all(torch.equal(value, start[f"encoder.{name}"]) for name, value in ours.items())


def test_frozen_norms_keep_their_statistics(gaze: Path, teacher: Path, cache: Path, tmp_path: Path) -> None:
    """In the last stage; and everything else learns."""
    recipe = distilled(teacher, "stages.2.norms=freeze", "stages.1.checkpoint_every=2", "stages.2.checkpoint_every=2")
    averages = []

    def keep(done: int, total: int | None) -> None:
        if done in (5, 7):
            averages.append(torch.load(tmp_path / "last.pt", weights_only=True)["average"])

    run_recipe(recipe, gaze=gaze, folder=tmp_path, cache=cache, device="cpu", on_step=keep)
    before, after = averages
    learnt = {name for name in before if not torch.equal(before[name], after[name])}
    assert not any("running" in name or "num_batches" in name for name in learnt)
    scales = {name for name in before if name.endswith(("conv_s.weight", "bn_t.weight"))}
    assert len(scales & learnt) > 0.9 * len(scales)  # the deepest may see nothing in so small a picture


def test_a_whole_network_goes_on(gaze: Path, teacher: Path, encoder: Path, cache: Path, tmp_path: Path) -> None:
    """``--init``, of clips twice as long as the first stage's."""
    recipe = distilled(
        teacher, "start=checkpoint", "stages.0.taps=sum", "stages.0.rate=1e-9", "stages.0.last_rate=1e-9"
    )
    with pytest.raises(UsageError, match=r"starts from a trained network: name its weights with --init"):
        run_recipe(recipe, gaze=gaze, folder=tmp_path, cache=cache)
    with pytest.raises(UsageError, match=r"--encoder .* start = 'checkpoint'"):
        run_recipe(recipe, gaze=gaze, folder=tmp_path, cache=cache, encoder=str(encoder))

    def stop(done: int, total: int | None) -> None:
        if done == 3:
            raise StopError

    with pytest.raises(StopError):
        run_recipe(recipe, gaze=gaze, folder=tmp_path, init=str(encoder), cache=cache, device="cpu", on_step=stop)
    model = torch.load(tmp_path / "last.pt", weights_only=True)["model"]
    start = read_checkpoint(encoder).state["head.weight"]  # (1, 192, 16, 1, 1)
    paired = start.unflatten(2, (8, 2)).sum(3)
    torch.testing.assert_close(model["head.weight"], paired, atol=1e-6, rtol=0)


def test_without_anything_held_out(gaze: Path, teacher: Path, tmp_path: Path) -> None:
    folder = make_gaze(tmp_path / "gaze")
    lines = (folder / "items.csv").read_text().splitlines()
    (folder / "items.csv").write_text(
        "\n".join(line for line in lines if "Yan" not in line and "image" not in line) + "\n"
    )
    changes = ("stages.0.steps=1", "stages.1.steps=1", "stages.2.steps=1")
    path = run_recipe(distilled(teacher, *changes), gaze=folder, folder=tmp_path / "run", device="cpu")
    assert path is not None
    header = read_checkpoint(path).metadata
    assert "validation_scores" not in header
    assert header["training_data"] == "1 videos; hevc, train"
    assert list((tmp_path / "run" / "frames").glob("*.maps"))


def test_what_is_missing_is_said_before_training(gaze: Path, teacher: Path, pictures: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(ReadError, match="is no folder"):
        run_recipe(distilled(teacher), gaze=tmp_path / "none", folder=run)
    with pytest.raises(WeightsError, match=r"the teacher cannot be asked: .*none\.safetensors is neither"):
        run_recipe(distilled(tmp_path / "none.safetensors"), gaze=gaze, folder=run)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"empty holds no pictures \(.*\): name another folder"):
        run_recipe(distilled(teacher), gaze=gaze, folder=run, pictures=tmp_path / "empty")
    with pytest.raises(ReadError, match="is no folder: name one with pictures"):
        run_recipe(distilled(teacher), gaze=gaze, folder=run, pictures=pictures / "notes.txt")
    with pytest.raises(UsageError, match="starts from an S3D encoder"):
        run_recipe(distilled(teacher, *TASED), gaze=gaze, folder=run)
    with pytest.raises(UsageError, match="has no sound"):
        run_recipe(distilled(teacher), gaze=gaze, folder=run, soundnet="soundnet.pt")
    with pytest.raises(DeviceError, match="fp16"):
        run_recipe(distilled(teacher), gaze=gaze, folder=run, device="cpu", precision="fp16")
    without = make_gaze(tmp_path / "gaze")
    (without / "hevc" / "Moved.mp4").unlink()
    with pytest.raises(UsageError, match="has no videos to train on in its part 'train'"):
        run_recipe(distilled(teacher), gaze=without, folder=run)
    assert not run.exists()


def test_a_teacher_that_sees_windows(gaze: Path, encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be the teacher, as it sees windows"):
        run_recipe(distilled(encoder), gaze=gaze, folder=tmp_path / "run")


def test_another_run_is_not_resumed(gaze: Path, teacher: Path, pictures: Path, cache: Path, tmp_path: Path) -> None:
    changes = ("stages.0.steps=1", "stages.1.steps=1", "stages.2.steps=1")
    recipe = distilled(teacher, *changes)
    run_recipe(recipe, gaze=gaze, folder=tmp_path, cache=cache, device="cpu")
    with pytest.raises(UsageError, match="--resume"):
        run_recipe(recipe, gaze=gaze, folder=tmp_path, cache=cache, device="cpu")
    with pytest.raises(WeightsError, match="belongs to a run on other data"):
        run_recipe(recipe, gaze=gaze, folder=tmp_path, cache=cache, device="cpu", pictures=pictures, resume=True)
    with pytest.raises(WeightsError, match="belongs to another recipe"):
        run_recipe(distilled(teacher, *changes, "seed=2"), gaze=gaze, folder=tmp_path, cache=cache, resume=True)


def test_a_loss_that_is_not_finite_ends_the_run(gaze: Path, teacher: Path, cache: Path, tmp_path: Path) -> None:
    recipe = distilled(teacher, "stages.0.rate=1e30", "stages.0.last_rate=1e30", "stages.0.warm_up=0")
    with pytest.raises(
        UsageError, match=r"the loss of step . of stage 1 is (nan|inf).*lower the stage's rate|no longer"
    ):
        run_recipe(recipe, gaze=gaze, folder=tmp_path, cache=cache, device="cpu")


@pytest.mark.slow
def test_a_network_learns(gaze: Path, teacher: Path, cache: Path, tmp_path: Path) -> None:
    """From pictures, in bf16: the loss of the last steps is well below that of the first."""
    changes = ("stages.0.steps=24", "stages.0.warm_up=0", "stages.0.validate_every=0", "stages.1.steps=1")
    recipe = distilled(teacher, *changes, "stages.2.steps=1", "stages.0.last_rate=1e-3", "teacher.features=0.2")
    run_recipe(recipe, gaze=gaze, folder=tmp_path, cache=cache, device="cpu", precision="bf16")
    lines = (tmp_path / "log.csv").read_text().splitlines()[1:25]
    losses = [float(line.split(",")[2]) for line in lines]
    assert np.mean(losses[-6:]) < 0.8 * np.mean(losses[:3])
