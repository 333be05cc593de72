"""Several processes that train one network: the same result as one alone."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest
import torch
from fakes import program
from tiny_layouts import make_dhf1k
from tiny_recipes import WINDOWED

from saliency_cli.errors import DeviceError, UsageError
from saliency_cli.models import read_checkpoint
from saliency_cli.training.ranks import ALONE, Ranks, is_first, is_launched, together

SIZE = 2
CHANGES = ("optimiser.kind=sgd", "optimiser.rate=0.01", "model.upsampling=trilinear", "schedule.length=3")


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
@pytest.mark.timeout(240)
def test_two_processes_and_one(tmp_path: Path) -> None:
    """The losses and the weights agree; the running statistics of batch norms are means over processes."""
    (tmp_path / "tiny.toml").write_text(WINDOWED, encoding="utf-8")
    gaze = make_dhf1k(tmp_path / "gaze", (1, 2, 3, 601, 602))
    port = free_port()
    command = ("train", tmp_path / "tiny.toml", "--gaze", gaze, "--threads", "1", "--device", "cpu")
    changes = [part for change in CHANGES for part in ("--set", change)]
    two = [
        program(*command, "-o", "two", *changes, cwd=tmp_path, env=rank_variables(rank, port)) for rank in range(SIZE)
    ]
    one = program(*command, "-o", "one", *changes, cwd=tmp_path)
    results = []
    try:
        for process in (*two, one):
            out, err = process.communicate(timeout=200)
            assert process.returncode == 0, err
            results.append((out, err))
    finally:
        for process in (*two, one):
            process.kill()
    assert results[0][0] == results[2][0].replace("one", "two")  # the first speaks, the other is silent
    assert results[1] == ("", "")
    assert (tmp_path / "one" / "log.csv").read_text() == (tmp_path / "two" / "log.csv").read_text()
    alone, shared = (torch.load(tmp_path / run / "last.pt", weights_only=True) for run in ("one", "two"))
    assert alone["step"] == shared["step"] == 3
    for name, tensor in alone["model"].items():
        other = shared["model"][name]
        if "running" in name:
            assert other.isfinite().all()
        elif tensor.is_floating_point():
            torch.testing.assert_close(other, tensor, rtol=1e-4, atol=1e-6, msg=name)
    frames = [path.read_text().splitlines()[1].split(",")[4] for path in tmp_path.glob("*/validation.csv")]
    assert frames == ["10", "10"]  # five of each of two videos, shared between the processes without repeats
    assert len(list((tmp_path / "two" / "frames").glob("*.rgb"))) == 5
    assert "NSS" in read_checkpoint(tmp_path / "two" / "tiny.safetensors").metadata["validation_scores"]


def test_alone() -> None:
    values = torch.tensor([1.0])
    assert ALONE.first
    assert ALONE.add_up(values) == 1
    ALONE.average_statistics(torch.nn.BatchNorm1d(3))
    ALONE.wait()
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
