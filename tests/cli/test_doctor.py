"""vsal doctor: for people and as JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

from saliency_cli.doctor import examining
from saliency_cli.doctor.findings import Diagnosis, Finding

pytestmark = pytest.mark.timeout(120)


def test_this_machine_can_predict(vsal: Any) -> None:
    result = vsal("doctor", "--json")
    record = json.loads(result.stdout)
    assert (result.exit_code, record["predict_works"]) == (0, True), result.stdout
    assert {each["group"] for each in record["findings"]} == {*examining.CHECKS}
    assert all(each["remedy"] for each in record["findings"] if each["state"] != "ok")


def test_what_is_missing_decides_the_exit_code(vsal: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    findings = (
        Finding(group="packages", name="torch", value="2.13"),
        Finding(group="packages", name="scipy", value="not installed", state="gap", remedy="pip install scipy"),
        Finding(group="weights", name="tsfp", value="gone", state="broken", remedy="install vsal again", exit_code=4),
    )
    monkeypatch.setattr(examining, "examine", lambda: Diagnosis(findings))
    result = vsal("doctor")
    assert (result.exit_code, result.stderr) == (4, "")
    lines = result.stdout.splitlines()
    assert lines[0] == "packages"
    assert lines[1].split() == ["ok", "torch", "2.13"]
    assert lines[3].split("→")[1] == " pip install scipy"
    assert lines[5].split() == ["BROKEN", "tsfp", "gone"]
    assert lines[-1] == "vsal predict does not work; 1 gap."
