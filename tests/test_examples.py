"""The scripts of ``examples/`` for clusters, run as written, with a vsal whose network costs nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"

VSAL = """#!{python}
from functools import partial
from batch_stand_ins import load_fake
from saliency_cli.batch import running
from saliency_cli.batch.local import Place
from saliency_cli.cli.app import main

running.run_batch = partial(running.run_batch, load=load_fake)
running.places = lambda *args, **kwargs: ([Place()], "a test")
running._weights_sha256 = lambda options: "0" * 64
if __name__ == "__main__":
    main()
"""
# What GNU parallel does with the lines of stdin, as far as the example needs it: {} is replaced, and a shell runs it.
PARALLEL = """#!{python}
import subprocess, sys
options, command = sys.argv[1:5], sys.argv[5:]
assert (options[0], options[2:]) == ("--sshlogin", ["--jobs", "1"]), options
assert command[0] == "--line-buffer"
line = " ".join(command[1:])
started = [subprocess.Popen(line.replace("{{}}", number.strip()), shell=True) for number in sys.stdin]
sys.exit(sum(bool(one.wait()) for one in started))
"""


@pytest.fixture
def tools(tmp_path: Path) -> dict[str, str]:
    """An environment in which the two programs are found, and folders with a few inputs."""
    place = tmp_path / "bin"
    place.mkdir()
    for name, text in {"vsal": VSAL, "parallel": PARALLEL}.items():
        (place / name).write_text(text.format(python=sys.executable))
        (place / name).chmod(0o755)
    videos = tmp_path / "the videos"
    videos.mkdir()
    for name in ("a", "b's", "c d", "e", "f"):
        (videos / f"{name}.mp4").write_text("x")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("VSAL_", "SLURM_"))}
    return {**clean, "PATH": f"{place}:{clean['PATH']}", "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}


def script(name: str, *arguments: str, folder: Path, env: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["bash", str(EXAMPLES / name), *arguments],
        cwd=folder,
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def made(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.txt"))


ALL = ["a.txt", "b's.txt", "c d.txt", "e.txt", "f.txt"]


def test_a_slurm_array_with_its_variables(tmp_path: Path, tools: dict[str, str]) -> None:
    array = {f"SLURM_ARRAY_TASK_{name}": value for name, value in {"MIN": "1", "MAX": "2", "COUNT": "2"}.items()}
    tasks = [
        script(
            "slurm-array.sh",
            *("the videos", "results", "--write", "stats"),
            folder=tmp_path,
            env={**tools, **array, "SLURM_ARRAY_TASK_ID": task, "SLURM_CPUS_PER_TASK": "1"},
        )
        for task in ("1", "2")
    ]
    told = [task.communicate(timeout=60) for task in tasks]
    assert [task.returncode for task in tasks] == [0, 0], told
    assert sum(len(out.splitlines()) for out, _ in told) == len(ALL), "nothing twice"
    assert made(tmp_path / "results") == ALL
    assert "shard 2/2, by the numbers of the SLURM array" in told[1][1]


def test_gnu_parallel(tmp_path: Path, tools: dict[str, str]) -> None:
    (tmp_path / "the videos" / "bad.mp4").write_text("broken")
    process = script(
        "gnu-parallel.sh", "the videos", "the results", ":,:", "--write", "stats", folder=tmp_path, env=tools
    )
    out, err = process.communicate(timeout=60)
    assert (process.returncode, "1 of 2 shares had failures" in err) == (6, True), err
    assert sorted(out.splitlines()) == [f"{tmp_path}/the results/{name}" for name in ALL]
    assert made(tmp_path / "the results") == ALL


@pytest.mark.parametrize("name", ["slurm-array.sh", "gnu-parallel.sh", "folder.sh"])
def test_every_script_says_how_it_is_used(tmp_path: Path, name: str) -> None:
    process = script(name, folder=tmp_path, env=dict(os.environ))
    _, err = process.communicate(timeout=20)
    assert process.returncode == 2
    assert "usage: " in err
