"""Files and folders that appear under their name only when they are complete.

A product grows under a hidden name beside its goal, ``.vsal-<random><suffix>``, and takes the goal's place in one step.
Whatever stops the work before (an error, Ctrl-C) removes it, and an earlier product stays as it was.

A process that may be killed marks its names, ``.vsal-<mark>-<random><suffix>``, so that another can tell what it left.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import stat
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from saliency_cli.errors import WriteError

__all__ = [
    "FRAME_FILES",
    "Replacement",
    "ReplacementFile",
    "ReplacementFolder",
    "atomic_file",
    "atomic_folder",
    "mark_temporary_files",
    "remove_marked",
    "write_errors",
]

FRAME_FILES: Final = r"\d{4,}\.png"  # what a folder may hold that a new one replaces

_REASONS: Final = {
    errno.ENOSPC: "the disk is full; free some space or choose another folder",
    errno.EDQUOT: "the disk quota is used up; free some space or choose another folder",
    errno.EFBIG: "the file grew larger than this file system or the process's limit allows; choose another folder",
    errno.EACCES: "there is no permission to write there; choose another folder",
    errno.EPERM: "there is no permission to write there; choose another folder",
    errno.EROFS: "the file system is read-only; choose another folder",
    errno.EISDIR: "a folder of this name is in the way; choose another name",
    errno.ENOTDIR: "a part of the path is a file, not a folder; choose another path",
    errno.EEXIST: "a part of the path is a file, not a folder; choose another path",
    errno.ENOENT: "its folder went away; create it again",
    errno.ENAMETOOLONG: "the name is too long for this file system; choose a shorter one",
    errno.EPIPE: "the program that read the output has ended; check it, or write to a file",
    errno.EIO: "the disk reports an input/output error; check the disk or choose another one",
}


def _write_error(path: Path | str, error: OSError) -> WriteError:
    """The one sentence for an operating-system error met while writing ``path``."""
    reason = _REASONS.get(error.errno or 0)
    if reason is None:
        reason = f"{error.strerror or error}; choose another folder"
    return WriteError(f"{'stdout' if str(path) == '-' else path} cannot be written: {reason}.")


@contextmanager
def write_errors(path: Path | str) -> Iterator[None]:
    """Turn the OSErrors of a block, PyAV's included, into a WriteError that names ``path``."""
    try:
        yield
    except OSError as error:
        raise _write_error(path, error) from error


_mark = ""


def mark_temporary_files(mark: str) -> None:
    """From now on all temporary names of this process carry ``mark``, letters and digits; none with an empty one."""
    global _mark
    if re.fullmatch("[0-9A-Za-z]*", mark) is None:
        raise ValueError(f"a mark is made of letters and digits: {mark!r}")
    _mark = f"{mark}-" if mark else ""


def remove_marked(folder: Path, marks: Collection[str]) -> int:
    """Remove what processes with these marks left in ``folder`` when they died, as far as possible; how much it was."""
    try:
        left = [entry for entry in os.scandir(folder) if _mark_of(entry.name) in marks]
    except OSError:
        return 0
    for entry in left:
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                os.unlink(entry.path)
    return len(left)


def _mark_of(name: str) -> str | None:
    found = re.match(r"\.vsal-([0-9A-Za-z]+)-", name)
    return None if found is None else found[1]


