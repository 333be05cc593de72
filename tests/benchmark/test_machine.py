"""What is told of a machine, and what is not."""

from __future__ import annotations

import json
import platform

import pytest

from saliency_cli.benchmark.machine import describe_machine, load_average


def test_it_is_described_and_not_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("platform.node", "socket.gethostname"):
        monkeypatch.setattr(name, lambda: "this-very-machine")
    machine = describe_machine(("numpy", "no-such-distribution"))
    assert machine["processor"]
    assert machine["python"] == platform.python_version()
    assert machine["packages"].keys() == {"numpy"}
    assert "this-very-machine" not in json.dumps(machine)


def test_the_load_is_that_of_the_last_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getloadavg", lambda: (1.234, 9.0, 9.0), raising=False)
    assert load_average() == 1.23
    assert describe_machine(())["load"] == 1.23
    monkeypatch.delattr("os.getloadavg")
    assert load_average() is None
