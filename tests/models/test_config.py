"""ModelConfig: into strings and back, and combinations that do not exist."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saliency_cli.errors import UsageError, WeightsError
from saliency_cli.models.config import CLIP_LENGTHS, Aggregation, Decoding, ModelConfig, Upsampling

sides = st.integers(1, 20).map(lambda n: 32 * n)
shared = {
    "input_size": st.tuples(sides, sides),
    "mean": st.floats(0, 1),
    "std": st.floats(0.01, 1),
}
configs = st.one_of(
    st.builds(
        ModelConfig,
        architecture=st.just("tased"),
        clip_length=st.sampled_from(CLIP_LENGTHS["tased"]),
        aggregation=st.sampled_from(get_args(Aggregation)),
        upsampling=st.sampled_from(get_args(Upsampling)),
        **shared,
    ),
    st.builds(
        ModelConfig,
        architecture=st.just("tsfp"),
        clip_length=st.sampled_from(CLIP_LENGTHS["tsfp"]),
        decoding=st.sampled_from(get_args(Decoding)),
        audio=st.booleans(),
        **shared,
    ),
    st.builds(
        ModelConfig,
        architecture=st.just("tsfp"),
        encoder=st.just("efficientnet-lite0"),
        clip_length=st.integers(1, 64),
        lateral_channels=st.integers(1, 256),
        audio=st.booleans(),
        **shared,
    ),
)


@given(configs)
def test_metadata_is_strings_and_gives_the_config_back(config: ModelConfig) -> None:
    metadata = config.to_metadata()
    assert all(isinstance(value, str) for value in metadata.values())
    assert ModelConfig.from_metadata(metadata | {"scores": "NSS 2.7"}) == config


def test_released_forms() -> None:
    assert ModelConfig.tased().input_size == (224, 384)
    assert ModelConfig.tsfp().input_size == (192, 352)
    embedded = ModelConfig.embedded()
    assert (embedded.input_size, embedded.mean, embedded.std) == ((224, 352), 0.498, 0.502)


@pytest.mark.parametrize("x", [0, 1, 127, 255])
def test_the_authors_preprocessing(x: int) -> None:
    config = ModelConfig.tased()
    assert (x / 255 - config.mean) / config.std == pytest.approx((2 * x - 255) / 255)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"architecture": "vinet"}, "'vinet' is no architecture"),
        ({"encoder": "resnet"}, "'resnet' is no encoder"),
        ({"clip_length": 24}, "no clip length 24"),
        ({"input_size": (200, 384)}, "200x384"),
        ({"input_size": (0, 32)}, "0x32"),
        ({"still_size": (256, 400)}, "256x400"),
        ({"still_size": (-32, 32)}, "-32x32"),
        ({"std": 0.0}, "std"),
        ({"audio": True}, "neither"),
        ({"encoder": "efficientnet-lite0"}, "neither"),
        ({"lateral_channels": 0}, "positive"),
    ],
)
def test_what_does_not_exist_is_refused(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        replace(ModelConfig.tased(), **change)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"format": "2"}, "format 2"),
        ({"input_size": "224"}, "which network"),
        ({"audio": "perhaps"}, "which network"),
        ({"clip_length": "31"}, "no clip length 31"),
    ],
)
def test_a_header_that_makes_no_sense_is_refused(change: dict[str, str], complaint: str) -> None:
    with pytest.raises(WeightsError, match=complaint):
        ModelConfig.from_metadata(ModelConfig.tased().to_metadata() | change, source="x.safetensors")


def test_a_header_that_lacks_a_field_is_refused() -> None:
    metadata = ModelConfig.tased().to_metadata()
    del metadata["mean"]
    with pytest.raises(WeightsError, match=r"x\.safetensors .*mean"):
        ModelConfig.from_metadata(metadata, source="x.safetensors")


def test_photographs_have_a_size_of_their_own() -> None:
    """In the header of the embedded model alone; the headers of before say nothing, and mean the default."""
    config = replace(ModelConfig.embedded(), still_size=(320, 512))
    assert config.to_metadata()["still_size"] == "320x512"
    assert "still_size" not in ModelConfig.tased().to_metadata()
    assert "still_size" not in ModelConfig.tsfp().to_metadata()
    before = config.to_metadata()
    del before["still_size"]
    assert ModelConfig.from_metadata(before) == ModelConfig.embedded()


@pytest.mark.parametrize("size", ["", "320", "320x", "axb", "320x500", "1x2x3"])
def test_a_size_for_photographs_that_is_none(size: str) -> None:
    with pytest.raises(WeightsError, match=r"x\.safetensors does not say properly which network"):
        ModelConfig.from_metadata(ModelConfig.embedded().to_metadata() | {"still_size": size}, source="x.safetensors")
