"""A process that is killed in the middle of a run, and resumed, ends with the weights of one that was not."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from fakes import program
from tiny_layouts import make_dhf1k
from tiny_recipes import WINDOWED

from saliency_cli.models import read_checkpoint

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

STEPS = 7


def start(folder: Path, gaze: Path, run: str, *more: str) -> subprocess.Popen[str]:
    changes = ("--set", f"schedule.length={STEPS}", "--set", "schedule.batch=2", *more)
    return program(
        "train", folder / "tiny.toml", "--gaze", gaze, "-o", run, "--threads", "1", "--device", "cpu", *changes,
        cwd=folder,
    )  # fmt: skip


def test_killed_and_resumed(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(WINDOWED, encoding="utf-8")
    gaze = make_dhf1k(tmp_path / "gaze", (1, 2, 3, 601))
    killed, whole = start(tmp_path, gaze, "killed"), start(tmp_path, gaze, "whole")
    log = tmp_path / "killed" / "log.csv"
    while not log.exists() or len(log.read_text().splitlines()) < 1 + 5:  # beyond the checkpoint of step 3
        assert killed.poll() is None, killed.communicate()
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait(60) == -signal.SIGKILL
    killed.communicate()
    out, err = whole.communicate(timeout=200)
    assert whole.returncode == 0, err
    at_rest = torch.load(tmp_path / "killed" / "last.pt", weights_only=True)
    assert 3 <= at_rest["step"] < STEPS
    assert not (tmp_path / "killed" / "tiny.safetensors").exists()

    resumed = start(tmp_path, gaze, "killed", "--resume")
    assert resumed.communicate(timeout=200)[0] == out.replace("whole", "killed")
    for name in ("tiny.safetensors", "best.safetensors"):
        one, other = (read_checkpoint(tmp_path / run / name) for run in ("whole", "killed"))
        assert one.metadata == other.metadata
        assert one.state.keys() == other.state.keys()
        assert [n for n in one.state if not torch.equal(one.state[n], other.state[n])] == []
    for name in ("log.csv", "validation.csv"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "killed" / name).read_bytes()
    ends = [torch.load(tmp_path / run / "last.pt", weights_only=True)["model"] for run in ("whole", "killed")]
    assert all(torch.equal(tensor, ends[1][name]) for name, tensor in ends[0].items())
