"""Ctrl-C during training: what was learnt is not lost, and who pressed it is told how to go on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_layouts import make_dhf1k
from tiny_network import Small
from tiny_recipes import WINDOWED
from typer.testing import CliRunner

from saliency_cli.cli.app import app


@pytest.mark.parametrize(("step", "message"), [(1, "the same command starts anew"), (4, "add --resume to go on")])
def test_ctrl_c(step: int, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the first checkpoint, which is the third step's, and after it."""
    from saliency_cli.training import run as module

    monkeypatch.setattr("saliency_cli.training.windowed_run.build", lambda config: Small())
    run_recipe = module.run_recipe

    def pressed(*arguments: Any, on_step: Callable[[int, int | None], None], **given: Any) -> Path | None:
        def stop(done: int, total: int | None) -> None:
            if done == step:
                raise KeyboardInterrupt

        return run_recipe(*arguments, on_step=stop, **given)

    recipe = tmp_path / "tiny.toml"
    recipe.write_text(WINDOWED, encoding="utf-8")
    gaze, run = make_dhf1k(tmp_path / "gaze", (1, 2, 601)), tmp_path / "run"
    command = ["train", str(recipe), "--gaze", str(gaze), "-o", str(run), "--device", "cpu"]
    monkeypatch.setattr(module, "run_recipe", pressed)
    result = CliRunner().invoke(app, command)
    assert (result.exit_code, result.stdout) == (130, "")
    assert result.stderr.splitlines()[-1].startswith("vsal: interrupted; ")
    assert message in result.stderr
    monkeypatch.setattr(module, "run_recipe", run_recipe)
    going_on = CliRunner().invoke(app, [*command, *(["--resume"] if step == 4 else [])])
    assert going_on.exit_code == 0, going_on.output
    assert len((run / "log.csv").read_text().splitlines()) == 1 + 5
