"""How good weights are beside the embedded model, and beside what knows less: a table and a JSON file.

``python benchmarks/open_weights.py GAZE tased-open tsfp-s3d-open``: NSS and CC on the items kept back for validation,
for the weights named (names or files), for the embedded model, the centre Gaussian, and the embedded model on blurred
pictures, which shows the colours and the layout of a scene and no face or thing in it. Each network's share is its NSS
divided by the embedded model's. ``benchmarks/results/open_weights.json`` receives the scores of every item.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import cv2
import harness
import numpy as np

from saliency_cli.datasets import open_dataset
from saliency_cli.evaluation import Centre, Evaluation, MapSource, PredictedMaps, evaluate, open_predictions, select
from saliency_cli.inference.hearing import Listen
from saliency_cli.inference.predictor import SaliencyPredictor
from saliency_cli.metrics import MetricName, VideoScores, mean_over_videos
from saliency_cli.models.registry import load_model
from saliency_cli.options import PredictOptions
from saliency_cli.types import Frame, SaliencyFrame

EMBEDDED, BLURRED = "model:tsfp-lite0", "the same, blurred"
BLUR = 1 / 32  # standard deviation, of the picture's width
METRICS: tuple[MetricName, ...] = ("nss", "cc", "sim", "kl", "auc_judd")


class Blurring(SaliencyPredictor):
    """The predictor, shown every picture out of focus."""

    def predict(
        self, frames: Iterable[Frame], *, still: bool = False, listen: Listen | None = None
    ) -> Iterator[SaliencyFrame]:
        return super().predict(map(blurred, frames), still=still, listen=listen)


def blurred(frame: Frame) -> Frame:
    """The frame, its details gone."""
    sigma = BLUR * frame.pixels.shape[1]
    soft = cv2.GaussianBlur(frame.pixels, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    return replace(frame, pixels=np.asarray(soft, np.uint8))


def table(results: dict[str, Evaluation]) -> dict[str, dict[str, tuple[float, float]]]:
    """NSS and CC of each source, by group: each set's stills, and all videos with the same weight."""
    rows: dict[str, dict[str, tuple[float, float]]] = {}
    for name, result in results.items():
        groups: dict[str, list[VideoScores]] = {}
        for item in result.items:
            groups.setdefault("videos" if item.kind == "video" else item.dataset, []).append(item.scores)
        for group, scores in groups.items():
            means = mean_over_videos(scores)
            rows.setdefault(group, {})[name] = (means["nss"], means["cc"])
    return rows


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("gaze", type=Path, help="gaze tables")
    arguments.add_argument("weights", nargs="+", help="names of weights, or files")
    arguments.add_argument("--precision", default="auto")
    given = arguments.parse_args()
    options = PredictOptions(precision=given.precision)
    dataset = open_dataset(given.gaze)
    chosen = select(dataset, "validation")
    blurring = PredictedMaps(options, predictor=Blurring(load_model("tsfp"), precision=given.precision), name=BLURRED)
    sources: list[MapSource] = [Centre(), blurring, open_predictions(EMBEDDED, options)]
    sources += [open_predictions(name if Path(name).is_file() else f"model:{name}", options) for name in given.weights]
    results = {}
    for source in sources:
        results[source.name] = evaluate(dataset, source, recordings=chosen, metrics=METRICS)
        print(f"{source.name}: {len(results[source.name].items)} items", flush=True)

    rows = table(results)
    print(f"\n{'NSS / CC (share)':{18}}" + "".join(f"{name[-24:]:>26}" for name in results))
    for group, cells in rows.items():
        whole = cells[EMBEDDED][0]
        shown = (f"{nss:.3f} / {cc:.3f} ({nss / whole:4.0%})" for nss, cc in cells.values())
        print(f"{group:18}" + "".join(f"{cell:>26}" for cell in shown))
    record = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": harness.describe_machine(("torch",)),
        "blur": BLUR,
        "groups": rows,
        "sources": {name: result.about for name, result in results.items()},
        "items": {
            name: {f"{item.dataset}/{item.name}": dict(item.scores.means) for item in result.items}
            for name, result in results.items()
        },
    }
    path = harness.RESULTS / "open_weights.json"
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(f"written to {path.relative_to(harness.RESULTS.parent.parent)}")


if __name__ == "__main__":
    main()
