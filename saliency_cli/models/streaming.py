"""The embedded model: TSFP-Net's pyramid on a 2-D encoder, aggregated over time without a window.

TSFP-Net (2021, section 3.1) builds a temporal-spatial pyramid from a 3-D encoder and decodes each level on its own.
Here the encoder (EfficientNet-Lite0) sees one frame at a time, and time enters in the pyramid, where each level keeps
an exponentially fading memory of its features. The memory fades with seconds, read from presentation times, not with
frames: a still shot gives the same maps at any frame rate, a moving one nearly so, and a frame costs the same however
long the video is. This is our own design, not the paper's.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saliency_cli.models.efficientnet import TAP_CHANNELS, EfficientNetLite0

__all__ = ["StreamState", "StreamingTSFPNet", "input_size_for"]

STRIDE = 32  # the encoder's coarsest level; input sizes are multiples of it
FEATURE_HALF_LIFE = 0.5  # seconds until half of a level's memory has faded
MAP_HALF_LIFE = 0.2  # seconds; the same for the map itself, which keeps it from flickering
STATIC_CHANGE = 0.05  # relative change of features below which a place counts as still: sensor noise, compression
PRIOR_SIZE = (7, 10)  # grid of the learned centre prior, stretched to the map
PRIOR_START = 1.0  # spread of the prior before training, in units of the picture's half width and half height


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

    ``features`` and ``energy``, one tensor a level: (B, 64, h, w) and (B, 1, h, w). ``density``: (B, 1, H/4, W/4).
    ``seconds``: (B,), float64 on the CPU, presentation time of the last frame seen.
    """

    features: tuple[Tensor, ...]
    energy: tuple[Tensor, ...]
    density: Tensor
    seconds: Tensor


def _fade(elapsed: Tensor, half_life: float) -> Tensor:
    """Share of the new value after ``elapsed`` seconds, (B,) → (B, 1, 1, 1). Times that run back count as none."""
    return (1 - torch.exp2(-elapsed.clamp(min=0) / half_life))[:, None, None, None]


class StreamingTSFPNet(nn.Module):
    """Frames in presentation order → one density map a frame, with a memory that the caller hands on."""

    def __init__(self, *, lateral_channels: int = 64, motion_channels: int = 16) -> None:
        super().__init__()
        c, levels = lateral_channels, len(TAP_CHANNELS)
        self.encoder = EfficientNetLite0()
        self.laterals = nn.ModuleList(nn.Conv2d(channels, c, 1) for channels in TAP_CHANNELS)
        self.temporal = nn.ModuleList(nn.Conv2d(c, c, 1, bias=False) for _ in TAP_CHANNELS)
        self.decoders = nn.ModuleList(
            nn.Sequential(nn.Conv2d(c, c, 3, padding=1, bias=False), nn.BatchNorm2d(c), nn.ReLU(inplace=True))
            for _ in TAP_CHANNELS
        )
        self.mix = nn.Sequential(nn.Conv2d(c, c, 3, padding=1), nn.ReLU(inplace=True))
        self.head = nn.Conv2d(c, 1, 1)
        self.motion = nn.Sequential(nn.Conv2d(2 * levels, motion_channels, 3, padding=1), nn.ReLU(inplace=True))
        self.motion_mix = nn.Sequential(
            nn.Conv2d(c + motion_channels, 2 * motion_channels, 3, padding=1), nn.ReLU(inplace=True)
        )
        self.motion_head = nn.Conv2d(2 * motion_channels, 1, 1, bias=False)
        self.prior = nn.Parameter(_gaussian_prior(*PRIOR_SIZE))
        # Until videos are trained on, time changes nothing: the network is the stills' network.
        for convolution in (*self.temporal, self.motion_head):
            assert isinstance(convolution, nn.Conv2d)
            nn.init.zeros_(convolution.weight)

    def forward(self, frames: Tensor, seconds: Tensor, state: StreamState | None = None) -> tuple[Tensor, StreamState]:
        """Density maps of a run of frames.

        Args:
            frames: (B, S, 3, H, W), normalised, S consecutive frames of B videos; H and W multiples of 32.
            seconds: (B, S), float64, presentation times; on the CPU, as not every device has float64.
            state: what the previous run returned; None at the start of a video.

        Returns:
            Log density (B, S, H/4, W/4), whose exponential sums to 1 over each map, and the state to go on from.
        """
        batch = frames.shape[0]
        taps = self.encoder(frames.flatten(0, 1))  # 4 × (B·S, C, h, w), strides 4 … 32
        levels = [
            _unfold(lateral(tap), batch) for lateral, tap in zip(self.laterals, taps, strict=True)
        ]  # 4 × (B, S, 64, h, w)
        elapsed = _elapsed(seconds, state).to(frames.device)  # (B, S)
        aggregated, motion = [], []
        features: list[Tensor] = []
        energies: list[Tensor] = []
        for number, (level, mix) in enumerate(zip(levels, self.temporal, strict=True)):
            start = None if state is None else (state.features[number], state.energy[number])
            memory, energy, end = _remember(level, elapsed, start)  # (B, S, 64, h, w), (B, S, 1, h, w)
            change = (memory - level).flatten(0, 1)
            aggregated.append(level.flatten(0, 1) + mix(change))  # (B·S, 64, h, w)
            motion.append(_motion_features(energy.flatten(0, 1)))  # (B·S, 2, h, w)
            features.append(end[0])
            energies.append(end[1])
        logits = self._decode(aggregated, motion)  # (B·S, 1, H/4, W/4)
        density = logits.flatten(1).softmax(1).view_as(logits)
        smooth, last = _smooth(_unfold(density, batch), elapsed, None if state is None else state.density)
        end_state = StreamState(tuple(features), tuple(energies), last, seconds[:, -1])
        return smooth.squeeze(2).clamp_min(1e-12).log(), end_state  # (B, S, H/4, W/4)

    def _decode(self, levels: list[Tensor], motion: list[Tensor]) -> Tensor:
        """Top-down pyramid, one decoder a level, all summed at stride 4: 4 × (N, 64, h, w) → (N, 1, H/4, W/4)."""
        size = levels[0].shape[-2:]
        top = levels[-1]
        decoded = _resize(self.decoders[-1](top), size)  # (N, 64, H/4, W/4)
        for level, decoder in zip(levels[-2::-1], list(self.decoders)[-2::-1], strict=True):
            top = level + _resize(top, level.shape[-2:])
            decoded = decoded + _resize(decoder(top), size)
        mixed = self.mix(decoded)  # (N, 64, H/4, W/4)
        moving = self.motion(torch.cat([_resize(m, size) for m in motion], 1))  # (N, 16, H/4, W/4)
        moving = self.motion_mix(torch.cat([mixed, moving], 1))  # (N, 32, H/4, W/4)
        # To one channel in fp32: bf16 convolutions with a single output are broken in some builds of oneDNN, and
        # a softmax over thousands of places wants the digits.
        with torch.autocast(mixed.device.type, enabled=False):
            logits: Tensor = self.head(mixed.float()) + self.motion_head(moving.float())  # (N, 1, H/4, W/4)
            return logits + _resize(self.prior, size)


