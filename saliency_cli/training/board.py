"""A run's curves for TensorBoard, beside the CSV log that is always written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from saliency_cli.errors import UsageError

__all__ = ["Board", "check_board", "open_board"]


class Board(Protocol):
    """Takes one point of one curve."""

    def __call__(self, curve: str, value: float, step: int) -> None: ...


def check_board() -> None:
    """Raise :class:`UsageError` if TensorBoard is not installed."""
    try:
        import torch.utils.tensorboard  # noqa: F401 (imported late: it is slow, and an extra)
    except ImportError as error:
        raise UsageError(
            "--tensorboard: TensorBoard is missing: pip install 'vsal[train]', or leave it out."
        ) from error


@contextmanager
def open_board(folder: Path | None, *, step: int) -> Iterator[Board]:
    """Curves in ``folder``, from ``step`` on: what an interrupted run drew beyond it is drawn again. None: nowhere."""
    if folder is None:
        yield lambda curve, value, step: None
        return
    check_board()
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder), purge_step=step + 1) as writer:
        yield lambda curve, value, step: writer.add_scalar(curve, value, step)
