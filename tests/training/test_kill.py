"""A process that is killed in the middle of a run, and resumed, ends with the weights of one that was not."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import torch
from fakes import program
from tiny_layouts import make_dhf1k
from tiny_recipes import WINDOWED

from saliency_cli.models import read_checkpoint
from saliency_cli.training.recipe import load_recipe
from saliency_cli.training.run import run_recipe

pytestmark = [pytest.mark.slow, pytest.mark.timeout(280)]

CHANGES = ("schedule.length=7", "schedule.batch=2")  # of seven steps the third and the sixth make checkpoints

KILLED = """
import os, signal
replace, seen = os.replace, []
def fatal(source, goal):
    if str(goal).endswith("last.pt"):
        seen.append(goal)
        if len(seen) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
    replace(source, goal)
os.replace = fatal
"""
"""At the worst moment: the second checkpoint is written, and the scores and weights of that step are, but it does not
count yet. Whatever the machine's load, it is the same moment."""


def test_killed_and_resumed(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(WINDOWED, encoding="utf-8")
    gaze = make_dhf1k(tmp_path / "gaze", (1, 2, 601))
    changes = [part for change in CHANGES for part in ("--set", change)]
    command = ("train", "tiny.toml", "--gaze", gaze, "-o", "killed", "--threads", "1", "--device", "cpu", *changes)
    killed = program(*command, cwd=tmp_path, before=KILLED)
    _, err = killed.communicate(timeout=130)
    assert killed.returncode == -signal.SIGKILL, err
    at_rest = torch.load(tmp_path / "killed" / "last.pt", weights_only=True)
    assert at_rest["step"] == 3
    assert len((tmp_path / "killed" / "log.csv").read_text().splitlines()) == 1 + 6
    assert not (tmp_path / "killed" / "tiny.safetensors").exists()

    resumed = program(*command, "--resume", cwd=tmp_path)
    try:  # another process makes the whole run meanwhile
        threads = torch.get_num_threads()
        run_recipe(
            load_recipe(tmp_path / "tiny.toml", CHANGES), gaze=gaze, folder=tmp_path / "whole", device="cpu", threads=1
        )
        torch.set_num_threads(threads)
        out, err = resumed.communicate(timeout=130)
    finally:
        resumed.kill()
    assert (resumed.returncode, out) == (0, f"{Path('killed', 'tiny.safetensors')}\n"), err
    for name in ("tiny.safetensors", "best.safetensors"):
        one, other = (read_checkpoint(tmp_path / run / name) for run in ("whole", "killed"))
        assert one.metadata == other.metadata
        assert one.state.keys() == other.state.keys()
        assert [n for n in one.state if not torch.equal(one.state[n], other.state[n])] == []
    for name in ("log.csv", "validation.csv"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "killed" / name).read_bytes()
    ends = [torch.load(tmp_path / run / "last.pt", weights_only=True)["model"] for run in ("whole", "killed")]
    assert all(torch.equal(tensor, ends[1][name]) for name, tensor in ends[0].items())
