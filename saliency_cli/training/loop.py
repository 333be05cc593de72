"""The loop: the stages of a recipe, one averaged model at the end, and checkpoints that survive a stop.

Batches follow from the seed and the step's number, and a checkpoint holds the optimiser, the schedule and both models,
so a run that was stopped and resumed ends with the same weights as one that was not.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from saliency_cli.errors import UsageError, WeightsError, WriteError
from saliency_cli.models.checkpoint import load_strictly
from saliency_cli.models.efficientnet import MEAN, STD
from saliency_cli.models.streaming import StreamingTSFPNet
from saliency_cli.training.data import Batch, Clip, Still, clip_batch, still_batch
from saliency_cli.training.losses import saliency_loss
from saliency_cli.training.recipe import Recipe, Stage

__all__ = ["LAST", "Progress", "Trainer", "TrainingData", "refuse_earlier_run"]

log = logging.getLogger(__name__)

LAST = "last.pt"
GRADIENT_LIMIT = 5.0  # norm above which gradients are scaled down: single fixations make NSS jump
TEMPORAL_PARTS = ("temporal", "motion", "motion_mix", "motion_head")


@dataclass(frozen=True, slots=True)
class TrainingData:
    """What is learnt from; the validation items are not among it."""

    stills: list[Still]
    clips: list[Clip]


@dataclass(frozen=True, slots=True)
class Progress:
    """Where the run is after a step: ``step`` of the stage's ``steps``, ``done`` of all. ``loss`` is that step's."""

    stage: str
    step: int
    steps: int
    done: int
    loss: float


def refuse_earlier_run(folder: Path, *, resume: bool) -> None:
    """Raise :class:`UsageError` if the folder holds a run already and it is not to be resumed."""
    path = folder / LAST
    if path.exists() and not resume:
        raise UsageError(f"{path} is there already; go on with --resume, or train into another folder.")


class Trainer:
    """A run of a recipe in a folder, which receives ``last.pt`` (all that is needed to go on) and ``log.csv``.

    Args:
        folder: made if it is not there.
        encoder_state: what the encoder starts from; by default random weights.
        resume: go on from ``last.pt`` if it is there.
        device: where to compute.
        autocast: dtype of mixed precision; None computes in fp32.

    Raises:
        UsageError: the folder holds a run already and ``resume`` is false.
        WeightsError: ``last.pt`` is damaged or belongs to another recipe, or ``encoder_state`` does not fit.
    """

    def __init__(
        self,
        recipe: Recipe,
        data: TrainingData,
        folder: Path,
        *,
        encoder_state: dict[str, Tensor] | None = None,
        resume: bool = False,
        device: torch.device | None = None,
        autocast: torch.dtype | None = None,
    ) -> None:
        refuse_earlier_run(folder, resume=resume)
        self.recipe, self.data, self.folder = recipe, data, folder
        self.device, self.autocast = device or torch.device("cpu"), autocast
        torch.manual_seed(recipe.seed)
        self.model = StreamingTSFPNet()
        if encoder_state is not None:
            load_strictly(self.model.encoder, encoder_state, "the encoder's checkpoint")
        self.model.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        self._saved = self._load()

    def run(self, *, on_step: Callable[[Progress], None] | None = None) -> dict[str, Tensor]:
        """Train to the end of the recipe and return the averaged model's state.

        Raises:
            WriteError: the folder cannot be written to.
        """
        reached, step = (self._saved["stage"], self._saved["step"]) if self._saved else (0, 0)
        with _rows(self.folder / "log.csv", keep=self._before(reached) + step) as rows:
            for number, stage in enumerate(self.recipe.stages):
                if number < reached:
                    continue
                for progress, rate in self._stage(number, stage):
                    rows([stage.name, progress.step, f"{progress.loss:.5f}", f"{rate:.3g}"])
                    if on_step:
                        on_step(progress)
                # The next stage starts from the average, which is what this one leaves behind.
                self.model.load_state_dict(self.average)
        return self.average

    def _before(self, number: int) -> int:
        """How many steps all the stages before this one have."""
        return sum(stage.steps for stage in self.recipe.stages[:number])

    def _stage(self, number: int, stage: Stage) -> Iterator[tuple[Progress, float]]:
        """The steps of a stage that are still to do."""
        optimiser, schedule = self._optimiser(stage)
        begin = 0
        start = {name: value.clone() for name, value in self.average.items()}
        if self._saved and self._saved["stage"] == number:
            start = self._saved["start"]
            optimiser.load_state_dict(self._saved["optimiser"])
            schedule.load_state_dict(self._saved["schedule"])
            begin = self._saved["step"]
        for step in range(begin, stage.steps):
            loss = self._step(self._draw(number, stage, step), stage, optimiser)
            schedule.step()
            # A young average forgets its start faster, or it would still hold random weights when a short stage ends.
            self._update_average(min(stage.average_decay, (1 + step) / (10 + step)))
            done = step + 1
            if done == stage.steps:
                self._blend(start, stage.blend)
            if done == stage.steps or done % stage.checkpoint_every == 0:
                self._save(number, done, start, optimiser, schedule)
            progress = Progress(stage.name, done, stage.steps, self._before(number) + done, loss)
            yield progress, float(schedule.get_last_lr()[-1])

    def _draw(self, number: int, stage: Stage, step: int) -> Batch:
        rng = np.random.default_rng([self.recipe.seed, number, step])
        height, width = self.recipe.input_size
        scale = float(rng.choice(self.recipe.scales))
        budget = (round(height * scale), round(width * scale))
        if stage.materials[step % len(stage.materials)] == "stills":
            return still_batch(self.data.stills, rng, size=stage.batch, budget=budget)
        return clip_batch(
            self.data.clips, rng, size=stage.clips, frames=stage.clip_frames, spacing=stage.clip_spacing, budget=budget
        )

    def _step(self, batch: Batch, stage: Stage, optimiser: torch.optim.Optimizer) -> float:
        self.model.train()
        if not stage.encoder_rate:
            self.model.encoder.eval()
        if not stage.pyramid_rate:
            self.model.decoders.eval()  # frozen parts keep the statistics of their batch norms
        frames = (batch.frames.to(self.device) / 255 - MEAN) / STD  # (B, S, 3, H, W)
        with torch.autocast(self.device.type, dtype=self.autocast, enabled=self.autocast is not None):
            log_density, _ = self.model(frames, batch.seconds)  # (B, S, H/4, W/4)
        target, counts = batch.target.to(self.device).flatten(0, 1), batch.counts.to(self.device).flatten(0, 1)
        seen = counts.sum((1, 2)) > 0  # a frame nobody looked at teaches nothing
        loss = saliency_loss(log_density.float().flatten(0, 1)[seen], target[seen], counts[seen], self.recipe.loss)
        self.model.zero_grad()  # of frozen parts too: what an earlier stage left there would count in the norm
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self.model.parameters(), GRADIENT_LIMIT)
        optimiser.step()
        return float(loss.detach())

    def _optimiser(self, stage: Stage) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.OneCycleLR]:
        """AdamW with a rate for each part, on one cycle."""
        groups: dict[float, list[nn.Parameter]] = {}
        for name, parameter in self.model.named_parameters():
            part = name.split(".")[0]
            rate = stage.temporal_rate if part in TEMPORAL_PARTS else stage.pyramid_rate
            rate = stage.encoder_rate if part == "encoder" else rate
            parameter.requires_grad_(rate > 0)
            if rate:
                groups.setdefault(rate, []).append(parameter)
        optimiser = torch.optim.AdamW(
            [{"params": part, "lr": rate} for rate, part in groups.items()], weight_decay=stage.weight_decay
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, max_lr=list(groups), total_steps=stage.steps + 1, pct_start=0.15
        )
        return optimiser, schedule

    @torch.no_grad()
    def _update_average(self, decay: float) -> None:
        for name, value in self.model.state_dict().items():
            if value.is_floating_point():
                self.average[name].lerp_(value, 1 - decay)
            else:
                self.average[name].copy_(value)

    @torch.no_grad()
    def _blend(self, start: dict[str, Tensor], share: float) -> None:
        """Take encoder and pyramid back towards ``start``; what works over time stays as the stage left it."""
        for name, value in self.average.items():
            if name.split(".")[0] not in TEMPORAL_PARTS and value.is_floating_point():
                value.copy_(start[name].lerp(value, share))

    def _save(
        self,
        stage: int,
        step: int,
        start: dict[str, Tensor],
        optimiser: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LRScheduler,
    ) -> None:
        state = {
            "recipe": self.recipe.text,
            "stage": stage,
            "step": step,
            "model": self.model.state_dict(),
            "start": start,
            "average": self.average,
            "optimiser": optimiser.state_dict(),
            "schedule": schedule.state_dict(),
        }
        goal, young = self.folder / LAST, self.folder / f"{LAST}.part"
        try:
            torch.save(state, young)
            os.replace(young, goal)
        except (OSError, RuntimeError) as error:
            young.unlink(missing_ok=True)
            raise WriteError(f"{goal}: the checkpoint cannot be written ({error}); make room and resume.") from error

    def _load(self) -> dict[str, Any] | None:
        path = self.folder / LAST
        if not path.exists():
            return None
        try:
            saved: Any = torch.load(path, map_location=self.device, weights_only=True)
        except Exception as error:  # torch raises half a dozen kinds for a damaged file
            raise WeightsError(f"{path}: the checkpoint is damaged ({error}); delete it to start anew.") from error
        if not isinstance(saved, dict) or saved.get("recipe") != self.recipe.text:
            raise WeightsError(f"{path} belongs to another recipe; train into another folder.")
        load_strictly(self.model, saved["model"], path)
        self.average = saved["average"]
        log.info("going on from %s: stage %d, step %d", path, saved["stage"] + 1, saved["step"])
        state: dict[str, Any] = saved
        return state


@contextmanager
def _rows(path: Path, *, keep: int) -> Iterator[Callable[[list[Any]], None]]:
    """A CSV log whose rows reach the disk one by one; of an earlier run's the first ``keep`` stay.

    A run that was stopped has logged steps that its last checkpoint does not know: they are done, and logged, again.
    """

    def failed(error: OSError) -> WriteError:
        return WriteError(f"{path} cannot be written ({error.strerror}); choose another folder or make room.")

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        earlier = path.read_text(encoding="utf-8").splitlines()[1 : keep + 1] if path.exists() else []
        file = path.open("w", newline="", encoding="utf-8")
    except OSError as error:
        raise failed(error) from error
    with file:

        def write(row: list[Any]) -> None:
            try:
                file.write(",".join(map(str, row)) + "\n")
                file.flush()
            except OSError as error:
                raise failed(error) from error

        for line in ("stage,step,loss,rate", *earlier):
            write([line])
        yield write
