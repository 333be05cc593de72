"""The engine: every map is that of its window alone, to the last bit, and no frame is read or kept beyond its time."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import get_args

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from stand_ins import CPU, listening, noisy_video, prepared, stand_in
from torch import Tensor

from saliency_cli.errors import DeviceError
from saliency_cli.inference.device import Precision
from saliency_cli.inference.engine import WindowEngine, windows_at_once
from saliency_cli.inference.hearing import Listen
from saliency_cli.inference.overlap import single_thread
from saliency_cli.inference.predictor import SaliencyPredictor
from saliency_cli.inference.preparing import Prepared
from saliency_cli.inference.s3d import S3DStream, Window
from saliency_cli.models.config import Architecture, ModelConfig
from saliency_cli.types import Frame, SaliencyFrame
from saliency_cli.windows import window_indices

SIZE = (32, 64)
T = 16


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    """So that the engine has two workers, of one thread each, on any machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


def config_of(architecture: Architecture, length: int = T, *, audio: bool = False) -> ModelConfig:
    return ModelConfig(architecture=architecture, clip_length=length, input_size=SIZE, audio=audio)


@cache
def predictor_of(config: ModelConfig, precision: Precision = "fp32") -> SaliencyPredictor:
    return SaliencyPredictor(stand_in(config), device="cpu", precision=precision)


def engine_of(config: ModelConfig, precision: Precision = "fp32") -> WindowEngine:
    """The predictor's own: to make one takes longer than some maps."""
    engine = predictor_of(config, precision)._engine
    assert engine is not None
    return engine


class Alone:
    """The engine's layers on one window at a time, each in a stream of its own, which has nothing of an earlier one."""

    def __init__(self, config: ModelConfig, precision: Precision) -> None:
        self._config, self._engine = config, engine_of(config, precision)
        self._found: dict[tuple[int, ...], NDArray[np.float32]] = {}

    def map_of(self, frames: Sequence[Frame], index: int) -> NDArray[np.float32]:
        """Of a frame in a video whose frames' numbers tell what they show."""
        wanted = window_indices(index, length=self._config.clip_length, count=len(frames))
        key = tuple(frames[each].index for each in wanted)
        if key not in self._found:
            with single_thread():  # as each of the engine's two workers has one
                self._found[key] = self._compute(prepared([frames[each] for each in wanted], self._config))
        return self._found[key]

    @torch.inference_mode()
    def _compute(self, clip: Sequence[Prepared]) -> NDArray[np.float32]:
        stream = S3DStream(self._engine.layers)
        *steps, step = [stream.push(frame.pixels.permute(1, 2, 0)) for frame in clip]
        assert steps == [None] * (len(clip) - 1)
        assert step is not None
        top = self._engine.top
        return top.maps([step.half.run(step, top.take)])[0].numpy()


@cache
def alone(config: ModelConfig, precision: Precision = "fp32") -> Alone:
    return Alone(config, precision)


def check_same(one: Sequence[SaliencyFrame], other: Sequence[SaliencyFrame]) -> None:
    """The same frames and maps, to the last bit."""
    assert [(each.index, each.seconds) for each in one] == [(each.index, each.seconds) for each in other]
    for mine, theirs in zip(one, other, strict=True):
        np.testing.assert_array_equal(mine.saliency, theirs.saliency)


def check_alone(
    maps: Sequence[SaliencyFrame], frames: Sequence[Frame], config: ModelConfig, precision: Precision = "fp32"
) -> None:
    """Maps of a video, of which some and those at its ends are compared if they are costly."""
    assert [each.index for each in maps] == [frame.index for frame in frames]
    step = {16: 3, 32: 5}.get(config.clip_length, 1)  # odd: both halves of the stream's windows are met
    for number, found in enumerate(maps):
        if number % step == 0 or number < 2 or number > len(maps) - 3:
            np.testing.assert_array_equal(found.saliency, alone(config, precision).map_of(frames, number))
    spread = np.std([each.saliency for each in maps], axis=0)
    assert spread.mean() > 0.01 or len(maps) < 3  # so that another window's map would be noticed


