"""Reading, checking, writing and converting checkpoints.

Nothing that is read is ever executed, and a module either gets every one of its tensors or none.
"""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from saliency_cli.errors import WeightsError, WriteError
from saliency_cli.models.config import Architecture, ModelConfig
from saliency_cli.models.npy import read_arrays

__all__ = [
    "ENCODER_ONLY",
    "SOUND_ONLY",
    "Checkpoint",
    "convert",
    "load_s3d_encoder",
    "load_strictly",
    "read_checkpoint",
    "s3d_encoder_state",
    "save_checkpoint",
]

TORCH_SUFFIXES = (".pt", ".pth", ".tar")
ARRAY_SUFFIX = ".npy"
ENCODER_ONLY = "s3d-encoder"  # "architecture" in the header of a converted S3D checkpoint
SOUND_ONLY = "soundnet"  # the same, of a converted SoundNet

NAMES_SHOWN = 8  # of each kind, in the message about names that do not fit

# Where the published S3D's one row of layers, base.0 … base.15, is cut into base1 … base4 (13 and 7 are poolings).
S3D_BLOCKS = {"base1": range(0, 5), "base2": range(5, 8), "base3": range(8, 14), "base4": range(14, 16)}


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A state dict and the strings that came with it (none in ``.pt`` files)."""

    state: dict[str, Tensor]
    metadata: dict[str, str] = field(default_factory=dict)


def read_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """The tensors of a ``.safetensors``, ``.pt`` or ``.pth`` file, on the CPU; of a ``.npy`` file see ``read_arrays``.

    ``{"state_dict": …}`` is unwrapped, and ``module.`` taken off if every name starts with it.
    Raises ``WeightsError`` if the file is missing, damaged, something else, or a pickle that would run code.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(
            f"{path} is not a file: give the path of a checkpoint, or a name that `vsal models list` shows."
        )
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if path.suffix in TORCH_SUFFIXES:
        return Checkpoint(_plain_state(_read_torch(path), path))
    if path.suffix == ARRAY_SUFFIX:
        return Checkpoint({name: torch.from_numpy(array.copy()) for name, array in read_arrays(path).items()})
    allowed = ", ".join((".safetensors", *TORCH_SUFFIXES, ARRAY_SUFFIX))
    raise WeightsError(f"{path} does not end like a checkpoint: vsal reads {allowed}.")


def _read_safetensors(path: Path) -> Checkpoint:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
            return Checkpoint(_plain_state(state, path), dict(file.metadata() or {}))
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise WeightsError(
            f"{path} is damaged or no safetensors file ({_first_line(error)}): fetch it again."
        ) from error


def _read_torch(path: Path) -> object:
    damaged = f"{path} is damaged or no checkpoint of PyTorch: fetch it again."
    with path.open("rb") as file:
        if not file.read(2).startswith((b"PK", b"\x80")):  # a zip archive, or a pickle of before torch 1.6
            raise WeightsError(damaged)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if re.search(r"unsupported (global|class|operand)|unrecognized function|blocked", str(error), re.IGNORECASE):
            raise WeightsError(
                f"{path} holds more than tensors and would run code when loaded, which vsal refuses: "
                "ask its authors for a plain state dict or a safetensors file."
            ) from error
        raise WeightsError(damaged) from error
    except Exception as error:  # a damaged pickle or archive can fail in any way
        raise WeightsError(damaged) from error


def _plain_state(loaded: object, path: Path) -> dict[str, Tensor]:
    if isinstance(loaded, Mapping) and isinstance(loaded.get("state_dict"), Mapping):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, Mapping) or not loaded:
        raise WeightsError(f"{path} holds no state dict: vsal needs a mapping of names to tensors.")
    strange = [name for name, value in loaded.items() if not (isinstance(name, str) and isinstance(value, Tensor))]
    if strange:
        raise WeightsError(
            f"{path} holds no plain state dict ({_some(map(str, strange))}): save model.state_dict() alone."
        )
    prefix = "module." if all(name.startswith("module.") for name in loaded) else ""
    return {name.removeprefix(prefix): tensor for name, tensor in loaded.items()}


def load_strictly(module: nn.Module, state: Mapping[str, Tensor], source: str | os.PathLike[str]) -> None:
    """Copy ``state`` into ``module``, every tensor or, if anything does not fit, none.

    Half precision is widened to the module's own. Raises ``WeightsError`` that lists what is unknown, missing, of
    another shape, or not finite.
    """
    wanted = module.state_dict()
    unknown = sorted(state.keys() - wanted.keys())
    missing = sorted(wanted.keys() - state.keys())
    shared = sorted(wanted.keys() & state.keys())
    misshapen = [
        f"{name} {list(state[name].shape)} instead of {list(wanted[name].shape)}"
        for name in shared
        if state[name].shape != wanted[name].shape
    ]
    broken = [name for name in shared if state[name].is_floating_point() and not state[name].isfinite().all()]
    faults = [
        f"{len(names)} {what} ({_some(names)})"
        for what, names in (
            ("missing", missing),
            ("unknown", unknown),
            ("of another shape", misshapen),
            ("with infinite values", broken),
        )
        if names
    ]
    if faults:
        raise WeightsError(
            f"{source} does not fit {type(module).__name__}, of whose {len(wanted)} tensors {len(shared)} were found: "
            f"{'; '.join(faults)}; nothing was loaded, use weights of this network."
        )
    module.load_state_dict(dict(state))


