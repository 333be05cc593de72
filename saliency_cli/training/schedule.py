"""When things happen in a run: how long it is, when its rates fall, when it validates. Arithmetic on step numbers."""

from __future__ import annotations

from dataclasses import dataclass

from saliency_cli.training.windowed_recipe import Part, SchedulePlan

__all__ = ["Schedule"]


@dataclass(frozen=True, slots=True)
class Schedule:
    """A plan for a set of ``epoch`` clips an epoch. Steps count from 0 before they are made.

    Epochs pass into one another: with 600 videos and batches of 16, step 37 takes 8 clips of the first epoch and 8 of
    the second, and belongs to the first, like every step whose first clip does.
    """

    plan: SchedulePlan
    epoch: int

    @property
    def steps(self) -> int:
        """Of the whole run. The last epoch is made full."""
        plan = self.plan
        return plan.length if plan.unit == "step" else -(-plan.length * self.epoch // plan.batch)

    def epoch_of(self, step: int) -> int:
        """The epoch, from 1, that a step belongs to."""
        return step * self.plan.batch // self.epoch + 1

    def factor(self, step: int, part: Part) -> float:
        """What a part's first rate is multiplied by in a step."""
        if part not in self.plan.falling:
            return 1.0
        now = self.epoch_of(step) if self.plan.unit == "epoch" else step + 1
        return float(self.plan.falls_by ** sum(at <= now for at in self.plan.falls_at))

    def validates_after(self, done: int) -> bool:
        """Whether the ``done``-th step completes something that is validated; the last step always does."""
        every = self.plan.validate_every
        return done == self.steps or self._completed(done) // every > self._completed(done - 1) // every

    def _completed(self, done: int) -> int:
        return done if self.plan.unit == "step" else done * self.plan.batch // self.epoch
