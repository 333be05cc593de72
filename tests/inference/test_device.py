"""The choice of device and precision, and its reasons."""

from __future__ import annotations

import pytest
import torch

from saliency_cli.errors import DeviceError, UsageError
from saliency_cli.inference.device import DTYPES, choose_device, choose_precision

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine without any GPU, to which a test may add some."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    return monkeypatch


def with_cuda(machine: pytest.MonkeyPatch, count: int, *, bf16: bool = True) -> None:
    machine.setattr(torch.cuda, "is_available", lambda: True)
    machine.setattr(torch.cuda, "device_count", lambda: count)
    machine.setattr(torch.cuda, "get_device_name", lambda: "Some GPU")
    machine.setattr(torch.cuda, "is_bf16_supported", lambda: bf16)


def test_auto_without_a_gpu(machine: pytest.MonkeyPatch) -> None:
    assert choose_device() == (CPU, "auto: no GPU that torch can use")


def test_auto_prefers_cuda_then_mps(machine: pytest.MonkeyPatch) -> None:
    machine.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("auto")[0].type == "mps"
    with_cuda(machine, 1)
    assert choose_device("auto") == (CUDA, "auto: Some GPU is there")


def test_named_devices(machine: pytest.MonkeyPatch) -> None:
    with_cuda(machine, 2)
    assert choose_device("cpu") == (CPU, "as asked for")
    assert choose_device("cuda")[0] == CUDA
    assert choose_device("cuda:1")[0] == torch.device("cuda", 1)
    with pytest.raises(DeviceError, match="2 CUDA devices"):
        choose_device("cuda:2")


@pytest.mark.parametrize("name", ["gpu", "", "cuda:", "cuda:x", "cuda:-1", "cuda:²", "cpu:0", "mps:1", "CPU", "cpu\n"])
def test_names_that_do_not_exist(machine: pytest.MonkeyPatch, name: str) -> None:
    with pytest.raises(UsageError, match="must be auto, cpu, cuda"):
        choose_device(name)


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "mps"])
def test_devices_that_are_not_there(machine: pytest.MonkeyPatch, name: str) -> None:
    with pytest.raises(DeviceError, match="use --device cpu"):
        choose_device(name)


def test_precision_by_default_and_by_name() -> None:
    assert choose_precision("auto", CPU)[0] == "fp32"
    assert choose_precision("bf16", CPU) == ("bf16", "as asked for")
    assert DTYPES["bf16"] is torch.bfloat16


@pytest.mark.parametrize(
    ("amx", "avx512", "choice"),
    [(True, True, ("bf16", "AMX")), (False, True, ("bf16", "AVX512-BF16")), (False, False, ("fp32", "no unit"))],
)
def test_auto_is_bf16_where_it_is_fast_and_measured(
    machine: pytest.MonkeyPatch, amx: bool, avx512: bool, choice: tuple[str, str]
) -> None:
    machine.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    machine.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    precision, reason = choose_precision("auto", CPU, measured=True)
    assert precision == choice[0]
    assert choice[1] in reason
    assert choose_precision("auto", CPU)[0] == "fp32"
    assert choose_precision("fp32", CPU, measured=True) == ("fp32", "as asked for")
    assert choose_precision("auto", CPU, exact=True, measured=True) == ("fp32", "exact")


@pytest.mark.parametrize(
    ("capability", "hip", "choice"),
    [
        ((9, 0), None, "bf16"),
        ((8, 0), None, "bf16"),
        ((7, 5), None, "fp16"),
        ((6, 1), None, "fp32"),
        ((6, 1), "6", "bf16"),
    ],
)
def test_auto_is_what_the_gpu_has(
    machine: pytest.MonkeyPatch, capability: tuple[int, int], hip: str | None, choice: str
) -> None:
    with_cuda(machine, 1)
    machine.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    machine.setattr(torch.version, "hip", hip)
    assert choose_precision("auto", CUDA, measured=True)[0] == choice
    assert choose_precision("auto", CUDA) == (
        "fp32",
        "auto: this network's maps have not been measured to stay the same in a lower precision",
    )
    assert choose_precision("auto", torch.device("mps"), measured=True)[0] == "fp32"


def test_auto_on_a_torch_that_does_not_know_its_processor(machine: pytest.MonkeyPatch) -> None:
    machine.delattr(torch.cpu, "_is_amx_tile_supported", raising=False)
    machine.delattr(torch.cpu, "_is_avx512_bf16_supported", raising=False)
    assert choose_precision("auto", CPU, measured=True)[0] == "fp32"


@pytest.mark.parametrize("wanted", ["auto", "fp32"])
def test_exact_is_fp32(wanted: str) -> None:
    assert choose_precision(wanted, CPU, exact=True) == ("fp32", "exact")


def test_exact_and_a_lower_precision_contradict() -> None:
    with pytest.raises(UsageError, match="leave out --precision bf16"):
        choose_precision("bf16", CPU, exact=True)


def test_precisions_that_do_not_exist_or_do_not_fit(machine: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="must be auto, fp32, bf16, fp16"):
        choose_precision("int8", CPU)
    with pytest.raises(DeviceError, match="use bf16 or fp32"):
        choose_precision("fp16", CPU)
    with_cuda(machine, 1, bf16=False)
    assert choose_precision("fp16", CUDA)[0] == "fp16"
    with pytest.raises(DeviceError, match="use fp16 or fp32"):
        choose_precision("bf16", CUDA)