def s3d_encoder_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The published S3D's names, ``base.N.…``, as ours, ``base1.…`` to ``base4.…``; its classifier ``fc.…`` is dropped.

    Names that are not S3D's stay as they are, for :func:`load_strictly` to complain about.
    """
    renamed = {}
    for name, tensor in state.items():
        match = re.fullmatch(r"base\.(\d+)\.(.+)", name)
        if match:
            number = int(match[1])
            for block, numbers in S3D_BLOCKS.items():
                if number in numbers:
                    name = f"{block}.{number - numbers.start}.{match[2]}"
        if not name.startswith("fc."):
            renamed[name] = tensor
    return renamed


def load_s3d_encoder(module: nn.Module, path: str | os.PathLike[str]) -> None:
    """Load an S3D checkpoint, as published or converted, into the encoder of a TASED-Net or TSFP-Net.

    What stands on top of the encoder is left as it is. Raises ``WeightsError`` as :func:`load_strictly` does.
    """
    encoder = getattr(module, "encoder", module)
    blocks = nn.ModuleDict({block: getattr(encoder, block) for block in S3D_BLOCKS})
    load_strictly(blocks, s3d_encoder_state(read_checkpoint(path).state), path)


def save_checkpoint(
    path: str | os.PathLike[str],
    module_or_state: nn.Module | Mapping[str, Tensor],
    config: ModelConfig,
    extra: Mapping[str, str] | None = None,
    half: bool = True,
) -> Path:
    """Write a safetensors file that names its network; ``extra`` adds to the header (training data, scores, licence).

    With ``half``, kernels are stored in float16; statistics, scales and biases are small and keep their precision.
    The file appears whole or not at all. Raises ``WriteError``.
    """
    state = module_or_state.state_dict() if isinstance(module_or_state, nn.Module) else module_or_state
    return _write(Path(path), state, {**(extra or {}), **config.to_metadata()}, half=half)


def convert(
    source: str | os.PathLike[str],
    goal: str | os.PathLike[str],
    architecture: Architecture | Literal["s3d", "soundnet"],
    *,
    config: ModelConfig | None = None,
    extra: Mapping[str, str] | None = None,
    half: bool = False,
) -> Path:
    """Rewrite a checkpoint as safetensors with a header, once it proved to fit its network.

    ``config`` is what the file itself does not say; by default what it says, or the released form of
    ``architecture``. ``"s3d"`` takes a published S3D checkpoint and writes the encoder alone, for training;
    ``"soundnet"`` a published SoundNet, and writes it up to conv7.
    Raises ``WeightsError`` and ``WriteError``.
    """
    from saliency_cli.models.registry import build, config_of  # the registry stands on this module
    from saliency_cli.models.s3d import S3DEncoder
    from saliency_cli.models.soundnet import SoundNet, soundnet_state

    goal, checkpoint = Path(goal), read_checkpoint(source)
    if goal.suffix != ".safetensors":
        raise WriteError(f"{goal} must end in .safetensors, the one format that vsal converts to.")
    extra = {"converted_from": Path(source).name, **checkpoint.metadata, **(extra or {})}
    if architecture == "s3d":
        encoder = S3DEncoder()
        load_strictly(encoder, s3d_encoder_state(checkpoint.state), source)
        return _write(goal, encoder.state_dict(), {**extra, "architecture": ENCODER_ONLY}, half=half)
    if architecture == "soundnet":
        listener = SoundNet()
        load_strictly(listener, soundnet_state(checkpoint.state), source)
        return _write(goal, listener.state_dict(), {**extra, "architecture": SOUND_ONLY}, half=half)
    if config is None:
        config = config_of(checkpoint, architecture, source=str(source))
    module = build(config)
    load_strictly(module, checkpoint.state, source)
    return save_checkpoint(goal, module, config, extra, half)


def _write(path: Path, state: Mapping[str, Tensor], metadata: Mapping[str, str], *, half: bool) -> Path:
    tensors = {name: _stored(tensor, half=half) for name, tensor in state.items()}
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with beside.open("wb") as file:
            file.write(safetensors.torch.save(tensors, metadata=dict(metadata)))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        raise WriteError(f"{path} cannot be written ({error.strerror or error}): choose another place.") from error
    finally:
        with suppress(OSError):  # it is gone, or never was
            beside.unlink()
    return path


def _stored(tensor: Tensor, *, half: bool) -> Tensor:
    tensor = tensor.detach().cpu()
    if half and tensor.dtype == torch.float32 and tensor.ndim > 1:
        halved = tensor.half()
        if halved.isfinite().all():  # kernels beyond float16's 65504 keep float32
            tensor = halved
    return tensor.contiguous()


def _some(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:NAMES_SHOWN]) + (", …" if len(names) > NAMES_SHOWN else "")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
