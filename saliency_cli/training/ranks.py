"""Several processes that train one network, each on a GPU of its own: what ``torchrun`` starts.

Every process computes its share of a step's portions; DistributedDataParallel averages their gradients. The first one
alone writes files.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed
from torch import Tensor, nn

from saliency_cli.errors import DeviceError, UsageError

__all__ = ["ALONE", "Ranks", "is_first", "is_launched", "together"]


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among the ``size`` that train together, ``rank`` counted from 0."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes files and logs."""
        return self.rank == 0

    def add_up(self, values: Tensor) -> Tensor:
        """The sum over all processes, in place."""
        if self.size > 1:
            torch.distributed.all_reduce(values)
        return values

    @torch.no_grad()
    def average_statistics(self, module: nn.Module) -> None:
        """Give every process the mean of all batch norms' running statistics.

        They are not synchronised within a step: a batch norm sees the clips of one portion, with one process or with
        many, so that the number of processes does not change what is learnt. (The paper's four clips at a time are so
        normalised too; torch's SyncBatchNorm would make it more of them with every GPU, and does not run on a CPU.)
        """
        if self.size == 1:
            return
        statistics = [buffer for buffer in module.buffers() if buffer.is_floating_point()]
        row = torch.cat([buffer.flatten() for buffer in statistics])
        torch.distributed.all_reduce(row)
        begin = 0
        for buffer in statistics:
            buffer.copy_(row[begin : begin + buffer.numel()].view_as(buffer) / self.size)
            begin += buffer.numel()

    def agree(self, value: int, device: torch.device) -> bool:
        """Whether all processes came here with the same ``value``; waits for them. ``device`` is this one's."""
        if self.size == 1:
            return True
        extremes = torch.tensor([value, -value], device=device)
        torch.distributed.all_reduce(extremes, torch.distributed.ReduceOp.MAX)
        largest, smallest = extremes.tolist()
        return bool(largest == -smallest)


ALONE = Ranks()


def is_launched() -> bool:
    """Whether torchrun, or what sets the same variables, started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ


def is_first() -> bool:
    """Whether this process is the one that speaks: the only one, or the first of several."""
    return not is_launched() or os.environ["RANK"] == "0"


@contextmanager
def together(device: str) -> Iterator[tuple[Ranks, str]]:
    """This process's place among those that train together, and its device.

    With ``auto`` and ``cuda`` each process of a machine takes the GPU of its LOCAL_RANK; CPUs talk over gloo.

    Raises:
        UsageError: a device that several processes cannot share.
        DeviceError: fewer GPUs than processes, or the others do not answer, or end.
    """
    if not is_launched():
        yield ALONE, device
        return
    local = int(os.environ.get("LOCAL_RANK", os.environ["RANK"]))
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"--device {device}: several processes take auto, cuda or cpu, and one GPU each.")
    on_cuda = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    if on_cuda:
        if local >= torch.cuda.device_count():
            found = torch.cuda.device_count()
            raise DeviceError(f"process {local} of this machine finds {found} GPUs; start one process per GPU.")
        torch.cuda.set_device(local)
    try:
        torch.distributed.init_process_group("nccl" if on_cuda else "gloo")
    except (RuntimeError, ValueError) as error:
        first = str(error).splitlines()[0].rstrip(".")
        raise DeviceError(f"the processes cannot reach one another ({first}); start them with torchrun.") from error
    # Said of 1x1x1 kernels, for which the two layouts are one and the same
    warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
    try:
        yield (
            Ranks(torch.distributed.get_rank(), torch.distributed.get_world_size()),
            (f"cuda:{local}" if on_cuda else "cpu"),
        )
    except RuntimeError as error:
        if isinstance(error, torch.distributed.DistError) or "gloo" in str(error):  # gloo raises no class of its own
            raise DeviceError("another of the processes ended; what it said tells why.") from error
        raise
    finally:
        torch.distributed.destroy_process_group()
