"""Checkpoints: what is read, what is refused, and that nothing is half loaded."""

from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from pathlib import Path

import pytest
import reference
import safetensors.torch
import torch
from torch import Tensor, nn

from saliency_cli.errors import WeightsError, WriteError
from saliency_cli.models.checkpoint import (
    convert,
    load_s3d_encoder,
    load_strictly,
    read_checkpoint,
    s3d_encoder_state,
    save_checkpoint,
)
from saliency_cli.models.config import ModelConfig
from saliency_cli.models.s3d import S3DEncoder
from saliency_cli.models.tased import TASEDConfig, TASEDNet
from saliency_cli.models.tsfp import TSFPConfig, TSFPNet


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3))


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


class TestReading:
    @pytest.mark.parametrize("suffix", [".pt", ".pth", ".pth.tar"])
    @pytest.mark.parametrize("old_format", [False, True])
    def test_torch_files(self, tmp_path: Path, suffix: str, old_format: bool) -> None:
        path, state = tmp_path / f"weights{suffix}", small().state_dict()
        torch.save(state, path, _use_new_zipfile_serialization=not old_format)
        checkpoint = read_checkpoint(path)
        assert same(checkpoint.state, state)
        assert checkpoint.metadata == {}

    def test_safetensors_with_their_header(self, tmp_path: Path) -> None:
        path, state = tmp_path / "weights.safetensors", small().state_dict()
        safetensors.torch.save_file(state, path, metadata={"licence": "MIT"})
        checkpoint = read_checkpoint(str(path))
        assert same(checkpoint.state, state)
        assert checkpoint.metadata == {"licence": "MIT"}

    def test_a_state_dict_one_level_down_of_a_parallel_module(self, tmp_path: Path) -> None:
        state = small().state_dict()
        wrapped = {"epoch": 3, "state_dict": OrderedDict((f"module.{name}", value) for name, value in state.items())}
        torch.save(wrapped, tmp_path / "weights.pt")
        assert same(read_checkpoint(tmp_path / "weights.pt").state, state)

    def test_a_prefix_that_only_some_names_have_stays(self, tmp_path: Path) -> None:
        torch.save({"module.a": torch.zeros(1), "b": torch.zeros(1)}, tmp_path / "weights.pt")
        assert set(read_checkpoint(tmp_path / "weights.pt").state) == {"module.a", "b"}

    @pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
    @pytest.mark.parametrize(
        "content",
        [b"", b"no weights\n", b"<!DOCTYPE html><html></html>", bytes(range(256)) * 8, b"\x80\x02", b"PK\x03\x04" * 9],
    )
    def test_something_else_is_refused_in_one_sentence(self, tmp_path: Path, suffix: str, content: bytes) -> None:
        path = tmp_path / f"weights{suffix}"
        path.write_bytes(content)
        with pytest.raises(WeightsError) as caught:
            read_checkpoint(path)
        assert str(path) in str(caught.value)
        assert "damaged" in str(caught.value)  # and not accused of carrying code
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
    @pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
    def test_a_truncated_file_is_refused(self, tmp_path: Path, suffix: str, share: float) -> None:
        path = tmp_path / f"weights{suffix}"
        if suffix == ".pt":
            torch.save(small().state_dict(), path)
        else:
            safetensors.torch.save_file(small().state_dict(), path)
        whole = path.read_bytes()
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(WeightsError, match="damaged"):
            read_checkpoint(path)

    @pytest.mark.parametrize("old_format", [False, True])
    def test_a_pickle_with_code_is_refused_and_not_run(self, tmp_path: Path, old_format: bool) -> None:
        victim = tmp_path / "victim"

        class Attack:
            def __reduce__(self) -> tuple[object, tuple[str]]:
                return os.mkdir, (str(victim),)

        path = tmp_path / "weights.pt"
        torch.save({"a": torch.zeros(1), "b": Attack()}, path, _use_new_zipfile_serialization=not old_format)
        with pytest.raises(WeightsError, match="would run code"):
            read_checkpoint(path)
        path.write_bytes(pickle.dumps(Attack(), protocol=2))
        with pytest.raises(WeightsError):
            read_checkpoint(path)
        assert not victim.exists()

    def test_a_missing_file_and_a_strange_ending(self, tmp_path: Path) -> None:
        with pytest.raises(WeightsError, match="not a file"):
            read_checkpoint(tmp_path / "weights.pt")
        (tmp_path / "weights.bin").write_bytes(b"x")
        with pytest.raises(WeightsError, match=r"reads \.safetensors, \.pt"):
            read_checkpoint(tmp_path / "weights.bin")

    @pytest.mark.parametrize("content", [{}, [torch.zeros(1)], torch.zeros(1), {"a": 1}, {1: torch.zeros(1)}])
    def test_tensors_without_names_are_refused(self, tmp_path: Path, content: object) -> None:
        torch.save(content, tmp_path / "weights.pt")
        with pytest.raises(WeightsError, match="state dict"):
            read_checkpoint(tmp_path / "weights.pt")


