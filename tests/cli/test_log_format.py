"""--log-format json: nothing on stderr but one object a line; and no colour where none is wanted."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from clips import make_clip

from saliency_cli.cli import console
from saliency_cli.errors import ReadError, VsalError, WeightsError

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.timeout(120)
COMMANDS = ("predict", "batch", "report", "reframe", "evaluate", "train", "inspect", "bench", "models", "doctor")


@pytest.fixture(autouse=True)
def _text_again() -> Iterator[None]:
    yield
    console.log_as("text")
    console.setup(0, False)


def lines(text: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in text.splitlines()]
    for line in found:
        assert {"time", "level", "message", "logger"} <= set(line)
        assert line["time"].endswith("Z")
        datetime.fromisoformat(line["time"])
        assert not line["message"].startswith("vsal:")
    return found


def test_the_final_error_has_a_code(vsal: Any) -> None:
    result = vsal("--log-format", "json", "inspect", "missing.mp4")
    assert (result.exit_code, result.stdout) == (3, "")
    (line,) = lines(result.stderr)
    assert line["error"] == {"code": "read_error", "exit_code": 3}
    assert (line["level"], line["logger"]) == ("error", "vsal")
    assert line["message"].startswith("missing.mp4 does not exist")
    assert vsal("inspect", "missing.mp4").stderr.startswith("vsal: error: missing.mp4")


@pytest.mark.parametrize(
    "arguments",
    [("inspect", "--frob"), ("frob",), ("--frob",), ("models", "frob"), ("predict", "a", "--bits", "x"), ("predict",)],
    ids=" ".join,
)
def test_wrong_usage_is_a_line_too(vsal: Any, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VSAL_LOG_FORMAT", "json")
    result = vsal(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = lines(result.stderr)
    assert line["error"] == {"code": "usage_error", "exit_code": 2}
    monkeypatch.setenv("VSAL_LOG_FORMAT", "text")
    assert "Usage: " in vsal(*arguments).stderr


def test_an_unknown_format_is_refused(vsal: Any) -> None:
    result = vsal("--log-format", "xml", "doctor")
    assert result.exit_code == 2
    assert "xml" in result.stderr


def test_what_is_logged_warned_and_said(
    vsal: Any, folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr", sys.stderr)
    console.log_as("json")
    console.setup(1, False)
    logging.getLogger("saliency_cli.pipeline").info("read by %s", "decord\nand more")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    console.say("vsal: 2 of 3 inputs failed.")
    console.warn("no sound")
    with console.progress_bar("clip") as on_progress:
        on_progress(1, 2)
    found = lines(capfd.readouterr().err)
    assert [(line["level"], line["logger"]) for line in found] == [
        ("info", "saliency_cli.pipeline"), ("warning", "py.warnings"), ("info", "vsal"), ("warning", "vsal"),
    ]  # fmt: skip
    assert found[0]["message"] == "read by decord\nand more"
    assert found[2]["message"] == "2 of 3 inputs failed."


@pytest.mark.parametrize(
    ("error", "code", "exit_code"),
    [
        (ReadError("a"), "read_error", 3),
        (WeightsError("a"), "weights_error", 4),
        (PermissionError(13, "Permission denied", "x"), "os_error", 3),
        (MemoryError(), "memory_error", 5),
        (ValueError("a"), "internal_error", 1),
        (VsalError("a"), "internal_error", 1),
    ],
)
def test_kinds_of_errors(error: Exception, code: str, exit_code: int, capsys: pytest.CaptureFixture[str]) -> None:
    console.log_as("json")
    console.setup(2, False)
    assert console.fail(error) == exit_code
    (line,) = lines(capsys.readouterr().err)
    assert line["error"] == {"code": code, "exit_code": exit_code}
    assert type(error).__name__ in line["traceback"]


@pytest.mark.parametrize("command", COMMANDS)
def test_no_colour_where_nobody_is_watching(vsal: Any, command: str) -> None:
    result = vsal(command, "--help")
    assert result.exit_code == 0
    assert "\x1b" not in result.stdout + result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
@pytest.mark.parametrize("arguments", [["models", "list"], ["inspect", "clip.mp4"], ["predict", "missing.mp4"]])
def test_no_colour_on_a_terminal_that_does_not_want_it(folder: Path, arguments: list[str]) -> None:
    import pty

    make_clip(folder / "clip.mp4", frames=3)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "saliency_cli", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", "TERM": "xterm-256color"},
    )
    os.close(theirs)
    told = b""
    while part := _part(ours):
        told += part
    os.close(ours)
    assert process.wait(60) in (0, 3)
    assert told
    assert not re.search(rb"\x1b\[[0-9;]*\b([349][0-7]|10[0-7]|38|48)\b[0-9;]*m", told), told


def _part(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # the other end was closed
        return b""
