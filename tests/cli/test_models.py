"""vsal models: what there is, where it lies, whether it is right."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from saliency_cli.models import manifest
from saliency_cli.models.config import ModelConfig
from saliency_cli.models.registry import build
from saliency_cli.models.soundnet import SoundNet

pytestmark = pytest.mark.timeout(60)


def test_list(vsal: Any) -> None:
    result = vsal("models", "list", "--json")
    rows = {row["name"]: row for row in json.loads(result.stdout)}
    assert rows["tsfp-lite0"]["here"]
    assert not rows["tased-dhf1k"]["here"]
    assert rows["tased-dhf1k"]["model"] == "tased"
    table = vsal("models", "list")
    assert (table.exit_code, table.stderr) == (0, "")
    for name in rows:
        assert name in table.stdout
    assert "\x1b" not in table.stdout


def test_info(vsal: Any) -> None:
    known = json.loads(vsal("models", "info", "tsfp-lite0", "--json").stdout)
    assert known["licence"] == "Apache-2.0"
    assert known["header.architecture"] == "tsfp"
    assert Path(known["path"]).is_file()
    assert "architecture: tased" in vsal("models", "info", "tased-dhf1k").stdout
    assert json.loads(vsal("models", "info", "tased-dhf1k", "--json").stdout)["path"] is None


def test_path_and_verify(vsal: Any) -> None:
    result = vsal("models", "path", "tsfp-lite0")
    path = Path(result.stdout.strip())
    assert result.stdout == f"{path}\n"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert f"{digest}, as it should be" in vsal("models", "verify", "tsfp-lite0").stdout


@pytest.mark.parametrize("command", ["path", "verify", "info", "pull"])
def test_an_unknown_name(vsal: Any, command: str) -> None:
    result = vsal("models", command, "unisal")
    assert (result.exit_code, result.stdout) == (4, "")
    assert "'unisal' is no name of weights: use one of tsfp-lite0, tased-dhf1k" in result.stderr


@pytest.mark.parametrize("command", ["path", "verify"])
def test_weights_that_are_not_here(vsal: Any, command: str, tmp_path: Path) -> None:
    result = vsal("models", command, "tased-dhf1k")
    assert (result.exit_code, result.stdout) == (4, "")
    assert "vsal models pull tased-dhf1k" in result.stderr
    assert str(tmp_path / "store") in result.stderr


def test_pull_of_what_is_here_prints_its_path(vsal: Any) -> None:
    assert vsal("models", "pull", "tsfp-lite0").stdout == vsal("models", "path", "tsfp-lite0").stdout


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Serves a folder on this machine."""
    (tmp_path / "www").mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "www"))) as found:
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{found.server_port}"
        found.shutdown()
        thread.join()


def test_pull(vsal: Any, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "www" / "w.pt").write_bytes(b"weights" * 1000)
    digest = hashlib.sha256(b"weights" * 1000).hexdigest()
    entry = manifest.Entry(
        name="w", file="w.pt", architecture="tased", description="", url=f"{server}/w.pt", sha256=digest
    )
    monkeypatch.setattr(manifest, "entries", lambda: {"w": entry})
    result = vsal("models", "pull", "w")
    assert (result.exit_code, result.stdout) == (0, f"{tmp_path / 'store' / 'w.pt'}\n")
    assert result.stderr == ""
    (tmp_path / "store" / "w.pt").write_bytes(b"weight")
    result = vsal("models", "verify", "w")
    assert result.exit_code == 4
    assert "should have" in result.stderr
    (tmp_path / "store" / "w.pt").unlink()
    (tmp_path / "www" / "w.pt").write_bytes(b"something else")
    result = vsal("models", "pull", "w")
    assert result.exit_code == 4
    assert "has the SHA-256" in result.stderr
    assert not (tmp_path / "store" / "w.pt").exists()


def test_convert(vsal: Any, folder: Path) -> None:
    torch.save({f"module.{name}": tensor for name, tensor in build(ModelConfig.tased()).state_dict().items()}, "w.pt")
    result = vsal("models", "convert", "w.pt", "w.safetensors", "--half")
    assert (result.exit_code, result.stdout) == (0, "w.safetensors\n")
    assert "give it to --weights" in result.stderr
    from saliency_cli.models.registry import load_model

    assert load_model("tased", weights="w.safetensors").config == ModelConfig.tased()


@pytest.mark.parametrize("flag", ["--model", "--architecture"])
def test_convert_a_part_of_a_network(vsal: Any, folder: Path, flag: str) -> None:
    torch.save(SoundNet().state_dict(), "w.pt")
    result = vsal("models", "convert", "w.pt", "w.safetensors", flag, "soundnet")
    assert (result.exit_code, result.stdout) == (0, "w.safetensors\n")
    assert "a part of a network" in result.stderr


def test_convert_refuses_what_does_not_fit(vsal: Any, folder: Path) -> None:
    torch.save({"a": torch.zeros(1)}, "w.pt")
    result = vsal("models", "convert", "w.pt", "w.safetensors")
    assert (result.exit_code, result.stdout) == (4, "")
    assert "does not fit TASEDNet" in result.stderr
    assert vsal("models", "convert", "w.pt", "w.onnx").exit_code == 3
    assert vsal("models", "convert", "w.pt", "w.safetensors", "--model", "unisal").exit_code == 2
    assert [path.name for path in folder.iterdir()] == ["w.pt"]
