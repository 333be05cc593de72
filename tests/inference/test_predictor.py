"""The predictor: each frame's map comes from the frames that it should see."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from reference import state_dict
from tiny_networks import awake
from torch import Tensor, nn

from saliency_cli.errors import DeviceError, UsageError
from saliency_cli.inference.motion import MotionMeter
from saliency_cli.inference.predictor import SaliencyPredictor
from saliency_cli.models.config import ModelConfig
from saliency_cli.models.registry import LoadedModel, build
from saliency_cli.models.soundnet import SAMPLES
from saliency_cli.models.streaming import StreamingTSFPNet, input_size_for
from saliency_cli.types import Frame
from saliency_cli.windows import window_indices

LENGTH = 4
TASED = ModelConfig(architecture="tased", clip_length=LENGTH, input_size=(32, 64))
LISTENING = ModelConfig(architecture="tsfp", clip_length=16, input_size=(32, 64), audio=True)
EMBEDDED = ModelConfig(
    architecture="tsfp",
    encoder="efficientnet-lite0",
    input_size=(64, 96),
    still_size=(128, 192),
    mean=0.498,
    std=0.502,
)


def loaded(config: ModelConfig, module: nn.Module | None = None) -> LoadedModel:
    torch.manual_seed(4)
    return LoadedModel((module or build(config)).eval(), config, Path("some.safetensors"), "", {})


def clip(count: int, *, height: int = 48, width: int = 80, start: int = 7, seed: int = 0) -> list[Frame]:
    """Frames of noise whose clock begins late and is not steady."""
    rng = np.random.default_rng(seed)
    pts = start + np.cumsum(rng.integers(1, 4, count))
    return [
        Frame(index, rng.integers(0, 256, (height, width, 3), dtype=np.uint8), int(pts[index]), Fraction(1, 25))
        for index in range(count)
    ]


class Spy(nn.Module):
    """A network that keeps what it is given, and whose map is the clip's last frame's first channel."""

    def __init__(self) -> None:
        super().__init__()
        self.clips: list[Tensor] = []
        self.sounds: list[Tensor] = []

    def forward(self, clip: Tensor, sound: Tensor | None = None) -> Tensor:
        self.clips.append(clip.clone())
        if sound is not None:
            self.sounds.append(sound.clone())
        return clip[:, 0, -1]


def authors(frames: Sequence[Frame], config: ModelConfig) -> Tensor:
    """A clip as the authors of TASED-Net prepare it, (1, 3, T, H, W): (2x − 255) / 255."""
    height, width = config.input_size
    small = [cv2.resize(frame.pixels, (width, height), interpolation=cv2.INTER_LINEAR) for frame in frames]
    pixels = torch.from_numpy(np.stack(small)).permute(3, 0, 1, 2).float()
    return ((pixels * 2 - 255) / 255)[None]


@pytest.mark.parametrize("count", [1, 3, 7, 9])
def test_windows_and_preprocessing_are_the_papers_to_the_last_bit(count: int) -> None:
    spy, frames = Spy(), clip(count)
    maps = list(SaliencyPredictor(loaded(TASED, spy)).predict(iter(frames)))
    assert [saliency.index for saliency in maps] == list(range(count))
    assert [saliency.seconds for saliency in maps] == [frame.seconds for frame in frames]
    for number, seen in enumerate(spy.clips):
        indices = window_indices(number, length=LENGTH, count=count)
        assert torch.equal(seen, authors([frames[index] for index in indices], TASED))
        assert maps[number].saliency.dtype == np.float32
        np.testing.assert_array_equal(maps[number].saliency, seen[0, 0, -1])
    assert len(spy.clips) == count


def test_every_pixel_value_is_normalised_to_the_last_bit() -> None:
    spy = Spy()
    pixels = np.arange(32 * 64 * 3, dtype=np.uint32).reshape(32, 64, 3).astype(np.uint8)  # all 256 values, no resizing
    list(SaliencyPredictor(loaded(TASED, spy)).predict([Frame(0, pixels, 0, Fraction(1, 25))]))
    expected = (2 * torch.arange(256.0) - 255) / 255
    assert torch.equal(spy.clips[0][0, :, 0].permute(1, 2, 0), expected[torch.from_numpy(pixels).long()])


def test_tased_gives_what_its_module_gives() -> None:
    model, frames = loaded(TASED), clip(6)
    names = {name: {"shape": tuple(tensor.shape)} for name, tensor in model.module.state_dict().items()}
    model.module.load_state_dict(state_dict(names, 1))  # torch's own first weights give maps without any contrast
    maps = list(SaliencyPredictor(model, exact=True).predict(frames))
    with torch.no_grad():
        for number, saliency in enumerate(maps):
            seen = [frames[index] for index in window_indices(number, length=LENGTH, count=6)]
            np.testing.assert_allclose(saliency.saliency, model.module(authors(seen, TASED))[0].numpy(), atol=1e-6)
    assert maps[0].saliency.shape == (32, 64)
    assert np.abs(maps[0].saliency - maps[5].saliency).max() > 1e-4


def test_sound_is_asked_for_by_the_times_of_the_window() -> None:
    spy, frames = Spy(), clip(17)
    asked: list[tuple[list[float], bool]] = []

    def listen(seconds: Sequence[float], reverse: bool) -> NDArray[np.float32]:
        asked.append((list(seconds), reverse))
        return np.full(SAMPLES, len(asked), np.float32)

    list(SaliencyPredictor(loaded(LISTENING, spy)).predict(frames, listen=listen))
    expected = [
        ([frames[index].seconds for index in window_indices(number, length=16, count=17)], number < 15)
        for number in range(17)
    ]
    assert asked == expected
    assert [sound.shape for sound in spy.sounds] == [(1, SAMPLES)] * 17
    assert [int(sound[0, 0]) for sound in spy.sounds] == list(range(1, 18))


def test_the_network_hears() -> None:
    predictor, frames = SaliencyPredictor(loaded(LISTENING)), clip(1)
    noise = np.random.default_rng(0).normal(0, 100, SAMPLES).astype(np.float32)
    (deaf,) = predictor.predict(frames)
    (heard,) = predictor.predict(frames, listen=lambda *_: noise)
    assert np.abs(deaf.saliency - heard.saliency).max() > 0


@pytest.mark.parametrize("config", [TASED, EMBEDDED])
def test_sound_for_a_network_without_ears_is_refused(config: ModelConfig) -> None:
    predictor = SaliencyPredictor(loaded(config, Spy()))
    with pytest.raises(UsageError, match="no audio branch"):
        predictor.predict(clip(1), listen=lambda *_: np.zeros(SAMPLES, np.float32))


def seeing() -> LoadedModel:
    """The embedded model as after a training: what it shows depends on what it sees, and on what moves."""
    torch.manual_seed(4)
    return loaded(EMBEDDED, awake(StreamingTSFPNet()))


def shown(model: LoadedModel, frames: Sequence[Frame], **options: Any) -> list[NDArray[np.float32]]:
    maps = list(SaliencyPredictor(model, device="cpu", precision="fp32").predict(iter(frames), **options))
    assert [saliency.index for saliency in maps] == [frame.index for frame in frames]
    assert [saliency.seconds for saliency in maps] == [frame.seconds for frame in frames]
    for saliency in maps:
        assert saliency.saliency.dtype == np.float32
        assert saliency.saliency.sum() == pytest.approx(1, abs=1e-4)
        assert saliency.saliency.min() >= 0
    return [saliency.saliency for saliency in maps]


def network_input(pixels: NDArray[np.uint8], budget: tuple[int, int]) -> Tensor:
    """A picture as the embedded network takes it, (3, H, W)."""
    height, width = input_size_for(pixels.shape[1], pixels.shape[0], budget=budget)
    small = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    return ((torch.from_numpy(small).float() / 255 - 0.498) / 0.502).permute(2, 0, 1)


@pytest.mark.parametrize("count", [1, 4, 6])
def test_the_embedded_model_sees_each_frame_once_and_in_order_and_what_moves(count: int) -> None:
    model, frames = seeing(), clip(count, height=120, width=200)
    maps = shown(model, frames)
    pixels = torch.stack([network_input(frame.pixels, EMBEDDED.input_size) for frame in frames])[None]
    meter = MotionMeter()
    motion = [meter.measure(frame.pixels, frame.seconds) for frame in frames]
    seconds = torch.tensor([[frame.seconds for frame in frames]], dtype=torch.float64)
    moving = torch.from_numpy(np.stack([each.maps for each in motion]))[None]
    since = torch.tensor([[each.since for each in motion]], dtype=torch.float32)
    with torch.no_grad():
        log_density, _ = model.module(pixels, seconds, moving, since)
    for saliency, expected in zip(maps, log_density[0].exp().numpy(), strict=True):
        assert saliency.shape == (pixels.shape[-2] // 4, pixels.shape[-1] // 4)
        np.testing.assert_allclose(saliency, expected, rtol=1e-3, atol=1e-7)


def test_motion_is_measured_on_frames_as_they_are_decoded_and_changes_the_map() -> None:
    """Two videos that end with the same frame: in one it stands still, in the other something came."""
    rng = np.random.default_rng(1)
    ground = cv2.GaussianBlur(rng.integers(0, 256, (120, 200, 3), dtype=np.uint8), (0, 0), 3)
    other = ground.copy()
    other[30:70, 40:90] = other[34:74, 44:94]
    still, moving = (
        [Frame(n, p, 10 * n, Fraction(1, 25)) for n, p in enumerate(pair)] for pair in ((ground,) * 2, (other, ground))
    )
    model = seeing()
    assert np.abs(shown(model, still)[1] - shown(model, moving)[1]).max() > 1e-5
    np.testing.assert_allclose(shown(model, still)[1], shown(model, still, still=False)[1], rtol=1e-6)


def test_a_photograph_is_seen_in_two_sizes_as_it_is_and_mirrored() -> None:
    """And a video of one frame is a video: seen once, at another size, with what moves."""
    model, (frame,) = seeing(), clip(1, height=120, width=200)
    (found,) = shown(model, [frame], still=True)
    height, width = EMBEDDED.still_size
    looks = []
    with torch.no_grad():
        for scale in (1, 1.25):
            pixels = network_input(frame.pixels, (round(scale * height), round(scale * width)))
            for flip in (False, True):
                log_density, _ = model.module((pixels.flip(-1) if flip else pixels)[None, None])
                density = log_density[0, 0].exp()
                looks.append((density.flip(-1) if flip else density).numpy())
    shape = looks[-1].shape
    assert found.shape == shape
    assert looks[0].shape < shape
    average = np.mean([cv2.resize(look, shape[::-1], interpolation=cv2.INTER_LINEAR) for look in looks], axis=0)
    np.testing.assert_allclose(found, average / average.sum(), rtol=1e-3, atol=1e-8)
    assert np.abs(looks[2] - looks[3]).max() > 1e-5  # so that the mirror image matters
    (as_video,) = shown(model, [frame])
    small = input_size_for(200, 120, budget=EMBEDDED.input_size)
    assert as_video.shape == (small[0] // 4, small[1] // 4) != found.shape


@pytest.mark.parametrize("size", [(96, 160), (120, 200), (200, 117)])
def test_a_mirrored_photograph_gets_the_mirrored_map(size: tuple[int, int]) -> None:
    model, (frame,) = seeing(), clip(1, height=size[0], width=size[1])
    mirrored = Frame(0, np.ascontiguousarray(frame.pixels[:, ::-1]), frame.pts, frame.time_base)
    (one,), (other,) = (shown(model, [each], still=True) for each in (frame, mirrored))
    contrast = one.max() - one.min()
    assert contrast > 0.1 * one.max()
    np.testing.assert_allclose(other[:, ::-1], one, rtol=0, atol=0.02 * contrast)  # shrinking rounds to gray levels
    assert np.abs(other - one).max() > 0.05 * contrast


def test_photographs_do_not_depend_on_one_another() -> None:
    model, frames = seeing(), clip(3, height=120, width=200)
    frames[1] = clip(1, height=200, width=120)[0]  # a portrait among them
    frames[1] = Frame(1, frames[1].pixels, frames[0].pts, frames[0].time_base)
    together = shown(model, frames, still=True)
    for saliency, frame in zip(together, frames, strict=True):
        (alone,) = shown(model, [frame], still=True)
        np.testing.assert_allclose(saliency, alone, rtol=1e-4, atol=1e-9)
    assert together[1].shape[0] > together[1].shape[1]
    assert together[0].shape[0] < together[0].shape[1]


def test_networks_with_a_window_know_no_photographs() -> None:
    predictor = SaliencyPredictor(loaded(TASED, Spy()))
    one, other = (list(predictor.predict(clip(2), still=still)) for still in (True, False))
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a.saliency, b.saliency)


def test_portrait_stays_portrait() -> None:
    for still in (False, True):
        (saliency,) = SaliencyPredictor(loaded(EMBEDDED)).predict(clip(1, height=200, width=100), still=still)
        height, width = saliency.saliency.shape
        assert height > width


def test_a_stream_without_frames_gives_no_maps() -> None:
    for config in (TASED, EMBEDDED):
        for still in (False, True):
            assert list(SaliencyPredictor(loaded(config, Spy())).predict([], still=still)) == []


# The embedded model has two frames in the hands of each of its workers, here two, and two that wait.
@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize(("config", "ahead"), [(TASED, 2 * LENGTH - 1), (EMBEDDED, 6)])
def test_frames_are_read_no_further_than_needed(config: ModelConfig, ahead: int) -> None:
    frames, read = clip(12), 0

    def counted() -> Iterator[Frame]:
        nonlocal read
        for frame in frames:
            read += 1
            yield frame

    for saliency in SaliencyPredictor(loaded(config), device="cpu").predict(counted()):
        assert read <= saliency.index + ahead


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("count", [5, 12])
def test_the_embedded_models_maps_do_not_depend_on_the_number_of_threads(count: int) -> None:
    """To the last bit: each frame is computed on one thread, and smoothing keeps the order."""
    model, frames, before = seeing(), clip(count, height=120, width=200), torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            found.append(shown(model, frames))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    for maps in found[1:]:
        for one, other in zip(found[0], maps, strict=True):
            np.testing.assert_array_equal(one, other)


def test_the_embedded_models_own_module_stays_as_its_checkpoint_has_it() -> None:
    model = seeing()
    before = {name: tensor.clone() for name, tensor in model.module.state_dict().items()}
    shown(model, clip(3))
    list(SaliencyPredictor(model, device="cpu", precision="bf16").predict(clip(3)))
    after = model.module.state_dict()
    assert list(after) == list(before)
    for name, tensor in after.items():
        assert tensor.dtype == before[name].dtype
        assert torch.equal(tensor, before[name])


@pytest.mark.parametrize("config", [TASED, EMBEDDED])
def test_torchs_modes_do_not_leak_between_maps(config: ModelConfig) -> None:
    predictor = SaliencyPredictor(loaded(config), precision="bf16")
    for saliency in predictor.predict(clip(5)):
        assert not torch.is_inference_mode_enabled()
        assert not torch.is_autocast_enabled("cpu")
        assert torch.ones(1, requires_grad=True).mul(2).requires_grad
        assert saliency.saliency.dtype == np.float32
        assert np.isfinite(saliency.saliency).all()


def test_a_lower_precision_stays_close() -> None:
    model, frames = loaded(EMBEDDED), clip(2)
    exact, lower = (list(SaliencyPredictor(model, precision=p).predict(frames)) for p in ("fp32", "bf16"))
    for one, other in zip(exact, lower, strict=True):
        assert np.corrcoef(one.saliency.ravel(), other.saliency.ravel())[0, 1] > 0.98
    assert any((one.saliency != other.saliency).any() for one, other in zip(exact, lower, strict=True))


def test_options_are_checked() -> None:
    model = loaded(TASED, Spy())
    with pytest.raises(UsageError, match="--exact computes in fp32"):
        SaliencyPredictor(model, exact=True, precision="bf16")
    with pytest.raises(UsageError, match="--device nowhere"):
        SaliencyPredictor(model, device="nowhere")


class Failing(nn.Module):
    def __init__(self, message: str) -> None:
        super().__init__()
        self.message = message

    def forward(self, *_: Any) -> Tensor:
        raise RuntimeError(self.message)


@pytest.mark.parametrize(
    "message",
    [
        "DefaultCPUAllocator: can't allocate memory: you tried …",
        "DefaultCPUAllocator: not enough memory: you tried …",
        "CUDA out of memory. Tried to allocate …",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
    ],
)
def test_a_full_memory_is_an_error_of_the_device(message: str) -> None:
    predictor = SaliencyPredictor(loaded(TASED, Failing(message)))
    with pytest.raises(DeviceError, match="memory does not suffice"):
        list(predictor.predict(clip(1)))
    predictor = SaliencyPredictor(loaded(TASED, Failing("shapes do not match")))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        list(predictor.predict(clip(1)))


def test_exact_maps_do_not_depend_on_the_number_of_threads() -> None:
    """Every window is computed on one thread of torch's, several of them at a time, and their order stays."""

    class Threads(nn.Module):
        def forward(self, clip: Tensor) -> Tensor:
            return torch.full((1, 32, 64), float(torch.get_num_threads()))

    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        maps = list(SaliencyPredictor(loaded(TASED, Threads()), exact=True, device="cpu").predict(clip(11)))
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert [saliency.index for saliency in maps] == list(range(11))
    assert {float(value) for saliency in maps for value in saliency.saliency.flat} == {1.0}
