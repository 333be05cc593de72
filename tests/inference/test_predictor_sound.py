"""The embedded model with sound: when it hears, how often, and that neither frame rate nor chunks matter."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from clips import Tone, make_clip
from numpy.typing import NDArray

from saliency_cli.inference import streaming
from saliency_cli.inference.predictor import SaliencyPredictor
from saliency_cli.media import Sound, sound_window
from saliency_cli.models.config import ModelConfig
from saliency_cli.models.registry import LoadedModel, build
from saliency_cli.models.soundnet import SAMPLES
from saliency_cli.models.streaming import StreamingTSFPNet
from saliency_cli.models.streaming_sound import SOUND_GRID, SOUND_SECONDS
from saliency_cli.options import PredictOptions
from saliency_cli.pipeline import predict, saliency_frames
from saliency_cli.types import Frame

CONFIG = ModelConfig(
    architecture="tsfp", encoder="efficientnet-lite0", input_size=(64, 96), mean=0.498, std=0.502, audio=True
)
PICTURE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    torch.manual_seed(4)
    module = build(CONFIG).eval()
    assert isinstance(module, StreamingTSFPNet)
    assert module.sound is not None
    with torch.no_grad():
        module.sound.gain.fill_(1.0)
        module.sound.picture.weight.mul_(100)  # an untrained encoder's features hardly differ between places
        module.sound.deviation.fill_(0.05)
    return LoadedModel(module, CONFIG, Path("some.safetensors"), "", {"sound_study": "sound was found to do nothing."})


def frames(times: Sequence[Fraction]) -> list[Frame]:
    return [Frame(index, PICTURE, int(at * 1000), Fraction(1, 1000)) for index, at in enumerate(times)]


def noise(seconds: float = 4, start: float = 0.0) -> Sound:
    samples = np.random.default_rng(1).uniform(-0.5, 0.5, int(22050 * seconds)).astype(np.float32)
    return Sound(samples, 22050, start)


def listener(sound: Sound, asked: list[list[float]] | None = None) -> Callable[..., NDArray[np.float32]]:
    def listen(ends: Sequence[float], reverse: bool) -> NDArray[np.float32]:
        assert not reverse
        if asked is not None:
            asked.append(list(ends))
        return sound_window(sound, ends, 0.0)

    return listen


def maps(model: LoadedModel, times: Sequence[Fraction], sound: Sound | None) -> NDArray[np.float32]:
    listen = None if sound is None else listener(sound)
    return np.stack([m.saliency for m in SaliencyPredictor(model).predict(frames(times), listen=listen)])


def clock(count: int, rate: int, start: Fraction = Fraction(0)) -> list[Fraction]:
    return [start + Fraction(number, rate) for number in range(count)]


def test_it_hears_the_last_stretch_before_each_instant_once(model: LoadedModel) -> None:
    asked: list[list[float]] = []
    times = clock(11, 10, Fraction(1, 2))  # 0.5 to 1.5 s
    list(SaliencyPredictor(model).predict(frames(times), listen=listener(noise(), asked)))
    instants = [SOUND_GRID * number for number in (1, 2, 3, 4)]
    np.testing.assert_allclose(asked, [[at - SOUND_SECONDS, at] for at in instants], atol=1e-9)


def test_silence_and_no_sound_give_the_same_bits(model: LoadedModel) -> None:
    times = clock(6, 10)
    deaf = maps(model, times, None)
    np.testing.assert_array_equal(maps(model, times, replace_samples(noise(), 0)), deaf)
    late = maps(model, times, noise(start=0.32))  # the first instant at which something is heard is 0.64 s
    np.testing.assert_array_equal(late, deaf)
    assert np.abs(maps(model, times, noise()) - deaf).max() > 1e-5


def replace_samples(sound: Sound, value: float) -> Sound:
    return replace(sound, samples=np.full_like(sound.samples, value))


def test_what_sounds_later_changes_nothing_yet(model: LoadedModel) -> None:
    times = clock(10, 10)
    long = noise()
    cut = replace(long, samples=long.samples.copy())
    cut.samples[int(0.65 * 22050) :] = 0  # after the instant at 0.64 s
    full, short = maps(model, times, long), maps(model, times, cut)
    np.testing.assert_array_equal(full, short)


@pytest.mark.parametrize("chunk", [1, 3, 50])
def test_chunks_do_not_matter(model: LoadedModel, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    times = clock(9, 10)
    expected = maps(model, times, noise())
    monkeypatch.setattr(streaming, "CHUNK", chunk)
    np.testing.assert_allclose(maps(model, times, noise()), expected, rtol=1e-3, atol=1e-7)


def test_the_sound_follows_time_and_not_frames(model: LoadedModel) -> None:
    """The same stretches are asked for at any frame rate."""
    heard = {}
    for rate in (10, 25):
        asked: list[list[float]] = []
        list(SaliencyPredictor(model).predict(frames(clock(rate, rate)), listen=listener(noise(), asked)))
        heard[rate] = asked
    assert len(heard[10]) == 3  # at 0, 0.32 and 0.64 s; 0.96 s is not reached at 10 frames per second
    assert heard[10] == heard[25][:3]


def test_photographs_have_no_sound(model: LoadedModel) -> None:
    asked: list[list[float]] = []
    predictor = SaliencyPredictor(model)
    list(predictor.predict(frames(clock(1, 1)), still=True, listen=listener(noise(), asked)))
    assert not asked


def test_waveforms_are_soundnets() -> None:
    assert sound_window(noise(), [0.0, SOUND_SECONDS], 0.0).shape == (SAMPLES,)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return make_clip(tmp_path / "in" / "clip.mp4", frames=15, rate=25, sound=Tone(seconds=1.0))


def test_a_files_sound_is_heard_and_the_study_is_quoted(model: LoadedModel, clip: Path, tmp_path: Path) -> None:
    predictor = SaliencyPredictor(model)
    done = predict(clip, predictor=predictor, audio=True, write=("stats",), output=str(tmp_path / "s.jsonl"))
    assert done.warnings == ("--audio: sound was found to do nothing.",)
    deaf = [m.saliency for m in saliency_frames(clip, predictor=predictor, normalize="frame")]
    heard = [m.saliency for m in saliency_frames(clip, predictor=predictor, normalize="frame", audio=True)]
    np.testing.assert_array_equal(heard[0], deaf[0])  # at 0 s nothing has sounded yet
    assert np.abs(heard[-1] - deaf[-1]).max() > 1e-4


def test_a_file_without_sound_is_predicted_as_without_the_flag(
    model: LoadedModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    silent = make_clip(tmp_path / "silent.mp4", frames=5)
    predictor = SaliencyPredictor(model)
    with caplog.at_level(logging.WARNING):
        heard = [m.saliency for m in saliency_frames(silent, PredictOptions(audio=True), predictor=predictor)]
    deaf = [m.saliency for m in saliency_frames(silent, predictor=predictor)]
    np.testing.assert_array_equal(heard, deaf)
    assert "has no sound" in caplog.text
    assert "found to do nothing" not in caplog.text
