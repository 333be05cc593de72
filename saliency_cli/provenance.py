"""Where a product comes from: what its sidecar says, so that it can be made again and told from others."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import torch

from saliency_cli._version import __version__
from saliency_cli.media import list_frames
from saliency_cli.models.registry import LoadedModel
from saliency_cli.options import PredictOptions
from saliency_cli.types import VideoInfo

__all__ = ["digest_of", "provenance"]

VERSIONS = {"torch": torch.__version__, "numpy": np.__version__, "opencv": cv2.__version__, "av": av.__version__}


def provenance(info: VideoInfo, model: LoadedModel | None, options: PredictOptions, digest: str) -> dict[str, Any]:
    """The input (``digest`` is its SHA-256), the options, the network and the versions, as JSON takes them.

    Without a ``model`` nothing was predicted, and none is named.
    """
    network: dict[str, Any] | None = None
    if model is not None:
        network = {"weights": model.weights.name, "sha256": model.sha256, **model.config.to_metadata()}
    return {
        "vsal": __version__,
        "input": {
            "path": info.path,
            "sha256": digest,
            "kind": info.kind,
            "codec": info.codec,
            "width": info.width,
            "height": info.height,
            "rate": str(info.rate),
            "start": float(info.start),
            "hdr": info.hdr,
        },
        "options": asdict(options),
        "model": network,
        "versions": dict(VERSIONS),
    }


def digest_of(path: Path) -> str:
    """SHA-256 of a file, or of a folder's pictures: their names and contents, in their order."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    digest = hashlib.sha256()
    for picture in list_frames(path):
        digest.update(picture.name.encode() + b"\0" + picture.read_bytes())
    return digest.hexdigest()
