"""What a worker does with a job: the pipeline, with a network that is loaded once."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace

from saliency_cli.batch.jobs import Job, Outcome
from saliency_cli.inference.predictor import SaliencyPredictor
from saliency_cli.media import mark_temporary_files
from saliency_cli.options import PredictOptions
from saliency_cli.pipeline import load_predictor, predict

__all__ = ["predicting"]


def predicting(
    options: PredictOptions,
    device: str | None,
    threads: int | None,
    *,
    predictor: SaliencyPredictor | None = None,
) -> Callable[[Job, Callable[[int, int | None], None]], Outcome]:
    """A function that predicts jobs, on ``device`` and with ``threads`` where they are given; ``predictor`` if it is.

    Raises WeightsError, DeviceError, UsageError: see ``pipeline.load_predictor``.
    """
    options = replace(options, device=device or options.device, threads=threads or options.threads)
    loaded = load_predictor(options) if predictor is None else predictor

    def run(job: Job, on_progress: Callable[[int, int | None], None]) -> Outcome:
        mark_temporary_files(job.mark)
        prediction = predict(
            job.source,
            replace(options, overwrite=options.overwrite or job.redone),
            predictor=loaded,
            others=job.others,
            folder=job.folder,
            name=job.name,
            on_progress=on_progress,
        )
        return Outcome(
            job.item,
            "done",
            products=tuple(str(output.path) for output in prediction.outputs),
            frames=prediction.frames,
            timings=prediction.timings,
            decoder=prediction.decoder,
            device=prediction.device,
            precision=prediction.precision,
            weights=prediction.weights,
            warnings=prediction.warnings,
            memory=peak_memory(),
        )

    return run


def peak_memory() -> int:
    """Bytes that this process has held at most; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
