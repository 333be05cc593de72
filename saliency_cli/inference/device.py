"""Where and how precisely to compute. A choice comes with its reason, for the log and the sidecar."""

from __future__ import annotations

import re
from typing import Literal, get_args

import torch

from saliency_cli.errors import DeviceError, UsageError

__all__ = ["DTYPES", "Precision", "choose_device", "choose_precision"]

Precision = Literal["fp32", "bf16", "fp16"]

DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(wanted: str = "auto") -> tuple[torch.device, str]:
    """The device and why.

    Args:
        wanted: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.

    Raises:
        UsageError: no such name.
        DeviceError: this machine has no such device.
    """
    if wanted == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda"), f"auto: {torch.cuda.get_device_name()} is there"
        if torch.backends.mps.is_available():
            return torch.device("mps"), "auto: Apple's GPU is there"
        return torch.device("cpu"), "auto: no GPU that torch can use"
    if not re.fullmatch(r"cpu|mps|cuda(:[0-9]+)?", wanted):
        raise UsageError(f"--device {wanted}: must be auto, cpu, cuda, cuda:N or mps.")
    kind, _, number = wanted.partition(":")
    if kind == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(number or 0) >= count:
            raise DeviceError(f"--device {wanted}: this machine offers torch {count} CUDA devices; use --device cpu.")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("--device mps: this machine has no Apple GPU that torch can use; use --device cpu.")
    return torch.device(wanted), "as asked for"


def choose_precision(
    wanted: str, device: torch.device, *, exact: bool = False, measured: bool = False
) -> tuple[Precision, str]:
    """The precision and why.

    ``auto`` is the lower precision that the device multiplies by itself, if this network's maps have been ``measured``
    to stay the same in it (docs/models.md): bf16 with AMX, AVX512-BF16 or a GPU that has it, fp16 on GPUs with older
    tensor cores. Otherwise it is fp32.

    Raises:
        UsageError: no such name, or a lower precision together with ``exact``.
        DeviceError: the device does not compute in it.
    """
    if wanted not in ("auto", *get_args(Precision)):
        raise UsageError(f"--precision {wanted}: must be auto, {', '.join(get_args(Precision))}.")
    if exact:
        if wanted not in ("auto", "fp32"):
            raise UsageError(f"--exact computes in fp32; leave out --precision {wanted}.")
        return "fp32", "exact"
    if wanted == "fp16" and device.type == "cpu":
        raise DeviceError("--precision fp16: a CPU does not compute in it usefully; use bf16 or fp32.")
    if wanted == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise DeviceError("--precision bf16: this GPU does not compute in it; use fp16 or fp32.")
    if wanted == "auto":
        if not measured:
            return "fp32", "auto: this network's maps have not been measured to stay the same in a lower precision"
        lower, unit = _lower_precision(device)
        said = {
            "fp32": "",
            "bf16": ", and maps were measured to stay the same",
            "fp16": ", with more digits than bf16, in which maps were measured to stay the same",
        }
        return lower, f"auto: {unit}{said[lower]}"
    precision: Precision = next(name for name in get_args(Precision) if name == wanted)
    return precision, "as asked for"


def _lower_precision(device: torch.device) -> tuple[Precision, str]:
    """The fastest precision of a device, and why."""
    if device.type == "cpu":
        unit = _bf16_unit()
        return ("bf16", f"the processor has {unit}") if unit else ("fp32", "the processor has no unit for bf16")
    if device.type == "cuda":
        # `is_bf16_supported` also counts GPUs that only imitate it; AMD's have other numbers, and bf16.
        if torch.version.hip is not None or torch.cuda.get_device_capability(device) >= (8, 0):
            return "bf16", "the GPU has bf16"
        if torch.cuda.get_device_capability(device) >= (7, 0):
            return "fp16", "the GPU has tensor cores for fp16, and none for bf16"
    return "fp32", "no lower precision is known to be faster on this device"


def _bf16_unit() -> str | None:
    """What this processor multiplies bf16 with, as far as torch knows it; without, bf16 is slower than fp32."""
    for unit, name in (("AMX", "_is_amx_tile_supported"), ("AVX512-BF16", "_is_avx512_bf16_supported")):
        supported = getattr(torch.cpu, name, None)
        if supported is not None and supported():
            return unit
    return None
