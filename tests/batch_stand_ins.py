"""What a batch's workers do in tests: importable by name from the worker's process, and without torch."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from saliency_cli.batch.jobs import Job, Outcome
from saliency_cli.errors import DeviceError, ReadError, WeightsError
from saliency_cli.options import PredictOptions

__all__ = ["job_of", "load_broken", "load_dying", "load_fake", "load_once", "load_without_cuda"]

OnProgress = Callable[[int, int | None], None]


def load_fake(options: PredictOptions, device: str | None, threads: int | None, /) -> Callable[..., Outcome]:
    """Does what the input's text says, and else writes it in upper case."""

    def predict(job: Job, on_progress: OnProgress, /) -> Outcome:
        text = job.source.read_text(encoding="utf-8")
        half = job.folder / f".vsal-{job.mark}-half.txt"
        half.parent.mkdir(parents=True, exist_ok=True)
        half.write_text("half")
        match text:
            case "crash":
                ctypes.string_at(0)
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "exit":
                os._exit(7)
            case "hang":
                while True:
                    time.sleep(0.01)
            case "slow":
                for frame in range(12):
                    on_progress(frame + 1, 12)
                    time.sleep(0.05)
            case "writing":
                for _ in range(12):
                    on_progress(12, 12)
                    time.sleep(0.05)
            case "broken":
                half.unlink()
                raise ReadError(f"{job.source} is broken.")
            case "fault":
                raise ZeroDivisionError("by zero")
        product = job.folder / f"{job.name}.txt"
        half.write_text(text.upper())
        half.replace(product)
        on_progress(1, 1)
        return Outcome(
            job.item, "done", products=(str(product),), frames=1, warnings=(f"{os.getpid()} {device} {threads}",)
        )

    return predict


def load_broken(options: PredictOptions, device: str | None, threads: int | None, /) -> Callable[..., Outcome]:
    raise WeightsError("the weights are broken.")


def load_without_cuda(options: PredictOptions, device: str | None, threads: int | None, /) -> Callable[..., Outcome]:
    if device != "cpu":
        raise DeviceError(f"there is no {device}.")
    return load_fake(options, device, threads)


def load_once(options: PredictOptions, device: str | None, threads: int | None, /) -> Callable[..., Outcome]:
    mark = Path(str(options.weights))
    if mark.exists():
        raise DeviceError("the GPU is gone.")
    mark.touch()
    return load_fake(options, device, threads)


def load_dying(options: PredictOptions, device: str | None, threads: int | None, /) -> Callable[..., Outcome]:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def job_of(source: Path, folder: Path) -> Job:
    return Job(source.name, source, folder, source.stem, "a1b2")
