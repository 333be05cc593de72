"""Training of the embedded model: on photographs, on videos, on their sound, and one averaged model at the end of each.

Batches follow from the seed and the step's number, and a checkpoint holds the optimiser, the schedule and both models,
so a run that was stopped and resumed ends with the same weights as one that was not.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from saliency_cli.errors import UsageError, WeightsError
from saliency_cli.models.checkpoint import load_strictly
from saliency_cli.models.efficientnet import MEAN, STD
from saliency_cli.models.streaming import StreamingTSFPNet, coarsened
from saliency_cli.training.losses import saliency_loss
from saliency_cli.training.saving import LAST, csv_rows, load_run, refuse_earlier_run, save_run
from saliency_cli.training.streaming_data import (
    Clip,
    Glances,
    Still,
    glance_batch,
    glances_of,
    input_shape,
    still_batch,
    to_network,
)
from saliency_cli.training.streaming_recipe import (
    STAGES,
    SoundStage,
    Stage,
    StillsStage,
    StreamingRecipe,
    VideosStage,
    stage_name,
)
from saliency_cli.training.streaming_sound import Hearing, hearing_batch, hearing_of, measure, sound_of

__all__ = ["Progress", "StreamingTrainer", "TrainingData"]

log = logging.getLogger(__name__)

GRADIENT_LIMIT = 5.0  # norm above which gradients are scaled down: single fixations make NSS jump
WARM_UP = 0.15  # of a stage's steps, until the rates reach their peaks
AT_ONCE = 8  # frames of a video that the photographs' network sees at a time
HEADER = "stage,step,loss,rate"


@dataclass(frozen=True, slots=True)
class TrainingData:
    """What is learnt from; what is tested on is not among it.

    ``hearings``: clips with sound as :func:`hearing_of` has them, for ``[sound]`` alone; None: made of ``clips``.
    """

    stills: list[Still]
    clips: list[Clip]
    hearings: list[Hearing] | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """Where the run is after a step: ``step`` of the stage's ``steps``, ``done`` of all. ``loss`` is that step's."""

    stage: str
    step: int
    steps: int
    done: int
    loss: float


class StreamingTrainer:
    """A run of a recipe in a folder, which receives ``last.pt`` (all that is needed to go on) and ``log.csv``.

    Args:
        folder: made if it is not there.
        encoder_state: what the encoder starts from; by default random weights.
        state: what all but the parts that are learnt after the photographs start from, instead: the motion branch if
            the recipe has videos, the sound branch if it has sound.
        soundnet_state: what SoundNet starts from, and stays.
        resume: go on from ``last.pt`` if it is there.
        device: where to compute.
        autocast: dtype of mixed precision; None computes in fp32.

    Raises:
        UsageError: the folder holds a run already and ``resume`` is false.
        WeightsError: ``last.pt`` is damaged or belongs to another recipe, or what to start from does not fit.
    """

    def __init__(
        self,
        recipe: StreamingRecipe,
        data: TrainingData,
        folder: Path,
        *,
        encoder_state: dict[str, Tensor] | None = None,
        state: dict[str, Tensor] | None = None,
        soundnet_state: dict[str, Tensor] | None = None,
        resume: bool = False,
        device: torch.device | None = None,
        autocast: torch.dtype | None = None,
    ) -> None:
        refuse_earlier_run(folder, resume=resume)
        self.recipe, self.data, self.folder = recipe, data, folder
        self.device, self.autocast = device or torch.device("cpu"), autocast
        torch.manual_seed(recipe.seed)
        self.model = StreamingTSFPNet(audio=recipe.sound is not None)
        if encoder_state is not None:
            load_strictly(self.model.encoder, encoder_state, "the encoder's checkpoint")
        if state is not None:
            anew = (*(("motion.",) if recipe.videos else ()), "sound.")
            fresh = {n: value for n, value in self.model.state_dict().items() if n.startswith(anew)}
            kept = {n: value for n, value in state.items() if not n.startswith(anew)}
            load_strictly(self.model, {**kept, **fresh}, "the checkpoint to start from")
        if soundnet_state is not None:
            load_strictly(sound_of(self.model).soundnet, soundnet_state, "SoundNet's checkpoint")
        self.model.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        self._glances: list[Glances] = []
        self._hearings: list[Hearing] = []
        self._saved = self._load()

    def run(self, *, on_step: Callable[[Progress], None] | None = None) -> dict[str, Tensor]:
        """Train to the end of the recipe and return the averaged model's state.

        Raises:
            UsageError: nobody looked at any of the videos.
            WriteError: the folder cannot be written to.
        """
        reached = self._saved["stage"] if self._saved else 0
        with csv_rows(self.folder / "log.csv", HEADER, keep=self.done) as rows:
            for number, stage in enumerate(self.recipe.stages):
                if number < reached:
                    continue
                for progress, rate in self._stage(number, stage):
                    rows([progress.stage, progress.step, f"{progress.loss:.5f}", f"{rate:.3g}"])
                    if on_step:
                        on_step(progress)
                # The next stage starts from the average, which is what this one leaves behind.
                self.model.load_state_dict(self.average)
        return self.average

    @property
    def done(self) -> int:
        """How many steps of all the stages were made before this run."""
        return self._before(self._saved["stage"]) + self._saved["step"] if self._saved else 0

    def _before(self, number: int) -> int:
        """How many steps all the stages before this one have."""
        return sum(stage.steps for stage in self.recipe.stages[:number])

    def _stage(self, number: int, stage: Stage) -> Iterator[tuple[Progress, float]]:
        """The steps of a stage that are still to do."""
        optimiser, schedule = self._optimiser(stage)
        begin = 0
        if self._saved and self._saved["stage"] == number:
            optimiser.load_state_dict(self._saved["optimiser"])
            schedule.load_state_dict(self._saved["schedule"])
            begin = self._saved["step"]
        if isinstance(stage, VideosStage) and begin < stage.steps:
            self._glances = [self._glance(clip) for clip in self.data.clips]
            if not any(glances.counts.any() for glances in self._glances):
                raise UsageError("nobody looks at any video while it is shown; check the onsets of the fixations.")
        if isinstance(stage, SoundStage) and begin < stage.steps:
            self._listen(anew=not begin)
        for step in range(begin, stage.steps):
            rng = np.random.default_rng([self.recipe.seed, list(STAGES).index(stage_name(stage)), step])
            loss = self._stage_loss(stage, rng)
            self.model.zero_grad()  # of frozen parts too: what the stage before left there would count in the norm
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(self.model.parameters(), GRADIENT_LIMIT)
            optimiser.step()
            schedule.step()
            # A young average forgets its start faster, or it would still hold random weights when a short stage ends.
            self._update_average(min(stage.average_decay, (1 + step) / (10 + step)))
            done = step + 1
            if done == stage.steps or done % stage.checkpoint_every == 0:
                self._save(number, done, optimiser, schedule)
            progress = Progress(stage_name(stage), done, stage.steps, self._before(number) + done, float(loss.detach()))
            yield progress, float(schedule.get_last_lr()[-1])

    def _stage_loss(self, stage: Stage, rng: np.random.Generator) -> Tensor:
        if isinstance(stage, StillsStage):
            return self._still_loss(stage, rng)
        return self._video_loss(stage, rng) if isinstance(stage, VideosStage) else self._sound_loss(stage, rng)

    def _still_loss(self, stage: StillsStage, rng: np.random.Generator) -> Tensor:
        scale = float(rng.choice(stage.scales))
        height, width = self.recipe.still_size
        budget = (round(height * scale), round(width * scale))
        batch = still_batch(self.data.stills, rng, size=stage.batch, budget=budget)
        self.model.train()
        with self._precision():
            log_density, _ = self.model(self._normalised(batch.pictures)[:, None])  # (B, 1, H/4, W/4)
        return self._loss(stage, log_density[:, 0], batch.target, batch.counts)

    def _video_loss(self, stage: VideosStage, rng: np.random.Generator) -> Tensor:
        """The mean of the opinions' losses: each learns for itself."""
        batch = glance_batch(self._glances, rng, size=stage.batch)
        torch.manual_seed(int(rng.integers(2**31)))  # what is forgotten follows from the step, too
        seen = (each.to(self.device) for each in (batch.features, batch.logits, batch.motion, batch.since))
        self.model.eval()
        self.model.motion.train()
        each = self.model.motion(*seen, apart=True)  # (B, K, h, w)
        log_density = each.flatten(2).log_softmax(2).view_as(each).flatten(0, 1)  # (B · K, h, w)
        times = each.shape[1]
        return self._loss(
            stage, log_density, batch.target.repeat_interleave(times, 0), batch.counts.repeat_interleave(times, 0)
        )

    def _sound_loss(self, stage: SoundStage, rng: np.random.Generator) -> Tensor:
        batch = hearing_batch(self._hearings, rng, size=stage.batch)
        self.model.eval()
        seen = (each.to(self.device) for each in (batch.logits, batch.level3, batch.heard))
        logits = sound_of(self.model)(*seen)  # (B, 1, h, w)
        log_density = logits.flatten(1).log_softmax(1).view_as(logits)[:, 0]  # (B, h, w)
        return self._loss(stage, log_density, batch.target, batch.counts)

    def _loss(self, stage: Stage, log_density: Tensor, target: Tensor, counts: Tensor) -> Tensor:
        """Of maps (B, h, w)."""
        target, counts = target.to(self.device), counts.to(self.device)
        seen = counts.sum((1, 2)) > 0  # a picture nobody looked at teaches nothing
        return saliency_loss(log_density.float()[seen], target[seen], counts[seen], stage.loss)

    @torch.no_grad()
    def _glance(self, clip: Clip) -> Glances:
        """What the photographs' network, which does not change any more, sees in a video: once for all steps."""
        self.model.eval()
        height, width = input_shape(clip.frames[0], self.recipe.input_size)
        features, logits = [], []
        for begin in range(0, len(clip.frames), AT_ONCE):
            pictures = to_network(clip.frames[begin : begin + AT_ONCE], height=height, width=width)
            with self._precision():
                mixed, looked_at = self.model.looked_at(self._normalised(pictures))
            features.append(coarsened(mixed).half())
            logits.append(looked_at.float())
        return glances_of(clip, torch.cat(features), torch.cat(logits))

    def _listen(self, *, anew: bool) -> None:
        """See and hear the clips, once for all steps, and centre the branch on their sound before the first."""
        known = self.data.hearings
        if known is None:
            known = [
                hearing_of(
                    self.model,
                    clip,
                    input_size=self.recipe.input_size,
                    device=self.device,
                    autocast=self.autocast,
                )
                for clip in self.data.clips
                if clip.sound is not None
            ]
        self._hearings = known
        if anew:
            measure(sound_of(self.model), known)
            for name, value in sound_of(self.model).named_buffers(recurse=False):
                self.average[f"sound.{name}"].copy_(value)

    def _normalised(self, pictures: Tensor) -> Tensor:
        """(B, 3, H, W) in 0 … 255, as the network takes them."""
        return ((pictures.to(self.device) / 255 - MEAN) / STD).contiguous(memory_format=torch.channels_last)

    def _precision(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=self.autocast, enabled=self.autocast is not None)

    def _optimiser(self, stage: Stage) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.OneCycleLR]:
        """AdamW with a rate for each part, on one cycle. What the stage does not train is frozen."""
        rates = (
            {"encoder": stage.encoder_rate, "pyramid": stage.pyramid_rate}
            if isinstance(stage, StillsStage)
            else {"motion" if isinstance(stage, VideosStage) else "sound": stage.rate}
        )
        groups: dict[str, list[nn.Parameter]] = {part: [] for part in rates}
        for name, parameter in self.model.named_parameters():
            part = name.split(".")[0]
            part = part if part in ("encoder", "motion", "sound") else "pyramid"
            part = "soundnet" if name.startswith("sound.soundnet.") else part  # is never trained
            parameter.requires_grad_(part in rates)
            if part in rates:
                groups[part].append(parameter)
        optimiser = torch.optim.AdamW(
            [{"params": groups[part], "lr": rate} for part, rate in rates.items()], weight_decay=stage.weight_decay
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, max_lr=list(rates.values()), total_steps=stage.steps + 1, pct_start=WARM_UP
        )
        return optimiser, schedule

    @torch.no_grad()
    def _update_average(self, decay: float) -> None:
        frozen = {name for name, parameter in self.model.named_parameters() if not parameter.requires_grad}
        for name, value in self.model.state_dict().items():
            if name in frozen:
                continue
            if value.is_floating_point():
                self.average[name].lerp_(value, 1 - decay)
            else:
                self.average[name].copy_(value)

    def _save(
        self,
        stage: int,
        step: int,
        optimiser: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LRScheduler,
    ) -> None:
        state = {
            "stages": len(self.recipe.stages),
            "stage": stage,
            "step": step,
            "model": self.model.state_dict(),
            "average": self.average,
            "optimiser": optimiser.state_dict(),
            "schedule": schedule.state_dict(),
        }
        save_run(self.folder, self.recipe.text, state)

    def _load(self) -> dict[str, Any] | None:
        saved = load_run(self.folder, self.recipe.text, self.device)
        if saved is None:
            return None
        path = self.folder / LAST
        if saved.get("stages") != len(self.recipe.stages):
            raise WeightsError(f"{path} began elsewhere: resume with the same --init, or train into another folder.")
        load_strictly(self.model, saved["model"], path)
        self.average = saved["average"]
        log.info("going on from %s: stage %d, step %d", path, saved["stage"] + 1, saved["step"])
        return saved