def _elapsed(seconds: Tensor, state: StreamState | None) -> Tensor:
    """Seconds since the frame before, (B, S) → (B, S) float32; 0 for the first frame of a video."""
    before = seconds[:, :1] if state is None else state.seconds[:, None]
    return torch.diff(seconds, dim=1, prepend=before).float()


def _remember(
    level: Tensor, elapsed: Tensor, start: tuple[Tensor, Tensor] | None
) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
    """Fading memory of a level and the energy of what changes in it.

    Args:
        level: (B, S, C, h, w). elapsed: (B, S) seconds. start: memory and energy after the frame before.

    Returns:
        Memory (B, S, C, h, w); energy (B, S, 1, h, w), the squared distance of the features from their memory in
        units of the frame's mean squared feature, fading alike; and both after the last frame.
    """
    # The square of bf16 features is summed over channels and kept over time: fp32 keeps the small changes.
    level = level.float()
    power = level.square().mean((2, 3, 4), keepdim=True) + 1e-6  # (B, S, 1, 1, 1)
    memory, energy = (level[:, 0], torch.zeros_like(level[:, 0, :1])) if start is None else start
    memories, energies = [], []
    for step in range(level.shape[1]):
        share = _fade(elapsed[:, step], FEATURE_HALF_LIFE)  # (B, 1, 1, 1)
        change = (level[:, step] - memory).square().mean(1, keepdim=True) / power[:, step]  # (B, 1, h, w)
        memory = torch.lerp(memory, level[:, step], share)
        energy = torch.lerp(energy, change, share)
        memories.append(memory)
        energies.append(energy)
    return torch.stack(memories, 1), torch.stack(energies, 1), (memory, energy)


def _motion_features(energy: Tensor) -> Tensor:
    """How much a place changes, and how much more than the rest of the frame: (N, 1, h, w) → (N, 2, h, w)."""
    change = (energy + 1e-8).sqrt()
    contrast = change / (change.mean((2, 3), keepdim=True) + STATIC_CHANGE)
    return torch.cat([change, contrast], 1)


def _smooth(density: Tensor, elapsed: Tensor, start: Tensor | None) -> tuple[Tensor, Tensor]:
    """Fading mean of the maps over time: (B, S, 1, h, w) → the same, and the last one (B, 1, h, w)."""
    smooth = density[:, 0] if start is None else start
    maps = []
    for step in range(density.shape[1]):
        smooth = torch.lerp(smooth, density[:, step], _fade(elapsed[:, step], MAP_HALF_LIFE))
        maps.append(smooth)
    return torch.stack(maps, 1), smooth


def _unfold(x: Tensor, batch: int) -> Tensor:
    """The two axes that the encoder took as one: (B·S, C, h, w) → (B, S, C, h, w)."""
    return x.view(batch, -1, *x.shape[1:])


def _resize(x: Tensor, size: torch.Size | tuple[int, int]) -> Tensor:
    """Bilinear, (N, C, h, w) → (N, C, *size)."""
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)


def _gaussian_prior(height: int, width: int) -> Tensor:
    """Log of a centred Gaussian, (1, 1, height, width): where the learned prior starts."""
    y = torch.linspace(-1, 1, height)[:, None]
    x = torch.linspace(-1, 1, width)[None, :]
    return (-(x.square() + y.square()) / (2 * PRIOR_START**2))[None, None]