@pytest.mark.parametrize(
    ("architecture", "length", "precision"),
    [
        ("tased", 4, "bf16"),
        ("tased", 8, "fp32"),
        ("tased", 16, "fp32"),
        ("tased", 32, "fp32"),
        ("tased", 32, "bf16"),
        ("tsfp", 16, "bf16"),
        ("tsfp", 32, "fp32"),
    ],
)
def test_every_map_is_that_of_its_window_alone(architecture: Architecture, length: int, precision: Precision) -> None:
    """From the reversed start to the end; rings of both halves have wrapped round by then."""
    config = config_of(architecture, length)
    frames = noisy_video(2 * length + 9, SIZE)
    check_alone(list(predictor_of(config, precision).predict(frames)), frames, config, precision)


@pytest.mark.parametrize("count", [1, 3, T - 1, T, T + 1, 2 * T - 3, 2 * T - 2, 2 * T - 1])
def test_a_looped_videos_maps_are_those_of_its_windows(count: int) -> None:
    frames = noisy_video(2 * T - 1, SIZE)[:count]
    check_alone(list(predictor_of(config_of("tased")).predict(iter(frames))), frames, config_of("tased"))


@pytest.mark.parametrize("architecture", get_args(Architecture))
@pytest.mark.parametrize("start", [1, 6])
def test_after_a_seek_windows_of_the_same_frames_have_the_same_maps(architecture: Architecture, start: int) -> None:
    frames = noisy_video(2 * T + 9, SIZE)
    predictor = predictor_of(config_of(architecture))
    whole = list(predictor.predict(frames))
    part = list(predictor.predict(frames[start:]))
    assert [each.index for each in part] == list(range(start, len(frames)))
    check_same(part[T - 1 :], whole[start + T - 1 :])
    for mine, theirs in zip(part[: T - 1], whole[start:], strict=False):
        # Reversed in both, or only in the part.
        assert np.array_equal(mine.saliency, theirs.saliency) == (theirs.index < T - 1)


@pytest.mark.parametrize("architecture", get_args(Architecture))
def test_generators_of_one_predictor_do_not_meet(architecture: Architecture) -> None:
    one, other = noisy_video(T + 9, SIZE), noisy_video(T + 6, SIZE, seed=3)
    predictor = predictor_of(config_of(architecture))
    first, second = list(predictor.predict(one)), list(predictor.predict(other))
    assert not np.array_equal(first[T].saliency, second[T].saliency)
    # One ahead of the other by an odd number of maps, then in turn.
    a, b = predictor.predict(one), predictor.predict(other)
    mine, theirs = [next(a) for _ in range(T + 2)], []
    for _ in range(T + 6):
        theirs.append(next(b))
        mine.extend(each for each in [next(a, None)] if each is not None)
    check_same(mine, first)
    check_same(theirs, second)


def test_a_generator_closed_half_way_leaves_nothing_behind() -> None:
    one, other = noisy_video(T + 9, SIZE), noisy_video(T + 6, SIZE, seed=3)
    before = list(predictor_of(config_of("tased")).predict(other))
    for stop in (1, T + 2):  # among the reversed windows, and after them
        predictor = predictor_of(config_of("tased"))
        maps = predictor.predict(one)
        for _ in range(stop):
            next(maps)
        maps.close()  # type: ignore[attr-defined]
        check_same(list(predictor.predict(other)), before)


def test_a_video_that_fails_half_way_leaves_nothing_behind() -> None:
    def broken() -> Iterator[Frame]:
        yield from noisy_video(T + 5, SIZE)
        raise OSError("the disc is gone")

    predictor = predictor_of(config_of("tased"))
    frames = noisy_video(T + 6, SIZE, seed=3)
    before = list(predictor.predict(frames))
    with pytest.raises(OSError, match="the disc is gone"):
        list(predictor.predict(broken()))
    check_same(list(predictor.predict(frames)), before)


@pytest.mark.parametrize("architecture", get_args(Architecture))
@pytest.mark.parametrize("count", [0, 1, 7, 2 * T - 2, 2 * T + 3])
def test_frames_keep_their_numbers_and_times_and_none_is_read_too_early(architecture: Architecture, count: int) -> None:
    frames, read = [Frame(each.index + 40, *_rest(each)) for each in noisy_video(count, SIZE)], 0

    def counted() -> Iterator[Frame]:
        nonlocal read
        for frame in frames:
            read += 1
            yield frame

    maps = predictor_of(config_of(architecture)).predict(counted())
    assert read == 0
    found = []
    for number, each in enumerate(maps):
        # The two workers have a frame each, and one waits; a map that is ready waits for no further frame.
        assert min(count, max(2 * T - 2, number + 1)) <= read <= min(count, max(2 * T - 2, number + 3))
        found.append((each.index, each.seconds, each.saliency.dtype, each.saliency.shape))
    assert found == [(frame.index, frame.seconds, np.float32, SIZE) for frame in frames]


