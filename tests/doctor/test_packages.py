"""Packages: what is wanted is what pyproject.toml says, and a broken one breaks nothing else."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from saliency_cli.doctor import packages
from saliency_cli.doctor.packages import EXTRAS, PACKAGES, Package, check_extras, check_packages, import_apart

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def wanted(requirements: list[str]) -> dict[str, Requirement]:
    found = {requirement.name: requirement for requirement in map(Requirement, requirements)}
    return {name: requirement for name, requirement in found.items() if "decord" not in name}  # in check_media


@pytest.mark.parametrize("extra", [None, *EXTRAS])
def test_the_table_is_that_of_the_project(extra: str | None) -> None:
    theirs = wanted(PROJECT["dependencies"] if extra is None else PROJECT["optional-dependencies"][extra])
    ours = {package.names[0]: package for package in (PACKAGES if extra is None else EXTRAS[extra])}
    assert set(ours) == set(theirs)
    for name, package in ours.items():
        assert theirs[name].specifier.contains(package.least), name
        lower = [limit.version for limit in theirs[name].specifier if limit.operator == ">="]
        upper = [limit.version for limit in theirs[name].specifier if limit.operator == "<"]
        assert ([Version(package.least)], [package.below] if package.below else []) == (
            [Version(limit) for limit in lower], upper,
        ), name  # fmt: skip


def test_every_extra_for_users_is_looked_at() -> None:
    assert set(EXTRAS) == set(PROJECT["optional-dependencies"]) - {"dev"}


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packages that fail in every way, before all others on the path."""
    (tmp_path / "breaks.py").write_text("raise OSError('libfoo.so.3: cannot open')\nimport never")
    (tmp_path / "leaves.py").write_text("import sys\nsys.exit(3)")
    (tmp_path / "crashes.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    (tmp_path / "chatty.py").write_text("print('hello')\nprint('[1')")
    (tmp_path / "hangs.py").write_text("import time\ntime.sleep(60)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


@pytest.mark.usefixtures("broken")
def test_a_broken_package_does_not_hide_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "PATIENCE", 5.0)
    names = ["json", "breaks", "crashes", "leaves", "chatty", "nowhere", "hangs", "csv"]
    errors = import_apart(names)
    assert list(errors) == names
    assert [name for name, error in errors.items() if error is None] == ["json", "chatty", "csv"]
    assert errors["breaks"] == "OSError: libfoo.so.3: cannot open"
    assert errors["crashes"] == "the import ended the process (signal 9)"
    assert errors["leaves"] == "SystemExit: 3"
    assert errors["nowhere"] == "ModuleNotFoundError: No module named 'nowhere'"
    assert errors["hangs"] == "the import took more than 5 s"


@pytest.mark.usefixtures("broken")
@pytest.mark.parametrize(
    ("package", "state", "value", "remedy"),
    [
        (Package(("numpy",), "csv", "1", "arrays", predict=True), "ok", "", ""),
        (Package(("numpy",), "csv", "99", "arrays", predict=True), "broken", "vsal wants 99 or newer", "'numpy>=99'"),
        (Package(("numpy",), "csv", "0.9", "arrays", below="1.0"), "gap", "0.9 or newer, below 1.0", "numpy>=0.9,<1.0"),
        (
            Package(("no-such",), "nowhere", "1", "maps"),
            "gap",
            "not installed; needed for maps",
            "pip install 'no-such",
        ),
        (Package(("numpy",), "breaks", "1", "x", predict=True), "broken", "libfoo.so.3", "--force-reinstall"),
    ],
)
def test_what_is_said_of_a_package(
    monkeypatch: pytest.MonkeyPatch, package: Package, state: str, value: str, remedy: str
) -> None:
    monkeypatch.setattr(packages, "PACKAGES", (package,))
    (finding,) = check_packages()
    assert finding.state == state
    assert value in finding.value
    assert remedy in finding.remedy
    assert finding.exit_code == (1 if state == "broken" else 0)


@pytest.mark.usefixtures("broken")
def test_a_broken_package_of_an_extra_is_installed_again_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra's name alone would change nothing: pip finds the package there."""
    extra = (Package(("numpy",), "breaks", "1", "plots"), Package(("no-such",), "nowhere", "1", "maps"))
    monkeypatch.setattr(packages, "EXTRAS", {"plot": extra})
    assert [finding.remedy for finding in check_extras()] == [
        "pip install --force-reinstall 'numpy>=1'", "pip install 'vsal[plot]'",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("version", "fits"), [("2.6.0", True), ("2.13.0+cpu", True), ("2.14.0", False), ("2.5.1", False), ("2.6rc1", True)]
)
def test_versions_are_compared_as_numbers(version: str, fits: bool) -> None:
    assert packages._fits(version, PACKAGES[0]) is fits
