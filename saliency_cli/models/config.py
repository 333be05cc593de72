"""What a checkpoint has to say about its network: nothing about a model is guessed from its weights.

A :class:`ModelConfig` travels inside every checkpoint that vsal writes, as strings. This module imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from saliency_cli.errors import UsageError, WeightsError

__all__ = [
    "CLIP_LENGTHS",
    "FORMAT",
    "SOUND_STUDY",
    "Aggregation",
    "Architecture",
    "Decoding",
    "Encoder",
    "ModelConfig",
    "Upsampling",
    "one_of",
]

Architecture = Literal["tased", "tsfp"]
Encoder = Literal["s3d", "efficientnet-lite0"]
Aggregation = Literal["late", "early-two-step", "late-two-step"]  # TASED-Net, figure 4
Upsampling = Literal["unpool", "trilinear", "transposed"]  # TASED-Net, table 4
Decoding = Literal["pyramid+hierarchical", "multi-level", "final-level"]  # TSFP-Net, table 8

SOUND_STUDY = "sound_study"  # field of the header: what a network's sound was found to be good for, in one sentence
FORMAT = "1"  # of the metadata; raised when a reader of today could no longer understand it

CLIP_LENGTHS: Mapping[Architecture, tuple[int, ...]] = {
    "tased": (4, 8, 16, 32, 48, 64),  # TASED-Net, table 5
    "tsfp": (16, 32, 48),  # TSFP-Net, table 1
}


def one_of(what: str, value: str, choices: object) -> None:
    """Raise :class:`UsageError` unless ``value`` is one of the ``choices``, a ``Literal`` type."""
    allowed = get_args(choices)
    if value not in allowed:
        raise UsageError(f"{value!r} is no {what}: use one of {', '.join(map(repr, allowed))}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """One network, completely named.

    ``input_size`` is (height, width) in pixels. The embedded encoder takes any size; for it ``input_size`` is the
    budget of area that a frame of another shape is fitted into. A pixel enters the network as
    ``(pixel / 255 - mean) / std``. Options that the architecture does not have keep their defaults.

    Raises ``UsageError`` for a value or a combination that does not exist.
    """

    architecture: Architecture
    encoder: Encoder = "s3d"
    clip_length: int = 32  # frames
    input_size: tuple[int, int] = (224, 384)
    mean: float = 0.5  # with std: (2 · pixel - 255) / 255, what both S3D and TASED-Net were trained on
    std: float = 0.5
    audio: bool = False  # tsfp
    aggregation: Aggregation = "late-two-step"  # tased
    upsampling: Upsampling = "unpool"  # tased
    decoding: Decoding = "pyramid+hierarchical"  # tsfp on s3d
    still_size: tuple[int, int] = (256, 416)  # tsfp on efficientnet-lite0: the budget for photographs
    lateral_channels: int = 64  # tsfp on efficientnet-lite0

    def __post_init__(self) -> None:
        one_of("architecture", self.architecture, Architecture)
        one_of("encoder", self.encoder, Encoder)
        one_of("aggregation", self.aggregation, Aggregation)
        one_of("upsampling", self.upsampling, Upsampling)
        one_of("decoding", self.decoding, Decoding)
        lengths = CLIP_LENGTHS[self.architecture]
        if self.encoder == "s3d" and self.clip_length not in lengths:
            raise UsageError(
                f"{self.architecture} on s3d has no clip length {self.clip_length}: "
                f"use one of {', '.join(map(str, lengths))}."
            )
        if self.clip_length < 1 or self.lateral_channels < 1:
            raise UsageError(
                f"clip_length ({self.clip_length}) and lateral_channels ({self.lateral_channels}) must be positive."
            )
        for height, width in (self.input_size, self.still_size):
            if min(height, width) < 32 or height % 32 or width % 32:
                raise UsageError(f"an input size of {height}x{width} does not fit: both sides must be multiples of 32.")
        if not self.std > 0:
            raise UsageError(f"a normalisation by std = {self.std} is not possible: it must be positive.")
        if self.architecture == "tased" and (self.encoder != "s3d" or self.audio):
            raise UsageError("tased knows neither another encoder than s3d nor sound: use the architecture tsfp.")

    @classmethod
    def tased(cls) -> ModelConfig:
        """TASED-Net as its authors released it."""
        return cls(architecture="tased")

    @classmethod
    def tsfp(cls, *, audio: bool = False) -> ModelConfig:
        """TSFP-Net of the paper, on S3D at 192x352 (section 4.2)."""
        return cls(architecture="tsfp", input_size=(192, 352), audio=audio)

    @classmethod
    def embedded(cls) -> ModelConfig:
        """TSFP-Net on EfficientNet-Lite0, the network that comes with the package."""
        return cls(architecture="tsfp", encoder="efficientnet-lite0", input_size=(224, 352), mean=0.498, std=0.502)

    def to_metadata(self) -> dict[str, str]:
        """As strings, for the header of a safetensors file; :meth:`from_metadata` is the way back."""
        metadata = {
            "format": FORMAT,
            "architecture": self.architecture,
            "encoder": self.encoder,
            "clip_length": str(self.clip_length),
            "input_size": "{}x{}".format(*self.input_size),
            "mean": repr(self.mean),
            "std": repr(self.std),
            "audio": "yes" if self.audio else "no",
        }
        if self.architecture == "tased":
            metadata |= {"aggregation": self.aggregation, "upsampling": self.upsampling}
        elif self.encoder == "s3d":
            metadata |= {"decoding": self.decoding}
        else:
            metadata |= {
                "still_size": "{}x{}".format(*self.still_size),
                "lateral_channels": str(self.lateral_channels),
            }
        return metadata

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], *, source: str = "the checkpoint") -> ModelConfig:
        """The network that a checkpoint's header names; other entries of the header are left alone.

        Raises ``WeightsError`` if the header lacks a field, or one that makes no sense.
        """
        if metadata.get("format", FORMAT) != FORMAT:
            raise WeightsError(
                f"{source} has the checkpoint format {metadata['format']}, vsal reads {FORMAT}: install a newer one."
            )
        try:
            fields: dict[str, Any] = {
                "architecture": metadata["architecture"],
                "encoder": metadata["encoder"],
                "clip_length": int(metadata["clip_length"]),
                "input_size": _size(metadata["input_size"]),
                "mean": float(metadata["mean"]),
                "std": float(metadata["std"]),
                "audio": {"yes": True, "no": False}[metadata["audio"]],
            }
            for option in ("aggregation", "upsampling", "decoding"):
                if option in metadata:
                    fields[option] = metadata[option]
            if "still_size" in metadata:
                fields["still_size"] = _size(metadata["still_size"])
            if "lateral_channels" in metadata:
                fields["lateral_channels"] = int(metadata["lateral_channels"])
            return cls(**fields)
        except (KeyError, ValueError, UsageError) as error:
            raise WeightsError(
                f"{source} does not say properly which network it belongs to ({error}): "
                "write it again with `vsal models convert`."
            ) from error


def _size(text: str) -> tuple[int, int]:
    height, width = text.split("x")
    return int(height), int(width)
