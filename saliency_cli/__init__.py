"""vsal: predicts where people look in a video.

::

    import saliency_cli

    saliency_cli.predict("clip.mp4", output="out.mp4")  # what ``vsal predict`` does
    for saliency in saliency_cli.saliency_frames("clip.mp4"):
        saliency.seconds, saliency.saliency  # float32 (h, w)

    predictor = saliency_cli.SaliencyPredictor(saliency_cli.load_model("tsfp"))

Names are imported when they are first used: importing this package is quick and does not import torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from saliency_cli._version import __version__

if TYPE_CHECKING:
    from saliency_cli import metrics
    from saliency_cli.batch.items import Selection
    from saliency_cli.batch.running import BatchReport, run_batch
    from saliency_cli.batch.shards import Shard
    from saliency_cli.benchmark.random_weights import random_model
    from saliency_cli.benchmark.results import Speed
    from saliency_cli.benchmark.speed import measure_speed
    from saliency_cli.doctor.examining import examine
    from saliency_cli.doctor.findings import Diagnosis
    from saliency_cli.errors import (
        DeviceError,
        MediaError,
        ReadError,
        UsageError,
        VsalError,
        WeightsError,
        WriteError,
    )
    from saliency_cli.export.onnx_file import Exported, export_onnx
    from saliency_cli.inference.predictor import SaliencyPredictor
    from saliency_cli.inspection.costs import Cost, measure_cost
    from saliency_cli.inspection.looking import Inspection, inspect_source
    from saliency_cli.models.registry import load_model
    from saliency_cli.options import PredictOptions
    from saliency_cli.pipeline import Prediction, predict, saliency_frames
    from saliency_cli.reframing.options import ReframeOptions
    from saliency_cli.reframing.reframe import reframe
    from saliency_cli.reframing.result import Reframing
    from saliency_cli.reporting.options import ReportOptions
    from saliency_cli.reporting.report import report, report_all
    from saliency_cli.reporting.result import ReportIndex, ReportPage
    from saliency_cli.types import Frame, SaliencyFrame, VideoInfo

__all__ = [
    "BatchReport",
    "Cost",
    "DeviceError",
    "Diagnosis",
    "Exported",
    "Frame",
    "Inspection",
    "MediaError",
    "PredictOptions",
    "Prediction",
    "ReadError",
    "ReframeOptions",
    "Reframing",
    "ReportIndex",
    "ReportOptions",
    "ReportPage",
    "SaliencyFrame",
    "SaliencyPredictor",
    "Selection",
    "Shard",
    "Speed",
    "UsageError",
    "VideoInfo",
    "VsalError",
    "WeightsError",
    "WriteError",
    "__version__",
    "examine",
    "export_onnx",
    "inspect_source",
    "load_model",
    "measure_cost",
    "measure_speed",
    "metrics",
    "predict",
    "random_model",
    "reframe",
    "report",
    "report_all",
    "run_batch",
    "saliency_frames",
]

_HOMES = {
    **dict.fromkeys(
        ("DeviceError", "MediaError", "ReadError", "UsageError", "VsalError", "WeightsError", "WriteError"), "errors"
    ),
    **dict.fromkeys(("Frame", "SaliencyFrame", "VideoInfo"), "types"),
    **dict.fromkeys(("Prediction", "predict", "saliency_frames"), "pipeline"),
    **dict.fromkeys(("BatchReport", "run_batch"), "batch.running"),
    "Reframing": "reframing.result",
    "reframe": "reframing.reframe",
    **dict.fromkeys(("Cost", "measure_cost"), "inspection.costs"),
    **dict.fromkeys(("Inspection", "inspect_source"), "inspection.looking"),
    "Diagnosis": "doctor.findings",
    **dict.fromkeys(("Exported", "export_onnx"), "export.onnx_file"),
    "PredictOptions": "options",
    "ReframeOptions": "reframing.options",
    **dict.fromkeys(("report", "report_all"), "reporting.report"),
    **dict.fromkeys(("ReportIndex", "ReportPage"), "reporting.result"),
    "ReportOptions": "reporting.options",
    "SaliencyPredictor": "inference.predictor",
    "Selection": "batch.items",
    "Shard": "batch.shards",
    "Speed": "benchmark.results",
    "examine": "doctor.examining",
    "load_model": "models.registry",
    "measure_speed": "benchmark.speed",
    "random_model": "benchmark.random_weights",
}


def __getattr__(name: str) -> Any:
    if name == "metrics":
        return import_module("saliency_cli.metrics")
    if name not in _HOMES:
        raise AttributeError(f"module 'saliency_cli' has no attribute {name!r}")
    return getattr(import_module(f"saliency_cli.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)
