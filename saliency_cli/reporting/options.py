"""What a report is asked for."""

from __future__ import annotations

from dataclasses import dataclass

from saliency_cli.errors import UsageError
from saliency_cli.options import Colormap, Decoder, Model, Precision, PredictOptions

__all__ = ["SMALLEST", "ReportOptions"]

SMALLEST, LARGEST = 64, 1920  # pixels: of the longest side of the embedded video


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportOptions:
    """Everything that decides a page.

    Attributes:
        output: an ``.html`` file, or a folder; None is the current folder.
        size: pixels of the longest side of the embedded video, at most; a smaller source keeps its size.
        colormap, opacity: what the overlay begins with; the reader of the page can change both.
        model, weights, device, precision, exact, decoder, start, end, rate, overwrite, threads: as in
            :class:`~saliency_cli.options.PredictOptions`.
    """

    output: str | None = None
    size: int = 640
    colormap: Colormap = "turbo"
    opacity: float = 0.7
    model: Model = "tsfp"
    weights: str | None = None
    device: str = "auto"
    precision: Precision = "auto"
    exact: bool = False
    decoder: Decoder = "auto"
    start: float | None = None
    end: float | None = None
    rate: float | None = None
    overwrite: bool = True
    threads: int | None = None

    def __post_init__(self) -> None:
        if not SMALLEST <= self.size <= LARGEST:
            raise UsageError(f"--size {self.size}: must lie between {SMALLEST} and {LARGEST} pixels.")
        _ = self.prediction  # refuses what a prediction refuses

    @property
    def prediction(self) -> PredictOptions:
        """The options of the prediction that the page shows."""
        return PredictOptions(
            colormap=self.colormap,
            opacity=self.opacity,
            model=self.model,
            weights=self.weights,
            device=self.device,
            precision=self.precision,
            exact=self.exact,
            decoder=self.decoder,
            start=self.start,
            end=self.end,
            rate=self.rate,
            overwrite=self.overwrite,
            threads=self.threads,
        )
