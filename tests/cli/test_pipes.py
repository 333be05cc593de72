"""vsal between other programs: the documentation's examples, live sources, readers that end, and what is said."""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clips import Tone, make_clip
from fakes import ROOT, program, video_facts
from piped import SIZE, frames_of, piped, raw_frames

from saliency_cli.cli.console import progress_bar

pytestmark = pytest.mark.timeout(120)

STAND_IN = ROOT / "tests" / "stand_in_ffmpeg.py"
EXAMPLES = re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / "pipes.md").read_text(encoding="utf-8"), re.DOTALL)[0]


@pytest.fixture
def tools(tmp_path: Path) -> str:
    """A folder with vsal, and with stand-ins for the programs in the examples."""
    folder = tmp_path / "tools"
    folder.mkdir()
    jq = "import json, sys\nfor line in map(json.loads, sys.stdin):\n    print([line['seconds'], line['peak']])"
    (folder / "jq.py").write_text(jq)
    programs = {
        "vsal": "-m saliency_cli",
        "ffmpeg": f"'{STAND_IN}' ffmpeg",
        "ffplay": f"'{STAND_IN}' ffplay",
        "jq": f"'{folder / 'jq.py'}'",
    }
    for name, what in programs.items():
        (folder / name).write_text(f"#!/bin/sh\nexec '{sys.executable}' {what} \"$@\"\n")
        (folder / name).chmod(0o755)
    return str(folder)


