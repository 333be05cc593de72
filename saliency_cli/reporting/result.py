"""What a report, or several, left."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saliency_cli.reporting.measures import Summary

__all__ = ["ReportFailure", "ReportIndex", "ReportPage"]


@dataclass(frozen=True, slots=True, eq=False)
class ReportPage:
    """One page.

    ``output``: the HTML file. ``picture``: a key frame with its overlay, a JPEG. ``step``: of so many frames the page
    holds one. ``timings``: seconds that each stage was busy, and in all.
    """

    source: Path
    output: Path
    summary: Summary
    picture: bytes
    step: int
    decoder: str
    device: str
    precision: str
    weights: str
    warnings: tuple[str, ...]
    timings: dict[str, float]

    @property
    def frames_per_second(self) -> float:
        """Frames over all the time it took, loading included."""
        return self.summary.frames / max(self.timings["total"], 1e-9)

    def record(self) -> dict[str, Any]:
        """How the run went, for the sidecar and the page."""
        names = ("decoder", "device", "precision", "timings", "warnings")
        return {"frames": self.summary.frames, **{name: getattr(self, name) for name in names}}


@dataclass(frozen=True, slots=True)
class ReportFailure:
    """An input without a page. ``message``: one sentence."""

    source: Path
    message: str
    exit_code: int


@dataclass(frozen=True, slots=True, eq=False)
class ReportIndex:
    """Several pages and the index that leads to them; ``output`` is None if there is no page."""

    output: Path | None
    pages: tuple[ReportPage, ...]
    failures: tuple[ReportFailure, ...]