def _rest(frame: Frame) -> tuple[object, ...]:
    return frame.pixels, frame.pts, frame.time_base


@pytest.mark.parametrize("count", [5, 2 * T + 9])
def test_no_frame_is_kept_once_it_was_seen(count: int) -> None:
    """Watched are the arrays behind the tensors, which any view of a tensor keeps alive."""
    alive: list[weakref.ref[NDArray[np.float32]]] = []

    def held() -> int:
        return sum(each() is not None for each in alive)

    def source() -> Iterator[Prepared]:
        for number in range(count):
            if number >= 2 * T + 2:
                assert held() <= 4  # with the two workers, waiting for one, and just read
            array = np.random.default_rng(number).random((*SIZE, 3), np.float32)
            alive.append(weakref.ref(array))
            frame = Prepared(number, number / 25, torch.from_numpy(array).permute(2, 0, 1))
            del array
            yield frame
            del frame

    indices = []
    for each in engine_of(config_of("tased")).maps(source()):
        indices.append(each.index)
        assert held() <= 2 * T - 2
    assert indices == list(range(count))
    assert held() == 0


def test_neither_torchs_modes_nor_the_callers_matter() -> None:
    config, frames = config_of("tsfp"), noisy_video(T + 1, SIZE)
    expected = list(predictor_of(config).predict(frames))
    found = []
    for each in predictor_of(config).predict(frames):
        assert not torch.is_inference_mode_enabled()
        assert not torch.is_autocast_enabled("cpu")
        assert torch.ones(1, requires_grad=True).mul(2).requires_grad
        found.append(each)
    check_same(found, expected)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        check_same(list(predictor_of(config).predict(frames)), expected)


@pytest.mark.parametrize("config", [config_of("tased"), config_of("tsfp")])
def test_maps_do_not_depend_on_the_number_of_workers(config: ModelConfig) -> None:
    frames = noisy_video(T + 4, SIZE)
    found = []
    for threads in (1, 2, 3):  # one worker, two, and two with a thread too many for them
        torch.set_num_threads(threads)
        found.append(list(predictor_of(config).predict(frames)))
        assert torch.get_num_threads() == threads
    torch.set_num_threads(2)
    check_same(found[1], found[0])
    check_same(found[2], found[0])


def test_the_networks_own_weights_stay_as_they_are() -> None:
    network = stand_in(config_of("tased")).module
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    list(engine_of(config_of("tased"), "bf16").maps(prepared(noisy_video(2, SIZE), config_of("tased"))))
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


# Several windows at a time ----------------------------------------------------------------------------------------


def maps_of(engine: WindowEngine, config: ModelConfig, count: int, listen: Listen | None = None) -> list[SaliencyFrame]:
    return list(engine.maps(prepared(noisy_video(count, SIZE), config), listen))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("config", [config_of("tased"), config_of("tsfp", audio=True)])