class TestLoadingStrictly:
    def test_what_fits_is_copied(self) -> None:
        source, target = small(), small()
        nn.init.ones_(source[0].weight)  # type: ignore[index]
        load_strictly(target, {name: value.half() for name, value in source.state_dict().items()}, "x")
        assert torch.equal(target.state_dict()["0.weight"], torch.ones(3, 2, 3, 3))
        assert target.state_dict()["0.weight"].dtype == torch.float32

    def test_all_that_does_not_fit_is_listed_and_nothing_is_loaded(self) -> None:
        target = small()
        before = {name: value.clone() for name, value in target.state_dict().items()}
        state = {name: value + 1 for name, value in before.items()}
        del state["0.bias"]
        state["0.weight"] = torch.zeros(3, 2, 5, 5)
        state["1.running_var"] = torch.full((3,), torch.nan)
        state |= {f"extra{i}": torch.zeros(1) for i in range(20)}
        with pytest.raises(WeightsError) as caught:
            load_strictly(target, state, "some.pt")
        message = str(caught.value)
        assert message.startswith("some.pt does not fit Sequential")
        assert "1 missing (0.bias)" in message
        assert "20 unknown (extra0," in message
        assert message.count("extra") == 8
        assert "0.weight [3, 2, 5, 5] instead of [3, 2, 3, 3]" in message
        assert "1 with infinite values (1.running_var)" in message
        assert same(target.state_dict(), before)

    def test_another_networks_weights(self) -> None:
        with pytest.raises(WeightsError, match="does not fit TSFPNet"):
            load_strictly(TSFPNet(), TASEDNet().state_dict(), "tased.pt")


