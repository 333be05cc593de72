"""Curves for TensorBoard, which may not be installed."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from saliency_cli.errors import UsageError
from saliency_cli.training.board import check_board, open_board


class Writer:
    """Stands in for TensorBoard's."""

    made: list[Writer]

    def __init__(self, folder: str, *, purge_step: int) -> None:
        self.folder, self.purge_step = folder, purge_step
        self.points: list[tuple[str, float, int]] = []
        self.closed = False
        Writer.made.append(self)

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: Any) -> None:
        self.closed = True

    def add_scalar(self, curve: str, value: float, step: int) -> None:
        self.points.append((curve, value, step))


def test_nobody_draws() -> None:
    with open_board(None, step=0) as board:
        board("loss", 1.0, 1)


def test_curves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    Writer.made = []
    check_board()
    with open_board(tmp_path / "curves", step=7) as board:
        board("loss", 0.5, 8)
    (writer,) = Writer.made
    assert (writer.folder, writer.purge_step) == (str(tmp_path / "curves"), 8)
    assert writer.points == [("loss", 0.5, 8)]
    assert writer.closed


def test_without_tensorboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UsageError, match=r"TensorBoard is missing: pip install 'vsal\[train\]', or leave it out"):
        check_board()
    with pytest.raises(UsageError, match="TensorBoard is missing"), open_board(tmp_path, step=0):
        pass
