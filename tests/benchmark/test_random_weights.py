"""Stand-in weights: the same on every machine, and alive to the last layer."""

from __future__ import annotations

import pytest
import reference
import torch

from saliency_cli.benchmark.random_weights import random_model, random_state
from saliency_cli.errors import UsageError
from saliency_cli.models.config import Architecture
from saliency_cli.models.tased import TASEDNet


def test_tased_has_the_weights_of_the_reference_vectors() -> None:
    expected = reference.state_dict(reference.keys("tased"), 1)
    found = random_state(TASEDNet(), 1)
    assert found.keys() == expected.keys()
    assert [name for name, value in found.items() if not torch.equal(value, expected[name])] == []


@pytest.mark.parametrize("name", ["tased", "tsfp"])
def test_maps_depend_on_what_is_seen(name: Architecture) -> None:
    model = random_model(name, 3, input_size=(32, 64), clip_length=16)
    assert model.config.encoder == "s3d"
    assert model.config.input_size == (32, 64)
    assert not model.module.training
    noise = torch.Generator().manual_seed(1)
    one, other = (torch.randn(1, 3, 16, 32, 64, generator=noise) for _ in range(2))
    with torch.inference_mode():
        first, second = model.module(one), model.module(other)
    assert first.shape == (1, 32, 64)
    assert first.std() > 0.05
    assert 0.1 < first.mean() < 0.9
    assert (first - second).abs().mean() > 0.02


def test_a_seed_is_a_network() -> None:
    states = [random_model("tsfp", seed, clip_length=16).module.state_dict() for seed in (1, 1, 2)]
    name = "head.weight"
    assert torch.equal(states[0][name], states[1][name])
    assert not torch.equal(states[0][name], states[2][name])


@pytest.mark.parametrize(
    ("how", "sentence"),
    [({"seed": -1}, "--random-weights -1"), ({"seed": 1, "input_size": (30, 64)}, "30x64 does not fit")],
)
def test_what_cannot_be(how: dict[str, object], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        random_model("tased", **how)  # type: ignore[arg-type]
