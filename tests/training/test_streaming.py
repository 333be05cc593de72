"""The loop: it learns, and a stop leaves no trace in the result."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_gaze import make_gaze
from tiny_recipes import STREAMING, streaming
from torch import Tensor

from saliency_cli.errors import UsageError, WeightsError, WriteError
from saliency_cli.metrics import GazeTable
from saliency_cli.models.streaming import StreamingTSFPNet
from saliency_cli.training.streaming import Progress, StreamingTrainer, TrainingData
from saliency_cli.training.streaming_data import Still, load_clips, load_stills
from saliency_cli.training.streaming_recipe import StreamingRecipe


class StopError(Exception):
    """What stops a run."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    gaze = GazeTable.load(make_gaze(tmp_path_factory.mktemp("gaze") / "gaze"))
    return TrainingData(load_stills(gaze, validation=False), load_clips(gaze, validation=False))


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


def test_it_learns(data: TrainingData, tmp_path: Path) -> None:
    text = STREAMING.partition("[[stages]]")[0] + "\n".join(
        ["[[stages]]", 'name = "stills"', 'materials = ["stills"]', "steps = 30", "batch = 4", "temporal_rate = 0"]
    )
    losses: list[float] = []
    StreamingTrainer(streaming(text), data, tmp_path).run(on_step=lambda progress: losses.append(progress.loss))
    assert len(losses) == 30
    assert sum(losses[-5:]) / 5 < sum(losses[:5]) / 5 - 0.5


def test_the_average_follows_the_weights_and_all_stages_run(
    uninterrupted: tuple[Path, dict[str, Tensor]], data: TrainingData
) -> None:
    folder, state = uninterrupted
    StreamingTSFPNet().load_state_dict(state)
    assert all(tensor.isfinite().all() for tensor in state.values())
    saved = torch.load(folder / "last.pt", weights_only=True)
    assert (saved["stage"], saved["step"], saved["recipe"]) == (1, 3, STREAMING)
    assert_same(saved["average"], state)
    assert any(not torch.equal(saved["model"][name], state[name]) for name in state)
    logged = rows(folder)
    assert [(row["stage"], row["step"]) for row in logged] == [
        (stage, str(step)) for stage in ("stills", "videos") for step in (1, 2, 3)
    ]
    assert all(float(row["rate"]) > 0 for row in logged)
    assert not (folder / "last.pt.part").exists()


def test_a_blend_keeps_part_of_the_stage_before(
    uninterrupted: tuple[Path, dict[str, Tensor]], data: TrainingData, tmp_path: Path
) -> None:
    first = STREAMING[: STREAMING.rindex("[[stages]]")]
    before = StreamingTrainer(streaming(first), data, tmp_path / "first").run()
    after = StreamingTrainer(streaming(STREAMING.replace("blend = 0.25", "")), data, tmp_path / "whole").run()
    moved = 0
    for name, tensor in uninterrupted[1].items():
        if name.startswith(("temporal.", "motion")) or not tensor.is_floating_point():
            assert torch.equal(tensor, after[name]), name
        else:
            assert torch.allclose(tensor, before[name] + 0.25 * (after[name] - before[name]), atol=1e-6), name
            moved += not torch.equal(before[name], after[name])
    assert moved > 10


def test_progress(data: TrainingData, recipe: StreamingRecipe, tmp_path: Path) -> None:
    seen: list[Progress] = []
    StreamingTrainer(recipe, data, tmp_path).run(on_step=seen.append)
    assert [(p.stage, p.step, p.steps, p.done) for p in seen] == [
        (stage, step, 3, before + step) for stage, before in (("stills", 0), ("videos", 3)) for step in (1, 2, 3)
    ]


@pytest.mark.parametrize("last", [1, 2, 3, 4, 5])
def test_a_stopped_run_ends_as_one_that_was_not(
    uninterrupted: tuple[Path, dict[str, Tensor]],
    data: TrainingData,
    recipe: StreamingRecipe,
    tmp_path: Path,
    last: int,
) -> None:
    """Stopped after steps that a checkpoint follows (2, 3 and 5) and after steps that are lost (1 and 4)."""

    def stop(progress: Progress) -> None:
        if progress.done == last:
            raise StopError

    with pytest.raises(StopError):
        StreamingTrainer(recipe, data, tmp_path).run(on_step=stop)
    assert len(rows(tmp_path)) == last
    torch.rand(7)  # what else happens to torch's generator must not matter
    assert_same(StreamingTrainer(recipe, data, tmp_path, resume=True).run(), uninterrupted[1])
    assert (tmp_path / "log.csv").read_bytes() == (uninterrupted[0] / "log.csv").read_bytes()


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


def test_frozen_parts_stay_as_they_are(data: TrainingData, recipe: StreamingRecipe, tmp_path: Path) -> None:
    """Statistics of their batch norms included."""
    frozen = replace(recipe, stages=(replace(recipe.stages[1], pyramid_rate=0.0),))
    trainer = StreamingTrainer(frozen, data, tmp_path)
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    after = trainer.run()
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert changed <= {"temporal", "motion", "motion_mix", "motion_head"}


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


def test_material_that_nobody_looked_at_does_no_harm(
    data: TrainingData, recipe: StreamingRecipe, tmp_path: Path
) -> None:
    outside = [Still(still.name, still.pixels, still.points + 2) for still in data.stills]
    losses: list[float] = []
    short = replace(recipe, stages=recipe.stages[:1])
    state = StreamingTrainer(short, TrainingData(outside, []), tmp_path).run(on_step=lambda p: losses.append(p.loss))
    assert losses == [0, 0, 0]
    assert all(tensor.isfinite().all() for tensor in state.values())


def test_mixed_precision(data: TrainingData, recipe: StreamingRecipe, tmp_path: Path) -> None:
    losses: list[float] = []
    state = StreamingTrainer(recipe, data, tmp_path, autocast=torch.bfloat16).run(
        on_step=lambda p: losses.append(p.loss)
    )
    assert all(tensor.isfinite().all() for tensor in state.values())
    assert all(loss == loss for loss in losses)
    assert all(tensor.dtype in (torch.float32, torch.int64) for tensor in state.values())
