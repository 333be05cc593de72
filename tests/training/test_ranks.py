"""Several processes that train one network: the same result as one alone."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from fakes import program
from tiny_layouts import make_dhf1k
from tiny_recipes import WINDOWED

from saliency_cli.errors import DeviceError, UsageError
from saliency_cli.models import read_checkpoint
from saliency_cli.models.registry import build
from saliency_cli.training.ranks import ALONE, Ranks, is_first, is_launched, together
from saliency_cli.training.recipe import load_recipe
from saliency_cli.training.run import run_recipe
from saliency_cli.training.windowed_recipe import WindowedRecipe

SIZE, STEPS = 2, 2
CHANGES = (  # of a step's four portions each process has two, and adds up
    "optimiser.kind=sgd",
    "optimiser.rate=0.01",
    "model.upsampling=trilinear",
    f"schedule.length={STEPS}",
    "schedule.batch=8",
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def rank_variables(rank: int, port: int) -> dict[str, str]:
    """What torchrun sets."""
    found = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": SIZE, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    loopback = {"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {}
    return {name: str(value) for name, value in found.items()} | loopback


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_two_processes_and_one(tmp_path: Path) -> None:
    """The losses and the weights agree, and what a step adds up is neither averaged twice nor counted twice."""
    (tmp_path / "tiny.toml").write_text(WINDOWED, encoding="utf-8")
    gaze = make_dhf1k(tmp_path / "gaze", (1, 2, 3, 601, 602))
    port = free_port()
    command = ("train", "tiny.toml", "--gaze", gaze, "-o", "two", "--threads", "1", "--device", "cpu")
    changes = [part for change in CHANGES for part in ("--set", change)]
    two = [program(*command, *changes, cwd=tmp_path, env=rank_variables(rank, port)) for rank in range(SIZE)]
    try:
        threads = torch.get_num_threads()
        recipe = load_recipe(tmp_path / "tiny.toml", CHANGES)
        run_recipe(recipe, gaze=gaze, folder=tmp_path / "one", device="cpu", threads=1)
        torch.set_num_threads(threads)
        results = [process.communicate(timeout=250) for process in two]
    finally:
        for process in two:
            process.kill()
    assert [process.returncode for process in two] == [0, 0], results
    alone, shared = (torch.load(tmp_path / run / "last.pt", weights_only=True) for run in ("one", "two"))
    said = read_checkpoint(tmp_path / "two" / "tiny.safetensors").metadata["validation_scores"]
    result = Path("two", "tiny.safetensors")
    assert results[0] == (f"{result}\n", f"reading the gaze data\n{said}\n")  # the first speaks, the other is silent
    assert results[1] == ("", "")
    assert alone["step"] == shared["step"] == STEPS
    torch.manual_seed(recipe.seed)
    assert isinstance(recipe, WindowedRecipe)
    start = build(recipe.model)
    moved = apart = 0.0
    for name, before in start.named_parameters():
        moved += float((alone["model"][name] - before).detach().square().sum())
        apart += float((alone["model"][name] - shared["model"][name]).square().sum())
    # Of four portions' sum the order differs, and batch norms over two values make more of the rounding.
    assert moved > 0
    assert apart**0.5 < 0.02 * moved**0.5
    assert all(tensor.isfinite().all() for tensor in shared["model"].values())
    one_log, two_log = (np.loadtxt(tmp_path / run / "log.csv", delimiter=",", skiprows=1) for run in ("one", "two"))
    assert one_log.shape == (STEPS, 4)
    np.testing.assert_allclose(two_log, one_log, rtol=1e-3)
    frames = [path.read_text().splitlines()[1].split(",")[4] for path in tmp_path.glob("*/validation.csv")]
    assert frames == ["10", "10"]  # five of each of two videos, shared between the processes without repeats
    assert len(list((tmp_path / "two" / "frames").glob("*.rgb"))) == 5


def test_alone() -> None:
    values = torch.tensor([1.0])
    assert ALONE.first
    assert ALONE.add_up(values) == 1
    ALONE.average_statistics(torch.nn.BatchNorm1d(3))
    assert ALONE.agree(3, torch.device("cpu"))
    assert not is_launched()
    assert is_first()
    with together("auto") as found:
        assert found == (ALONE, "auto")


def test_who_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in rank_variables(1, 1).items():
        monkeypatch.setenv(name, value)
    assert is_launched()
    assert not is_first()
    monkeypatch.setenv("RANK", "0")
    assert is_first()
    assert Ranks(0, 2).first
    assert not Ranks(1, 2).first


def test_devices_of_several_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in rank_variables(1, 1).items():
        monkeypatch.setenv(name, value)
    for device in ("cuda:1", "mps"):
        with (
            pytest.raises(UsageError, match=f"--device {device}: several processes take auto, cuda or cpu"),
            together(device),
        ):
            pass
    with pytest.raises(DeviceError, match="process 1 of this machine finds 0 GPUs"), together("cuda"):
        pass


def test_others_that_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in rank_variables(0, 1).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MASTER_ADDR")
    with (
        pytest.raises(DeviceError, match=r"cannot reach one another .*MASTER_ADDR.*; start them with torchrun"),
        together("cpu"),
    ):
        pass
    assert "MASTER_ADDR" not in os.environ


def test_others_that_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that stays says that it was not its own fault; its own faults it tells as before."""
    for name, value in rank_variables(0, 1).items():
        monkeypatch.setenv(name, value)
    for name in ("init_process_group", "destroy_process_group"):
        monkeypatch.setattr(torch.distributed, name, lambda *_: None)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 0)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: SIZE)
    for error in (RuntimeError("[gloo/transport/tcp/pair.cc:553] closed"), torch.distributed.DistBackendError("nccl")):
        with pytest.raises(DeviceError, match="another of the processes ended"), together("cpu"):
            raise error
    with pytest.raises(RuntimeError, match="shapes"), together("cpu"):
        raise RuntimeError("shapes do not match")
