"""Training of the networks with a window, TSFP-Net on S3D and TASED-Net: one loop, the best weights kept.

The clips of a step follow from the seed and the step's number, the rates from the step's number, and a checkpoint holds
the rest: network, optimiser, gradient scaler, and how good the best was. So a run that was stopped in any way ends with
the weights of one that was not, to the bit on a CPU with as many threads; some of CUDA's kernels sum in no fixed order.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from saliency_cli._version import __version__
from saliency_cli.errors import UsageError, WeightsError
from saliency_cli.models.checkpoint import load_strictly
from saliency_cli.queues import Ahead
from saliency_cli.training.board import Board, open_board
from saliency_cli.training.losses import probability_loss
from saliency_cli.training.ranks import ALONE, Ranks
from saliency_cli.training.saving import LAST, csv_rows, load_run, refuse_earlier_run, save_run
from saliency_cli.training.schedule import Schedule
from saliency_cli.training.validation import Scores, prepare_clip, validate
from saliency_cli.training.windowed_data import Portion, TrainingClips, ValidationClips
from saliency_cli.training.windowed_recipe import Part, WindowedRecipe

__all__ = ["WindowedTrainer"]

log = logging.getLogger(__name__)

STEP_HEADER = "step,epoch,loss,rate"
SCORE_HEADER = "step,epoch,loss,nss,frames,best"
READ_AHEAD = 2  # portions: 27 MB each at four clips of 192x352

OnBest = Callable[[dict[str, Tensor], Scores, int], None]
"""Takes the network's state, its scores, and the steps done."""


def part_of(name: str) -> Part:
    """Which part a tensor or a module of TSFP-Net or TASED-Net belongs to, by its name."""
    top = name.partition(".")[0]
    if top == "soundnet":
        return "sound"
    return "encoder" if top == "encoder" or top.startswith("base") else "decoder"


