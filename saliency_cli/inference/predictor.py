"""The predictor: a stream of frames in, one raw saliency map a frame out, in the same order.

Networks with a window (TASED-Net, TSFP-Net on S3D) see a clip of 32 frames for each map; the embedded model sees each
frame once and remembers. Both prepare a frame once, and hold no more of them than a window needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from saliency_cli.errors import UsageError
from saliency_cli.inference.device import choose_device, choose_precision
from saliency_cli.inference.engine import WindowEngine
from saliency_cli.inference.hearing import Listen
from saliency_cli.inference.preparing import memory_errors
from saliency_cli.inference.streaming import Memory, StreamingPredictor
from saliency_cli.inference.windowed import plain_maps, prepared_frames
from saliency_cli.models import manifest
from saliency_cli.models.registry import LoadedModel
from saliency_cli.models.tased import TASEDNet
from saliency_cli.models.tsfp import TSFPNet
from saliency_cli.types import Frame, SaliencyFrame

__all__ = ["Listen", "Memory", "SaliencyPredictor"]

# Architecture and encoder of networks whose maps were measured in lower precisions: docs/models.md, "Precision".
MEASURED = frozenset({("tsfp", "efficientnet-lite0"), ("tsfp", "s3d")})
# What max-unpooling makes of rounding depends on the weights.
MEASURED_WEIGHTS = ("tased-open",)


class SaliencyPredictor:
    """Predicts the maps of a video, frame by frame, with one network on one device.

    Args:
        model: what ``load_model`` returned.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``.
        exact: the plain sliding window, one window at a time, in fp32: never anything that only comes close.

    Raises:
        UsageError: options that do not exist or do not fit.
        DeviceError: a device or precision that this machine does not have.
    """

    def __init__(
        self, model: LoadedModel, *, device: str = "auto", precision: str = "auto", exact: bool = False
    ) -> None:
        self.model = model
        self.device, self.device_reason = choose_device(device)
        self.precision, self.precision_reason = choose_precision(
            precision, self.device, exact=exact, measured=_measured(model)
        )
        self.exact = exact
        with memory_errors(self.device):
            self._module = model.module.to(self.device).eval()
        self._streaming: StreamingPredictor | None = None
        self._engine: WindowEngine | None = None
        if model.config.encoder != "s3d":
            self._streaming = StreamingPredictor(
                self._module, model.config, device=self.device, precision=self.precision
            )
        elif isinstance(self._module, TASEDNet | TSFPNet) and not exact:
            self._engine = WindowEngine(self._module, model.config, device=self.device, precision=self.precision)

    def predict(
        self, frames: Iterable[Frame], *, still: bool = False, listen: Listen | None = None
    ) -> Iterator[SaliencyFrame]:
        """Raw maps of the network, at the network's size, float32 (h, w), one for each frame and in their order.

        TASED-Net and TSFP-Net give a sigmoid's values; the embedded model gives a density that sums to 1.

        Args:
            frames: consecutive frames of one video, in presentation order.
            still: they are photographs, each for itself. Only the embedded model tells these from videos.
            listen: gives the sound of a window; for networks with an audio branch. Photographs have none.

        Raises:
            UsageError: ``listen`` for a network without an audio branch.
            DeviceError: the device's memory does not suffice.
        """
        self._check_ears(listen)
        if self._streaming is not None:
            if still:
                return self._streaming.photographs(frames)
            return (saliency for saliency, _ in self._streaming.video(frames, listen))
        if self._engine is not None:
            return self._engine.maps(prepared_frames(frames, self.model.config), listen)
        return plain_maps(
            self._module,
            self.model.config,
            frames,
            device=self.device,
            precision=self.precision,
            listen=listen,
            exact=self.exact,
        )

    @property
    def history(self) -> int:
        """How many frames before the one that it goes on from :meth:`resumed` has to be shown once more."""
        return 0 if self._streaming is not None else self.model.config.clip_length - 1

    def resumed(
        self,
        frames: Iterable[Frame],
        *,
        every: int,
        memory: Memory | None = None,
        known: int = 0,
        listen: Listen | None = None,
    ) -> Iterator[tuple[SaliencyFrame, Memory | None]]:
        """Raw maps as from :meth:`predict`, of a video that may be interrupted; not for photographs.

        With each ``every``-th map comes a memory, to go on from there in another call, with the same maps.

        Args:
            frames: the first ``known`` of them are those before the ones that are due, whose maps are known and not
                given again: :attr:`history`, or all there are if these are fewer.
            every: a multiple of 2.
            memory: of the call that was interrupted.
        """
        self._check_ears(listen)
        if self._streaming is not None:
            yield from self._streaming.video(frames, listen, memory=memory, every=every)
            return
        for done, saliency in enumerate(islice(self.predict(frames, listen=listen), known, None), 1):
            yield saliency, None if done % every else {}

    def _check_ears(self, listen: Listen | None) -> None:
        if listen is not None and not self.model.config.audio:
            raise UsageError(f"{self.model.weights.name} has no audio branch; predict without sound.")


def _measured(model: LoadedModel) -> bool:
    """Whether lower precisions are known to leave the maps of this network, or of these very weights, as they are."""
    if (model.config.architecture, model.config.encoder) in MEASURED:
        return True
    return model.sha256 in {manifest.entry(name).sha256 for name in MEASURED_WEIGHTS}
