"""The third stage: only the fusion learns, a stop leaves no trace, and the result says where it came from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from clips import Tone, make_clip
from tiny_gaze import LATE, RATE, VIDEO_FRAMES, make_gaze
from tiny_recipes import STREAMING, streaming
from torch import Tensor

from saliency_cli.errors import UsageError
from saliency_cli.metrics import GazeTable
from saliency_cli.models.checkpoint import read_checkpoint, save_checkpoint
from saliency_cli.models.config import ModelConfig
from saliency_cli.models.registry import load_model
from saliency_cli.models.soundnet import SoundNet
from saliency_cli.models.streaming import StreamingTSFPNet
from saliency_cli.training.streaming import Progress, StreamingTrainer, TrainingData
from saliency_cli.training.streaming_data import Clip, load_clips
from saliency_cli.training.streaming_recipe import StreamingRecipe
from saliency_cli.training.streaming_run import run_streaming
from saliency_cli.training.streaming_sound import Hearing, hearing_batch, hearing_of, sound_of

SOUND = (
    STREAMING.partition("[stills]")[0]
    + """
[sound]
steps = 4
batch = 2
rate = 0.01
checkpoint_every = 2
study = "of no use."
"""
)


SILENT = SOUND.replace("[sound]", "[videos]").partition("study")[0]


class StopError(Exception):
    """What stops a run."""


def recipe(text: str = SOUND) -> StreamingRecipe:
    return streaming(text)


@pytest.fixture(scope="module")
def gaze(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Whose video to learn from has sound, which begins before its pictures."""
    folder = make_gaze(tmp_path_factory.mktemp("gaze") / "gaze")
    make_clip(
        folder / "hevc" / "Moved.mp4",
        frames=VIDEO_FRAMES,
        size=(96, 64),
        rate=RATE,
        start=LATE,
        sound=Tone(seconds=2.0, start=0.0),
    )
    return folder


@pytest.fixture(scope="module")
def clips(gaze: Path) -> list[Clip]:
    table = GazeTable.load(gaze)
    return load_clips(table, [table.item("hevc", "Moved")], sound=True)


@pytest.fixture(scope="module")
def start() -> dict[str, Tensor]:
    torch.manual_seed(5)
    return dict(StreamingTSFPNet().state_dict())


@pytest.fixture(scope="module")
def ears() -> dict[str, Tensor]:
    torch.manual_seed(6)
    return dict(SoundNet().state_dict())


@pytest.fixture(scope="module")
def hearing(clips: list[Clip], start: dict[str, Tensor], ears: dict[str, Tensor]) -> Hearing:
    model = StreamingTSFPNet(audio=True)
    model.load_state_dict(start, strict=False)
    sound_of(model).soundnet.load_state_dict(ears)
    return hearing_of(model, clips[0], input_size=(64, 96))


def trainer(hearing: Hearing, start: dict[str, Tensor], ears: dict[str, Tensor], folder: Path) -> StreamingTrainer:
    data = TrainingData([], [], [hearing])
    return StreamingTrainer(
        recipe(), data, folder, state=start, soundnet_state=ears, resume=(folder / "last.pt").exists()
    )


def test_a_clip_is_seen_and_heard(hearing: Hearing, clips: list[Clip]) -> None:
    frames = len(clips[0].seconds)
    assert clips[0].sound is not None
    assert hearing.logits.shape == (frames, 1, 16, 24)
    assert hearing.level3.shape == (frames, 112, 4, 6)
    assert hearing.heard.any(1).all()  # the first frame is shown when 1.2 s have sounded
    assert len(hearing.heard.unique(dim=0)) == 3  # instants 0.96, 1.28 and 1.6 s
    assert hearing.counts.flatten(1).any(1).all()


def test_only_the_fusion_learns(
    hearing: Hearing, start: dict[str, Tensor], ears: dict[str, Tensor], tmp_path: Path
) -> None:
    seen: list[Progress] = []
    after = trainer(hearing, start, ears, tmp_path).run(on_step=seen.append)
    assert [(p.stage, p.step, p.steps, p.done) for p in seen] == [("sound", n, 4, n) for n in (1, 2, 3, 4)]
    assert [name for name, tensor in start.items() if not torch.equal(after[name], tensor)] == []
    assert [name for name, tensor in ears.items() if not torch.equal(after[f"sound.soundnet.{name}"], tensor)] == []
    assert after["sound.gain"].abs() > 0
    torch.testing.assert_close(after["sound.mean"], hearing.heard.mean(0))
    assert after["sound.deviation"] != 1


