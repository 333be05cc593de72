"""The way to a Ray cluster: connected, and how many workers it has room for."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import secrets
import signal
import socket
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TextIO, cast

from saliency_cli.batch.local import CORES_PER_WORKER, cores
from saliency_cli.errors import DeviceError, UsageError, VsalError
from saliency_cli.options import PredictOptions

__all__ = ["Crew", "connected", "crew_for", "import_ray", "line_of", "nodes_of"]

log = logging.getLogger(__name__)

REACHED_WITHIN = 5.0  # seconds
OBJECT_STORE = 100 * 2**20  # bytes; jobs and outcomes are some hundred bytes each
LONGEST_SOCKET = 107  # bytes of a Unix socket's path
SOCKET_NAME = len("/session_2000-01-01_00-00-00_000000_1234567/sockets/plasma_store.12")


def import_ray() -> ModuleType:
    """Ray with its Data. Raises UsageError if it is not installed."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent to anybody
    # What Ray says of itself is for its logs; what goes wrong comes back as an error.
    for name in ("RAY_BACKEND_LOG_LEVEL", "RAY_DATA_LOG_LEVEL"):
        os.environ.setdefault(name, "fatal" if name == "RAY_BACKEND_LOG_LEVEL" else "CRITICAL")
    try:
        with warnings.catch_warnings(action="ignore"):
            import ray
            import ray.data
    except ImportError as error:
        raise UsageError(
            f"--engine ray needs Ray, which is not complete here ({error}): pip install 'vsal[ray]'."
        ) from None
    return cast(ModuleType, ray)


@contextmanager
def connected(ray: ModuleType, address: str | None) -> Iterator[None]:
    """Connected to the cluster; one on this machine is started and ended. A connection that exists is used as it is.

    Raises UsageError, DeviceError: it cannot be reached, or does not fit.
    """
    if ray.is_initialized():
        yield
        return
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    if address not in ("local", "auto"):
        _reach(address)
    with _environment_as_before(), contextlib.ExitStack() as stack:
        more: dict[str, Any] = {}
        if address == "local":
            # For this run alone: on the loopback interface, with a secret of its own and its files in a private folder.
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
            folder = stack.enter_context(
                tempfile.TemporaryDirectory(prefix="vsal-", dir=_short(), ignore_cleanup_errors=True)
            )
            more = {
                "num_cpus": cores(),
                "include_dashboard": False,
                "object_store_memory": OBJECT_STORE,
                "_temp_dir": folder,
                "_node_ip_address": "127.0.0.1",
            }
        try:
            with warnings.catch_warnings(action="ignore"), _handlers_as_before():
                ray.init(address=address, log_to_driver=False, logging_level="critical", **more)
        except Exception as error:
            with contextlib.suppress(Exception):
                _shut_down(ray)
            raise _refusal(address, error) from error
        stack.callback(_shut_down, ray)
        stack.enter_context(contextlib.redirect_stdout(cast(TextIO, _WithoutRay(sys.stdout))))
        yield


def _shut_down(ray: ModuleType) -> None:
    """End the connection, and with it all that it has on the cluster. Ray then prints what it had kept back."""
    with contextlib.redirect_stdout(io.StringIO()) as told:
        ray.shutdown()
    if told.getvalue().strip():
        log.info("%s", told.getvalue().strip())


def _reach(address: str) -> None:
    """Knock at the address: Ray itself would wait for minutes."""
    if address.startswith("ray://"):
        raise UsageError(
            f"--address {address}: Ray Data does not work through Ray's client; run vsal on a machine of the cluster "
            "with --address auto, or hand the command over with ray job submit."
        )
    host, separator, port = address.rpartition(":")
    if not separator or not host or "/" in host or not port.isdecimal():
        raise UsageError(f"--address {address}: must be auto or host:port.")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=REACHED_WITHIN).close()
    except (OSError, OverflowError) as error:
        raise DeviceError(
            f"no Ray cluster answers at {address} ({error}); start one with ray start --head, or check --address."
        ) from None


