"""What ``pip install`` gives: the command, its version, its requirements on each platform."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

import saliency_cli
from saliency_cli.reporting.page import asset

ROOT = Path(__file__).resolve().parents[1]
# Seconds to import each, and nothing that a help page needs.
HEAVY = {"torch", "librosa"}


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    """The ``[project]`` table of pyproject.toml."""
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return table


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run this Python in the project's root."""
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )


def test_the_console_script_exists(project: dict[str, Any]) -> None:
    assert project["scripts"] == {"vsal": "saliency_cli.cli.app:main"}
    module, _, name = project["scripts"]["vsal"].partition(":")
    assert callable(getattr(importlib.import_module(module), name))


def test_the_version_is_said_in_one_place() -> None:
    result = run("-m", "saliency_cli", "--version")
    assert result.returncode == 0, result.stderr
    assert saliency_cli.__version__ in result.stdout
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.?(dev|a|b|rc)\d+)?", saliency_cli.__version__)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["predict", "--help"],
        ["report", "--help"],
        ["batch", "--help"],
        ["reframe", "--help"],
        ["bench", "--help"],
        ["inspect", "--help"],
        ["doctor", "--help"],
    ],
    ids=" ".join,
)
def test_help_and_version_import_nothing_heavy(arguments: list[str]) -> None:
    program = f"""
import sys
sys.argv = ["vsal", *{arguments!r}]
from saliency_cli.cli.app import main
try:
    code = main()
except SystemExit as leaving:
    code = leaving.code
print("loaded:", *sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr)
sys.exit(code)
"""
    result = run("-c", program)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip()
    assert result.stderr.splitlines()[-1].split() == ["loaded:"]


def test_the_wheel_carries_the_files_of_the_reports_pages() -> None:
    build = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]["targets"]
    for target in build.values():
        assert "/saliency_cli" in target["include"]  # with all that lies in it,
        assert "exclude" not in target
    for name in ("page.html", "page.css", "page.js", "index.html"):  # unless git is told to look away
        assert asset(name)
        ignored = subprocess.run(
            ["git", "check-ignore", "-q", f"saliency_cli/reporting/assets/{name}"], cwd=ROOT, check=False
        )
        assert ignored.returncode != 0


@pytest.mark.parametrize(("version", "fits"), [("2.6.0", True), ("2.13.0", True), ("2.14.0", False), ("2.5.1", False)])
def test_the_range_of_torch(project: dict[str, Any], version: str, fits: bool) -> None:
    torch = next(r for r in map(Requirement, project["dependencies"]) if r.name == "torch")
    assert torch.specifier.contains(version) is fits


@pytest.mark.parametrize(
    ("system", "machine", "python", "expected"),
    [
        ("linux", "x86_64", "3.11", {"decord"}),
        ("linux", "aarch64", "3.13", {"decord2"}),
        ("win32", "AMD64", "3.12", {"decord"}),
        ("win32", "ARM64", "3.12", set()),
        ("darwin", "arm64", "3.11", {"eva-decord"}),
        ("darwin", "arm64", "3.13", {"decord2"}),
        ("darwin", "x86_64", "3.11", {"eva-decord"}),
    ],
)
def test_each_platform_gets_the_decord_that_has_a_wheel_for_it(
    project: dict[str, Any], system: str, machine: str, python: str, expected: set[str]
) -> None:
    place = {"sys_platform": system, "platform_machine": machine, "python_version": python}
    builds = [r for r in map(Requirement, project["dependencies"]) if "decord" in r.name]
    assert {r.name for r in builds if r.marker is not None and r.marker.evaluate(place)} == expected
