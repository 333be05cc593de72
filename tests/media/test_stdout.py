"""Bytes on stdout: all of them, nothing else, and no waiting for ever."""

from __future__ import annotations

import io
import os
import sys
import threading
from pathlib import Path

import pytest
from piped import stdout_pipe

from saliency_cli.errors import UsageError, WriteError
from saliency_cli.media import ImageWriter
from saliency_cli.media.stdout import Outlet

pytestmark = pytest.mark.timeout(20)


def test_bytes_arrive_as_they_are_and_prints_do_not(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with stdout_pipe(monkeypatch) as pipe:
        print("before")
        outlet = Outlet()
        assert outlet.write(b"\0one") == 4
        print("a library talks")
        os.write(sys.stdout.fileno(), b"and another, in C")
        outlet.write(b"two\n")
        outlet.check()
        outlet.finish()
        outlet.finish()
        print("after", flush=True)
        assert os.read(pipe, 1000) == b"before\n\0onetwo\nafter\n"
    said = capfd.readouterr().err
    assert "a library talks" in said
    assert "and another, in C" in said


def test_more_than_a_pipe_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    content = os.urandom(1 << 19)
    with stdout_pipe(monkeypatch) as pipe:
        outlet, read = Outlet(), bytearray()

        def take() -> None:
            while len(read) < len(content):
                read.extend(os.read(pipe, 10_000))

        reader = threading.Thread(target=take, daemon=True)
        reader.start()
        outlet.write(content)
        reader.join(10)
        outlet.finish()
    assert bytes(read) == content


def test_a_write_that_nobody_reads_can_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    with stdout_pipe(monkeypatch) as pipe:
        outlet = Outlet()
        writer = threading.Thread(target=outlet.write, args=(bytes(1 << 20),), daemon=True)
        writer.start()
        os.read(pipe, 1)  # it has begun
        outlet.stop()
        writer.join(10)
        assert not writer.is_alive()
        outlet.check()
        outlet.finish()


def test_a_closed_pipe_is_told_once_and_swallows_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    with stdout_pipe(monkeypatch) as pipe:
        os.close(pipe)
        outlet = Outlet()
        assert outlet.write(b"x") == outlet.write(b"y") == 1
        with pytest.raises(BrokenPipeError):
            outlet.check()
        outlet.finish()


def test_files_and_stand_ins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open(tmp_path / "file", "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        outlet = Outlet()
        outlet.write(bytes(100_000))
        outlet.finish()
        monkeypatch.undo()
    assert (tmp_path / "file").stat().st_size == 100_000
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    with pytest.raises(WriteError, match="takes text only"):
        Outlet()
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(WriteError, match="stdout is closed"):
        Outlet()


def test_a_terminal_gets_no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    keyboard, terminal = os.openpty()
    with open(terminal, "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        with pytest.raises(UsageError, match="that is a terminal"):
            ImageWriter(None)
        monkeypatch.undo()
    os.close(keyboard)
