"""Videos with sound, as the frozen visual network sees and SoundNet hears them: what the sound branch learns from.

Everything but the fusion stays as it is, so that a frame is seen and heard once for all steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saliency_cli.errors import UsageError
from saliency_cli.inference.hearing import Ears
from saliency_cli.media import Sound, sound_window
from saliency_cli.models.efficientnet import MEAN, STD
from saliency_cli.models.streaming import StreamingTSFPNet, coarsened
from saliency_cli.models.streaming_sound import SoundBranch
from saliency_cli.training.streaming_data import Clip, glances_of, input_shape, to_network

__all__ = ["Hearing", "heard_at", "hearing_batch", "hearing_of", "measure", "sound_of"]

AT_ONCE = 8  # frames of a video that the network sees at a time


@dataclass(frozen=True, slots=True, eq=False)
class Hearing:
    """A clip without sound as the network sees it, its sound, and where its frames are looked at.

    ``logits``: float32 (S, 1, h, w), with motion. ``level3``: float16 (S, 112, H/16, W/16). ``heard``: float32
    (S, 1024), zeros for silence. ``counts`` and ``target``: float32 (S, h, w), as :class:`Glances` has them.
    """

    name: str
    logits: Tensor
    level3: Tensor
    heard: Tensor
    counts: Tensor
    target: Tensor


def sound_of(model: StreamingTSFPNet) -> SoundBranch:
    """The model's sound branch. Raises UsageError if it has none."""
    if model.sound is None:
        raise UsageError("this network has no sound branch: build it with audio=True.")
    return model.sound


def heard_at(branch: SoundBranch, sound: Sound | None, seconds: NDArray[np.float64]) -> Tensor:
    """What the branch hears at presentation times (S,), as in prediction: (S, 1024)."""
    if sound is None:
        return branch.mean.new_zeros(len(seconds), len(branch.mean))
    return Ears(branch, lambda ends, _: sound_window(sound, ends, 0.0)).hear(map(float, seconds))


@torch.no_grad()
def hearing_of(
    model: StreamingTSFPNet,
    clip: Clip,
    *,
    input_size: tuple[int, int],
    device: torch.device | None = None,
    autocast: torch.dtype | None = None,
) -> Hearing:
    """A clip as the model, which is on ``device``, sees it without sound, and hears it.

    Args:
        input_size: the budget of area that its frames are fitted into.
        autocast: dtype of mixed precision; None computes in fp32.
    """
    device = device or torch.device("cpu")
    model.eval()
    height, width = input_shape(clip.frames[0], input_size)
    motion, since = torch.from_numpy(clip.motion), torch.from_numpy(clip.since)
    logits, level3 = [], []
    for begin in range(0, len(clip.frames), AT_ONCE):
        part = slice(begin, begin + AT_ONCE)
        pictures = (to_network(clip.frames[part], height=height, width=width).to(device) / 255 - MEAN) / STD
        with torch.autocast(device.type, dtype=autocast, enabled=autocast is not None):
            mixed, looked_at, features = model.seen(pictures.contiguous(memory_format=torch.channels_last))
            moving, fresh = motion[part].float().to(device), since[part].to(device)
            logits.append(model.motion(coarsened(mixed), looked_at, moving, fresh).float().cpu())
        level3.append(features.half().cpu())
    heard = heard_at(sound_of(model), clip.sound, clip.seconds).cpu()
    together = torch.cat(logits)
    watched = glances_of(clip, together, together)
    return Hearing(clip.name, together, torch.cat(level3), heard, watched.counts, watched.target)


def measure(branch: SoundBranch, hearings: Sequence[Hearing]) -> None:
    """Centre the branch on the sounds that it is going to learn from."""
    branch.measure(torch.cat([hearing.heard for hearing in hearings]).to(branch.mean.device))


def hearing_batch(hearings: Sequence[Hearing], rng: np.random.Generator, *, size: int) -> Hearing:
    """``size`` frames that somebody looked at and that have sound, of clips of one shape, flipped at random.

    Raises UsageError if there are none.
    """
    usable = [(hearing, _usable(hearing)) for hearing in hearings]
    usable = [(hearing, frames) for hearing, frames in usable if len(frames)]
    if not usable:
        raise UsageError("no clip has sound while somebody looks at it: there is nothing for [sound] to learn from.")
    shape = usable[int(rng.integers(len(usable)))][0].counts.shape[1:]
    group = [pair for pair in usable if pair[0].counts.shape[1:] == shape]
    rows: list[tuple[Tensor, ...]] = []
    for _ in range(size):
        hearing, frames = group[int(rng.integers(len(group)))]
        at, flip = int(frames[int(rng.integers(len(frames)))]), rng.random() < 0.5
        maps = (hearing.logits[at], hearing.level3[at].float(), hearing.counts[at], hearing.target[at])
        rows.append((*(each.flip(-1) if flip else each for each in maps), hearing.heard[at]))
    logits, level3, counts, target, heard = (torch.stack(part) for part in zip(*rows, strict=True))
    return Hearing("batch", logits, level3, heard, counts, target)


def _usable(hearing: Hearing) -> NDArray[np.int64]:
    frames = hearing.heard.any(1) & hearing.counts.flatten(1).any(1)
    return cast("NDArray[np.int64]", frames.nonzero()[:, 0].numpy())
