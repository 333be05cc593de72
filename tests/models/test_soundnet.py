"""SoundNet: agreement with the published network up to conv7."""

from __future__ import annotations

import numpy as np
import pytest
import reference
import torch

from saliency_cli.errors import UsageError
from saliency_cli.models.checkpoint import load_strictly
from saliency_cli.models.soundnet import SAMPLES, SoundNet, soundnet_state


def test_conv7_is_the_published_networks() -> None:
    network = SoundNet().eval()
    published = reference.state_dict(reference.keys("soundnet"), seed=1)
    load_strictly(network, soundnet_state(published), "soundnet")
    sound = torch.from_numpy(reference.waveform(1, SAMPLES) * 256)
    with torch.inference_mode():
        result = network(sound[None])[..., None].numpy()
    with np.load(reference.DATA / "soundnet_seed1.npz") as stored:
        expected = stored["conv7"]
    assert result.shape == expected.shape == (1, 1024, 3, 1)
    assert np.abs(result - expected).max() < 1e-4 * np.abs(expected).max()


def test_only_the_classifiers_are_dropped() -> None:
    published = reference.keys("soundnet")
    kept = soundnet_state(reference.state_dict(published, seed=1))
    assert {name for name in published if name not in kept} == {
        f"{layer}.{leaf}" for layer in ("conv8_objs", "conv8_scns") for leaf in ("weight", "bias")
    }


def test_a_waveform_of_another_shape_is_refused() -> None:
    with pytest.raises(UsageError, match=r"\(B, samples\)"):
        SoundNet()(torch.zeros(1, 1, SAMPLES, 1))
