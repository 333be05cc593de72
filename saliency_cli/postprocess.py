"""What is made of raw maps before they become products, and what of that the weights allow."""

from __future__ import annotations

from dataclasses import replace

from saliency_cli import render
from saliency_cli.errors import UsageError
from saliency_cli.models.config import ModelConfig
from saliency_cli.models.registry import LoadedModel
from saliency_cli.options import PredictOptions
from saliency_cli.types import SaliencyFrame

__all__ = ["check_fit", "finished"]


def finished(raw: SaliencyFrame, config: ModelConfig, options: PredictOptions) -> SaliencyFrame:
    """A raw map post-processed, at the network's size. With ``--normalize video`` the scaling is still to come."""
    if options.raw:
        return raw
    saliency = raw.saliency
    per_frame = options.normalize == "frame"
    if config.architecture == "tased":
        # The authors' steps; without their last one, the division by the frame's maximum, where another is wanted.
        smooth = render.tased_postprocess(saliency) if per_frame else render.blur(saliency, render.TASED_SIGMA)
        return replace(raw, saliency=smooth)
    return replace(raw, saliency=render.normalise(saliency)) if per_frame else raw


def check_fit(options: PredictOptions, model: LoadedModel) -> None:
    """Refuse what these weights cannot do, before any frame is read. Raises UsageError."""
    if options.audio and not model.config.audio:
        raise UsageError(
            f"--audio: the weights {model.weights.name} have no audio branch; "
            "leave --audio out, or give weights of TSFP-Net with audio."
        )
    # A density that sums to 1 has values far below 1: pictures of it, unscaled, would all be black.
    pictures = [product for product in options.write if product not in ("arrays", "stats")]
    if pictures and model.config.encoder != "s3d" and (options.raw or options.normalize == "none"):
        flag = "--raw" if options.raw else "--normalize none"
        raise UsageError(
            f"{flag}: the maps of {model.weights.name} are densities, too small to be seen as {pictures[0]}; "
            "use --normalize frame or video, or --write arrays."
        )