class WindowedTrainer:
    """A run of a recipe in a folder, which receives ``last.pt``, ``log.csv`` and ``validation.csv``.

    Args:
        module: the network with its first weights.
        training, validation: what is learnt from and held against; without the latter the last weights are the best.
        data_name: of the data; a run is only resumed on the same.
        started_from: where the first weights come from; a resumed run has that of the first.
        folder: made if it is not there.
        resume: go on from ``last.pt`` if it is there.
        device: where to compute.
        autocast: dtype of mixed precision; None computes in fp32, float16 scales its gradients.
        ranks: this process among those that train together.
        board: a folder for TensorBoard's curves.

    Raises:
        UsageError: the folder holds a run already and ``resume`` is false, or the processes cannot share a batch.
        WeightsError: ``last.pt`` is damaged, or belongs to another recipe or other data.
    """

    def __init__(
        self,
        recipe: WindowedRecipe,
        module: nn.Module,
        training: TrainingClips,
        validation: ValidationClips | None,
        folder: Path,
        *,
        data_name: str = "",
        started_from: str = "",
        resume: bool = False,
        device: torch.device | None = None,
        autocast: torch.dtype | None = None,
        ranks: Ranks = ALONE,
        board: Path | None = None,
    ) -> None:
        refuse_earlier_run(folder, resume=resume)
        self.recipe, self.training, self.validation, self.folder = recipe, training, validation, folder
        self.device, self.autocast = device or torch.device("cpu"), autocast
        self.ranks, self._board = ranks, board if ranks.first else None
        self.data_name, self.started_from = data_name, started_from
        self.schedule = Schedule(recipe.schedule, epoch=len(training))
        self._portions = recipe.schedule.batch // recipe.schedule.at_once  # of a step, over all processes
        if self._portions % ranks.size:
            raise UsageError(
                f"{ranks.size} processes cannot share {self._portions} portions a step evenly: change "
                f"schedule.at_once (now {recipe.schedule.at_once}) or schedule.batch (now {recipe.schedule.batch})."
            )
        height, width = recipe.model.input_size
        if recipe.schedule.at_once * max(recipe.model.clip_length // 8, 1) * (height // 32) * (width // 32) < 2:
            raise UsageError("schedule.at_once = 1 leaves batch norms one value of so small a clip; use 2 or more.")
        self.module = module.to(self.device)
        for name, child in module.named_children():  # where convolutions and poolings are several times faster
            if part_of(name) != "sound":  # SoundNet's are two-dimensional
                child.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self._frozen = frozenset(part for part in get_args(Part) if not recipe.optimiser.rate_of(part))
        self._optimiser = self._make_optimiser()
        self._scaler = torch.amp.GradScaler(self.device.type, enabled=autocast is torch.float16)
        self.step, self.best, self.best_step, self._stale, self._validations = 0, -math.inf, 0, 0, 0
        self._load()
        if not ranks.agree(self.step, self.device):  # also: nobody writes before all have read
            raise UsageError(
                f"the processes find different checkpoints in {folder}: it must be one folder, shared by all machines."
            )
        self._parallel = module if ranks.size == 1 else DistributedDataParallel(module)

    def finished(self) -> bool:
        """Whether the last step was made, or patience is at its end."""
        patience = self.recipe.schedule.patience
        return self.step >= self.schedule.steps or 0 < patience <= self._stale

    def run(self, *, on_step: Callable[[int, int], None] | None = None, on_best: OnBest | None = None) -> None:
        """Train to the end of the recipe. ``on_step`` is told the steps done and of all.

        Raises:
            UsageError: the loss is no longer finite, or nobody looked at the validation frames.
            WriteError: the folder cannot be written to.
        """
        with (
            self._rows("log.csv", STEP_HEADER, self.step) as step_row,
            self._rows("validation.csv", SCORE_HEADER, self._validations) as score_row,
            open_board(self._board, step=self.step) as board,
            Ahead(self._reading(), depth=READ_AHEAD) as portions,
        ):
            while not self.finished():
                rate, epoch = self._set_rates(), self.schedule.epoch_of(self.step)
                loss = self._learn(portions)
                self.step += 1
                step_row([self.step, epoch, f"{loss:.5f}", f"{rate:.3g}"])
                board("loss", loss, self.step)
                board("rate", rate, self.step)
                validates = self.schedule.validates_after(self.step)
                if validates and self.validation is not None:
                    self._validate(self.validation, score_row, board, on_best)
                if validates or self.finished() or self.step % self.recipe.schedule.checkpoint_every == 0:
                    self._save()
                if on_step:
                    on_step(self.step, self.schedule.steps)

    def _rows(self, name: str, header: str, keep: int) -> Any:
        return csv_rows(self.folder / name, header, keep=keep) if self.ranks.first else nullcontext(lambda row: None)

    def _reading(self) -> Iterator[Portion]:
        """This process's portions of the steps to come: none is another one's too."""
        schedule = self.recipe.schedule
        for step in range(self.step, self.schedule.steps):
            for number in range(self.ranks.rank, self._portions, self.ranks.size):
                yield self.training.portion(step * schedule.batch + number * schedule.at_once)

    def _learn(self, portions: Iterator[Portion]) -> float:
        """One step; its loss over the whole batch."""
        self.module.train()
        for name, child in self.module.named_children():
            if part_of(name) in self._frozen:
                child.eval()
        self._optimiser.zero_grad()
        total = torch.zeros(2, device=self.device)
        mine, batch = self._portions // self.ranks.size, self.recipe.schedule.batch
        for number in range(mine):
            with nullcontext() if number + 1 == mine else self._unsynchronised():
                loss, seen = self._loss(next(portions))
                # DistributedDataParallel takes the mean over processes; the sum is meant.
                torch.autograd.backward(self._scaler.scale(loss / batch * self.ranks.size))
            total += torch.stack([loss.detach(), seen])
        summed, clips = self.ranks.add_up(total).tolist()
        value = float(summed / max(clips, 1))
        if not math.isfinite(value):
            raise UsageError(
                f"the loss of step {self.step + 1} is {value}: lower the rates with --set optimiser.rate=…, "
                "or compute with --precision fp32."
            )
        if 0 < clips < batch:  # the mean is over clips that somebody looked at, in whichever portions they are
            for parameter in self.module.parameters():
                if parameter.grad is not None:
                    parameter.grad.mul_(batch / clips)
        if self.recipe.optimiser.gradient_limit:
            self._scaler.unscale_(self._optimiser)
            nn.utils.clip_grad_norm_(self.module.parameters(), self.recipe.optimiser.gradient_limit)
        self._scaler.step(self._optimiser)
        self._scaler.update()
        self.ranks.average_statistics(self.module)
        return value

    def _unsynchronised(self) -> Any:
        """Gradients are added up here, and sent around with the step's last portion."""
        return self._parallel.no_sync() if isinstance(self._parallel, DistributedDataParallel) else nullcontext()

    def _loss(self, portion: Portion) -> tuple[Tensor, Tensor]:
        """The sum over the clips whose last frame somebody looked at, and their number."""
        clip = prepare_clip(portion.frames, self.recipe, self.device)  # (B, 3, T, H, W)
        inputs = (clip,) if portion.sound is None else (clip, portion.sound.to(self.device))
        with torch.autocast(self.device.type, dtype=self.autocast, enabled=self.autocast is not None):
            saliency = self._parallel(*inputs)  # (B, H, W)
        target, fixated = portion.target.to(self.device), portion.fixated.to(self.device)
        seen = fixated.sum((1, 2)) > 0  # a frame nobody looked at teaches nothing
        mean = probability_loss(saliency.float()[seen], target[seen], fixated[seen], self.recipe.loss)
        return mean * seen.sum(), seen.sum()

    def _validate(
        self, clips: ValidationClips, row: Callable[[list[Any]], None], board: Board, on_best: OnBest | None
    ) -> None:
        scores = validate(self.module, clips, self.recipe, self.device, self.autocast, self.ranks)
        self._validations += 1
        better = scores.nss > self.best
        self._stale = 0 if better else self._stale + 1
        if better:
            self.best, self.best_step = scores.nss, self.step
            if on_best and self.ranks.first:
                on_best(self.module.state_dict(), scores, self.step)
        epoch = self.schedule.epoch_of(self.step - 1)
        row([self.step, epoch, f"{scores.loss:.5f}", f"{scores.nss:.5f}", scores.frames, "yes" if better else "no"])
        board("validation/loss", scores.loss, self.step)
        board("validation/nss", scores.nss, self.step)

    def _make_optimiser(self) -> torch.optim.Optimizer:
        """One group for each part that learns, at rates that :meth:`_set_rates` sets."""
        plan = self.recipe.optimiser
        groups: dict[Part, list[nn.Parameter]] = {}
        for name, parameter in self.module.named_parameters():
            part = part_of(name)
            parameter.requires_grad_(part not in self._frozen)
            if part not in self._frozen:
                groups.setdefault(part, []).append(parameter)
        tables = [{"params": groups[part], "part": part} for part in get_args(Part) if part in groups]
        if plan.kind == "adam":
            return torch.optim.Adam(tables, lr=plan.rate, weight_decay=plan.weight_decay)
        return torch.optim.SGD(tables, lr=plan.rate, momentum=plan.momentum, weight_decay=plan.weight_decay)

    def _set_rates(self) -> float:
        """The rates of the step to come; the last group's, which is the decoder's unless that is frozen."""
        for group in self._optimiser.param_groups:
            group["lr"] = self.recipe.optimiser.rate_of(group["part"]) * self.schedule.factor(self.step, group["part"])
        decoder = [group["lr"] for group in self._optimiser.param_groups if group["part"] == "decoder"]
        return float((decoder or [self._optimiser.param_groups[-1]["lr"]])[0])

    def _save(self) -> None:
        if self.ranks.first:
            state = {
                "data": self.data_name,
                "started_from": self.started_from,
                "versions": {"vsal": __version__, "torch": str(torch.__version__)},
                "step": self.step,
                "model": self.module.state_dict(),
                "optimiser": self._optimiser.state_dict(),
                "scaler": self._scaler.state_dict(),
                "best": (self.best, self.best_step, self._stale, self._validations),
            }
            save_run(self.folder, self.recipe.text, state)

    def _load(self) -> None:
        saved = load_run(self.folder, self.recipe.text, self.device)
        if saved is None:
            return
        path = self.folder / LAST
        if saved["data"] != self.data_name:
            raise WeightsError(f"{path} belongs to a run on other data ({saved['data']}); train into another folder.")
        load_strictly(self.module, saved["model"], path)
        self._optimiser.load_state_dict(saved["optimiser"])
        self._scaler.load_state_dict(saved["scaler"])
        self.step, self.started_from = saved["step"], saved["started_from"]
        self.best, self.best_step, self._stale, self._validations = saved["best"]
        log.info("going on from %s: step %d", path, self.step)