@pytest.mark.parametrize("last", [1, 2, 3])
def test_a_stopped_run_ends_as_one_that_was_not(
    hearing: Hearing, start: dict[str, Tensor], ears: dict[str, Tensor], tmp_path: Path, last: int
) -> None:
    """Stopped after a step that a checkpoint follows (2) and after steps that are lost (1 and 3)."""

    def stop(progress: Progress) -> None:
        if progress.done == last:
            raise StopError

    whole = trainer(hearing, start, ears, tmp_path / "whole").run()
    with pytest.raises(StopError):
        trainer(hearing, start, ears, tmp_path / "part").run(on_step=stop)
    torch.rand(7)
    part = trainer(hearing, start, ears, tmp_path / "part").run()
    assert [name for name in whole if not torch.equal(whole[name], part[name])] == []
    assert (tmp_path / "whole" / "log.csv").read_bytes() == (tmp_path / "part" / "log.csv").read_bytes()


def test_batches_are_of_frames_that_sound_while_somebody_looks(hearing: Hearing) -> None:
    frames = len(hearing.heard)
    heard, counts = hearing.heard.clone(), hearing.counts.clone()
    heard[:4], counts[6:] = 0, 0
    some = Hearing("x", torch.arange(frames)[:, None, None, None].expand(-1, 1, 16, 24).float(), hearing.level3, heard,
                   counts, hearing.target)  # fmt: skip
    batch = hearing_batch([some], np.random.default_rng(0), size=40)
    assert set(batch.logits[:, 0, 0, 0].tolist()) == {4.0, 5.0}
    nothing = Hearing("x", some.logits, some.level3, torch.zeros_like(heard), counts, some.target)
    with pytest.raises(UsageError, match="nothing for \\[sound\\] to learn from"):
        hearing_batch([nothing], np.random.default_rng(0), size=1)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, start: dict[str, Tensor], ears: dict[str, Tensor]) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    header = {"recipe": "the first recipe", "training_data": "osie, photos"}
    save_checkpoint(folder / "deaf.safetensors", start, ModelConfig.embedded(), header)
    safetensors.torch.save_file(ears, folder / "ears.safetensors")
    return folder


def test_from_files_to_a_network_that_hears(gaze: Path, files: Path, tmp_path: Path) -> None:
    init = str(files / "deaf.safetensors")
    path = run_streaming(
        recipe(), gaze=gaze, folder=tmp_path, init=init, soundnet=str(files / "ears.safetensors"), device="cpu"
    )
    model = load_model("tsfp", weights=path)
    assert model.config.audio
    assert model.metadata["sound_study"] == "of no use."
    assert model.metadata["training_data"] == "hevc, osie, photos"
    assert model.metadata["start_recipe"] == "the first recipe"
    assert "deaf.safetensors" in model.metadata["start"]
    assert "ears.safetensors" in model.metadata["start"]
    before, after = read_checkpoint(init).state, read_checkpoint(path).state
    assert [name for name in before if not torch.equal(before[name], after[name])] == []
    # SoundNet is in there: whoever goes on from it needs no other file
    again = run_streaming(recipe(), gaze=gaze, folder=tmp_path / "again", init=str(path), device="cpu")
    assert load_model("tsfp", weights=again).config.audio


def test_what_is_missing_is_said(gaze: Path, files: Path, tmp_path: Path) -> None:
    init, ears = str(files / "deaf.safetensors"), str(files / "ears.safetensors")
    with pytest.raises(UsageError, match="give SoundNet's weights with --soundnet"):
        run_streaming(recipe(), gaze=gaze, folder=tmp_path, init=init, device="cpu")
    deaf = recipe(SILENT)
    with pytest.raises(UsageError, match=r"has no \[sound\]; leave it out"):
        run_streaming(deaf, gaze=gaze, folder=tmp_path, init=init, soundnet=ears, device="cpu")
    with pytest.raises(UsageError, match=r"has no \[stills\]"):
        run_streaming(recipe(), gaze=gaze, folder=tmp_path, soundnet=ears, device="cpu")
    silent = make_gaze(tmp_path / "silent")
    with pytest.raises(UsageError, match="no videos with sound"):
        run_streaming(recipe(), gaze=silent, folder=tmp_path, init=init, soundnet=ears, device="cpu")


def test_a_recipe_with_sound_makes_a_network_with_sound() -> None:
    assert recipe().model_config.audio
    assert not recipe(SILENT).model_config.audio
    with pytest.raises(UsageError, match=r"\[sound\] has a rate that is not above 0"):
        recipe(SOUND.replace("rate = 0.01", "rate = 0.0"))
