"""What a reframing is asked for: frozen, checked once."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from saliency_cli.errors import UsageError
from saliency_cli.options import Decoder, Model, Precision, PredictOptions
from saliency_cli.reframing.path import Limits

__all__ = ["ReframeOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReframeOptions:
    """Everything that decides the products of ``reframe``.

    Attributes:
        aspect: ``W:H`` or a number, width over height of the picture as shown.
        output: a video, or a folder for one with the name that the tool gives it; None: that name in the current
            folder, or no video if ``path`` is given.
        path: a file for the crop's path: ``.json``, or ``.cmd`` or ``.txt``, commands for FFmpeg's crop filter; ``-``
            is JSON to stdout.
        preview: the whole video with the crop drawn upon it.
        height: of the result, in pixels, even; None: of the crop.
        max_speed, max_acceleration: of the crop, in lengths of the frame's side along which it moves, per second and
            per second squared.
        model, weights, device, precision, decoder, start, end, rate, crf, overwrite, threads: as of ``PredictOptions``.
    """

    aspect: str = "9:16"
    output: str | None = None
    path: str | None = None
    preview: bool = False
    height: int | None = None
    max_speed: float = Limits().speed
    max_acceleration: float = Limits().acceleration
    model: Model = "tsfp"
    weights: str | None = None
    device: str = "auto"
    precision: Precision = "auto"
    decoder: Decoder = "auto"
    start: float | None = None
    end: float | None = None
    rate: float | None = None
    crf: int = 18
    overwrite: bool = True
    threads: int | None = None

    def __post_init__(self) -> None:
        for flag, value in (("--max-speed", self.max_speed), ("--max-acceleration", self.max_acceleration)):
            if not (isfinite(value) and 0 <= value <= 1000):
                raise UsageError(f"{flag} {value:g}: must lie between 0 and 1000 frame widths a second.")
        if self.height is not None and not (16 <= self.height <= 16384 and self.height % 2 == 0):
            raise UsageError(f"--height {self.height}: must be an even number of pixels from 16 to 16384.")
        if self.preview and self.height is not None:
            raise UsageError("--preview shows the whole video at its own size; leave out --height.")
        if self.path is not None and self.output is None and (self.preview or self.height is not None):
            flag = "--preview" if self.preview else "--height"
            raise UsageError(f"{flag}: with --path alone no video is written; give one with -o.")
        _ = self.prediction  # which checks the others

    @property
    def prediction(self) -> PredictOptions:
        """What that asks of the prediction."""
        return PredictOptions(
            model=self.model,
            weights=self.weights,
            device=self.device,
            precision=self.precision,
            decoder=self.decoder,
            start=self.start,
            end=self.end,
            rate=self.rate,
            crf=self.crf,
            overwrite=self.overwrite,
            threads=self.threads,
        )

    @property
    def limits(self) -> Limits:
        return Limits(self.max_speed, self.max_acceleration)
