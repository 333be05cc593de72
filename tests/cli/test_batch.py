from __future__ import annotations

import json
import os
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from batch_pipeline import load_pipeline_with_fake
from batch_stand_ins import load_fake
from clips import make_clip

from saliency_cli.batch import estimating, running
from saliency_cli.batch.isolated import Load

CLIPS, BROKEN = 1000, 10


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Lets the command's workers load something else."""

    def use(load: Load) -> None:
        monkeypatch.setattr(running, "run_batch", partial(running.run_batch, load=load))
        monkeypatch.setattr(estimating, "estimate", partial(estimating.estimate, load=load))

    return use


def products(out: Path) -> list[str]:
    return sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file() and path.name[:5] != ".vsal")


@pytest.mark.slow
def test_a_thousand_clips_ten_of_them_broken(
    vsal: Any, folder: Path, use: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(load_pipeline_with_fake)
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # two a clip, which would be half of the time
    clip = make_clip(folder / "clip.mp4", frames=1)
    (folder / "in" / "sub").mkdir(parents=True)
    broken = range(50, CLIPS, CLIPS // BROKEN)
    for number in range(CLIPS):
        name = folder / "in" / ("sub" if number % 2 else "") / f"clip{number:04}.mp4"
        if number in broken:
            name.write_bytes(clip.read_bytes()[: 300 + number // 10])
        else:
            os.link(clip, name)
    result = vsal("batch", "in", "-o", "out", "--write", "stats", "--workers", 2, "--threads", 1)
    assert result.exit_code == 6, result.stderr
    made = [path for path in products(folder / "out") if path.endswith(".stats.jsonl")]
    assert len(made) == CLIPS - BROKEN
    assert sorted(result.stdout.splitlines()) == [f"out/{path}" for path in made]
    table = result.stderr.split("failed; ")[1].splitlines()[1:]
    assert [row.split()[0] for row in sorted(table)] == [f"clip{number:04}.mp4" for number in broken]
    assert all(row.split()[1] == "3" and row.endswith(".") and row.split()[0] in row[20:] for row in table), table
    assert f"{CLIPS - BROKEN} done, {BROKEN} failed" in result.stderr
    states = [json.loads(line)["record"] for line in (folder / "out/vsal-ledger.jsonl").read_text().splitlines()]
    assert {state: states.count(state) for state in set(states)} == {
        "run": 1,
        "started": CLIPS,
        "done": CLIPS - BROKEN,
        "failed": BROKEN,
    }


def fill(folder: Path, **texts: str) -> None:
    for name, text in texts.items():
        path = folder / f"{name}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def test_strange_names_through_the_ledger_and_back(vsal: Any, folder: Path, use: Any) -> None:
    use(load_fake)
    names = ["with space", "-dash", "new\nline", "été ☃", os.fsdecode(b"latin-\xe9"), "sub/[red]"]
    fill(folder / "in", **dict.fromkeys(names, "x"))
    fill(folder / "in", **{"bad\nname": "broken"})
    result = vsal("batch", "in", "-o", "out")
    assert result.exit_code == 6
    assert sorted(result.stdout_bytes.split(b"\n")[:-1]) == sorted(
        line for name in names for line in os.fsencode(f"out/{name}.txt").split(b"\n")
    )
    assert {path for path in products(folder / "out") if path.endswith(".txt")} == {f"{name}.txt" for name in names}
    assert "bad\\nname.mp4  3  in/bad\\nname.mp4 is broken." in result.stderr
    again = vsal("batch", "in", "-o", "out")
    assert (again.exit_code, again.stdout) == (6, "")
    assert "1 item to do, 1 of them again; 6 are done already" in again.stderr


def test_shares_of_a_slurm_array(vsal: Any, folder: Path, use: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    use(load_fake)
    fill(folder / "in", a="1", b="2", c="3", d="4", e="5")
    for name, value in {"MIN": 0, "MAX": 1, "COUNT": 2, "STEP": 1}.items():
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", str(value))
    made = []
    for task in (0, 1):
        monkeypatch.setenv("SLURM_ARRAY_TASK_ID", str(task))
        result = vsal("batch", "in", "-o", "out")
        assert result.exit_code == 0
        assert f"vsal: shard {task + 1}/2, by the numbers of the SLURM array" in result.stderr
        made.append(result.stdout.split())
    assert sorted(chain(*made)) == [f"out/{name}.txt" for name in "abcde"]
    assert all(made)
    result = vsal("batch", "in", "-o", "out", "--shard", "1/1")
    assert "shard" not in result.stderr
    assert "0 items to do; 5 are done already" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "phrase"),
    [
        (("in", "-o", "-"), 2, "-o -: a batch needs a folder"),
        (("in", "-o", "out", "--kind", "images"), 2, "in has no pictures: it holds 1 video"),
        (("in", "-o", "out", "--shard", "3/2"), 2, "--shard 3/2"),
        (("in", "-o", "out", "--workers", "0"), 2, "--workers 0"),
        (("in", "-o", "out", "--time-limit", "0"), 2, "--time-limit 0"),
        (("in", "-o", "out", "--address", "auto"), 2, "--address"),
        (("in", "-o", "out", "--write", "nonsense"), 2, "--write nonsense"),
        (("in", "-o", "out", "--weights", "nonsense"), 4, "nonsense"),
        (("missing", "-o", "out"), 3, "missing is not there"),
        (("in/a.mp4", "-o", "out"), 3, "is a file; name the folder"),
    ],
)
def test_bad_usage(vsal: Any, folder: Path, arguments: tuple[object, ...], code: int, phrase: str) -> None:
    fill(folder / "in", a="x")
    result = vsal("batch", *arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert phrase in result.stderr
    assert products(folder / "out") in ([], ["vsal-ledger.jsonl"])


def test_the_first_failure_ends_it(vsal: Any, folder: Path, use: Any) -> None:
    use(load_fake)
    fill(folder / "in", a="broken", b="fine", c="fine")
    result = vsal("batch", "in", "-o", "out", "--fail-fast", "--workers", 1)
    assert (result.exit_code, result.stdout) == (6, "")
    assert "stopped at the first failure: 0 done, 1 failed" in result.stderr


@pytest.mark.slow
def test_a_dry_run_writes_nothing_and_tells_how_much_there_is(vsal: Any, folder: Path, use: Any) -> None:
    use(load_pipeline_with_fake)
    (folder / "in").mkdir()
    make_clip(folder / "in/a.mp4", frames=20)
    make_clip(folder / "in/b.mkv", frames=30)
    fill(folder / "in", c="text")
    result = vsal("batch", "in", "-o", "out", "--dry-run", "--write", "stats", "--workers", 1)
    assert (result.exit_code, result.stdout) == (0, ""), result.stderr
    lines = result.stderr.splitlines()
    assert lines[0] == "vsal: in: 3 items to do."
    assert lines[1] == "frames: 50, 2.0 s of video, as the headers have it"
    assert lines[2] == "unreadable: 1 item, which will fail"
    assert lines[3].startswith("time: about 0.")
    assert "with 1 worker (measured: 20 frames of a.mp4, 64x48)" in lines[3]
    assert lines[4].startswith("disk: about 0.0 MB; ")
    assert [path.name for path in folder.iterdir()] == ["in"]
