"""How good a network with a window is on the validation clips, while it is being trained."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from saliency_cli.errors import UsageError
from saliency_cli.metrics import match_size, nss
from saliency_cli.queues import Ahead
from saliency_cli.training.losses import probability_loss
from saliency_cli.training.ranks import Ranks
from saliency_cli.training.windowed_data import ValidationClips
from saliency_cli.training.windowed_recipe import WindowedRecipe

__all__ = ["Scores", "prepare_clip", "validate"]

READ_AHEAD = 2  # portions


@dataclass(frozen=True, slots=True)
class Scores:
    """Means over ``frames``, those that somebody looked at."""

    loss: float
    nss: float
    frames: int


def prepare_clip(frames: Tensor, recipe: WindowedRecipe, device: torch.device) -> Tensor:
    """uint8 (B, T, H, W, 3) to what the network takes, normalised (B, 3, T, H, W), as the predictor makes it."""
    mean, std = 255 * recipe.model.mean, 255 * recipe.model.std
    return (frames.to(device).float().permute(0, 4, 1, 2, 3) - mean) / std


def validate(
    module: nn.Module,
    clips: ValidationClips,
    recipe: WindowedRecipe,
    device: torch.device,
    autocast: torch.dtype | None,
    ranks: Ranks,
) -> Scores:
    """The loss at the network's size, and NSS at the recordings' as ``vsal evaluate`` takes it, over all processes.

    An even map, for which there is no NSS, counts as 0, its mean over all pixels.

    Raises:
        UsageError: nobody looked at any of the frames.
    """
    module.eval()
    sums = torch.zeros(3, dtype=torch.float64)
    with Ahead((clips.portion(n) for n in range(ranks.rank, len(clips), ranks.size)), depth=READ_AHEAD) as portions:
        for portion in portions:
            clip = prepare_clip(portion.frames, recipe, device)
            inputs = (clip,) if portion.sound is None else (clip, portion.sound.to(device))
            with torch.inference_mode(), torch.autocast(device.type, dtype=autocast, enabled=autocast is not None):
                saliency = module(*inputs).float()  # (B, H, W)
            if not saliency.isfinite().all():
                raise UsageError("the network's maps are no longer finite: lower optimiser.rate, or use fp32.")
            for number, truth in enumerate(portion.scored):
                fixated = portion.fixated[number : number + 1].to(device)
                if not fixated.any():
                    continue
                scored = nss(match_size(saliency[number].cpu().numpy(), *truth.counts.shape), truth.counts)
                if math.isnan(scored):  # an even map: left out, a network would gain by giving up on what is hard
                    scored = 0.0
                one = saliency[number : number + 1]
                loss = probability_loss(one, portion.target[number : number + 1].to(device), fixated, recipe.loss)
                sums += torch.tensor([float(loss), scored, 1.0], dtype=torch.float64)
    loss_sum, nss_sum, frames = ranks.add_up(sums.to(device) if ranks.size > 1 else sums).tolist()
    if not frames:
        raise UsageError(
            f"none of the validation frames of {recipe.data.validation!r} has a fixation; "
            "raise data.validation_frames, or validate on another split."
        )
    return Scores(loss_sum / frames, nss_sum / frames, int(frames))
