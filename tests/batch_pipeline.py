"""The pipeline in a batch's worker, with a predictor that costs nothing: importable by name from its process."""

from __future__ import annotations

import os
from collections.abc import Callable

from fakes import fake

from saliency_cli.batch.jobs import Outcome
from saliency_cli.batch.predicting import predicting
from saliency_cli.options import PredictOptions

__all__ = ["load_pipeline_with_fake"]


def load_pipeline_with_fake(
    options: PredictOptions, device: str | None, threads: int | None, /
) -> Callable[..., Outcome]:
    """Reads and writes as ever, but for waiting for the disk; maps are the fake's."""
    os.fsync = lambda handle: None
    return predicting(options, device, threads, predictor=fake())