def test_the_examples_run_as_written(folder: Path, tools: str) -> None:
    clip = make_clip(folder / "film.mkv", frames=5, b_frames=0, sound=Tone(start=0.05, seconds=0.1))
    environment = {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    shells = [
        subprocess.Popen(
            ["sh", "-e", "-c", example],
            cwd=folder,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for example in EXAMPLES.split("\n\n")
    ]
    said = [shell.communicate(timeout=100) for shell in shells]
    assert [shell.returncode for shell in shells] == [0] * 4, said
    assert [[line.partition(":")[0] for line in err.splitlines()] for _, err in said] == [
        ["stdin"], ["stdin"], ["film.mkv"], ["film.mkv"],
    ]  # fmt: skip
    assert (folder / "shown.txt").read_text() == "5 gray nut"
    before, after = video_facts(clip), video_facts(folder / "overlay.mkv")
    assert (after.times, after.sound) == (before.times, before.sound)
    lines = [json.loads(line) for line in said[2][0].splitlines()]
    assert [seconds for seconds, _ in lines] == [0, 0.04, 0.08, 0.12, 0.16]
    assert (folder / "maps.gray").stat().st_size == 5 * 2 * SIZE[0] * SIZE[1]
    assert {path.name for path in folder.iterdir()} == {"film.mkv", "shown.txt", "overlay.mkv", "maps.gray"}


def test_the_table_of_uses_has_a_pipe_and_names_its_page() -> None:
    uses = (ROOT / "docs" / "uses.md").read_text(encoding="utf-8")
    assert "vsal predict - -o - --write maps" in uses
    assert "(pipes.md)" in uses


def test_a_live_source_gives_its_maps_three_frames_later(folder: Path) -> None:
    """With one thread, map n of the embedded model is there when frame n + 3 was written, whatever the pace."""
    size, behind, frames = SIZE[0] * SIZE[1], 3, raw_frames(14)
    stdin_end, stdin = os.pipe()
    stdout, stdout_end = os.pipe()
    arguments = ("predict", "-", "-o", "-", "--write", "maps", "--format", "gray", "-q")
    with program(*arguments, cwd=folder, stdin=stdin_end, stdout=stdout_end) as process:
        os.close(stdin_end)
        os.close(stdout_end)
        for number, frame in enumerate(frames):
            os.write(stdin, frame)
            if number >= behind:
                assert taken(stdout, size).any(), (number, process.poll())
        os.close(stdin)
        for _ in range(behind):
            assert taken(stdout, size).any()
        assert os.read(stdout, 1) == b""
        _, err = process.communicate(timeout=20)
    os.close(stdout)
    assert (process.returncode, err) == (0, "")


def taken(descriptor: int, size: int) -> Any:
    content = b""
    while len(content) < size and select.select([descriptor], [], [], 30)[0]:
        part = os.read(descriptor, size - len(content))
        if not part:
            break
        content += part
    return np.frombuffer(content, np.uint8)


def test_a_reader_that_ends_and_a_stream_that_broke_off(folder: Path) -> None:
    (folder / "in.nut").write_bytes(b"".join(raw_frames(40)))
    stdout, stdout_end = os.pipe()
    with (
        (folder / "in.nut").open("rb") as stdin,
        program("predict", "-", "-o", "-", cwd=folder, stdin=stdin, stdout=stdout_end) as process,
    ):
        os.close(stdout_end)
        assert os.read(stdout, 10) == b"nut/multim"
        os.close(stdout)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (141, "")
    assert [path.name for path in folder.iterdir()] == ["in.nut"]


def test_what_is_said_of_a_stream(vsal: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"".join(raw_frames(6))
    with piped(monkeypatch, content[: len(content) * 3 // 4]):
        result = vsal("predict", "-", "-v")
    assert (result.exit_code, result.stdout) == (0, "stdin.saliency.mp4\n"), result.stderr
    assert "stdin is NUT, read as it comes" in result.stderr
    assert "vsal: warning: stdin broke off after 4 frames" in result.stderr
    assert re.search(r"stdin: 4 frames at .* s behind the stream \(at most .* s\)", result.stderr)
    assert {path.name for path in folder.iterdir()} == {"stdin.saliency.mp4", "stdin.saliency.mp4.json"}
    with piped(monkeypatch, content):
        result = vsal("predict", "-", "--write", "stats", "-o", "-")
    assert [json.loads(line)["frame"] for line in result.stdout.splitlines()] == list(range(6))
    make_clip(folder / "other.mkv", frames=2)
    with piped(monkeypatch, content):
        result = vsal("predict", "-", "other.mkv", "-o", "out", "--write", "stats")
    assert result.stdout.splitlines() == ["out/stdin.stats.jsonl", "out/other.stats.jsonl"]
    assert vsal("predict", "other.mkv", "--write", "maps", "-o", "-", "--format", "nut").exit_code == 0


def test_the_product_of_a_pipe_is_all_of_stdout(vsal: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with piped(monkeypatch, b"".join(raw_frames(4))):
        result = vsal("predict", "-", "--write", "maps", "-o", "-")
    assert result.exit_code == 0, result.stderr
    assert frames_of(result.stdout_bytes).pix_fmt == "gray"
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "code", "sentence"),
    [
        (b"", 3, "stdin is empty"),
        (b"Dear diary\n", 3, "stdin is a text file"),
        (b"\0" * 999, 3, "stdin is no media file"),
        (None, 2, "that is the keyboard"),
    ],
)
def test_what_is_wrong_with_stdin(
    vsal: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, code: int, sentence: str
) -> None:
    if content is None:
        keyboard, terminal = os.openpty()
        monkeypatch.setattr("saliency_cli.media.stdin.DESCRIPTOR", terminal)
        result = vsal("predict", "-")
        os.close(keyboard)
        os.close(terminal)
    else:
        with piped(monkeypatch, content):
            result = vsal("predict", "-")
    assert (result.exit_code, result.stdout) == (code, "")
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("vsal: error: ")
    assert sentence in result.stderr
    assert list(folder.iterdir()) == []


def test_nobody_reads_the_names_of_several_products(vsal: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ended(*_: object, **__: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("saliency_cli.pipeline.load_predictor", lambda _: None)
    monkeypatch.setattr("saliency_cli.pipeline.predict", ended)
    result = vsal("predict", "a.mp4", "b.mp4")
    assert (result.exit_code, result.output) == (141, "")


def test_no_progress_without_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)  # as where a shell closed it
    with progress_bar("clip.mp4") as on_progress:
        on_progress(1, 2)
