"""Standard output for products: bytes for the next program in a pipe, and nothing but them."""

from __future__ import annotations

import contextlib
import os
import select
import stat
import sys
from typing import BinaryIO, Final, TextIO, cast

from saliency_cli.errors import UsageError, WriteError

__all__ = ["STDOUT_NAME", "Outlet", "require_pipe"]

STDOUT_NAME: Final = "stdout"
AT_ONCE: Final = getattr(select, "PIPE_BUF", 512)  # bytes that a pipe takes without waiting if it takes any


def require_pipe(*, text: bool = False) -> None:
    """Raise WriteError if there is no stdout, and UsageError if it is a terminal, which takes nothing but ``text``."""
    if sys.stdout is None:
        raise WriteError(f"{STDOUT_NAME} is closed; pipe it into a program, or name a file with -o.")
    if not text and sys.stdout.isatty():
        raise UsageError(
            f"-o - writes pictures to {STDOUT_NAME}, and that is a terminal; pipe it into a program, or into a file."
        )


class Outlet:
    """Where the bytes of a product go: a file's, or stdout (None), where they alone arrive. ``text``: they are ASCII.

    While it is open, whatever else is printed to stdout, by whichever library, comes out on stderr. ``write`` never
    raises, since a callback of FFmpeg's cannot: ``check`` raises what happened. Each write goes at once. ``stop``, from
    any thread, ends a write that waits because nobody reads.
    """

    def __init__(self, file: BinaryIO | None = None, *, text: bool = False) -> None:
        self._file: BinaryIO | None = file
        self._descriptor: int | None = None
        self._printed: int | None = None  # stdout's number, lent to stderr
        self._patient = False  # whether a write may wait for a reader
        self._failure: BaseException | None = None
        self._woken = self._wake = -1
        self._stopped = False
        if file is None:
            self._take_stdout(text)

    def write(self, content: bytes) -> int:
        """Hand on all of it; nothing after a failure."""
        if self._failure is None and not self._stopped:
            try:
                self._send(content)
            except BaseException as error:  # kept for ``check``
                self._failure = error
        return len(content)

    def check(self) -> None:
        """Raise what stopped ``write``."""
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Let ``write`` do nothing more, wherever it waits."""
        self._stopped = True
        if self._wake >= 0:
            os.write(self._wake, b"\0")

    def finish(self) -> None:
        """Give stdout back; harmless when repeated."""
        self._stopped = True
        if self._descriptor is not None and self._printed is not None:
            with contextlib.suppress(OSError, ValueError):  # a text buffer that a closed pipe does not take any more
                sys.stdout.flush()
            os.dup2(self._descriptor, self._printed)
            os.close(self._descriptor)
            self._descriptor = None
            if self._wake >= 0:
                os.close(self._woken)
                os.close(self._wake)
                self._woken = self._wake = -1

    def _take_stdout(self, text: bool) -> None:
        require_pipe(text=text)
        sys.stdout.flush()
        buffer = getattr(sys.stdout, "buffer", None)
        try:
            self._printed = sys.stdout.buffer.fileno()
        except (AttributeError, OSError, ValueError):  # a stand-in, as in notebooks and tests
            if buffer is None and not text:
                raise WriteError(f"{STDOUT_NAME} takes text only here; name a file with -o.") from None
            self._file = buffer or cast(BinaryIO, _Letters(sys.stdout))
            return
        self._descriptor = os.dup(self._printed)
        if sys.platform == "win32":
            import msvcrt

            msvcrt.setmode(self._descriptor, os.O_BINARY)
        else:
            self._patient = not stat.S_ISREG(os.fstat(self._descriptor).st_mode)
            self._woken, self._wake = os.pipe()
        with contextlib.suppress(OSError):  # no stderr: what others print stays where it was
            os.dup2(2, self._printed)

    def _send(self, content: bytes) -> None:
        if self._file is not None:
            self._file.write(content)
            self._file.flush()
            return
        assert self._descriptor is not None
        left = memoryview(content)
        while left and self._accepts(self._descriptor):
            left = left[os.write(self._descriptor, left[:AT_ONCE] if self._patient else left) :]

    def _accepts(self, descriptor: int) -> bool:
        """Wait until somebody reads; False after ``stop``."""
        if self._patient:
            poll = select.poll()
            poll.register(descriptor, select.POLLOUT)
            poll.register(self._woken, select.POLLIN)
            poll.poll()
        return not self._stopped


class _Letters:
    """A text stream that takes ASCII's bytes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self.flush = stream, stream.flush

    def write(self, content: bytes) -> int:
        return self._stream.write(content.decode("ascii"))
