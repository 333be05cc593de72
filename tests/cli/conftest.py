"""Every test runs vsal in an empty folder of its own, away from the user's settings and weights."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from saliency_cli.cli.app import app

Vsal = Callable[..., Any]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, empty."""
    for name in list(os.environ):
        if name.startswith("VSAL_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("VSAL_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    return here


@pytest.fixture
def vsal(folder: Path) -> Vsal:
    """Runs a command in this process; the result has exit_code, stdout and stderr."""

    def run(*arguments: object) -> Any:
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return run
