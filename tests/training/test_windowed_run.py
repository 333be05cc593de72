"""TSFP-Net and TASED-Net from a recipe to a checkpoint that predicts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from clips import Tone, make_clip
from tiny_gaze import make_gaze
from tiny_layouts import make_clips, make_dhf1k
from tiny_network import Small
from tiny_recipes import windowed

from saliency_cli.datasets import open_dataset
from saliency_cli.errors import DeviceError, ReadError, UsageError, WeightsError
from saliency_cli.inference.predictor import SaliencyPredictor
from saliency_cli.media import open_source
from saliency_cli.metrics import match_size, nss
from saliency_cli.models import load_model, read_checkpoint
from saliency_cli.models.soundnet import SoundNet
from saliency_cli.training.run import run_recipe

SHORT = ("schedule.length=2", "schedule.batch=2")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network of two numbers, where it does not matter which is trained."""
    monkeypatch.setattr("saliency_cli.training.windowed_run.build", lambda config: Small())


@pytest.fixture(scope="module")
def gaze(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dhf1k(tmp_path_factory.mktemp("gaze") / "dhf1k", (1, 2, 601))


def test_from_a_recipe_to_a_model(gaze: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    recipe = windowed(*SHORT, "licence=MIT")
    path = run_recipe(
        recipe, gaze=gaze, folder=tmp_path / "run", device="cpu", on_step=lambda done, total: seen.append((done, total))
    )
    assert path == tmp_path / "run" / "tiny.safetensors"
    assert seen == [(1, 2), (2, 2)]
    model = load_model("tased", weights=path)
    assert model.config == recipe.model
    said = dict(model.metadata)
    assert said["recipe"] == recipe.text
    assert (said["name"], said["licence"], said["started_from"]) == ("tiny", "MIT", "random weights")
    assert said["training_data"] == "2 videos of dhf1k, train"
    assert said["made_with"].startswith("vsal ")
    assert f"torch {torch.__version__}, fp32" in said["made_with"]
    saved = torch.load(tmp_path / "run" / "last.pt", weights_only=True)
    assert saved["data"].startswith("dhf1k, 2 videos of dhf1k, ")
    assert saved["versions"]["torch"] == torch.__version__
    assert {tensor.dtype for tensor in read_checkpoint(path).state.values()} == {torch.float32, torch.int64}

    # The score in the header is that of the maps that a predictor makes of the result.
    (video,) = open_dataset(gaze).part("validation")
    assert video.stimulus is not None
    with open_source(video.stimulus) as source:
        maps = list(SaliencyPredictor(model, device="cpu", exact=True).predict(source))
    scores = []
    for found in maps:
        truth = video.truth(found.index, found.seconds)
        assert truth is not None
        scores.append(nss(match_size(found.saliency, video.height, video.width), truth.counts))
    assert said["validation_scores"] == f"NSS {np.mean(scores):.4f} on 5 frames of 1 videos of dhf1k, validation"


@pytest.mark.usefixtures("small")
def test_without_validation_the_last_weights_are_the_result(gaze: Path, tmp_path: Path) -> None:
    path = run_recipe(windowed(*SHORT, "data.validation="), gaze=gaze, folder=tmp_path, cache=tmp_path / "cache")
    assert path is not None
    last = torch.load(tmp_path / "last.pt", weights_only=True)["model"]
    result = read_checkpoint(path)
    assert all(torch.equal(result.state[name], tensor) for name, tensor in last.items())
    assert "validation_scores" not in result.metadata
    assert not (tmp_path / "best.safetensors").exists()
    assert len(list((tmp_path / "cache").glob("*.rgb"))) == 2
    assert not (tmp_path / "frames").exists()


@pytest.mark.slow
def test_with_sound(tmp_path: Path) -> None:
    gaze = make_gaze(tmp_path / "gaze")
    for name in ("Moved", "Yan"):
        make_clip(gaze / "hevc" / f"{name}.mp4", frames=12, size=(96, 64), sound=Tone(seconds=0.5))
    changes = ("model.architecture=tsfp", "model.clip_length=16", "schedule.length=1", "schedule.batch=2")
    silent = run_recipe(windowed(*changes), gaze=gaze, folder=tmp_path / "silent", cache=tmp_path / "cache")
    ears = tmp_path / "soundnet.pt"
    torch.save(SoundNet().state_dict(), ears)
    heard = windowed(*changes, "start=checkpoint", "model.audio=true", "optimiser.sound_rate=0")
    path = run_recipe(
        heard, gaze=gaze, folder=tmp_path / "heard", init=str(silent), soundnet=str(ears), cache=tmp_path / "cache"
    )
    assert path is not None
    model = load_model("tsfp", weights=path)
    assert model.config.audio
    state, before = read_checkpoint(path).state, SoundNet().state_dict()
    given = torch.load(ears, weights_only=True)
    assert all(torch.equal(state[f"soundnet.{name}"], given[name]) for name in before)
    assert "tiny.safetensors" in model.metadata["started_from"]
    assert "soundnet.pt" in model.metadata["started_from"]


@pytest.mark.usefixtures("small")
def test_nothing_to_hear(gaze: Path, tmp_path: Path) -> None:
    recipe = windowed("model.architecture=tsfp", "model.clip_length=16", "model.audio=true")
    with pytest.raises(UsageError, match="has no video with sound"):
        run_recipe(recipe, gaze=gaze, folder=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (("data.validation=test",), r"has no part 'test': choose one of those it has \(train, validation\)"),
        (("data.train=train-1",), "has no part 'train-1'"),
        (("start=encoder",), "give its checkpoint with --encoder"),
        (("start=checkpoint",), "name its weights with --init"),
    ],
)
def test_what_is_missing_is_said_before_training(
    gaze: Path, tmp_path: Path, changes: tuple[str, ...], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        run_recipe(windowed(*changes), gaze=gaze, folder=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("small")
def test_data_without_videos(tmp_path: Path) -> None:
    gaze = make_gaze(tmp_path / "gaze")
    for video in (gaze / "hevc").glob("*.mp4"):
        video.unlink()
    with pytest.raises(
        UsageError, match=r"has no videos in its part 'train' \(the 1 it has came without their frames\)"
    ):
        run_recipe(windowed(), gaze=gaze, folder=tmp_path / "run")
    lines = (gaze / "items.csv").read_text().splitlines()
    (gaze / "items.csv").write_text("\n".join(line for line in lines if "video" not in line) + "\n")
    with pytest.raises(UsageError, match="it has stills alone"):
        run_recipe(windowed(), gaze=gaze, folder=tmp_path / "run")
    with pytest.raises(ReadError, match="is no folder"):
        run_recipe(windowed(), gaze=tmp_path / "none", folder=tmp_path / "run")


@pytest.mark.usefixtures("small")
def test_some_videos_are_not_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    gaze = make_dhf1k(tmp_path / "gaze", (1, 2, 601))
    (gaze / "video" / "002.AVI").unlink()
    path = run_recipe(windowed("schedule.length=1", "schedule.batch=2"), gaze=gaze, folder=tmp_path / "run")
    assert path is not None
    assert "1 of 2 videos of train came without their frames" in caplog.text
    assert read_checkpoint(path).metadata["training_data"] == "1 videos of dhf1k, train"


@pytest.mark.usefixtures("small")
def test_a_damaged_video_ends_the_run(tmp_path: Path) -> None:
    gaze = make_dhf1k(tmp_path / "gaze", (1, 601))
    (gaze / "video" / "001.AVI").write_bytes(b"nothing")
    with pytest.raises(ReadError, match=r"001\.AVI"):
        run_recipe(windowed(), gaze=gaze, folder=tmp_path / "run")


@pytest.mark.usefixtures("small")
def test_frames_as_pictures_and_another_layouts_splits(tmp_path: Path) -> None:
    gaze = make_clips(tmp_path / "ucf", {"training": ["Run-Side-001"], "testing": ["Run-Side-002"]})
    recipe = windowed("schedule.length=1", "schedule.batch=2", "data.validation=test", "data.short_videos=loop")
    path = run_recipe(recipe, gaze=gaze, layout="ucf-sports", folder=tmp_path / "run")
    assert path is not None
    assert not (tmp_path / "run" / "frames").exists()


def test_precision(gaze: Path, tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="fp16: a CPU"):
        run_recipe(windowed(), gaze=gaze, folder=tmp_path / "run", device="cpu", precision="fp16")
    assert not (tmp_path / "run").exists()


def test_bf16_on_a_cpu_learns(gaze: Path, tmp_path: Path) -> None:
    """The loss falls as in fp32, although torch's own gradients in three dimensions would be wrong."""
    changes = ("schedule.length=8", "schedule.batch=2", "schedule.falls_at=[]", "schedule.validate_every=8")
    falls = []
    for precision in ("fp32", "bf16"):
        folder = tmp_path / precision
        path = run_recipe(windowed(*changes), gaze=gaze, folder=folder, device="cpu", precision=precision)
        assert path is not None
        assert read_checkpoint(path).metadata["made_with"].endswith(precision)
        losses = [float(line.split(",")[2]) for line in (folder / "log.csv").read_text().splitlines()[1:]]
        falls.append(np.mean(losses[:2]) - np.mean(losses[-2:]))
    assert falls[0] > 0.1
    assert falls[1] > 0.5 * falls[0]


@pytest.mark.usefixtures("small")
def test_a_run_on_other_data_is_not_resumed(gaze: Path, tmp_path: Path) -> None:
    recipe = windowed("schedule.length=1", "schedule.batch=2")
    run_recipe(recipe, gaze=gaze, folder=tmp_path / "run")
    other = make_dhf1k(tmp_path / "other", (1, 3, 601))
    with pytest.raises(WeightsError, match="belongs to a run on other data"):
        run_recipe(recipe, gaze=other, folder=tmp_path / "run", resume=True)
