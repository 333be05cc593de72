"""Reports of clips made here, with a predictor that has no network."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from clips import Tone, make_clip
from fakes import fake

from saliency_cli.reporting.report import report

STEPS = [0, 40, 80, 120, 200, 240, 280, 330, 400, 440, 480, 520, 600, 640, 720, 760, 800, 900, 940, 1000]
TIMES = [Fraction(step, 1000) for step in STEPS]


@pytest.fixture(scope="session")
def numbered_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of a video with a number on each of its frames, shown at odd times, and with sound."""
    folder = tmp_path_factory.mktemp("page")
    clip = make_clip(folder / "numbers.mp4", frames=len(TIMES), size=(160, 120), times=TIMES, sound=Tone(seconds=1.0))
    return report(clip, predictor=fake(), output=str(folder / "numbers.html")).output
