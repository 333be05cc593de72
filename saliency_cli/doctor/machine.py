"""What the machine has: decoders and encoders, devices, weights, room on its disks."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from saliency_cli._version import __version__
from saliency_cli.doctor.findings import Finding
from saliency_cli.doctor.packages import import_apart
from saliency_cli.errors import DeviceError, VsalError, WeightsError, WriteError
from saliency_cli.settings import find_settings, load_settings

__all__ = ["check_devices", "check_media", "check_program", "check_room", "check_weights"]

LEAST_PYTHON = (3, 11)
SCARCE = 1_000_000_000  # bytes: what a film of an hour may leave in a temporary file, or weights in the store
DECORDS = ("decord", "decord2", "eva-decord")
# Encoders that products are made with: what for, and whether the default product needs it
ENCODERS = {"libx264": ("videos", True), "aac": ("sound that must be encoded again", False)}
DECODERS = ("h264", "hevc", "vp9", "av1", "mpeg4", "prores", "ffv1", "mjpeg", "gif")
HEARD = ("OMP_NUM_THREADS", "NO_COLOR", "CUDA_VISIBLE_DEVICES", "TMPDIR")  # variables besides our own


def check_program() -> Iterator[Finding]:
    """vsal itself, Python, the system, and the variables that vsal listens to."""
    yield Finding(group="program", name="vsal", value=__version__, facts={"path": str(Path(__file__).parents[1])})
    python = platform.python_version()
    if sys.version_info[:2] < LEAST_PYTHON:
        yield Finding(
            group="program",
            name="Python",
            value=f"{python}, and vsal wants 3.11 or newer",
            state="broken",
            remedy="make an environment with a newer Python",
            exit_code=1,
        )
    else:
        yield Finding(group="program", name="Python", value=f"{python}, {sys.executable}", facts={"version": python})
    yield Finding(
        group="program", name="system", value=f"{platform.system()} {platform.release()} {platform.machine()}"
    )
    heard = {name: value for name, value in os.environ.items() if name.startswith("VSAL_") or name in HEARD}
    if heard:
        said = ", ".join(f"{name}={value}" for name, value in sorted(heard.items()))
        yield Finding(group="program", name="environment", value=said, facts=heard)
    files = [str(path) for path in find_settings()]
    yield Finding(group="program", name="settings", value=", ".join(files) or "no vsal.toml", facts={"files": files})
    try:
        load_settings()
    except VsalError as error:
        yield Finding(
            group="program",
            name="settings",
            value="a file of options is wrong",
            state="broken",
            remedy=str(error),
            exit_code=error.exit_code,
        )


def check_media() -> Iterator[Finding]:
    """The decoders and the encoders."""
    import av

    libraries = {name: ".".join(map(str, number)) for name, number in av.library_versions.items()}
    yield Finding(
        group="media", name="PyAV", value=f"{av.__version__}, libavcodec {libraries['libavcodec']}", facts=libraries
    )
    build = next((name for name in DECORDS if _installed(name)), None)
    error = import_apart(["decord"])["decord"]
    if error is None:
        yield Finding(
            group="media", name="decord", value=f"{build or 'of an unknown build'} {_installed(build) or ''}".strip()
        )
    else:
        how = "not installed" if build is None else f"{build} cannot be imported ({error.splitlines()[0]})"
        yield Finding(
            group="media",
            name="decord",
            value=f"{how}: PyAV decodes everything, more slowly",
            # What is installed and cannot be imported is chosen for plain videos all the same
            state="gap" if build is None else "broken",
            remedy="pip install decord, decord2 or eva-decord, whichever has a wheel for this machine"
            if build is None
            else f"pip uninstall {build}",
            exit_code=0 if build is None else 1,
        )
    lacking = [name for name in DECODERS if not _codec(name, "r")]
    yield Finding(
        group="media",
        name="decoders",
        value=", ".join(name for name in DECODERS if name not in lacking)
        + (f"; not {', '.join(lacking)}" if lacking else ""),
        state="gap" if lacking else "ok",
        remedy="pip install --force-reinstall av" if lacking else "",
    )
    for name, (use, needed) in ENCODERS.items():
        if _codec(name, "w"):
            yield Finding(group="media", name=name, value=f"encodes {use}")
        else:
            yield Finding(
                group="media",
                name=name,
                value=f"this build of PyAV has no such encoder, which {use} need",
                state="broken" if needed else "gap",
                remedy="pip install --force-reinstall av",
                exit_code=WriteError.exit_code if needed else 0,
            )


def _installed(name: str | None) -> str | None:
    try:
        return None if name is None else version(name)
    except PackageNotFoundError:
        return None


def _codec(name: str, mode: str) -> bool:
    from av.codec import Codec
    from av.codec.codec import UnknownCodecError

    try:
        Codec(name, "w" if mode == "w" else "r")
    except UnknownCodecError:
        return False
    return True


def check_devices() -> Iterator[Finding]:
    """Processor and GPUs, the device and precision that ``auto`` takes, and threads."""
    import torch

    from saliency_cli.benchmark.machine import describe_machine
    from saliency_cli.inference.device import choose_device, choose_precision

    machine = describe_machine([])
    capability = torch.backends.cpu.get_cpu_capability()
    yield Finding(
        group="devices",
        name="processor",
        value=f"{machine['processor']}, {machine['cores_used'] or machine['cores']} cores, {capability}",
        facts={"cores": machine["cores"], "cores_used": machine["cores_used"], "capability": capability},
    )
    if (memory := _memory()) is not None:
        yield Finding(group="devices", name="memory", value=_told(memory), facts={"bytes": memory})
    yield from _gpus()
    try:
        device, why = choose_device("auto")
        precision, because = choose_precision("auto", device, measured=True)
    except VsalError as error:
        yield Finding(
            group="devices", name="device", value=str(error), state="broken", remedy="--device cpu",
            exit_code=DeviceError.exit_code,
        )  # fmt: skip
        return
    yield Finding(group="devices", name="device", value=f"{device} ({why})")
    yield Finding(
        group="devices", name="precision", value=f"{precision} ({because})", facts={"bf16": precision == "bf16"}
    )
    limit = os.environ.get("OMP_NUM_THREADS")
    said = f", as OMP_NUM_THREADS={limit} says" if limit else ""
    yield Finding(group="devices", name="threads", value=f"{torch.get_num_threads()}{said}")


def _gpus() -> Iterator[Finding]:
    import torch

    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            about = torch.cuda.get_device_properties(number)
            yield Finding(
                group="devices",
                name=f"cuda:{number}",
                value=f"{about.name}, {_told(about.total_memory)}",
                facts={"name": about.name, "bytes": about.total_memory, "capability": [about.major, about.minor]},
            )
    elif shutil.which("nvidia-smi"):
        yield Finding(
            group="devices",
            name="cuda",
            value=f"there is a driver of NVIDIA's, but torch {torch.__version__} cannot use it",
            state="gap",
            remedy="install a build of torch for your CUDA version: https://pytorch.org/get-started/locally",
        )
    if torch.backends.mps.is_available():
        yield Finding(group="devices", name="mps", value="Apple's GPU")


def _memory() -> int | None:
    """Bytes of main memory; None where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def check_weights() -> Iterator[Finding]:
    """Whether the weights that vsal knows are here, and are what they should be."""
    from saliency_cli.models import manifest

    for name, entry in manifest.entries().items():
        needed = entry.in_wheel  # the default model
        if manifest.find(name) is None:
            remedy = "install vsal again" if entry.in_wheel else manifest.pull_command(entry)
            if not entry.in_wheel and not entry.url:
                remedy += ", PLACE being the folder weights of a clone, or an https address that has the file"
            yield Finding(
                group="weights",
                name=name,
                value="not on this machine",
                state="broken" if needed else "gap",
                remedy=remedy,
                exit_code=WeightsError.exit_code if needed else 0,
            )
            continue
        try:
            verified = manifest.verify(name)
        except WeightsError as error:
            yield Finding(
                group="weights",
                name=name,
                value="damaged, or another version",
                state="broken" if needed else "gap",
                remedy=str(error),
                exit_code=WeightsError.exit_code if needed else 0,
            )
            continue
        said = "verified" if verified.expected else "with a checksum that nobody has named"
        yield Finding(group="weights", name=name, value=f"{said}, {verified.path}", facts={"sha256": verified.sha256})


