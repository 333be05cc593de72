"""Standard input: bytes as they come, and a private file for what cannot be read as it comes.

A pipe cannot be read twice, nor from its end: what ``contents`` does not know to be readable forwards is kept in a
temporary file first, and read as any file is.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import select
import sys
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from saliency_cli.errors import ReadError, UsageError, WriteError

__all__ = [
    "STDIN",
    "STDIN_NAME",
    "Intake",
    "Spool",
    "is_stdin",
    "open_intake",
    "source_path",
    "told_apart",
]

STDIN: Final = Path("-")
STDIN_NAME: Final = "stdin"  # in messages, and in the names of products
DESCRIPTOR = 0
CHUNK: Final = 1 << 16  # what a pipe holds
SERIES: Final = ".video"  # the suffix of pictures one after the other


class Intake:
    """Reads a pipe, with what PyAV asks of a file: ``read``, which waits only while nothing at all is there.

    ``read`` never raises, since a callback of FFmpeg's cannot: it gives nothing more, and ``check`` raises what
    happened. ``stop``, from any thread, ends a ``read`` that waits.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._head = bytearray()  # looked at already, and still to be read
        self._digest = hashlib.sha256()
        self._stopped = False
        self._failure: BaseException | None = None
        self.count = 0  # bytes that were read
        self._poll: select.poll | None = None
        if sys.platform != "win32":  # which has neither poll nor another way to wait for a pipe and something else
            self._woken, self._wake = os.pipe()
            self._poll = select.poll()
            self._poll.register(descriptor, select.POLLIN)
            self._poll.register(self._woken, select.POLLIN)
            self._closing = weakref.finalize(self, _close, self._woken, self._wake)

    def peek(self, size: int) -> bytes:
        """The next ``size`` bytes, fewer only at the end, which ``read`` gives again. Raises what stops it."""
        while len(self._head) < size and (part := self._receive(CHUNK)):
            self._head += part
        self.check()
        return bytes(self._head[:size])

    def read(self, size: int) -> bytes:
        """At most ``size`` bytes; none at the end."""
        if self._head:
            part = bytes(self._head[:size])
            del self._head[:size]
        else:
            part = self._receive(size)
        self._digest.update(part)
        self.count += len(part)
        return part

    def check(self) -> None:
        """Raise what stopped ``read``: an interrupt as it was, anything else as a ReadError."""
        if isinstance(self._failure, OSError):
            if self._failure.errno == errno.EISDIR:
                raise ReadError(f"{STDIN_NAME} is a folder; name it as an input instead of -.")
            raise ReadError(f"{STDIN_NAME} cannot be read ({self._failure.strerror}); check what writes to it.")
        if self._failure is not None:
            raise self._failure

    @property
    def sha256(self) -> str:
        """Of what was read."""
        return self._digest.hexdigest()

    def stop(self) -> None:
        """Let ``read`` give nothing more, wherever it waits."""
        self._stopped = True
        if self._poll is not None and self._closing.alive:
            os.write(self._wake, b"\0")

    def close(self) -> None:
        """Stop, and free what waiting took. Not while another thread reads."""
        self._stopped = True
        if self._poll is not None:
            self._closing()

    def _receive(self, size: int) -> bytes:
        if self._stopped or self._failure is not None:
            return b""
        try:
            if self._poll is not None and any(descriptor == self._woken for descriptor, _ in self._poll.poll()):
                return b""
            return os.read(self._descriptor, size)
        except BaseException as error:  # kept for ``check``
            self._failure = error
            return b""


def _close(*descriptors: int) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def source_path(source: str | Path) -> Path:
    """The path of an input: ``-`` alone is stdin, and ``./-`` a file of this name, which ``Path`` does not tell apart.

    The latter becomes absolute.
    """
    path = Path(source)
    return path.absolute() if path == STDIN and isinstance(source, str) and source != str(STDIN) else path


def is_stdin(path: Path) -> bool:
    """Whether a file is the one that stdin was redirected from."""
    try:
        return os.path.samestat(path.stat(), os.fstat(DESCRIPTOR))
    except OSError:  # nothing there, or no stdin
        return False


def open_intake() -> Intake:
    """Standard input, ready to be read.

    Raises UsageError for a terminal, and ReadError if there is no stdin, or nothing in it.
    """
    try:
        if sys.stdin is None and DESCRIPTOR == 0:  # number 0 may be any other file by now
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        if os.isatty(DESCRIPTOR):
            raise UsageError(
                f"- reads {STDIN_NAME}, and that is the keyboard; pipe a video into it, or name a file instead."
            )
        os.fstat(DESCRIPTOR)
    except OSError:
        raise ReadError(f"{STDIN_NAME} is closed; pipe a video into it, or name a file instead of -.") from None
    intake = Intake(DESCRIPTOR)
    if not intake.peek(1):
        raise ReadError(f"{STDIN_NAME} is empty; check the program that writes to it.")
    return intake


class Spool:
    """All that comes through a pipe, in a private file that is removed by ``remove``, or with this object.

    Raises WriteError if the file cannot be written; nothing is left then.
    """

    def __init__(self, intake: Intake, suffix: str) -> None:
        try:
            handle, name = tempfile.mkstemp(prefix="vsal-stdin-", suffix=suffix)  # nobody else may read it
        except OSError as error:
            raise _no_room(error, Path(tempfile.gettempdir())) from error
        self.path = Path(name)
        self.remove = weakref.finalize(self, _unlink, self.path, self.path.with_suffix(SERIES))
        try:
            with open(handle, "wb", buffering=0) as file:
                while part := intake.read(CHUNK):
                    while part:
                        part = part[file.write(part) :]
            intake.check()
        except OSError as error:
            self.remove()
            raise _no_room(error, self.path.parent) from error
        except BaseException:
            self.remove()
            raise
        self.sha256 = intake.sha256

    def mark_series(self) -> None:
        """Let the file's name say no more that it is one picture."""
        self.path = self.path.rename(self.path.with_suffix(SERIES))

    def told(self, message: str) -> str:
        """A message about this file, as one about stdin, which is what people know of."""
        return message.replace(str(self.path), STDIN_NAME).replace(self.path.name, STDIN_NAME)


def _unlink(*paths: Path) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _no_room(error: OSError, folder: Path) -> WriteError:
    what = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else error.strerror
    return WriteError(
        f"{STDIN_NAME} cannot be kept in {folder}, as its format demands: {what}; set TMPDIR to a folder with room."
    )


@contextlib.contextmanager
def told_apart(spool: Spool | None) -> Iterator[None]:
    """Let errors about a temporary file speak of stdin."""
    try:
        yield
    except (ReadError, UsageError) as error:
        if spool is None:
            raise
        raise type(error)(spool.told(str(error))) from error.__cause__
