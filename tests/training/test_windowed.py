"""Training of networks with a window: it learns, keeps the best, and a stop leaves no trace in the result."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_layouts import make_dhf1k
from tiny_network import Small
from tiny_recipes import windowed
from torch import Tensor, nn

from saliency_cli.datasets import Recording, open_dataset
from saliency_cli.errors import UsageError, WeightsError, WriteError
from saliency_cli.models.registry import build
from saliency_cli.training.board import Board
from saliency_cli.training.frames import FrameStore
from saliency_cli.training.ranks import Ranks
from saliency_cli.training.validation import Scores
from saliency_cli.training.windowed import WindowedTrainer, part_of
from saliency_cli.training.windowed_data import TrainingClips, ValidationClips
from saliency_cli.training.windowed_recipe import WindowedRecipe

TSFP = ("model.architecture=tsfp", "model.clip_length=16", "schedule.length=3", "schedule.checkpoint_every=2")

BIGGER = ("model.clip_length=8", "model.input_size=[32, 64]")  # a portion of one clip has something to average


class StopError(Exception):
    """What stops a run."""


class Data:
    """A tiny set, whose videos are decoded once for all tests."""

    def __init__(self, folder: Path) -> None:
        dataset = open_dataset(make_dhf1k(folder / "set", (1, 2, 3, 601)))
        self.train, self.validation = dataset.part("train"), dataset.part("validation")
        self.store = FrameStore(folder / "cache", (32, 32))

    def trainer(self, recipe: WindowedRecipe, folder: Path, *, validated: bool = True, **given: Any) -> WindowedTrainer:
        torch.manual_seed(recipe.seed)
        held_out: tuple[Recording, ...] = self.validation
        return WindowedTrainer(
            recipe,
            build(recipe.model),
            TrainingClips(self.train, self.store, recipe),
            ValidationClips(held_out, self.store, recipe, at_once=5) if validated else None,
            folder,
            **given,
        )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    return Data(tmp_path_factory.mktemp("windowed"))


@pytest.fixture(scope="module", params=[(), TSFP], ids=["tased", "tsfp"])
def uninterrupted(
    request: pytest.FixtureRequest, data: Data, tmp_path_factory: pytest.TempPathFactory
) -> tuple[WindowedRecipe, Path, dict[str, Tensor]]:
    recipe, folder = windowed(*request.param), tmp_path_factory.mktemp("whole") / "deep" / "run"
    trainer = data.trainer(recipe, folder)
    trainer.run()
    return recipe, folder, dict(trainer.module.state_dict())


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def copy_of(trainer: WindowedTrainer) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in trainer.module.state_dict().items()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "below"),
    [
        (("optimiser.rate=3e-3", "schedule.at_once=4", "schedule.length=18"), 1.2),
        ((*TSFP, "optimiser.rate=1e-4", "schedule.batch=2", "schedule.length=12"), 2.2),
    ],
    ids=["tased", "tsfp"],
)
def test_it_learns(data: Data, tmp_path: Path, changes: tuple[str, ...], below: float) -> None:
    """One video by heart, to a loss well below an even map's, whose KL is 2.9 and whose CC and NSS are 0."""
    recipe = windowed(*changes, "data.flip=false", "schedule.falls_at=[]")
    trainer = data.trainer(recipe, tmp_path, validated=False)
    trainer.training.recordings = data.train[:1]
    trainer.run()
    losses = [float(row["loss"]) for row in rows(tmp_path / "log.csv")]
    assert losses[0] > 2.7
    assert np.median(losses[-5:]) < below


def test_what_a_run_leaves(uninterrupted: tuple[WindowedRecipe, Path, dict[str, Tensor]]) -> None:
    recipe, folder, state = uninterrupted
    assert all(tensor.isfinite().all() for tensor in state.values())
    steps = recipe.schedule.length
    logged = rows(folder / "log.csv")
    assert [int(row["step"]) for row in logged] == list(range(1, steps + 1))
    assert [float(row["rate"]) for row in logged] == pytest.approx([1e-3] * 3 + [1e-4] * (steps - 3))
    scored = rows(folder / "validation.csv")
    assert [int(row["step"]) for row in scored] == sorted({3, steps})
    assert {row["frames"] for row in scored} == {"5"}
    assert scored[0]["best"] == "yes"
    saved = torch.load(folder / "last.pt", weights_only=True)
    assert (saved["step"], saved["recipe"]) == (steps, recipe.text)
    assert saved["best"][0] == pytest.approx(max(float(row["nss"]) for row in scored), abs=1e-4)
    assert sorted(path.name for path in folder.iterdir()) == ["last.pt", "log.csv", "validation.csv"]


