"""The finished parts of a long prediction, kept beside its products until these are complete.

What takes long is the network, so its raw maps are what is kept, a file for every 128 of them, with what the network
remembers after the last. Whoever goes on decodes and encodes from the beginning, and predicts from the end of what is
kept: with the same maps, to the last bit, as if nothing had happened.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from saliency_cli.errors import VsalError, WriteError
from saliency_cli.inference.predictor import Listen, Memory, SaliencyPredictor
from saliency_cli.media import atomic_file
from saliency_cli.types import Frame, SaliencyFrame

__all__ = ["Segments", "open_segments", "resumed_maps", "segments_folder"]

log = logging.getLogger(__name__)

SEGMENT = 128  # frames: some seconds of work, and 8 to 45 MB
ORIGIN = "origin.json"
REMEMBERED = "memory."
DECIDING = ("audio", "exact", "start", "end", "rate")  # the options that raw maps depend on, besides the network's


def segments_folder(product: Path) -> Path:
    """Where the finished parts of a product are kept."""
    return product.with_name(f".{product.name}.vsal-resume")


@contextmanager
def open_segments(product: Path, origin: Mapping[str, Any]) -> Iterator[Segments]:
    """The finished parts of ``product``'s prediction, of ``origin``: its provenance, device, precision and decoder.

    A KeyboardInterrupt out of the block says what is kept. Raises WriteError, as :class:`Segments`.
    """
    options = {name: origin["options"][name] for name in DECIDING}
    contents = {name: value for name, value in origin["input"].items() if name != "path"}  # wherever they lie
    with Segments(segments_folder(product), {**origin, "options": options, "input": contents}) as kept:
        if kept.frames:
            log.info("%s: %d frames have their maps from an earlier run", product, kept.frames)
        try:
            yield kept
        except KeyboardInterrupt:
            if kept.frames:
                left = f"the maps of {kept.frames} frames are kept, and the same command goes on from there"
                raise KeyboardInterrupt(left) from None
            raise


def resumed_maps(
    frames: Iterator[Frame], predictor: SaliencyPredictor, kept: Segments, listen: Listen | None
) -> Iterator[SaliencyFrame]:
    """The maps that an earlier run kept, then those still due, which are kept in their turn.

    Raises VsalError if what was kept belongs to other frames.
    """
    history: deque[Frame] = deque(maxlen=predictor.history)
    for saliency, frame in zip(kept.maps(), frames, strict=False):
        if (frame.index, frame.seconds) != (saliency.index, saliency.seconds):
            raise VsalError(f"{kept.folder} holds maps of other frames than those that come now; remove it.")
        history.append(frame)
        yield saliency
        del frame  # full-size pictures are large
    known = len(history)

    def due() -> Iterator[Frame]:
        while history:
            yield history.popleft()
        yield from frames

    for saliency, memory in predictor.resumed(due(), every=SEGMENT, memory=kept.memory, known=known, listen=listen):
        kept.keep(saliency, memory)
        yield saliency


class Segments:
    """Raw maps of a prediction, in order from its first frame on, that outlive it if it is stopped.

    As a context manager it removes them when the block ends well, and leaves them otherwise.

    Args:
        folder: theirs alone.
        origin: all that the maps depend on, as JSON takes it. What was kept with another one is of no use, and removed.

    Raises:
        WriteError: the folder cannot be written, or another run is at work on it.
    """

    def __init__(self, folder: Path, origin: Mapping[str, Any]) -> None:
        self.folder = folder
        self.frames = 0
        """How many frames have their maps here, from the first on."""
        self.memory: Memory = {}
        """What the network remembers after them."""
        self._files: list[Path] = []
        self._new: list[SaliencyFrame] = []
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = FileLock(folder / "lock")
            self._lock.acquire(timeout=0)
        except Timeout:
            raise WriteError(f"{folder} is in use by another run of vsal; wait for its end.") from None
        except OSError as error:
            raise WriteError(f"{folder} cannot be written: {error.strerror}; choose another -o.") from None
        try:
            self._begin(json.dumps(origin, sort_keys=True))
        except BaseException:
            self._lock.release()
            raise

    def maps(self) -> Iterator[SaliencyFrame]:
        """What is kept, in order."""
        for file in list(self._files):
            with safe_open(file, "np") as held:
                saliency, index, seconds = (held.get_tensor(name) for name in ("saliency", "index", "seconds"))
            for each in zip(index.tolist(), seconds.tolist(), saliency, strict=True):
                yield SaliencyFrame(*each)

    def keep(self, saliency: SaliencyFrame, memory: Memory | None) -> None:
        """Add the next map; it is safe when a ``memory`` comes with it or with a later one. Raises WriteError."""
        self._new.append(saliency)
        if memory is None:
            return
        held = {
            "saliency": torch.from_numpy(np.stack([each.saliency for each in self._new])),  # (N, h, w)
            "index": torch.tensor([each.index for each in self._new]),
            "seconds": torch.tensor([each.seconds for each in self._new], dtype=torch.float64),
            **{REMEMBERED + name: value.contiguous() for name, value in memory.items()},
        }
        with atomic_file(self.folder / f"{self.frames:09d}.safetensors") as file:
            save_file(held, file)
        self.frames += len(self._new)
        self._new.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None or not self.frames:
            shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.release()

    def _begin(self, origin: str) -> None:
        """Take over what an earlier run left, as far as it is whole and of the same origin."""
        kept = self.folder / ORIGIN
        if kept.is_file() and kept.read_text("utf-8") == origin:
            self._take_over()
        elif any(self.folder.glob("*.safetensors")):
            log.warning("%s holds maps of another input, or made with other options; they are removed", self.folder)
        whole = {kept, *self._files, Path(self._lock.lock_file)}
        for entry in self.folder.iterdir():
            if entry not in whole:
                entry.unlink()
        with atomic_file(kept) as file:
            file.write_text(origin, "utf-8")

    def _take_over(self) -> None:
        while (file := self.folder / f"{self.frames:09d}.safetensors").is_file():
            try:
                with safe_open(file, "pt") as held:
                    frames = len(held.get_tensor("index"))
                    names = [name for name in held.keys() if name.startswith(REMEMBERED)]  # noqa: SIM118 (no mapping)
                    self.memory = {name.removeprefix(REMEMBERED): held.get_tensor(name) for name in names}
            except SafetensorError:  # a disk that failed; the maps are computed again from here on
                return
            self._files.append(file)
            self.frames += frames
