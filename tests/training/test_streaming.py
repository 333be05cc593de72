"""The loop of the embedded model: it learns, and a stop leaves no trace in the result."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_gaze import make_gaze
from tiny_recipes import STREAMING, streaming
from torch import Tensor

from saliency_cli.errors import UsageError, WeightsError, WriteError
from saliency_cli.metrics import GazeTable, is_validation
from saliency_cli.models.efficientnet import MEAN, STD
from saliency_cli.models.streaming import StreamingTSFPNet, coarsened, input_size_for
from saliency_cli.training.losses import LossWeights
from saliency_cli.training.streaming import Progress, StreamingTrainer, TrainingData
from saliency_cli.training.streaming_data import Still, load_clips, load_stills
from saliency_cli.training.streaming_recipe import StreamingRecipe


class StopError(Exception):
    """What stops a run."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    gaze = GazeTable.load(make_gaze(tmp_path_factory.mktemp("gaze") / "gaze"))
    learnt = [item for item in gaze.items() if not is_validation(item)]
    return TrainingData(load_stills(gaze, learnt), load_clips(gaze, learnt))


@pytest.fixture
def recipe() -> StreamingRecipe:
    return streaming()


@pytest.fixture(scope="module")
def uninterrupted(data: TrainingData, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Tensor]]:
    folder = tmp_path_factory.mktemp("whole") / "deep" / "run"
    return folder, StreamingTrainer(streaming(), data, folder).run()


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def photographs(data: TrainingData, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    """What the first stage leaves behind."""
    return StreamingTrainer(replace(streaming(), videos=None), data, tmp_path_factory.mktemp("stills")).run()


def part_of(name: str) -> str:
    return name.split(".")[0] if name.startswith(("encoder.", "motion.")) else "pyramid"


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    assert before.keys() == after.keys()
    return {part_of(name) for name in before if not torch.equal(before[name], after[name])}


def test_it_learns_from_photographs(data: TrainingData, recipe: StreamingRecipe, tmp_path: Path) -> None:
    assert recipe.stills is not None
    longer = replace(recipe, stills=replace(recipe.stills, steps=30, batch=4, checkpoint_every=99), videos=None)
    losses: list[float] = []
    StreamingTrainer(longer, data, tmp_path).run(on_step=lambda progress: losses.append(progress.loss))
    assert len(losses) == 30
    assert sum(losses[-5:]) / 5 < sum(losses[:5]) / 5 - 0.5


def test_it_learns_from_videos(
    data: TrainingData, recipe: StreamingRecipe, photographs: dict[str, Tensor], tmp_path: Path
) -> None:
    assert recipe.videos is not None
    longer = replace(recipe, stills=None, videos=replace(recipe.videos, steps=60, batch=8, checkpoint_every=99))
    losses: list[float] = []
    trainer = StreamingTrainer(longer, data, tmp_path, state=photographs)
    trainer.run(on_step=lambda progress: losses.append(progress.loss))
    assert sum(losses[-10:]) / 10 < sum(losses[:5]) / 5 - 0.3


def test_the_average_follows_the_weights_and_all_stages_run(uninterrupted: tuple[Path, dict[str, Tensor]]) -> None:
    folder, state = uninterrupted
    StreamingTSFPNet().load_state_dict(state)
    assert all(tensor.isfinite().all() for tensor in state.values())
    saved = torch.load(folder / "last.pt", weights_only=True)
    assert (saved["stages"], saved["stage"], saved["step"], saved["recipe"]) == (2, 1, 3, STREAMING)
    assert_same(saved["average"], state)
    assert changed(saved["model"], state) == {"motion"}
    logged = rows(folder)
    assert [(row["stage"], row["step"]) for row in logged] == [
        (stage, str(step)) for stage in ("stills", "videos") for step in (1, 2, 3)
    ]
    assert all(float(row["rate"]) > 0 for row in logged)
    assert not (folder / "last.pt.part").exists()


def test_each_stage_trains_its_parts_and_no_others(
    data: TrainingData,
    recipe: StreamingRecipe,
    uninterrupted: tuple[Path, dict[str, Tensor]],
    photographs: dict[str, Tensor],
    tmp_path: Path,
) -> None:
    """What is frozen stays to the last bit, statistics of batch norms included."""
    first = dict(StreamingTrainer(recipe, data, tmp_path).model.state_dict())
    assert changed(first, photographs) == {"encoder", "pyramid"}
    statistics = [name for name in first if name.endswith("running_mean")]
    assert not any(torch.equal(first[name], photographs[name]) for name in statistics)
    assert changed(photographs, uninterrupted[1]) == {"motion"}


def test_the_second_stage_alone_ends_as_in_the_whole_run(
    data: TrainingData,
    recipe: StreamingRecipe,
    uninterrupted: tuple[Path, dict[str, Tensor]],
    photographs: dict[str, Tensor],
    tmp_path: Path,
) -> None:
    """As with --init; the motion branch that is handed over, or none, does not matter, nor what torch did before."""
    torch.rand(11)
    other = {name: tensor + 1 if name.startswith("motion.") else tensor for name, tensor in photographs.items()}
    without = {name: tensor for name, tensor in photographs.items() if not name.startswith("motion.")}
    for number, state in enumerate((photographs, other, without)):
        folder = tmp_path / str(number)
        assert_same(StreamingTrainer(replace(recipe, stills=None), data, folder, state=state).run(), uninterrupted[1])
        assert [(row["stage"], row["loss"]) for row in rows(folder)] == [
            ("videos", row["loss"]) for row in rows(uninterrupted[0])[3:]
        ]


def test_progress(uninterrupted: tuple[Path, dict[str, Tensor]], data: TrainingData, tmp_path: Path) -> None:
    seen: list[Progress] = []
    StreamingTrainer(streaming(), data, tmp_path).run(on_step=seen.append)
    assert [(p.stage, p.step, p.steps, p.done) for p in seen] == [
        (stage, step, 3, before + step) for stage, before in (("stills", 0), ("videos", 3)) for step in (1, 2, 3)
    ]
    assert [f"{p.loss:.5f}" for p in seen] == [row["loss"] for row in rows(uninterrupted[0])]


@pytest.mark.parametrize("last", [1, 2, 3, 4, 5])
def test_a_stopped_run_ends_as_one_that_was_not(
    uninterrupted: tuple[Path, dict[str, Tensor]],
    data: TrainingData,
    recipe: StreamingRecipe,
    tmp_path: Path,
    last: int,
) -> None:
    """Stopped after steps that a checkpoint follows (2, 3 and 5; 3 ends a stage) and steps that are lost (1 and 4)."""
    stop_after(last, StreamingTrainer(recipe, data, tmp_path))
    assert len(rows(tmp_path)) == last
    torch.rand(7)  # what else happens to torch's generator must not matter
    resumed = StreamingTrainer(recipe, data, tmp_path, resume=True)
    assert resumed.done == {1: 0, 2: 2, 3: 3, 4: 3, 5: 5}[last]
    assert_same(resumed.run(), uninterrupted[1])
    assert (tmp_path / "log.csv").read_bytes() == (uninterrupted[0] / "log.csv").read_bytes()


@pytest.mark.parametrize("last", [1, 2])
def test_a_stopped_run_that_began_elsewhere_ends_as_one_that_was_not(
    uninterrupted: tuple[Path, dict[str, Tensor]],
    data: TrainingData,
    recipe: StreamingRecipe,
    photographs: dict[str, Tensor],
    tmp_path: Path,
    last: int,
) -> None:
    """What it began with need not be there any more; with one that was not stopped it shares its log, too."""
    short = replace(recipe, stills=None)
    stop_after(last, StreamingTrainer(short, data, tmp_path / "stopped", state=photographs))
    resumed = StreamingTrainer(short, data, tmp_path / "stopped", resume=True, state=photographs if last == 1 else None)
    assert_same(resumed.run(), uninterrupted[1])
    StreamingTrainer(short, data, tmp_path / "whole", state=photographs).run()
    assert (tmp_path / "stopped" / "log.csv").read_bytes() == (tmp_path / "whole" / "log.csv").read_bytes()


def stop_after(last: int, trainer: StreamingTrainer) -> None:
    def stop(progress: Progress) -> None:
        if progress.done == last:
            raise StopError

    with pytest.raises(StopError):
        trainer.run(on_step=stop)


def test_a_run_that_began_elsewhere_is_not_resumed_as_one_that_did_not(
    uninterrupted: tuple[Path, dict[str, Tensor]],
    data: TrainingData,
    recipe: StreamingRecipe,
    photographs: dict[str, Tensor],
    tmp_path: Path,
) -> None:
    short = replace(recipe, stills=None)
    with pytest.raises(WeightsError, match=r"last\.pt began elsewhere: resume with the same --init"):
        StreamingTrainer(short, data, uninterrupted[0], state=photographs, resume=True)
    stop_after(2, StreamingTrainer(short, data, tmp_path, state=photographs))
    with pytest.raises(WeightsError, match="began elsewhere"):
        StreamingTrainer(recipe, data, tmp_path, resume=True)


def test_a_finished_run_resumed_is_finished(
    uninterrupted: tuple[Path, dict[str, Tensor]], data: TrainingData, recipe: StreamingRecipe
) -> None:
    folder, state = uninterrupted
    before = (folder / "log.csv").read_bytes()
    assert_same(StreamingTrainer(recipe, data, folder, resume=True).run(), state)
    assert (folder / "log.csv").read_bytes() == before


def test_nothing_to_resume_is_a_beginning(data: TrainingData, recipe: StreamingRecipe, tmp_path: Path) -> None:
    StreamingTrainer(recipe, data, tmp_path, resume=True)
    assert list(tmp_path.iterdir()) == []


def test_the_encoder_starts_from_what_is_given(data: TrainingData, recipe: StreamingRecipe, tmp_path: Path) -> None:
    state = StreamingTSFPNet().encoder.state_dict()
    trainer = StreamingTrainer(recipe, data, tmp_path, encoder_state=state)
    assert_same(dict(trainer.model.encoder.state_dict()), dict(state))
    state.pop("stem.1.weight")
    with pytest.raises(WeightsError, match=r"1 missing \(stem\.1\.weight\)"):
        StreamingTrainer(recipe, data, tmp_path, encoder_state=state)


def test_the_seed_decides_the_first_weights(data: TrainingData, recipe: StreamingRecipe, tmp_path: Path) -> None:
    one, same, other = (
        dict(StreamingTrainer(replace(recipe, seed=seed), data, tmp_path).model.state_dict()) for seed in (1, 1, 2)
    )
    assert_same(one, same)
    assert not torch.equal(one["mix.0.weight"], other["mix.0.weight"])


def test_an_earlier_run_is_not_overwritten(
    uninterrupted: tuple[Path, dict[str, Tensor]], data: TrainingData, recipe: StreamingRecipe
) -> None:
    with pytest.raises(UsageError, match=r"last\.pt is there already; go on with --resume"):
        StreamingTrainer(recipe, data, uninterrupted[0])


def test_another_recipes_run_is_refused(
    uninterrupted: tuple[Path, dict[str, Tensor]], data: TrainingData, recipe: StreamingRecipe
) -> None:
    with pytest.raises(WeightsError, match="belongs to another recipe"):
        StreamingTrainer(replace(recipe, text=STREAMING + "# changed"), data, uninterrupted[0], resume=True)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 half an archive"])
def test_a_damaged_checkpoint_is_said_to_be_one(
    data: TrainingData, recipe: StreamingRecipe, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "last.pt").write_bytes(content)
    with pytest.raises(WeightsError, match=re.escape(str(tmp_path / "last.pt")) + ": the checkpoint is damaged"):
        StreamingTrainer(recipe, data, tmp_path, resume=True)


def test_something_else_under_the_checkpoints_name(data: TrainingData, recipe: StreamingRecipe, tmp_path: Path) -> None:
    torch.save(torch.zeros(3), tmp_path / "last.pt")
    with pytest.raises(WeightsError, match="belongs to another recipe"):
        StreamingTrainer(recipe, data, tmp_path, resume=True)


def test_a_folder_that_is_none(data: TrainingData, recipe: StreamingRecipe, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match=r"log\.csv cannot be written"):
        StreamingTrainer(recipe, data, tmp_path / "file" / "run").run()


def test_a_checkpoint_that_cannot_be_written(
    data: TrainingData, recipe: StreamingRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(state: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(WriteError, match="make room and resume"):
        StreamingTrainer(recipe, data, tmp_path).run()
    assert [path.name for path in tmp_path.iterdir()] == ["log.csv"]


def test_what_the_network_starts_from_must_fit(
    data: TrainingData, recipe: StreamingRecipe, photographs: dict[str, Tensor], tmp_path: Path
) -> None:
    """The embedded networks of before had other parts."""
    short = replace(recipe, stills=None)
    with pytest.raises(WeightsError, match=r"temporal\.0\.weight"):
        StreamingTrainer(short, data, tmp_path, state={**photographs, "temporal.0.weight": torch.zeros(1)})
    lacking = {name: tensor for name, tensor in photographs.items() if name != "prior"}
    with pytest.raises(WeightsError, match="prior"):
        StreamingTrainer(short, data, tmp_path, state=lacking)


def test_scales_are_drawn_for_each_batch(
    data: TrainingData, recipe: StreamingRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert recipe.stills is not None
    sizes: list[tuple[int, ...]] = []
    forward = StreamingTSFPNet.forward

    def spy(self: StreamingTSFPNet, frames: Tensor, *args: Tensor) -> object:
        sizes.append(tuple(frames.shape))
        return forward(self, frames, *args)

    monkeypatch.setattr(StreamingTSFPNet, "forward", spy)
    scaled = replace(recipe, stills=replace(recipe.stills, steps=8, scales=(1.0, 1.5)), videos=None)
    StreamingTrainer(scaled, data, tmp_path).run()
    larger = input_size_for(96, 64, budget=(96, 144))
    assert larger > (64, 96)
    assert set(sizes) == {(2, 1, 3, 64, 96), (2, 1, 3, *larger)}


def test_photographs_that_nobody_looked_at_do_no_harm(
    data: TrainingData, recipe: StreamingRecipe, tmp_path: Path
) -> None:
    outside = [Still(still.name, still.pixels, still.points + 2) for still in data.stills]
    losses: list[float] = []
    short = replace(recipe, videos=None)
    state = StreamingTrainer(short, TrainingData(outside, []), tmp_path).run(on_step=lambda p: losses.append(p.loss))
    assert losses == [0, 0, 0]
    assert all(tensor.isfinite().all() for tensor in state.values())


def test_videos_that_nobody_looked_at_are_said_to_be_such(
    data: TrainingData, recipe: StreamingRecipe, photographs: dict[str, Tensor], tmp_path: Path
) -> None:
    (clip,) = data.clips
    early = replace(clip, seconds=clip.seconds - 1000)
    trainer = StreamingTrainer(replace(recipe, stills=None), TrainingData([], [early]), tmp_path, state=photographs)
    with pytest.raises(UsageError, match="nobody looks at any video while it is shown"):
        trainer.run()


def test_each_stage_has_its_own_loss(
    data: TrainingData, recipe: StreamingRecipe, photographs: dict[str, Tensor], tmp_path: Path
) -> None:
    """With KL alone the first step's loss, of a branch that changes nothing yet, is the photographs' map's."""
    assert recipe.videos is not None
    losses = {}
    for name, weights in {"kl": LossWeights(1, 0, 0), "cc": LossWeights(0, 1, 0), "both": LossWeights(1, 1, 0)}.items():
        seen: list[float] = []
        one = replace(recipe, stills=None, videos=replace(recipe.videos, steps=1, loss=weights))
        trainer = StreamingTrainer(one, data, tmp_path / name, state=photographs)
        trainer.run(on_step=lambda p, seen=seen: seen.append(p.loss))  # type: ignore[misc]
        (losses[name],) = seen
    assert losses["kl"] > 0
    assert losses["cc"] == pytest.approx(losses["both"] - losses["kl"], abs=1e-4)
    assert losses["cc"] != 0


def test_the_branch_learns_from_what_the_predictor_shows_it(
    data: TrainingData, recipe: StreamingRecipe, photographs: dict[str, Tensor], tmp_path: Path
) -> None:
    """Frames of a clip, seen as photographs at the size of videos, in evaluation mode."""
    trainer = StreamingTrainer(replace(recipe, stills=None), data, tmp_path, state=photographs)
    trainer.run()
    (glances,) = trainer._glances
    (clip,) = data.clips
    network = StreamingTSFPNet().eval()
    network.load_state_dict(photographs)
    pictures = np.stack(clip.frames)  # of the network's size as they are
    seen = (torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255 - MEAN) / STD
    with torch.no_grad():
        mixed, logits = network.looked_at(seen)
    torch.testing.assert_close(glances.logits, logits, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(glances.features, coarsened(mixed).half(), rtol=1e-2, atol=1e-3)


def test_mixed_precision(data: TrainingData, recipe: StreamingRecipe, tmp_path: Path) -> None:
    losses: list[float] = []
    state = StreamingTrainer(recipe, data, tmp_path, autocast=torch.bfloat16).run(
        on_step=lambda p: losses.append(p.loss)
    )
    assert all(tensor.isfinite().all() for tensor in state.values())
    assert all(loss == loss for loss in losses)
    assert all(tensor.dtype in (torch.float32, torch.int64) for tensor in state.values())