def test_several_windows_at_a_time_have_the_maps_of_one(
    config: ModelConfig, precision: Precision, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T - 1 reversed windows and five straight ones: both end with a batch that is not full."""
    listen = listening if config.audio else None
    engine = engine_of(config, precision)
    one = maps_of(engine, config, T + 4, listen)
    monkeypatch.setattr(engine, "at_once", 4)
    four = maps_of(engine, config, T + 4, listen)
    assert [(each.index, each.seconds) for each in four] == [(each.index, each.seconds) for each in one]
    assert np.std([each.saliency for each in one], axis=0).mean() > 0.01
    for mine, theirs in zip(four, one, strict=True):
        np.testing.assert_allclose(mine.saliency, theirs.saliency, rtol=0, atol=1e-6)


FEW = config_of("tased", 4)


class Narrow:
    """A top whose memory suffices for some windows at a time, or with a ``spoilt`` step, the number so-and-so."""

    def __init__(self, engine: WindowEngine, limit: int, *, spoilt: int = -1) -> None:
        self.top, self.limit, self.asked = engine.top, limit, list[int]()
        self.spoilt, self.taken = spoilt, 0

    def take(self, window: Window) -> object:
        self.taken += 1
        if self.taken - 1 == self.spoilt:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return self.top.take(window)

    def maps(self, windows: Sequence[object], sound: Tensor | None = None) -> Tensor:
        self.asked.append(len(windows))
        if len(windows) > self.limit:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return self.top.maps(windows)


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[WindowEngine, Narrow]]:
    """Gives, for a while, an engine and its top, which is narrow."""

    def make(limit: int, *, at_once: int = 8, spoilt: int = -1) -> tuple[WindowEngine, Narrow]:
        engine = engine_of(FEW)
        top = Narrow(engine, limit, spoilt=spoilt)
        monkeypatch.setattr(engine, "top", top)
        monkeypatch.setattr(engine, "at_once", at_once)
        return engine, top

    return make


@pytest.mark.parametrize("limit", [1, 2, 3, 7])
def test_a_full_memory_halves_the_windows_at_a_time(
    limit: int, narrow: Callable[..., tuple[WindowEngine, Narrow]], caplog: pytest.LogCaptureFixture
) -> None:
    expected = maps_of(engine_of(FEW), FEW, 17)
    engine, top = narrow(limit)
    check_same(maps_of(engine, FEW, 17), expected)
    assert engine.at_once <= limit
    assert engine.at_once in {1: (1,), 2: (2, 1), 3: (3, 2, 1), 7: (4,)}[limit]
    assert sum(each for each in top.asked if each <= limit) == 17
    assert caplog.messages[-1].endswith(f"now {engine.at_once}")
    # What was found out holds for the next video.
    top.asked.clear()
    maps_of(engine, FEW, 9)
    assert max(top.asked) == engine.at_once


def test_memory_for_not_even_one_window_is_an_error_of_the_device(
    narrow: Callable[..., tuple[WindowEngine, Narrow]],
) -> None:
    engine, top = narrow(0)
    with pytest.raises(DeviceError, match="cpu: its memory does not suffice"):
        maps_of(engine, FEW, 17)
    assert top.asked[-1] == 1


@pytest.mark.timeout(60)  # a worker that waits for a window that never comes would wait for ever
@pytest.mark.parametrize("at_once", [1, 3, 4])
@pytest.mark.parametrize("spoilt", [0, 1, 4])
@pytest.mark.parametrize("threads", [1, 2])
def test_memory_that_does_not_suffice_below_the_top_is_an_error_of_the_device(
    at_once: int, spoilt: int, threads: int, narrow: Callable[..., tuple[WindowEngine, Narrow]]
) -> None:
    expected = maps_of(engine_of(FEW), FEW, 9)
    engine, _ = narrow(8, at_once=at_once, spoilt=spoilt)
    torch.set_num_threads(threads)
    with pytest.raises(DeviceError, match="cpu: its memory does not suffice"):
        maps_of(engine, FEW, 17)
    torch.set_num_threads(2)
    check_same(maps_of(engine, FEW, 9), expected)


def test_other_errors_are_not_taken_for_a_full_memory(
    narrow: Callable[..., tuple[WindowEngine, Narrow]], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, top = narrow(8)

    def broken(windows: Sequence[object], sound: Tensor | None = None) -> Tensor:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(top, "maps", broken)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        maps_of(engine, FEW, 17)


def test_how_many_windows_are_computed_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    full, cuda = ModelConfig.tased(), torch.device("cuda", 1)
    memory = {"free": 0.0}
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (int(memory["free"] * 2**30), 80 * 2**30))

    def at_once(config: ModelConfig, free: float, dtype: torch.dtype) -> int:
        memory["free"] = free
        return windows_at_once(cuda, config, dtype)

    assert windows_at_once(CPU, full, torch.float32) == 1
    assert windows_at_once(torch.device("mps"), full, torch.float32) == 8
    assert at_once(full, 0, torch.float32) == 1  # there is nothing but to try
    assert at_once(full, 80, torch.float32) == 8
    some = [at_once(full, free, torch.float32) for free in (0.2, 1, 2, 4, 8)]
    assert some == sorted(some)
    assert some[0] < some[3]
    for free in (1.0, 2.0, 3.0):
        fewest = at_once(full, free, torch.float32)
        assert fewest <= at_once(full, free, torch.bfloat16) <= 2 * fewest + 1
        assert fewest <= at_once(config_of("tased", 32), free, torch.float32) == 8
