"""Bars for people, and nothing of them where nobody is watching."""

from __future__ import annotations

import io
import logging

import pytest
import typer

from saliency_cli.cli import console


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(console._level, "quiet", 0)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


def bar(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("sys.stderr", stream)
    with console.progress_bar("clip [/bold] [1].mp4") as update:
        update(0, None)
        update(3, 10)
        update(10, 10)
    return stream.getvalue()


def test_a_person_sees_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    shown = bar(Terminal(), monkeypatch)
    assert "clip [/bold] [1].mp4" in shown
    assert "10/10" in shown
    assert "frames/s" in shown


def test_a_file_gets_none_and_neither_does_who_wants_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    assert bar(io.StringIO(), monkeypatch) == ""
    monkeypatch.setitem(console._level, "quiet", 1)
    assert bar(Terminal(), monkeypatch) == ""


def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in bar(Terminal(), monkeypatch)


@pytest.mark.parametrize(
    ("verbose", "quiet", "level"),
    [(0, False, logging.WARNING), (1, False, logging.INFO), (2, False, logging.DEBUG), (2, True, logging.ERROR)],
)
def test_how_much_is_logged(verbose: int, quiet: bool, level: int) -> None:
    console.setup(verbose, quiet)
    assert logging.getLogger("saliency_cli").level == level
    console.setup(0, False)


@pytest.mark.parametrize(
    ("said", "message"),
    [((), "of what was not finished nothing is left"), (("a file is whole",), "a file is whole")],
)
def test_who_stops_a_command_is_told_what_is_left(
    said: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    @console.guarded
    def stopped() -> None:
        raise KeyboardInterrupt(*said)

    with pytest.raises(typer.Exit) as caught:
        stopped()
    assert caught.value.exit_code == 130
    assert capsys.readouterr().err == f"vsal: interrupted; {message}.\n"
