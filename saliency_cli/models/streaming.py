"""The embedded model: TSFP-Net's pyramid on a 2-D encoder, and what moves, without a window.

TSFP-Net (2021, section 3.1) builds a temporal-spatial pyramid from a 3-D encoder and decodes each level on its own.
Here the encoder (EfficientNet-Lite0) and the pyramid see one frame at a time, as a photograph: they are learnt from
photographs, of which there are many with recorded gaze. In a video, a second branch then weighs what was found against
what moves, where, and for how long the shot has been seen; it is small enough to be learnt from two dozen videos. All
time is in seconds of presentation time, none in frames, and a frame costs the same however long the video is. This is
our own design, not the paper's.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saliency_cli.errors import UsageError
from saliency_cli.models.efficientnet import TAP_CHANNELS, EfficientNetLite0
from saliency_cli.models.folding import folded_copy
from saliency_cli.models.layers import without_autocast
from saliency_cli.models.streaming_sound import SoundBranch

__all__ = ["MOTION_CHANNELS", "StreamState", "StreamingTSFPNet", "coarsened", "faded", "input_size_for"]

STRIDE = 32  # the encoder's coarsest level; input sizes are multiples of it
MAP_HALF_LIFE = 0.1  # seconds in which half of an earlier map fades, which keeps maps from flickering
PRIOR_SIZE = (7, 10)  # grid of the learned centre prior, stretched to the map
PRIOR_START = 1.0  # spread of the prior before training, in units of the picture's half width and half height

MOTION_CHANNELS = 6  # see inference.motion.Motion.maps
SPEED_FLOOR, DIFFERENCE_FLOOR = 0.01, 0.01  # of motion: below, all counts as still. Lengths per second; hundred grays
SPEED_PEAK, DIFFERENCE_PEAK = 0.05, 0.02  # peaks below these are not stretched to 1
ONSETS = (0.25, 0.8)  # seconds; people look to the middle when a shot begins, and leave it at about this pace
POSITIONS = 4
FORGOTTEN = 0.2  # share of the features that the motion branch must do without, in training
CUES = 2 * 3 * 2 + 2 + 1 + POSITIONS + 3 * len(ONSETS)  # channels that the motion branch sees besides the features


def input_size_for(width: int, height: int, *, budget: tuple[int, int]) -> tuple[int, int]:
    """The network's input size for a source: its shape kept, its area near ``budget``.

    Stretching a portrait video to a landscape input would widen every face threefold, so the size follows the source:
    the multiples of 32 whose shape and area are, as ratios, nearest to the wanted ones.

    Args:
        width, height: of the source, in pixels.
        budget: (height, width) whose product is the area to aim at.

    Returns:
        (height, width) of the input, in pixels.
    """
    area = budget[0] * budget[1]
    wanted_shape = torch.tensor(min(max(width / height, 0.25), 4.0)).log()
    sides = torch.arange(2, 33) * STRIDE
    h, w = sides[:, None], sides[None, :]
    shape_error = ((w / h).log() - wanted_shape).abs()
    area_error = (h * w / area).log().abs()
    best = int((shape_error + 0.5 * area_error).argmin())
    return int(sides[best // len(sides)]), int(sides[best % len(sides)])


@dataclass(frozen=True, slots=True)
class StreamState:
    """What the network remembers between frames of a video.

    ``density``: (B, 1, H/4, W/4), the last map. ``seconds``: (B,), float64 on the CPU, its presentation time.
    """

    density: Tensor
    seconds: Tensor


class StreamingTSFPNet(nn.Module):
    """Photographs, or frames in presentation order with their motion → one density map each."""

    def __init__(self, *, lateral_channels: int = 64, audio: bool = False) -> None:
        super().__init__()
        c = lateral_channels
        self.encoder = EfficientNetLite0()
        self.laterals = nn.ModuleList(nn.Conv2d(channels, c, 1) for channels in TAP_CHANNELS)
        self.decoders = nn.ModuleList(
            nn.Sequential(nn.Conv2d(c, c, 3, padding=1, bias=False), nn.BatchNorm2d(c), nn.ReLU(inplace=True))
            for _ in TAP_CHANNELS
        )
        self.mix = nn.Sequential(nn.Conv2d(c, c, 3, padding=1), nn.ReLU(inplace=True))
        self.head = nn.Conv2d(c, 1, 1)
        self.prior = nn.Parameter(_gaussian_prior(*PRIOR_SIZE))
        self.motion = MotionBranch(c)
        self.sound = SoundBranch() if audio else None

    def forward(
        self,
        frames: Tensor,
        seconds: Tensor | None = None,
        motion: Tensor | None = None,
        since: Tensor | None = None,
        state: StreamState | None = None,
        heard: Tensor | None = None,
    ) -> tuple[Tensor, StreamState | None]:
        """Density maps of a run of frames, or of photographs.

        Args:
            frames: (B, S, 3, H, W), normalised, S consecutive frames of B videos; H and W multiples of 32.
            seconds: (B, S), float64, presentation times; on the CPU, as not every device has float64. None where
                frames are photographs, or stand for themselves: they are not smoothed over time then.
            motion: (B, S, 6, h, w), as :class:`saliency_cli.inference.motion.Motion` has it; None for photographs.
            since: (B, S), seconds since the shot began; goes with ``motion``.
            state: what the previous run returned; None at the start of a video.
            heard: (B, S, 1024), what :meth:`SoundBranch.hear` made of each frame's sound, zeros for silence; None
                without sound.

        Returns:
            Log density (B, S, H/4, W/4), whose exponential sums to 1 over each map, and the state to go on from, None
            without ``seconds``.

        Raises:
            UsageError: ``heard`` for a network without a sound branch.
        """
        batch = frames.shape[0]
        mixed, logits, level3 = self.seen(frames.flatten(0, 1))  # (B·S, 64, …), (B·S, 1, H/4, W/4), (B·S, 112, …)
        if motion is not None and since is not None:
            logits = self.motion(coarsened(mixed), logits, motion.flatten(0, 1), since.flatten())  # (B·S, 1, H/4, W/4)
        if heard is not None:
            if self.sound is None:
                raise UsageError("this network has no sound branch: load weights that have one, or leave sound out.")
            logits = self.sound(logits, level3, heard.flatten(0, 1))  # (B·S, 1, H/4, W/4)
        log_density = logits.flatten(1).log_softmax(1).view(batch, -1, *logits.shape[-2:])  # (B, S, H/4, W/4)
        if seconds is None:
            return log_density, None
        return faded(log_density, seconds, since, state)

    def for_inference(self, dtype: torch.dtype) -> StreamingTSFPNet:
        """A copy that gives the same maps but for rounding, sooner.

        Normalisations are folded in, channels lie last, and what sees the picture holds its weights in ``dtype``; below
        float32 it wants autocast to that type. The rest of the network keeps float32.
        """
        copy = folded_copy(self)
        copy.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        for part in (copy.encoder, copy.laterals, copy.decoders, copy.mix):
            part.to(dtype)
        return copy

    def looked_at(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Features and logits of where a photograph is looked at: (N, 3, H, W) → (N, 64, …), (N, 1, H/4, W/4)."""
        return self.seen(frames)[:2]

    def seen(self, frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The same two, and the encoder's level 3, (N, 112, H/16, W/16)."""
        taps = self.encoder(frames)  # 4 × (N, C, h, w), strides 4 … 32
        levels = [lateral(tap) for lateral, tap in zip(self.laterals, taps, strict=True)]  # 4 × (N, 64, h, w)
        size = levels[0].shape[-2:]
        top = levels[-1]
        decoded = _resize(self.decoders[-1](top), size)  # (N, 64, H/4, W/4)
        for level, decoder in zip(levels[-2::-1], list(self.decoders)[-2::-1], strict=True):
            top = level + _resize(top, level.shape[-2:])
            decoded = decoded + _resize(decoder(top), size)
        mixed: Tensor = self.mix(decoded)  # (N, 64, H/4, W/4)
        # To one channel in fp32: bf16 convolutions with a single output are broken in some builds of oneDNN, and
        # a softmax over thousands of places wants the digits.
        with without_autocast(mixed):
            logits: Tensor = self.head(mixed.float()) + _resize(self.prior, size)  # (N, 1, H/4, W/4)
        return mixed, logits, taps[2]


def coarsened(mixed: Tensor) -> Tensor:
    """Features as the motion branch sees them: (N, C, h, w) → (N, C, h/2, w/2), float32."""
    return F.avg_pool2d(mixed.float(), 2)


class MotionBranch(nn.Module):
    """Weighs where a photograph would be looked at against what moves, the place, and the time since the shot began.

    Two dozen videos teach when movement counts, but hardly what things are: so it is small, starts from the
    photograph's map, and averages several ``opinions``, of which half see the picture's features too. It works at half
    of the map's resolution, in fp32, as it sums logarithms.
    """

    def __init__(self, channels: int, *, opinions: int = 4, squeezed: int = 24, hidden: int = 32) -> None:
        super().__init__()
        seeing = opinions // 2
        self.squeeze = nn.ModuleList(nn.Conv2d(channels, squeezed, 1) for _ in range(seeing))
        self.opinions = nn.ModuleList(
            _opinion(CUES + (squeezed if number < seeing else 0), hidden) for number in range(opinions)
        )
        self.forgetting = nn.Dropout2d(FORGOTTEN)
        self.sharpness = nn.Parameter(torch.ones(opinions))

    def forward(
        self, features: Tensor, logits: Tensor, motion: Tensor, since: Tensor, *, apart: bool = False
    ) -> Tensor:
        """Logits of where a frame is looked at.

        Args:
            features: (N, C, h/2, w/2), of the frames as photographs, :func:`coarsened`.
            logits: (N, 1, h, w), of the same.
            motion, since: (N, 6, any, any), (N,).
            apart: each opinion's own, to train them, instead of their mean.

        Returns:
            (N, 1, h, w), or (N, K, h, w) with ``apart``.
        """
        size = logits.shape[-2:]
        with without_autocast(logits):
            log_density = logits.float().flatten(1).log_softmax(1).view_as(logits)  # (N, 1, h, w)
            coarse = F.avg_pool2d(log_density, 2)  # (N, 1, h/2, w/2)
            cues = torch.cat(
                [
                    _motion_cues(_resize(motion.float(), coarse.shape[-2:])),  # (N, 14, h/2, w/2)
                    (coarse + 8) / 3,  # around 0
                    *_place_and_onset(since.to(coarse), coarse.shape[-2:]),  # (N, 4, h/2, w/2), (N, 6, h/2, w/2)
                ],
                1,
            )  # (N, 25, h/2, w/2)
            seen = [torch.cat([cues, squeeze(self.forgetting(features)).relu()], 1) for squeeze in self.squeeze]
            seen += [cues] * (len(self.opinions) - len(seen))
            change = torch.cat([opinion(each) for opinion, each in zip(self.opinions, seen, strict=True)], 1)
            result = self.sharpness[:, None, None] * log_density + _resize(change, size)  # (N, K, h, w)
            return result if apart else result.mean(1, keepdim=True)


def _opinion(inputs: int, hidden: int) -> nn.Sequential:
    """(N, inputs, h, w) → (N, 1, h, w); at first 0, so that a frame is looked at as a photograph is."""
    layers: list[nn.Module] = []
    for channels, dilation in ((inputs, 1), (hidden, 2), (hidden, 4)):
        layers += [nn.Conv2d(channels, hidden, 3, padding=dilation, dilation=dilation), nn.ReLU(inplace=True)]
    head = nn.Conv2d(hidden, 1, 1, bias=False)
    nn.init.zeros_(head.weight)
    return nn.Sequential(*layers, head)


def _motion_cues(motion: Tensor) -> Tensor:
    """How much a place moves, how much more than the rest, and how near to the most: (N, 6, h, w) → (N, 14, h, w)."""
    own, changed, speed, camera = torch.split(motion, [2, 2, 1, 1], 1)
    cues = []
    for values, floor, peak in ((own, SPEED_FLOOR, SPEED_PEAK), (changed, DIFFERENCE_FLOOR, DIFFERENCE_PEAK)):
        log = (values + floor).log()
        mean = (values.mean((2, 3), keepdim=True) + floor).log()
        cues += [log, log - mean, values / (values.amax((2, 3), keepdim=True) + peak)]
    cues += [(each + SPEED_FLOOR).log() / 2 + 1 for each in (speed, camera)]
    return torch.cat(cues, 1)


def _place_and_onset(since: Tensor, size: torch.Size) -> tuple[Tensor, Tensor]:
    """The place in the picture, and how fresh the shot is there: (N,) → (N, 4, h, w), (N, 6, h, w)."""
    y = torch.linspace(-1, 1, size[0], device=since.device)[:, None].expand(size)
    x = torch.linspace(-1, 1, size[1], device=since.device)[None].expand(size)
    place = torch.stack([2 * x.square(), 2 * y.square(), y, x.abs()]).expand(len(since), -1, -1, -1)
    fresh = torch.stack([torch.exp(-since / pace) for pace in ONSETS], 1)[:, :, None, None]  # (N, 2, 1, 1)
    onset = torch.cat([fresh.expand(-1, -1, *size), fresh * place[:, :1], fresh * place[:, 1:2]], 1)
    return place, onset


def faded(
    log_density: Tensor, seconds: Tensor, since: Tensor | None, state: StreamState | None
) -> tuple[Tensor, StreamState]:
    """The log densities (B, S, h, w) of frames by themselves, smoothed over time, and the state to go on from.

    The rest is as for :meth:`StreamingTSFPNet.forward`, which does this as its last step.
    """
    begins = None if since is None else since <= 0
    smooth, last = _smooth(log_density.exp(), _elapsed(seconds, state), begins, state)
    return smooth.clamp_min(1e-12).log(), StreamState(last, seconds[:, -1])


def _elapsed(seconds: Tensor, state: StreamState | None) -> Tensor:
    """Seconds since the frame before, (B, S) → (B, S) float32; 0 for the first frame of a video."""
    before = seconds[:, :1] if state is None else state.seconds[:, None]
    return torch.diff(seconds, dim=1, prepend=before).float()


def _smooth(
    density: Tensor, elapsed: Tensor, begins: Tensor | None, state: StreamState | None
) -> tuple[Tensor, Tensor]:
    """Fading mean of the maps over time, anew where a shot ``begins``: (B, S, h, w), and the last one (B, 1, h, w)."""
    # Times that run back count as none.
    share = (1 - torch.exp2(-elapsed.clamp(min=0) / MAP_HALF_LIFE)).to(density)  # (B, S)
    if begins is not None:
        share = share.masked_fill(begins.to(share.device), 1.0)
    smooth = density[:, 0] if state is None else state.density[:, 0]
    maps = []
    for step in range(density.shape[1]):
        smooth = torch.lerp(smooth, density[:, step], share[:, step, None, None])
        maps.append(smooth)
    return torch.stack(maps, 1), smooth[:, None]


def _resize(x: Tensor, size: torch.Size | tuple[int, int]) -> Tensor:
    """Bilinear, (N, C, h, w) → (N, C, *size)."""
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)


def _gaussian_prior(height: int, width: int) -> Tensor:
    """Log of a centred Gaussian, (1, 1, height, width): where the learned prior starts."""
    y = torch.linspace(-1, 1, height)[:, None]
    x = torch.linspace(-1, 1, width)[None, :]
    return (-(x.square() + y.square()) / (2 * PRIOR_START**2))[None, None]