def test_a_stopped_run_ends_as_one_that_was_not(
    data: Data, uninterrupted: tuple[WindowedRecipe, Path, dict[str, Tensor]], tmp_path: Path
) -> None:
    """TASED-Net is stopped a step after a checkpoint, and makes that step again; TSFP-Net right after one."""
    recipe, folder, state = uninterrupted
    last, kept = (4, 3) if recipe.model.architecture == "tased" else (2, 2)

    def stop(done: int, total: int) -> None:
        if done == last:
            raise StopError

    with pytest.raises(StopError):
        data.trainer(recipe, tmp_path).run(on_step=stop)
    assert len(rows(tmp_path / "log.csv")) == last
    torch.rand(7)  # what else happens to torch's generator must not matter
    resumed = data.trainer(recipe, tmp_path, resume=True)
    assert resumed.step == kept
    resumed.run()
    assert_same(dict(resumed.module.state_dict()), state)
    for name in ("log.csv", "validation.csv"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_nothing_to_resume_is_a_beginning(data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "build", lambda config: Small())
    assert data.trainer(windowed(), tmp_path, resume=True).step == 0
    assert list(tmp_path.iterdir()) == []


def test_a_finished_run_resumed_is_finished(
    data: Data, uninterrupted: tuple[WindowedRecipe, Path, dict[str, Tensor]]
) -> None:
    recipe, folder, state = uninterrupted
    before = (folder / "log.csv").read_bytes()
    trainer = data.trainer(recipe, folder, resume=True)
    assert trainer.finished()
    trainer.run(on_step=lambda done, total: pytest.fail("a step was made"))
    assert_same(dict(trainer.module.state_dict()), state)
    assert (folder / "log.csv").read_bytes() == before
    with pytest.raises(UsageError, match="go on with --resume"):
        data.trainer(recipe, folder)
    with pytest.raises(WeightsError, match="belongs to another recipe"):
        data.trainer(replace(recipe, text="another"), folder, resume=True)
    with pytest.raises(WeightsError, match="belongs to a run on other data"):
        data.trainer(recipe, folder, resume=True, data_name="others")


def keep_still(module: nn.Module) -> None:
    """In evaluation mode, whatever the loop says: batch norms take their running statistics."""
    module.eval()
    module.train = lambda mode=True: module  # type: ignore[method-assign]


def test_portions_add_up_to_a_batch(data: Data, tmp_path: Path) -> None:
    """Where batch norms keep still, two portions of two are one of four."""
    frozen = ("optimiser.encoder_rate=0", "model.upsampling=trilinear", "optimiser.kind=sgd", "schedule.length=1")
    trainers = {}
    for at_once in (2, 4):
        trainer = data.trainer(windowed(*frozen, f"schedule.at_once={at_once}"), tmp_path / f"{at_once}")
        keep_still(trainer.module)
        trainer.run()
        trainers[at_once] = copy_of(trainer)
    for name, tensor in trainers[2].items():
        torch.testing.assert_close(tensor, trainers[4][name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("frozen", "moving"), [("encoder", "decoder"), ("decoder", "encoder")])
def test_frozen_parts_stay_as_they_are(data: Data, tmp_path: Path, frozen: str, moving: str) -> None:
    """Statistics of their batch norms included."""
    rates = {"encoder": ("optimiser.encoder_rate=0",), "decoder": ("optimiser.rate=0", "optimiser.encoder_rate=1e-3")}
    trainer = data.trainer(windowed(*rates[frozen], "schedule.length=1"), tmp_path, validated=False)
    before = copy_of(trainer)
    trainer.run()
    changed = {part_of(name) for name, tensor in copy_of(trainer).items() if not torch.equal(tensor, before[name])}
    assert changed == {moving}


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("base1.0.conv_s.weight", "encoder"),
        ("encoder.base4.1.branch0.0.conv.weight", "encoder"),
        ("convtsp4.1.bias", "decoder"),
        ("upsample1.layers.0.weight", "decoder"),
        ("head.weight", "decoder"),
        ("attention.bilinear.weight", "decoder"),
        ("soundnet.conv1.weight", "sound"),
    ],
)
def test_parts(name: str, part: str) -> None:
    assert part_of(name) == part


