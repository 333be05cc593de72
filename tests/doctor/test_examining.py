"""What is wrong with a machine becomes a finding with a remedy, and the right exit code."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from saliency_cli.doctor import machine
from saliency_cli.doctor.examining import CHECKS, examine
from saliency_cli.doctor.findings import Finding
from saliency_cli.doctor.machine import check_devices, check_media, check_room, check_weights
from saliency_cli.models import manifest


def by_name(findings: Iterator[Finding]) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


def test_a_check_that_breaks_does_not_cost_the_others() -> None:
    def breaks() -> Iterator[Finding]:
        yield Finding(group="media", name="first", value="fine")
        raise RuntimeError("no such symbol")

    diagnosis = examine({"media": breaks, "room": CHECKS["room"]})
    assert [finding.name for finding in diagnosis.findings] == ["first", "media", "store", "temporary"]
    assert (diagnosis.findings[1].state, diagnosis.exit_code) == ("broken", 1)
    assert "no such symbol" in diagnosis.findings[1].value
    assert json.loads(json.dumps(diagnosis.record()))["predict_works"] is False


def test_what_needs_a_broken_package_is_not_tried() -> None:
    def packages() -> Iterator[Finding]:
        yield Finding(group="packages", name="torch", value="it crashes", state="broken", exit_code=1)

    def devices() -> Iterator[Finding]:
        raise AssertionError("imports torch")

    diagnosis = examine({"packages": packages, "devices": devices})
    assert diagnosis.findings[1].value == "not looked at, for want of torch"
    assert diagnosis.findings[1].remedy == "mend torch as said above, and run vsal doctor again"
    assert diagnosis.exit_code == 1


def test_weights_that_are_missing_or_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VSAL_STORE", str(tmp_path / "store"))
    ours = manifest.weights_folder()
    found = by_name(check_weights())
    assert (found["tsfp-lite0"].state, found["tsfp-lite0"].value[:9]) == ("ok", "verified,")
    assert (found["tased-dhf1k"].state, found["tased-dhf1k"].remedy) == (
        "gap", "vsal models pull tased-dhf1k --unverified",
    )  # fmt: skip
    shutil.copy(ours / "manifest.toml", tmp_path)
    monkeypatch.setattr(manifest, "weights_folder", lambda: tmp_path)
    missing = by_name(check_weights())["tsfp-lite0"]
    assert (missing.state, missing.exit_code, missing.remedy) == ("broken", 4, "install vsal again")
    (tmp_path / "tsfp-lite0.safetensors").write_bytes(b"damaged")
    damaged = by_name(check_weights())["tsfp-lite0"]
    assert (damaged.state, damaged.exit_code) == ("broken", 4)
    assert "should have 17cc" in damaged.remedy


def test_weights_that_only_a_clone_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VSAL_STORE", str(tmp_path / "store"))
    monkeypatch.setattr(manifest, "weights_folder", lambda: tmp_path)
    (tmp_path / "manifest.toml").write_text(
        f'[some-open]\nfile = "some.safetensors"\narchitecture = "tased"\ndescription = "x"\nsha256 = "{"0" * 64}"\n'
    )
    (finding,) = check_weights()
    assert (finding.name, finding.state, finding.exit_code) == ("some-open", "gap", 0)
    assert finding.remedy.startswith(
        "vsal models pull some-open --from PLACE, PLACE being the folder weights of a clone"
    )
    (tmp_path / "some.safetensors").write_bytes(b"damaged")
    (finding,) = check_weights()
    assert (finding.state, finding.exit_code) == ("gap", 0)
    assert "delete it and run `vsal models pull some-open --from PLACE`" in finding.remedy


@pytest.mark.parametrize(
    ("lacks", "state", "code"), [("libx264", "broken", 3), ("aac", "gap", 0), ("prores", "gap", 0)]
)
def test_a_build_without_a_codec(monkeypatch: pytest.MonkeyPatch, lacks: str, state: str, code: int) -> None:
    known = machine._codec
    monkeypatch.setattr(machine, "_codec", lambda name, mode: name != lacks and known(name, mode))
    finding = by_name(check_media())["decoders" if lacks == "prores" else lacks]
    assert (finding.state, finding.exit_code) == (state, code)
    assert lacks in f"{finding.name} {finding.value}"
    assert finding.remedy


@pytest.mark.parametrize(
    ("installed", "error", "state"),
    [(None, "ModuleNotFoundError: decord", "gap"), ("0.6.0", "OSError: bad", "broken"), ("0.6.0", None, "ok")],
)
def test_decord(monkeypatch: pytest.MonkeyPatch, installed: str | None, error: str | None, state: str) -> None:
    monkeypatch.setattr(machine, "_installed", lambda name: installed if name == "decord" else None)
    monkeypatch.setattr(machine, "import_apart", lambda modules: dict.fromkeys(modules, error))
    finding = by_name(check_media())["decord"]
    assert finding.state == state
    assert bool(finding.remedy) is (state != "ok")


def test_gpus_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    about = SimpleNamespace(name="GeForce", total_memory=8 * 10**9, major=8, minor=6)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "GeForce")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: about)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 6))
    found = by_name(check_devices())
    assert found["cuda:1"].value == "GeForce, 8.0 GB"
    assert found["device"].value.startswith("cuda (auto: GeForce")
    assert found["precision"].value.startswith("bf16")


def test_a_driver_that_torch_cannot_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(machine.shutil, "which", lambda name: f"/usr/bin/{name}")
    found = by_name(check_devices())
    assert (found["cuda"].state, found["device"].state) == ("gap", "ok")
    assert "build of torch" in found["cuda"].remedy


def test_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VSAL_STORE", str(tmp_path / "not" / "yet"))
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda folder: SimpleNamespace(free=5_000_000))
    found = by_name(check_room())
    assert (found["store"].state, found["temporary"].state) == ("gap", "gap")
    assert "5.0 MB free" in found["store"].value
    assert "VSAL_STORE" in found["store"].remedy
    monkeypatch.setattr(machine.os, "access", lambda path, mode: False)
    found = by_name(check_room())
    assert (found["store"].state, found["temporary"].state, found["temporary"].exit_code) == ("gap", "broken", 3)
    assert not (tmp_path / "not").exists()
