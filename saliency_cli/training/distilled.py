"""Training of TSFP-Net or TASED-Net from a teacher: each stage goes on from the average of the one before.

Samples follow from the seed, the stage and the step alone, and a checkpoint holds the rest: network, average, optimiser
and what measures the teacher's features. So a run that was stopped in any way ends with the weights of one that was
not, to the bit on a CPU with as many threads.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from saliency_cli._version import __version__
from saliency_cli.errors import UsageError, WeightsError
from saliency_cli.models.checkpoint import load_strictly
from saliency_cli.models.registry import build
from saliency_cli.models.s3d import LEVEL_CHANNELS
from saliency_cli.models.tased import TASEDNet
from saliency_cli.models.tsfp import TSFPNet
from saliency_cli.queues import Ahead
from saliency_cli.training.board import Board, open_board
from saliency_cli.training.distilled_data import Samples, draw_samples
from saliency_cli.training.distilled_material import Material
from saliency_cli.training.distilled_recipe import DistilledRecipe, Stage
from saliency_cli.training.distilled_validation import HeldOut, Scores
from saliency_cli.training.flat import PictureNetwork, flatten
from saliency_cli.training.losses import probability_loss
from saliency_cli.training.saving import LAST, csv_rows, load_run, refuse_earlier_run, save_run
from saliency_cli.training.taps import begin_to_move, spread
from saliency_cli.training.teacher import TAP_CHANNELS, Teacher
from saliency_cli.training.windowed import part_of

__all__ = ["DistilledTrainer", "network_for"]

log = logging.getLogger(__name__)

STEP_HEADER = "stage,step,loss,features,rate"
SCORE_HEADER = "stage,step,stills,videos"
READ_AHEAD = 2  # steps
AVERAGE_EVERY = 4  # steps: as good as every step, and a quarter of the time
CLAMP, SOFT = 4.0, 1e-3  # of the teacher's standardised features: few channels are loud, and some are silent

Row = Callable[[list[Any]], None]
"""Writes a row of a log."""


class DistilledTrainer:
    """A run of a recipe in a folder, which receives ``last.pt``, ``log.csv`` and ``validation.csv``.

    Args:
        start: the state of the first stage's network, see :func:`network_for`; None to go on from ``last.pt``.
        held_out: what the network is held against.
        data_name: of the data; a run is only resumed on the same.
        started_from: where the first weights come from; a resumed run has that of the first.
        resume: go on from ``last.pt`` if it is there.
        autocast: dtype of mixed precision; None computes in fp32.
        board: a folder for TensorBoard's curves.

    Raises:
        UsageError: the folder holds a run already and ``resume`` is false.
        WeightsError: ``last.pt`` is damaged, or belongs to another recipe or other data.
    """

    def __init__(
        self,
        recipe: DistilledRecipe,
        start: dict[str, Tensor] | None,
        material: Material,
        teacher: Teacher,
        held_out: HeldOut,
        folder: Path,
        *,
        data_name: str = "",
        started_from: str = "",
        resume: bool = False,
        device: torch.device | None = None,
        autocast: torch.dtype | None = None,
        board: Path | None = None,
    ) -> None:
        refuse_earlier_run(folder, resume=resume)
        self.recipe, self.material, self.teacher, self.held_out = recipe, material, teacher, held_out
        self.folder, self.device, self.autocast = folder, device or torch.device("cpu"), autocast
        self.data_name, self.started_from, self._board = data_name, started_from, board
        self.stage, self.step, self._validations = 0, 0, 0
        self.scores: Scores | None = None
        self.average: dict[str, Tensor] = start or {}
        self._projections = _projections(recipe.seed)
        self._statistics: list[tuple[Tensor, Tensor]] = []  # of the teacher's features: mean and deviation, a level
        self._saved = self._load()

    @property
    def done(self) -> int:
        """How many steps of all the stages were made."""
        return sum(stage.steps for stage in self.recipe.stages[: self.stage]) + self.step

    def run(self, *, on_step: Callable[[int, int], None] | None = None) -> dict[str, Tensor]:
        """Train to the end of the recipe, and return the averaged network's state. ``on_step``: steps done, of all.

        Raises:
            UsageError: the loss is no longer finite.
            ReadError: a video cannot be read.
            WriteError: the folder cannot be written to.
        """
        total = sum(stage.steps for stage in self.recipe.stages)
        with (
            csv_rows(self.folder / "log.csv", STEP_HEADER, keep=self.done) as step_row,
            csv_rows(self.folder / "validation.csv", SCORE_HEADER, keep=self._validations) as score_row,
            open_board(self._board, step=self.done) as board,
        ):
            for number in range(self.stage, len(self.recipe.stages)):
                if number > self.stage:
                    self.stage, self.step = number, 0
                for _ in self._steps(self.recipe.stages[number], step_row, score_row, board):
                    if on_step:
                        on_step(self.done, total)
        return self.average

    def _steps(self, stage: Stage, step_row: Row, score_row: Row, board: Board) -> Iterator[None]:
        """Make those of the stage that are still to do."""
        if self.step >= stage.steps:
            return
        self._begin(stage)
        name = f"{self.stage + 1}-{stage.kind}"
        samples = (draw_samples(self.material, self.recipe, self.stage, n) for n in range(self.step, stage.steps))
        with Ahead(samples, depth=READ_AHEAD) as stream:
            for sample in stream:
                rate = self._set_rates(stage)
                loss, features = self._learn(sample, stage)
                self.step += 1
                last = self.step == stage.steps
                if last or self.step % AVERAGE_EVERY == 0:
                    self._update_average(stage)
                for curve, value in (("loss", loss), ("features", features), ("rate", rate)):
                    board(curve, value, self.done)
                step_row([name, self.step, f"{loss:.5f}", f"{features:.5f}", f"{rate:.3g}"])
                if self.held_out and (last or (stage.validate_every and self.step % stage.validate_every == 0)):
                    self._validate(stage, name, score_row, board)
                if last or self.step % stage.checkpoint_every == 0:
                    self._save()
                yield

    def _begin(self, stage: Stage) -> None:
        """Build the stage's network, its optimiser, and what goes with them: from the average, or where it stopped."""
        self.network = network_for(self.recipe, self.stage)
        self._picture: PictureNetwork | None = None
        load_strictly(self.network, spread(self.average, self.network.state_dict()), "the weights to go on from")
        before = self.recipe.stages[self.stage - 1] if self.stage else stage
        if stage.kind == "clips" and (before.kind, before.taps) == ("pictures", "middle"):
            begin_to_move(self.network, torch.Generator().manual_seed(self.recipe.seed + self.stage))
        self.network.to(self.device)
        if stage.kind == "pictures":
            self._picture = PictureNetwork(self.network, taps=stage.taps)
        else:
            flatten(self.network)
        self._projections.to(self.device)
        self._frozen = stage.encoder_share == 0
        self._optimiser = self._make_optimiser(stage)
        if self._saved is not None and self.step:
            load_strictly(self.network, self._saved["model"], self.folder / LAST)
            self._optimiser.load_state_dict(self._saved["optimiser"])
            average = self._saved["average"]
        else:
            average = self.network.state_dict()
        self._saved = None
        self.average = {name: value.detach().clone() for name, value in average.items()}

    def _learn(self, sample: Samples, stage: Stage) -> tuple[float, float]:
        """One step; its loss, and how much of it is the features'."""
        self.network.train()
        if self._frozen:
            for name, child in self.network.named_children():
                if part_of(name) == "encoder":
                    child.eval()
        if stage.norms == "freeze":
            for module in self.network.modules():
                if isinstance(module, nn.BatchNorm3d):
                    module.eval()
        self._optimiser.zero_grad(set_to_none=True)
        pixels = sample.clips.to(self.device)
        matched = torch.zeros((), device=self.device)
        with torch.autocast(self.device.type, dtype=self.autocast, enabled=self.autocast is not None):
            saliency, levels = self._look(pixels)
            if self._matches(stage):
                projected = [project(level) for project, level in zip(self._projections, levels, strict=True)]
        if self._matches(stage):
            taught = self._taught(pixels[:, :, 0])
            matched = torch.stack(
                [functional.mse_loss(own.float(), goal) for own, goal in zip(projected, taught, strict=True)]
            ).sum()
        target, counts = sample.target.to(self.device), sample.counts.to(self.device)
        if saliency.shape != target.shape:  # clips' targets have half the size
            saliency = functional.avg_pool2d(saliency[:, None], 2)[:, 0]
        loss = probability_loss(saliency.float(), target, counts, self.recipe.loss)
        loss = loss + self.recipe.teacher.features * matched
        value = float(loss.detach())
        if not math.isfinite(value):
            raise UsageError(
                f"the loss of step {self.step + 1} of stage {self.stage + 1} is {value}: lower the stage's rate, or "
                "compute with --precision fp32."
            )
        torch.autograd.backward(loss)
        learning = [parameter for group in self._optimiser.param_groups for parameter in group["params"]]
        nn.utils.clip_grad_norm_(learning, stage.gradient_limit)
        self._optimiser.step()
        return value, float(matched.detach())

    def _look(self, pixels: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Clips (B, 3, T, H, W) of values 0 … 1 to maps (B, H, W); of pictures the encoder's features too."""
        seen = (pixels - self.recipe.model.mean) / self.recipe.model.std
        if self._picture is not None:
            found: tuple[Tensor, tuple[Tensor, ...]] = self._picture(seen[:, :, 0])
            return found
        return self.network(seen), ()

    def _matches(self, stage: Stage) -> bool:
        """Whether the encoder learns to see as the teacher's does."""
        return stage.kind == "pictures" and self.recipe.teacher.features > 0 and not self._frozen

    def _taught(self, pictures: Tensor) -> list[Tensor]:
        """The teacher's features, each channel standardised as the first batch's were."""
        levels = self.teacher.features(pictures)
        if not self._statistics:
            self._statistics = [
                (level.mean((0, 2, 3), keepdim=True), level.std((0, 2, 3), keepdim=True)) for level in levels
            ]
        return [
            ((level - mean) / (deviation + SOFT)).clamp(-CLAMP, CLAMP)
            for level, (mean, deviation) in zip(levels, self._statistics, strict=True)
        ]

    def _make_optimiser(self, stage: Stage) -> torch.optim.Optimizer:
        """Groups of kernels, whose weights decay, and of the rest; for encoder and decoder, at rates set later."""
        groups: dict[tuple[str, bool], list[nn.Parameter]] = {}
        for name, parameter in self.network.named_parameters():
            part = "encoder" if part_of(name) == "encoder" else "decoder"
            parameter.requires_grad_(not (self._frozen and part == "encoder"))
            if parameter.requires_grad:
                groups.setdefault((part, parameter.ndim > 1), []).append(parameter)
        if self._matches(stage):
            for parameter in self._projections.parameters():
                groups.setdefault(("decoder", parameter.ndim > 1), []).append(parameter)
        tables = [
            {"params": found, "share": stage.encoder_share if part == "encoder" else 1.0}
            | {"weight_decay": stage.weight_decay if kernels else 0.0}
            for (part, kernels), found in sorted(groups.items())
        ]
        return torch.optim.AdamW(tables, lr=stage.rate, fused=True)

    def _set_rates(self, stage: Stage) -> float:
        """The rates of the step to come; the decoder's."""
        rate = stage.rate_at(self.step)
        for group in self._optimiser.param_groups:
            group["lr"] = rate * group["share"]
        return rate

    @torch.no_grad()
    def _update_average(self, stage: Stage) -> None:
        # A young average forgets its start faster, or it would still hold it when a short stage ends.
        decay = min(stage.average_decay, (self.step + 1) / (self.step + 40))
        for name, value in self.network.state_dict().items():
            if value.is_floating_point():
                self.average[name].lerp_(value, 1 - decay)
            else:
                self.average[name].copy_(value)

    def _validate(self, stage: Stage, name: str, row: Row, board: Board) -> None:
        """Score the average, in the place of the network that learns."""
        live = {key: value.detach().clone() for key, value in self.network.state_dict().items()}
        self.network.load_state_dict(self.average)
        self.network.eval()

        def look(pixels: Tensor) -> Tensor:
            with torch.autocast(self.device.type, dtype=self.autocast, enabled=self.autocast is not None):
                return self._look(pixels.to(self.device))[0]

        self.scores = self.held_out.score(look, size=stage.size, length=stage.clip_length, batch=stage.batch)
        self.network.load_state_dict(live)
        self._validations += 1
        row([name, self.step, f"{self.scores.stills:.5f}", f"{self.scores.videos:.5f}"])
        board("validation/stills", self.scores.stills, self.done)
        board("validation/videos", self.scores.videos, self.done)
        log.info("%s, step %d: %s", name, self.step, self.scores)

    def _save(self) -> None:
        scores = self.scores
        state = {
            "data": self.data_name,
            "started_from": self.started_from,
            "versions": {"vsal": __version__, "torch": str(torch.__version__)},
            "stage": self.stage,
            "step": self.step,
            "model": self.network.state_dict(),
            "average": self.average,
            "optimiser": self._optimiser.state_dict(),
            "projections": self._projections.state_dict(),
            "statistics": self._statistics,
            "validations": self._validations,
            "scores": None if scores is None else (scores.stills, scores.videos, scores.counts),
        }
        save_run(self.folder, self.recipe.text, state)

    def _load(self) -> dict[str, Any] | None:
        saved = load_run(self.folder, self.recipe.text, self.device)
        if saved is None:
            return None
        path = self.folder / LAST
        if saved["data"] != self.data_name:
            raise WeightsError(f"{path} belongs to a run on other data ({saved['data']}); train into another folder.")
        self.stage, self.step, self.average = saved["stage"], saved["step"], saved["average"]
        self.started_from, self._validations = saved["started_from"], saved["validations"]
        self._projections.load_state_dict(saved["projections"])
        self._statistics = saved["statistics"]
        self.scores = None if saved["scores"] is None else Scores(*saved["scores"])
        log.info("going on from %s: stage %d, step %d", path, self.stage + 1, self.step)
        return saved


def network_for(recipe: DistilledRecipe, number: int) -> TSFPNet | TASEDNet:
    """The network of a stage, counted from 0, freshly initialised: that of the recipe, for the stage's clips."""
    network = build(replace(recipe.model, clip_length=recipe.length_at(number)))
    assert isinstance(network, TSFPNet | TASEDNet)
    return network


def _projections(seed: int) -> nn.ModuleList:
    """From what S3D's blocks see to the teacher's channels; thrown away when all is learnt."""
    torch.manual_seed(seed)
    return nn.ModuleList(nn.Conv2d(own, goal, 1) for own, goal in zip(LEVEL_CHANNELS, TAP_CHANNELS, strict=True))