def _refusal(address: str, error: Exception) -> VsalError:
    """What to say of a cluster that Ray did not connect to."""
    told = line_of(error)
    if "ersion mismatch" in str(error):
        return DeviceError(
            f"the Ray cluster at {address} has another version of Ray or Python than this machine ({told}); "
            "install the same on both."
        )
    where = "started on this machine" if address == "local" else f"reached at {address}"
    return DeviceError(
        f"no Ray cluster could be {where} ({told}); start one with ray start --head, or check --address."
    )


def line_of(error: BaseException) -> str:
    """The line of an error that says most, without a traceback."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    missing = [line for line in lines if "No module named" in line]
    line = (
        missing or [line for line in lines if not line.startswith(("File ", "Traceback"))] or [type(error).__name__]
    )[0]
    return line[:300].rstrip(".")


def _short() -> str | None:
    """Where a folder's path is short enough for the sockets that Ray makes in it; None is the usual place."""
    usual = tempfile.gettempdir()
    fits = len(os.fsencode(usual)) + len("/vsal-12345678") + SOCKET_NAME <= LONGEST_SOCKET
    return None if fits or sys.platform == "win32" else "/tmp"


class _WithoutRay:
    """Standard output for everybody but Ray's threads, which print what happens on the cluster: that is logged."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        if not threading.current_thread().name.startswith("ray_"):
            return self._stream.write(text)
        if text.strip():
            log.info("%s", text.strip())
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def _handlers_as_before() -> Iterator[None]:
    """Signal handlers afterwards as they were: Ray puts its own in their place, and whoever runs us has good ones."""
    main = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)} if main else {}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            if handler is not None:
                signal.signal(number, handler)


@contextmanager
def _environment_as_before() -> Iterator[None]:
    """The environment afterwards as it was."""
    environment = dict(os.environ)
    try:
        yield
    finally:
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
        os.environ.update(environment)


@dataclass(frozen=True, slots=True)
class Crew:
    """The pool: how many actors, and what each has."""

    size: int
    device: str | None
    threads: int | None
    cpus: float
    gpus: float
    reason: str


def nodes_of(ray: ModuleType) -> list[dict[str, float]]:
    """The resources of each node that is up."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def crew_for(nodes: Sequence[dict[str, float]], options: PredictOptions, workers: int | None) -> Crew:
    """As many actors as the cluster has room for, and why.

    Raises UsageError, DeviceError: the options ask for what the cluster does not have.
    """
    cpus = [int(node.get("CPU", 0)) for node in nodes]
    gpus = sum(int(node.get("GPU", 0)) for node in nodes)
    device = options.device.partition(":")[0]
    if ":" in options.device:
        raise UsageError(f"--device {options.device}: on a cluster Ray deals out the GPUs; use --device {device}.")
    if device == "cuda" and not gpus and workers is None:
        raise DeviceError(
            "--device cuda: the Ray cluster has no GPU; use --device cpu, or give --workers if nodes come."
        )
    if device == "cuda" or (device == "auto" and gpus):
        # Ray shows each actor its own GPU alone.
        count = workers or gpus
        spare = max(1, min((n for n in cpus if n), default=1) // max(1, -(-count // max(1, len(nodes)))))
        return Crew(count, "cuda", options.threads, min(options.threads or 1, spare), 1, "one for each GPU")
    if not any(cpus) and workers is None:
        raise DeviceError(
            "the Ray cluster has no CPUs yet; start its nodes, or give --workers if its autoscaler adds them."
        )
    most = max(cpus, default=0) or 1
    threads = options.threads or (CORES_PER_WORKER if workers is None else max(1, sum(cpus) // workers))
    threads = threads if options.threads else min(threads, most)
    if any(cpus) and threads > most and workers is None:
        raise DeviceError(f"--threads {threads}: no node of the Ray cluster has as many CPUs; the largest has {most}.")
    count = workers or sum(n // threads for n in cpus)
    reason = "asked for" if workers else f"{sum(cpus)} CPUs on {len(nodes)} nodes"
    return Crew(max(1, count), device if device != "auto" else "cpu", threads, threads, 0, reason)
