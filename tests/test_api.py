"""The public API: what it names is there, and nothing heavy comes before it is used."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import saliency_cli

PACKAGE = Path(saliency_cli.__file__).parent
MODULES = [
    module.name
    for module in pkgutil.walk_packages([str(PACKAGE)], prefix="saliency_cli.")
    if not module.name.endswith("__main__")
]


def test_every_public_name_can_be_imported() -> None:
    for name in saliency_cli.__all__:
        assert getattr(saliency_cli, name) is not None
    assert sorted(saliency_cli.__all__) == dir(saliency_cli)
    assert len(set(saliency_cli.__all__)) == len(saliency_cli.__all__)


def test_what_type_checkers_see_is_what_there_is() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    checking = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name for node in checking.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert seen | {"__version__"} == set(saliency_cli.__all__)


def test_public_names_are_the_ones_of_their_homes() -> None:
    from saliency_cli import errors, types
    from saliency_cli.inference.predictor import SaliencyPredictor
    from saliency_cli.models.registry import load_model
    from saliency_cli.pipeline import predict, saliency_frames

    assert saliency_cli.predict is predict
    assert saliency_cli.saliency_frames is saliency_frames
    assert saliency_cli.load_model is load_model
    assert saliency_cli.SaliencyPredictor is SaliencyPredictor
    assert set(errors.__all__) - {"describe"} <= set(saliency_cli.__all__)
    assert saliency_cli.Frame is types.Frame


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'preidct'"):
        _ = saliency_cli.preidct


@pytest.mark.parametrize("name", MODULES)
def test_every_module_lists_what_it_offers(name: str) -> None:
    module = importlib.import_module(name)
    source = Path(str(module.__file__)).read_text(encoding="utf-8")
    if not any(isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.Assign)) for node in ast.parse(source).body):
        return  # a docstring and nothing else
    offered = module.__all__
    assert [entry for entry in offered if not hasattr(module, entry)] == []
    assert len(set(offered)) == len(offered)


@pytest.mark.parametrize("use", ["import saliency_cli", "import saliency_cli.cli.app"])
def test_importing_is_quick(use: str) -> None:
    heavy = "{'torch', 'cv2', 'av', 'decord', 'librosa', 'numpy'}"
    code = f"{use}, sys; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    assert done.stdout.strip() == "[]"