class Scripted:
    """Gives scores that were written before."""

    def __init__(self, scores: list[float]) -> None:
        self.scores = iter(scores)

    def __call__(self, *_: object) -> Scores:
        return Scores(1.0, next(self.scores), 5)


def test_the_best_is_kept_and_patience_ends(data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = windowed("schedule.validate_every=1", "schedule.length=9", "schedule.patience=2")
    monkeypatch.setitem(globals(), "build", lambda config: Small())
    monkeypatch.setattr("saliency_cli.training.windowed.validate", Scripted([1.0, 3.0, 2.0, 2.5, 9.0]))
    kept: list[tuple[int, float, Tensor]] = []

    def keep(state: dict[str, Tensor], scores: Scores, step: int) -> None:
        kept.append((step, scores.nss, state["convtsp1.weight"].clone()))

    trainer = data.trainer(recipe, tmp_path)
    trainer.run(on_best=keep)
    assert [(step, nss) for step, nss, _ in kept] == [(1, 1.0), (2, 3.0)]
    assert not torch.equal(kept[0][2], kept[1][2])
    assert (trainer.step, trainer.best, trainer.best_step) == (4, 3.0, 2)
    assert [row["best"] for row in rows(tmp_path / "validation.csv")] == ["yes", "yes", "no", "no"]
    assert data.trainer(recipe, tmp_path, resume=True).finished()


def test_a_limit_to_the_gradient(data: Data, tmp_path: Path) -> None:
    recipe = windowed("optimiser.kind=sgd", "optimiser.rate=1.0", "optimiser.gradient_limit=0.01", "schedule.length=1")
    trainer = data.trainer(recipe, tmp_path, validated=False)
    before = {name: parameter.detach().clone() for name, parameter in trainer.module.named_parameters()}
    trainer.run()
    moved = sum(float((p - before[name]).detach().square().sum()) for name, p in trainer.module.named_parameters())
    assert moved**0.5 == pytest.approx(0.01, rel=1e-2)


def test_mixed_precision(data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The network computes in bfloat16; its weights and the loss stay in float32."""
    monkeypatch.setitem(globals(), "build", lambda config: Small())
    trainer = data.trainer(windowed("schedule.length=2"), tmp_path, autocast=torch.bfloat16)
    dtypes: set[torch.dtype] = set()
    trainer.module.register_forward_hook(lambda module, inputs, output: dtypes.add(output.dtype))
    trainer.run()
    assert dtypes == {torch.bfloat16}
    assert all(tensor.isfinite().all() for tensor in trainer.module.state_dict().values())
    assert {tensor.dtype for tensor in trainer.module.state_dict().values()} == {torch.float32}
    assert [float(row["loss"]) for row in rows(tmp_path / "log.csv")] == pytest.approx([2.9, 2.9], abs=0.5)


def test_clips_that_nobody_looked_at_weigh_nothing(data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever portion they are in: one of four clips is such, and portions of two are still one of four."""
    monkeypatch.setitem(globals(), "build", lambda config: Small())
    ends, losses = [], []
    for at_once in (1, 2, 4):
        folder = tmp_path / f"{at_once}"
        recipe = windowed("schedule.length=1", "optimiser.kind=sgd", f"schedule.at_once={at_once}", *BIGGER)
        trainer = data.trainer(recipe, folder, validated=False)
        whole, clip = trainer.training, trainer.training._clip

        def unseen(number: int, clip: Callable[[int], Any] = clip) -> Any:
            found = clip(number)
            return replace(found, fixated=0 * found.fixated, target=0 * found.target) if number == 1 else found

        monkeypatch.setattr(whole, "_clip", unseen)
        trainer.run()
        ends.append(copy_of(trainer))
        losses.append(float(rows(folder / "log.csv")[0]["loss"]))
    for end in ends[1:]:
        for name, tensor in ends[0].items():
            torch.testing.assert_close(end[name], tensor, rtol=1e-5, atol=1e-7)
    assert losses == pytest.approx([losses[0]] * 3, abs=2e-5)
    assert losses[0] > 2


def test_an_even_map_counts_as_zero(data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "build", lambda config: Small())
    trainer = data.trainer(windowed("schedule.length=1"), tmp_path)
    torch.nn.init.zeros_(trainer.module.get_submodule("convtsp1").weight)  # type: ignore[arg-type]
    trainer._optimiser.param_groups[0]["params"].pop(0)  # the slope stays 0
    trainer.run()
    (scored,) = rows(tmp_path / "validation.csv")
    assert (float(scored["nss"]), scored["frames"]) == (0, "5")


def test_a_clip_too_small_to_be_alone(data: Data, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"schedule\.at_once = 1 leaves batch norms one value"):
        data.trainer(windowed("schedule.at_once=1"), tmp_path)


def test_processes_that_find_different_checkpoints(data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "build", lambda config: Small())
    monkeypatch.setattr(Ranks, "agree", lambda self, value, device: False)
    with pytest.raises(UsageError, match="one folder, shared by all machines"):
        data.trainer(windowed(), tmp_path, ranks=Ranks(0, 2))


def test_scaled_gradients_go_on_as_they_were(data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In float16 the scale is halved after a step whose gradients were not finite; a resumed run knows it."""
    monkeypatch.setitem(globals(), "build", lambda config: Small())
    recipe = windowed("schedule.length=4", "schedule.checkpoint_every=1")

    def stop(done: int, total: int) -> None:
        if done == 2:
            raise StopError

    first = data.trainer(recipe, tmp_path, autocast=torch.float16, validated=False)
    with pytest.raises(StopError):
        first.run(on_step=stop)
    state = torch.load(tmp_path / "last.pt", weights_only=True)["scaler"]
    assert state["scale"] == first._scaler.get_scale()
    assert state["_growth_tracker"] + 16 - np.log2(state["scale"]) == 2  # each of two steps grew or halved
    resumed = data.trainer(recipe, tmp_path, autocast=torch.float16, validated=False, resume=True)
    assert resumed._scaler.state_dict() == state
    resumed.run()
    whole = data.trainer(recipe, tmp_path / "whole", autocast=torch.float16, validated=False)
    whole.run()
    assert_same(copy_of(resumed), copy_of(whole))


def test_curves(data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points: list[tuple[str, int]] = []

    @contextmanager
    def opened(folder: Path | None, *, step: int) -> Iterator[Board]:
        assert (folder, step) == (tmp_path / "curves", 0)
        yield lambda curve, value, step: points.append((curve, step))

    monkeypatch.setattr("saliency_cli.training.windowed.open_board", opened)
    monkeypatch.setitem(globals(), "build", lambda config: Small())
    data.trainer(windowed("schedule.length=2"), tmp_path, board=tmp_path / "curves").run()
    each = [(curve, step) for step in (1, 2) for curve in ("loss", "rate")]
    assert points == [*each, ("validation/loss", 2), ("validation/nss", 2)]


def test_a_loss_that_explodes_is_said(data: Data, tmp_path: Path) -> None:
    recipe = windowed("schedule.length=6", "schedule.batch=2", "schedule.validate_every=9")
    trainer = data.trainer(recipe, tmp_path, validated=False)
    with torch.no_grad():
        next(trainer.module.parameters()).fill_(float("nan"))
    with pytest.raises(UsageError, match=r"the loss of step 1 is nan: lower the rates with --set optimiser\.rate"):
        trainer.run()
    assert not (tmp_path / "last.pt").exists()
    trainer = data.trainer(recipe, tmp_path)
    with torch.no_grad():
        trainer.module.get_submodule("convtsp4")[-2].bias.fill_(float("nan"))  # type: ignore[index,union-attr,operator]
    from saliency_cli.training.validation import validate

    assert trainer.validation is not None
    with pytest.raises(UsageError, match="maps are no longer finite"):
        validate(trainer.module, trainer.validation, recipe, torch.device("cpu"), None, Ranks())


def test_processes_that_cannot_share_a_batch(data: Data, tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"3 processes cannot share 2 portions a step evenly: change schedule\.at_once"
    ):
        data.trainer(windowed(), tmp_path, ranks=Ranks(0, 3))


def test_a_folder_that_is_none(data: Data, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match=r"log\.csv cannot be written"):
        data.trainer(windowed(), tmp_path / "file" / "run").run()