class Replacement(ABC):
    """A product in the making: written at ``temporary``, to become ``goal``; then either committed or discarded."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        try:
            # A link stays a link, and the file that it points to is replaced.
            self.goal = Path(os.path.realpath(self.path))
            self._check_goal()
            self.goal.parent.mkdir(parents=True, exist_ok=True)
            self.temporary = self.goal.with_name(f".vsal-{_mark}{secrets.token_hex(6)}{self._suffix()}")
            self._create()
        except OSError as error:
            raise _write_error(self.path, error) from error
        self._open = True

    def commit(self) -> None:
        """Put the product in its place. Raises WriteError, and then removes it. Without effect the second time."""
        if not self._open:
            return
        try:
            self._replace()
        except BaseException as error:
            self.discard()
            if isinstance(error, OSError):
                raise _write_error(self.path, error) from error
            raise
        self._open = False
        _sync_folder(self.goal.parent)

    def discard(self) -> None:
        """Remove what was written. Without effect after either end."""
        if self._open:
            self._open = False
            self._remove()

    def _suffix(self) -> str:
        return ""

    @abstractmethod
    def _check_goal(self) -> None: ...

    @abstractmethod
    def _create(self) -> None: ...

    @abstractmethod
    def _replace(self) -> None: ...

    @abstractmethod
    def _remove(self) -> None: ...


class ReplacementFile(Replacement):
    """A file that is not there until it is complete."""

    def _suffix(self) -> str:
        return self.goal.suffix

    def _check_goal(self) -> None:
        self._mode: int | None = None
        try:
            found = os.stat(self.goal)  # finds a name that is too long now, not after an hour of work
        except FileNotFoundError:
            return
        if stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(found.st_mode):
            raise WriteError(f"{self.path} is not an ordinary file, and is not replaced; name a file.")
        if not os.access(self.goal, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        self._mode = stat.S_IMODE(found.st_mode)

    def _create(self) -> None:
        # The kernel applies the umask here, which no other call tells without changing it for all threads.
        handle = os.open(self.temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            if self._mode is None:
                self._mode = stat.S_IMODE(os.fstat(handle).st_mode)
            os.chmod(self.temporary, 0o600)  # nobody else reads a half-written file
        finally:
            os.close(handle)

    def _replace(self) -> None:
        assert self._mode is not None
        handle = os.open(self.temporary, os.O_RDWR)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
        os.chmod(self.temporary, self._mode)
        os.replace(self.temporary, self.goal)

    def _remove(self) -> None:
        with contextlib.suppress(OSError):  # the reason why it is discarded matters more than this one
            self.temporary.unlink()


class ReplacementFolder(Replacement):
    """A folder that is not there until it is complete.

    It replaces an empty folder, or one that holds nothing but numbered pictures; any other is the user's, and refused.
    The single pictures are not synchronised with the disk: that would take longer than making them.
    """

    def _check_goal(self) -> None:
        try:
            if not stat.S_ISDIR(os.stat(self.goal).st_mode):
                raise WriteError(f"{self.path} is a file, but pictures need a folder; choose another name.")
        except FileNotFoundError:
            return
        with os.scandir(self.goal) as entries:
            strange = next((entry.name for entry in entries if not re.fullmatch(FRAME_FILES, entry.name)), None)
        if strange is not None:
            raise WriteError(
                f"{self.path} holds other files ({strange}), and is not replaced; name a new or an empty folder."
            )

    def _create(self) -> None:
        self.temporary.mkdir()
        self._mode = stat.S_IMODE(self.temporary.stat().st_mode)  # as the umask has it
        self.temporary.chmod(0o700)  # nobody else sees a folder that is half full

    def _replace(self) -> None:
        self.temporary.chmod(self._mode)
        earlier = self.temporary.with_name(self.temporary.name + ".old")
        try:
            os.rename(self.goal, earlier)
        except FileNotFoundError:
            os.rename(self.temporary, self.goal)
            return
        try:
            os.rename(self.temporary, self.goal)
        except BaseException:
            os.rename(earlier, self.goal)
            raise
        shutil.rmtree(earlier, ignore_errors=True)

    def _remove(self) -> None:
        shutil.rmtree(self.temporary, ignore_errors=True)


@contextmanager
def atomic_file(path: Path | str) -> Iterator[Path]:
    """Write a file that appears complete or not at all.

    Yields an existing, empty file beside ``path`` with the same suffix. At the end of the block it is synchronised with
    the disk and replaces ``path``, with the mode of the earlier file or the one the umask gives. After an exception,
    KeyboardInterrupt included, it is removed. Missing parent folders are created. OSErrors, those raised inside the
    block included, become WriteError.
    """
    yield from _until_complete(ReplacementFile(path))


@contextmanager
def atomic_folder(path: Path | str) -> Iterator[Path]:
    """Fill a folder that appears complete or not at all; see ``atomic_file`` and ``ReplacementFolder``."""
    yield from _until_complete(ReplacementFolder(path))


def _until_complete(replacement: Replacement) -> Iterator[Path]:
    try:
        yield replacement.temporary
    except BaseException as error:
        replacement.discard()
        if isinstance(error, OSError):
            raise _write_error(replacement.path, error) from error
        raise
    replacement.commit()


def _sync_folder(folder: Path) -> None:
    """Let the new name survive a power failure, where the file system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