class TestWriting:
    def test_weights_and_header_come_back(self, tmp_path: Path) -> None:
        module, config = TSFPNet(TSFPConfig(decoding="final-level")), ModelConfig.tsfp()
        path = save_checkpoint(tmp_path / "x.safetensors", module, config, {"licence": "MIT"}, half=False)
        checkpoint = read_checkpoint(path)
        assert same(checkpoint.state, module.state_dict())
        assert ModelConfig.from_metadata(checkpoint.metadata) == config
        assert checkpoint.metadata["licence"] == "MIT"
        assert [entry.name for entry in tmp_path.iterdir()] == ["x.safetensors"]

    def test_half_precision_is_for_kernels_that_fit_it(self, tmp_path: Path) -> None:
        state = {
            "kernel": torch.randn(4, 4),
            "great": torch.full((2, 2), 1e6),
            "statistic": torch.full((4,), 1e6),
            "count": torch.tensor(3),
        }
        stored = read_checkpoint(save_checkpoint(tmp_path / "x.safetensors", state, ModelConfig.tsfp())).state
        assert {name: value.dtype for name, value in stored.items()} == {
            "kernel": torch.float16,
            "great": torch.float32,
            "statistic": torch.float32,
            "count": torch.int64,
        }
        assert torch.allclose(stored["kernel"].float(), state["kernel"], rtol=1e-3)
        assert torch.equal(stored["great"], state["great"])

    def test_a_failure_leaves_the_old_file_and_nothing_else(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = save_checkpoint(tmp_path / "x.safetensors", {"a": torch.zeros(1)}, ModelConfig.tsfp())
        before = path.read_bytes()

        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(WriteError, match="No space left"):
            save_checkpoint(path, {"a": torch.ones(1)}, ModelConfig.tsfp())
        assert path.read_bytes() == before
        assert list(tmp_path.iterdir()) == [path]

    def test_a_folder_that_is_not_there(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(WriteError, match=r"file.x\.safetensors"):
            save_checkpoint(tmp_path / "file" / "x.safetensors", {"a": torch.zeros(1)}, ModelConfig.tsfp())
        with pytest.raises(WriteError, match=r"nowhere.x\.safetensors"):
            save_checkpoint(tmp_path / "nowhere" / "x.safetensors", {"a": torch.zeros(1)}, ModelConfig.tsfp())


class TestS3D:
    def test_published_names_become_the_encoders(self) -> None:
        published = reference.state_dict(reference.keys("s3d_kinetics400"), seed=1)
        renamed = s3d_encoder_state(published)
        assert renamed.keys() == S3DEncoder().state_dict().keys()
        assert torch.equal(renamed["base3.4.branch0.0.conv.weight"], published["base.12.branch0.0.conv.weight"])
        assert torch.equal(renamed["base4.0.branch0.0.conv.weight"], published["base.14.branch0.0.conv.weight"])

    @pytest.mark.parametrize("converted", [False, True])
    @pytest.mark.parametrize("network", [TASEDNet, TSFPNet])
    def test_an_encoder_is_loaded_into_either_network(
        self, tmp_path: Path, network: type[TASEDNet | TSFPNet], converted: bool
    ) -> None:
        path, published = tmp_path / "S3D.pt", reference.state_dict(reference.keys("s3d_kinetics400"), seed=1)
        torch.save({f"module.{name}": value for name, value in published.items()}, path)
        if converted:
            path = convert(path, tmp_path / "S3D.safetensors", "s3d")
        module = network()
        load_s3d_encoder(module, path)
        state = module.state_dict()
        prefix = "encoder." if network is TSFPNet else ""
        assert torch.equal(state[f"{prefix}base1.0.conv_s.weight"], published["base.0.conv_s.weight"])
        assert torch.equal(state[f"{prefix}base4.1.branch3.1.bn.weight"], published["base.15.branch3.1.bn.weight"])

    def test_another_checkpoint_is_refused(self, tmp_path: Path) -> None:
        torch.save(small().state_dict(), tmp_path / "x.pt")
        with pytest.raises(WeightsError, match="missing"):
            load_s3d_encoder(TASEDNet(), tmp_path / "x.pt")


class TestConverting:
    def test_the_published_tased_net(self, tmp_path: Path) -> None:
        published = reference.state_dict(reference.keys("tased"), seed=1)
        torch.save({f"module.{name}": value for name, value in published.items()}, tmp_path / "TASED_updated.pt")
        goal = convert(tmp_path / "TASED_updated.pt", tmp_path / "t.safetensors", "tased", extra={"licence": "MIT"})
        checkpoint = read_checkpoint(goal)
        assert same(checkpoint.state, published)
        assert ModelConfig.from_metadata(checkpoint.metadata) == ModelConfig.tased()
        assert checkpoint.metadata["licence"] == "MIT"
        assert checkpoint.metadata["converted_from"] == "TASED_updated.pt"

    def test_a_variant_has_to_be_named(self, tmp_path: Path) -> None:
        torch.save(TASEDNet(TASEDConfig(clip_length=64)).state_dict(), tmp_path / "x.pt")
        config = ModelConfig(architecture="tased", clip_length=64)
        with pytest.raises(WeightsError, match="another shape"):
            convert(tmp_path / "x.pt", tmp_path / "x.safetensors", "tased")
        assert not (tmp_path / "x.safetensors").exists()
        convert(tmp_path / "x.pt", tmp_path / "x.safetensors", "tased", config=config)
        assert ModelConfig.from_metadata(read_checkpoint(tmp_path / "x.safetensors").metadata) == config

    def test_only_to_safetensors(self, tmp_path: Path) -> None:
        torch.save(small().state_dict(), tmp_path / "x.pt")
        with pytest.raises(WriteError, match=r"must end in \.safetensors"):
            convert(tmp_path / "x.pt", tmp_path / "y.pt", "tased")
