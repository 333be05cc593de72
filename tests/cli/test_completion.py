"""What the shell is told: the commands, their options and the values of these, quickly and whatever a file says."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes import program

pytestmark = pytest.mark.timeout(60)


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("vsal in", {"inspect"}),
        ("vsal models ex", {"export"}),
        ("vsal predict --mo", {"--model"}),
        ("vsal predict --model t", {"tsfp", "tased"}),
    ],
)
def test_bash_is_told_what_fits(folder: Path, words: str, wanted: set[str]) -> None:
    (folder / "vsal.toml").write_text("this is no TOML")
    process = program(
        cwd=folder,
        env={"COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1), "_VSAL_COMPLETE": "complete_bash"},
    )
    told, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, "")
    assert set(told.split()) == wanted


def test_what_a_shell_needs_is_shown(folder: Path) -> None:
    process = program(
        "--show-completion", "bash", cwd=folder, env={"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    )
    told, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert "complete -o default -F _vsal_completion vsal" in told
    assert "_VSAL_COMPLETE=complete_bash" in told
