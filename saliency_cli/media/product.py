"""What all writers share: a product is complete after ``close``, and gone after an error."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from saliency_cli.media.atomic import Replacement, ReplacementFile, ReplacementFolder, write_errors

__all__ = ["Product", "ProductWriter"]

STDOUT = "-"


class ProductWriter(Protocol):
    """A product being written, opened by its constructor.

    As a context manager it is closed at the end of the block, and discarded if the block ended with an exception.
    ``notes`` says what the user may want to know, one sentence each; it is complete after ``close``.
    """

    path: Path
    notes: list[str]

    def write(self, *args: Any, **kwargs: Any) -> None:
        """Add one frame; what that takes is up to the writer."""

    def finish(self) -> None:
        """Complete the product without putting it in its place. Raises WriteError. Without effect the second time."""

    def close(self) -> None:
        """Complete the product and put it in its place. Raises WriteError. Without effect the second time."""

    def discard(self) -> None:
        """Leave nothing behind; an earlier product stays. Without effect after either end."""

    def interrupt(self) -> None:
        """Let a ``write`` end that waits, from another thread; the product is about to be discarded."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class _InPlace(Replacement):
    """Stdout: what goes there is in its place at once, and stays."""

    def __init__(self) -> None:
        self.path = self.goal = self.temporary = Path(STDOUT)

    def commit(self) -> None:
        """Nothing."""

    def discard(self) -> None:
        """Nothing."""

    def _check_goal(self) -> None:
        """Nothing."""

    _create = _replace = _remove = _check_goal


class Product:
    """A writer whose product is put in its place by a Replacement; ``path`` is None for stdout, which is in its place.

    ``interrupt`` is for another thread than the one that writes.
    """

    def __init__(self, path: Path | str | None, *, folder: bool = False) -> None:
        self.path = Path(STDOUT if path is None else path)
        self.notes: list[str] = []
        self._replacement: Replacement
        if path is None:
            self._replacement = _InPlace()
        else:
            self._replacement = ReplacementFolder(path) if folder else ReplacementFile(path)
        self._finished = self._ended = False

    def finish(self) -> None:
        """Complete the product without putting it in its place: what can fail, fails here. Raises WriteError."""
        if self._finished or self._ended:
            return
        try:
            with write_errors(self.path):
                self._finish()
        except BaseException:
            self.discard()
            raise
        self._finished = True

    def close(self) -> None:
        """Complete the product and put it in its place. Raises WriteError. Without effect the second time."""
        if self._ended:
            return
        self.finish()
        try:
            self._replacement.commit()
        except BaseException:
            self.discard()
            raise
        self._ended = True

    def discard(self) -> None:
        """Leave nothing behind; an earlier product stays. Without effect after either end."""
        if not self._ended:
            self._ended = True
            try:
                if not self._finished:
                    self._abandon()
            finally:
                self._replacement.discard()

    def interrupt(self) -> None:
        """Let a ``write`` end that waits for whoever reads the product, which is about to be discarded."""

    def _finish(self) -> None:
        """Write what is still missing, and close what is open."""

    def _abandon(self) -> None:
        """Close what is open, without raising."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.discard()