def check_room() -> Iterator[Finding]:
    """Where downloads and temporary files go, and how much room is there."""
    from saliency_cli.models import manifest

    yield _place("store", manifest.store(), "set VSAL_STORE to a folder on a disk with room", needed=False)
    try:
        temporary = Path(tempfile.gettempdir())
    except OSError as error:  # nowhere to write
        yield Finding(
            group="room", name="temporary", value=str(error.strerror or error), state="broken",
            remedy="set TMPDIR to a folder that may be written to", exit_code=WriteError.exit_code,
        )  # fmt: skip
        return
    yield _place("temporary", temporary, "set TMPDIR to a folder on a disk with room", needed=True)


def _place(name: str, folder: Path, remedy: str, *, needed: bool) -> Finding:
    there = folder.absolute()
    while not there.exists() and there != there.parent:
        there = there.parent
    free = shutil.disk_usage(there).free
    writable = os.access(there, os.W_OK | os.X_OK)
    facts = {"path": str(folder), "bytes_free": free, "writable": writable}
    value = f"{folder}, {_told(free)} free"
    if not writable:
        return Finding(
            group="room",
            name=name,
            value=f"{folder} may not be written to",
            state="broken" if needed else "gap",
            remedy=remedy,
            exit_code=WriteError.exit_code if needed else 0,
            facts=facts,
        )
    scarce = free < SCARCE
    return Finding(
        group="room",
        name=name,
        value=value,
        state="gap" if scarce else "ok",
        remedy=remedy if scarce else "",
        facts=facts,
    )


def _told(number: int) -> str:
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.1f} MB"
