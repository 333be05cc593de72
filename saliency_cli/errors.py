"""What can go wrong, and the exit code the command line gives for it.

::

    VsalError            1   our own fault, or the common ancestor
    ├── UsageError       2   options that do not fit together, or that do not exist
    ├── MediaError       3   a file that cannot be read or written
    │   ├── ReadError
    │   └── WriteError
    ├── WeightsError     4   weights missing, damaged, or of another network
    └── DeviceError      5   a device that is not there, or its memory

Every message is one sentence that names the file, the cause and the remedy. Python's own ``KeyboardInterrupt``
ends with 130.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "DeviceError",
    "MediaError",
    "ReadError",
    "UsageError",
    "VsalError",
    "WeightsError",
    "WriteError",
    "describe",
]


class VsalError(Exception):
    """The ancestor of every error that vsal raises on purpose."""

    exit_code: ClassVar[int] = 1


class UsageError(VsalError):
    """Options or arguments that do not exist or do not fit together."""

    exit_code = 2


class MediaError(VsalError):
    """A file that cannot be read or written."""

    exit_code = 3


class ReadError(MediaError):
    """An input that is missing, empty, damaged, or holds no pictures."""


class WriteError(MediaError):
    """A product that cannot be written: no permission, no space, no such container."""


class WeightsError(VsalError):
    """Weights that are missing, damaged, or belong to another network."""

    exit_code = 4


class DeviceError(VsalError):
    """A device that this machine does not have, or whose memory does not suffice."""

    exit_code = 5


def describe(error: BaseException) -> tuple[str, int]:
    """What an error says to people, and its exit code; Python's own errors included."""
    if isinstance(error, VsalError):
        return str(error), error.exit_code
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}.", WriteError.exit_code
    if isinstance(error, MemoryError):
        return "there is not enough memory; end other programs, or use smaller pictures.", DeviceError.exit_code
    return f"this is our fault, please report it ({type(error).__name__}: {error}).", VsalError.exit_code
