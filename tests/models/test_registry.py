"""From a name or a path to a network in evaluation mode."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import reference
import torch

import saliency_cli.models as models
from saliency_cli.errors import UsageError, WeightsError
from saliency_cli.models import manifest, registry
from saliency_cli.models.checkpoint import convert, save_checkpoint
from saliency_cli.models.config import ModelConfig
from saliency_cli.models.registry import DEFAULTS, build, default_weights, load_model
from saliency_cli.models.tased import TASEDNet
from saliency_cli.models.tsfp import TSFPNet


@pytest.fixture(autouse=True)
def _own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VSAL_STORE", str(tmp_path / "store"))


@pytest.mark.parametrize(
    "config",
    [
        ModelConfig.tased(),
        ModelConfig(architecture="tased", clip_length=8, aggregation="late", upsampling="trilinear"),
        ModelConfig.tsfp(),
        ModelConfig.tsfp(audio=True),
        ModelConfig(architecture="tsfp", clip_length=48, decoding="multi-level"),
        ModelConfig.embedded(),
        replace(ModelConfig.embedded(), lateral_channels=32),
    ],
)
def test_a_checkpoint_brings_its_network_back(tmp_path: Path, config: ModelConfig) -> None:
    torch.manual_seed(0)
    module = build(config)
    path = save_checkpoint(tmp_path / "x.safetensors", module, config, {"scores": "none"}, half=False)
    loaded = load_model(config.architecture, weights=path)
    assert loaded.config == config
    assert type(loaded.module) is type(module)
    assert not loaded.module.training
    assert loaded.weights == path
    assert loaded.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert loaded.metadata["scores"] == "none"
    state = loaded.module.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in module.state_dict().items())


def test_the_published_tased_net_needs_no_header(tmp_path: Path) -> None:
    published = reference.state_dict(reference.keys("tased"), seed=1)
    torch.save({f"module.{name}": tensor for name, tensor in published.items()}, tmp_path / "TASED_updated.pt")
    loaded = load_model("tased", weights=str(tmp_path / "TASED_updated.pt"))
    assert loaded.config == ModelConfig.tased()
    assert torch.equal(loaded.module.state_dict()["base1.0.conv_s.weight"], published["base1.0.conv_s.weight"])


def test_any_other_needs_one(tmp_path: Path) -> None:
    torch.save(TSFPNet().state_dict(), tmp_path / "x.pt")
    with pytest.raises(WeightsError, match="does not say which encoder"):
        load_model("tsfp", weights=tmp_path / "x.pt")


def test_another_architectures_weights_are_refused(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path / "x.safetensors", TASEDNet(), ModelConfig.tased())
    with pytest.raises(WeightsError, match="weights of tased, not of tsfp"):
        load_model("tsfp", weights=path)


@pytest.mark.parametrize("converted", [False, True])
def test_an_encoder_alone_is_no_model(tmp_path: Path, converted: bool) -> None:
    path = tmp_path / "S3D.pt"
    torch.save(reference.state_dict(reference.keys("s3d_kinetics400"), seed=1), path)
    if converted:
        path = convert(path, tmp_path / "S3D.safetensors", "s3d")
    with pytest.raises(WeightsError, match="encoder alone"):
        load_model("tased", weights=path)


def test_names_that_do_not_exist() -> None:
    with pytest.raises(UsageError, match="'vinet' is no model: use one of tased, tsfp"):
        load_model("vinet")
    with pytest.raises(WeightsError, match="use a path, or one of tsfp-lite0, tased-dhf1k"):
        load_model("tased", weights="tased-dhf2k")


def test_defaults_are_in_the_manifest() -> None:
    known = manifest.entries()
    for architecture, names in DEFAULTS.items():
        assert {known[name].architecture for name in names} == {architecture}


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Weights as the wheel has them: the manifest and the embedded model's file, here an empty one."""
    folder = tmp_path / "wheel"
    folder.mkdir()
    shutil.copy(manifest.weights_folder() / "manifest.toml", folder)
    (folder / "tsfp-lite0.safetensors").touch()
    monkeypatch.setattr(manifest, "weights_folder", lambda: folder)
    return folder


def test_missing_weights_say_where_to_get_them(wheel: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        load_model("tased")
    message = str(caught.value)
    assert "https://drive.google.com/file/d/1y4KSTm-e7kP84k0IyVI-rRtmYZkrC-wL" in message
    assert str(tmp_path / "store" / "TASED_updated.pt") in message
    assert "`vsal models pull tased-dhf1k --unverified`" in message
    assert "`vsal models pull tased-open --from PLACE`" in message
    assert message.endswith(".")


def test_several_weights_that_are_missing_make_one_sentence(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.DEFAULTS, "tsfp", ("tsfp-lite0", "tased-dhf1k"))
    (wheel / "tsfp-lite0.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"install vsal again; or, the weights tased-dhf1k .*\w\.pt\.$"):
        default_weights("tsfp")


def test_the_authors_weights_go_before_ours(wheel: Path, tmp_path: Path) -> None:
    (wheel / "tased-open.safetensors").touch()
    assert default_weights("tased") == "tased-open"
    (tmp_path / "store").mkdir()
    path = tmp_path / "store" / "TASED_updated.pt"
    torch.save(reference.state_dict(reference.keys("tased"), seed=1), path)
    assert default_weights("tased") == "tased-dhf1k"
    assert load_model("tased").weights == path
    assert load_model("tased", weights="tased-dhf1k").weights == path


def test_the_authors_weights_are_not_passed_over_when_damaged(wheel: Path, tmp_path: Path) -> None:
    (wheel / "tased-open.safetensors").touch()
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "TASED_updated.pt").write_bytes(b"half a download")
    with pytest.raises(WeightsError, match="damaged or no checkpoint"):
        load_model("tased")


def test_public_names() -> None:
    assert all(getattr(models, name) is not None for name in models.__all__)
    assert dir(models) == sorted(models.__all__)
    with pytest.raises(AttributeError, match="nothing_such"):
        _ = models.nothing_such


@pytest.mark.parametrize("module", ["models", "models.manifest", "models.config", "models.download"])
def test_torch_is_not_imported_before_it_is_needed(module: str) -> None:
    program = f"import sys, saliency_cli.{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[2], check=False).returncode == 0
