"""From a file to its products: the right frames at their times, whole or not at all, in little memory."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import threading
import weakref
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from clips import Tone, box_range, draw_number, make_clip, overwrite, read_number
from fakes import FakePredictor, fake, sees, video_facts

from saliency_cli import pipeline, render
from saliency_cli.errors import ReadError, UsageError, WriteError
from saliency_cli.media import ArrayWriter, SidecarWriter, Source, open_source
from saliency_cli.models.config import ModelConfig
from saliency_cli.pipeline import predict, saliency_frames
from saliency_cli.products import Sink
from saliency_cli.types import VideoInfo

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    for thread in threading.enumerate():
        if thread.name.startswith("vsal-"):
            thread.join(1)
            assert not thread.is_alive()


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make_clip(tmp_path / "clip.mp4", frames=12, sound=Tone(seconds=0.48))


def make_folder(folder: Path, frames: int = 5, size: tuple[int, int] = (64, 48)) -> Path:
    folder.mkdir()
    for number in range(frames):
        cv2.imwrite(str(folder / f"{number}.png"), draw_number(number, size))
    return folder


def numbers(path: Path) -> list[int | None]:
    with open_source(path) as source:
        return [read_number(frame.pixels) for frame in source]


CLIPS: dict[str, dict[str, Any]] = {
    "plain": {"sound": Tone(seconds=0.8)},
    "no sound": {},
    "variable rate": {"times": [index * (index + 3) / 100 for index in range(20)], "sound": Tone(seconds=4)},
    "late start": {"start": 0.5, "sound": Tone(seconds=1.2)},
    "ntsc rate": {"rate": Fraction(30000, 1001)},
    "odd size": {"size": (67, 49), "pix_fmt": "yuv444p"},
    "rotated phone": {"rotation": 90, "size": (48, 64), "sound": Tone(seconds=0.8)},
    "upside down": {"rotation": 180},
    "one frame": {"frames": 1},
}


@pytest.mark.parametrize("which", CLIPS)
def test_a_video_keeps_the_facts_of_its_source(tmp_path: Path, which: str) -> None:
    source = make_clip(tmp_path / "clip.mp4", **{"frames": 20, **CLIPS[which]})
    product = tmp_path / "out.mp4"
    prediction = predict(source, output=str(product), opacity=0.0, predictor=fake())
    before, after = video_facts(source), video_facts(product)
    assert after.codec == "h264"
    assert after.times == before.times
    assert after.size == CLIPS[which].get("size", (64, 48))  # as shown
    assert after.rotation == 0
    assert (after.audio, after.sound, after.sound_start) == (before.audio, before.sound, before.sound_start)
    assert numbers(product) == list(range(len(before.times)))
    assert prediction.frames == len(before.times)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4", "out.mp4", "out.mp4.json"]


@pytest.mark.parametrize("suffix", [".mkv", ".mov"])
def test_other_containers(tmp_path: Path, clip: Path, suffix: str) -> None:
    product = tmp_path / f"out{suffix}"
    predict(clip, output=str(product), predictor=fake())
    before, after = video_facts(clip), video_facts(product)
    assert len(after.times) == 12
    assert np.allclose(np.array(after.times, float), np.array(before.times, float), atol=0.001)  # Matroska's clock
    assert after.audio == "aac"


@pytest.mark.parametrize("product", ["overlay", "heatmap", "side-by-side", "maps"])
def test_every_picture_as_a_video_and_as_a_folder(tmp_path: Path, clip: Path, product: Any) -> None:
    predictor = fake()
    predict(clip, write=(product,), output=str(tmp_path / "o.mp4"), form="video", predictor=predictor)
    predict(clip, write=(product,), output=str(tmp_path / "o"), form="png", predictor=predictor)
    facts = video_facts(tmp_path / "o.mp4")
    width = 128 if product == "side-by-side" else 64
    assert (facts.size, facts.times, facts.audio) == ((width, 48), video_facts(clip).times, "aac")
    files = sorted((tmp_path / "o").iterdir())
    assert [file.name for file in files] == [f"{number:06d}.png" for number in range(1, 13)]
    with open_source(clip) as source:
        frames = [frame.pixels for frame in source]
    with open_source(tmp_path / "o.mp4") as video:
        coded = [frame.pixels for frame in video]
    for number, file in enumerate(files):
        picture = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
        assert picture is not None
        saliency = render.normalise(sees(number))
        if product == "maps":
            expected = render.gray8(render.resize(saliency, 64, 48))
            shown = np.repeat(picture[..., None], 3, axis=2)
        else:
            expected = {
                "overlay": lambda n=number, s=saliency: render.overlay(frames[n], s, "turbo"),
                "heatmap": lambda s=saliency: render.heatmap(s, "turbo", size=(64, 48)),
                "side-by-side": lambda n=number, s=saliency: render.side_by_side(frames[n], s, "turbo"),
            }[product]()
            picture = shown = picture[..., ::-1]
        np.testing.assert_array_equal(picture, expected)
        assert np.abs(coded[number].astype(int) - shown).mean() < 12  # lossy, and colour at half the resolution


def test_all_products_at_once_from_one_decoding(tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readings = count_readings(monkeypatch)
    everything: Any = ("overlay", "heatmap", "side-by-side", "maps", "arrays", "stats")
    prediction = predict(clip, write=everything, output=str(tmp_path / "o"), predictor=fake())
    names = [output.path.name for output in prediction.outputs if output.path]
    assert names == [
        "clip.saliency.mp4", "clip.heatmap.mp4", "clip.side-by-side.mp4", "clip.maps", "clip.arrays.npz",
        "clip.stats.jsonl",
    ]  # fmt: skip
    assert {path.name for path in (tmp_path / "o").iterdir()} == {*names, *(f"{name}.json" for name in names)}
    assert readings == [1]


def count_readings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    readings = [0]
    plain = Source.__iter__

    def counted(self: Source) -> Any:
        readings[0] += 1
        return plain(self)

    monkeypatch.setattr(Source, "__iter__", counted)
    return readings


def arrays(source: Path, **options: Any) -> dict[str, np.ndarray]:
    goal = source.parent / "arrays.npz"
    predict(source, **{"write": ("arrays",), "output": str(goal), "predictor": fake(), **options})
    with np.load(goal) as file:
        return dict(file)


def test_arrays_are_at_the_source_s_size_and_times(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "clip.mp4", frames=6, start=0.5, size=(67, 49), pix_fmt="yuv444p")
    found = arrays(source)
    assert {name: (array.dtype, array.shape) for name, array in found.items()} == {
        "saliency": (np.float32, (6, 49, 67)),
        "seconds": (np.float64, (6,)),
        "frame": (np.int64, (6,)),
    }
    np.testing.assert_allclose(found["seconds"], [0.5 + index / 25 for index in range(6)], atol=1e-9)
    assert found["frame"].tolist() == list(range(6))
    expected = [render.resize(render.normalise(sees(number)), 67, 49) for number in range(6)]
    np.testing.assert_array_equal(found["saliency"], np.stack(expected))


def test_raw_arrays_are_the_network_s(clip: Path) -> None:
    found = arrays(clip, raw=True)
    np.testing.assert_array_equal(found["saliency"], np.stack([sees(number) for number in range(12)]))


def test_each_frame_has_its_own_maximum_by_default(clip: Path) -> None:
    assert arrays(clip)["saliency"].max(axis=(1, 2)).tolist() == pytest.approx([1] * 12, abs=0.2)


def test_the_video_s_maximum_keeps_the_ratios_between_frames(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readings = count_readings(monkeypatch)
    maps = np.stack([m.saliency for m in saliency_frames(clip, normalize="video", predictor=fake())])
    raw = np.stack([sees(number) for number in range(12)])
    assert maps.max() == 1
    np.testing.assert_allclose(maps, raw / raw.max(), rtol=1e-6)
    arrays(clip, normalize="video")
    assert readings == [2]  # one for each: maps alone need no second decoding


def test_without_normalisation_maps_keep_their_values(clip: Path) -> None:
    maps = np.stack([m.saliency for m in saliency_frames(clip, normalize="none", predictor=fake())])
    np.testing.assert_array_equal(maps, np.stack([sees(number) for number in range(12)]))


def test_only_pictures_of_the_frames_need_a_second_decoding(
    tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readings = count_readings(monkeypatch)
    predict(clip, write=("heatmap",), output=str(tmp_path / "h.mp4"), normalize="video", predictor=fake())
    assert readings == [1]
    product = tmp_path / "o.mp4"
    prediction = predict(clip, output=str(product), normalize="video", opacity=0.0, predictor=fake())
    assert readings == [1 + 2]
    assert numbers(product) == list(range(12))
    assert prediction.frames == 12
    assert video_facts(product).times == video_facts(clip).times


def test_a_damaged_video_can_be_scaled_as_a_whole(tmp_path: Path) -> None:
    """It is decoded twice, the second time by the decoder that the first time ended with."""
    source = make_clip(tmp_path / "clip.mp4", frames=120, size=(128, 96), gop=12)
    middle = box_range(source, b"mdat")
    overwrite(source, range(middle.start + len(middle) // 2, middle.start + len(middle) // 2 + 300))
    product = tmp_path / "o"
    prediction = predict(source, output=str(product), form="png", normalize="video", opacity=0.0, predictor=fake())
    assert 60 < prediction.frames < 120
    assert any("could not be decoded" in warning for warning in prediction.warnings)
    assert len(list(product.iterdir())) == prediction.frames


def test_tased_has_its_authors_post_processing(clip: Path) -> None:
    predictor = fake(ModelConfig.tased())
    maps = [m.saliency for m in saliency_frames(clip, predictor=predictor)]
    np.testing.assert_array_equal(maps[3], render.tased_postprocess(sees(3)))
    maps = [m.saliency for m in saliency_frames(clip, normalize="none", write=("maps",), predictor=predictor)]
    np.testing.assert_array_equal(maps[3], render.blur(sees(3), render.TASED_SIGMA))


def test_the_predictor_s_architecture_counts(tmp_path: Path, clip: Path) -> None:
    """A predictor that is handed in may be of another architecture than the options' default."""
    goal = tmp_path / "maps"
    predict(clip, write=("maps",), output=str(goal), raw=True, predictor=fake(ModelConfig.tased()))
    picture = cv2.imread(str(goal / "000004.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(picture, render.gray8_truncated(sees(3)))
    assert json.loads((tmp_path / "maps.json").read_text())["options"]["model"] == "tased"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"audio": True}, r"--audio: the weights fake\.safetensors have no audio branch"),
        ({"normalize": "none"}, "too small to be seen as overlay"),
        ({"write": ("maps",), "raw": True, "form": "png"}, "too small to be seen as maps"),
    ],
)
def test_what_the_weights_cannot_do_is_said_before_anything_is_written(
    clip: Path, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UsageError, match=sentence):
        predict(clip, predictor=fake(), output=str(clip.parent / "o"), **options)
    with pytest.raises(UsageError, match=sentence):
        list(saliency_frames(clip, predictor=fake(), **{"write": ("overlay",), **options}))
    assert list(clip.parent.iterdir()) == [clip]


@pytest.mark.parametrize("normalize", ["frame", "video"])
def test_start_and_end(tmp_path: Path, normalize: Any) -> None:
    source = make_clip(tmp_path / "clip.mp4", frames=20, sound=Tone(seconds=0.8))
    product = tmp_path / "o"
    predict(
        source, write=("overlay", "arrays"), output=str(product), start=0.2, end=0.4, opacity=0.0,
        normalize=normalize, predictor=fake(),
    )  # fmt: skip
    assert numbers(product / "clip.saliency.mp4") == [5, 6, 7, 8, 9]
    with np.load(product / "clip.arrays.npz") as file:
        assert file["frame"].tolist() == [5, 6, 7, 8, 9]
        np.testing.assert_allclose(file["seconds"], [0.2, 0.24, 0.28, 0.32, 0.36])
    facts = video_facts(product / "clip.saliency.mp4")
    assert facts.audio == "aac"
    assert 0 < len(facts.sound) < len(video_facts(source).sound)


def test_a_span_without_frames_is_a_wrong_option(clip: Path) -> None:
    with pytest.raises(UsageError, match="no frame from 5 s"):
        predict(clip, start=5.0, output=str(clip.parent / "o.mp4"), predictor=fake())
    assert list(clip.parent.iterdir()) == [clip]


def test_a_folder_of_frames(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "shot", 11)
    product = tmp_path / "o.mp4"
    predict(folder, output=str(product), rate=10, opacity=0.0, predictor=fake())
    facts = video_facts(product)
    assert facts.times == tuple(Fraction(index, 10) for index in range(11))
    assert facts.audio is None
    assert numbers(product) == list(range(11))
    digest = json.loads((tmp_path / "o.mp4.json").read_text())["input"]["sha256"]
    (folder / "3.png").write_bytes((folder / "4.png").read_bytes())
    predict(folder, output=str(product), rate=10, predictor=fake())
    assert json.loads((tmp_path / "o.mp4.json").read_text())["input"]["sha256"] != digest


def test_a_still_image(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "still.png"), draw_number(7, (65, 48)))
    predict(tmp_path / "still.png", output=str(tmp_path / "o.png"), opacity=0.0, predictor=fake())
    picture = cv2.imread(str(tmp_path / "o.png"))
    assert picture is not None
    assert picture.shape == (48, 65, 3)
    assert read_number(picture) == 7
    found = arrays(tmp_path / "still.png")
    assert found["saliency"].shape == (1, 48, 65)
    assert found["seconds"].tolist() == [0]


@pytest.mark.parametrize("what", ["still", "one frame", "folder", "folder of one"])
@pytest.mark.parametrize("normalize", ["frame", "video"])
def test_stills_alone_are_predicted_as_photographs(tmp_path: Path, what: str, normalize: Any) -> None:
    if what == "still":
        source = tmp_path / "still.png"
        cv2.imwrite(str(source), draw_number(7))
    elif what == "one frame":
        source = make_clip(tmp_path / "clip.mp4", frames=1)
    else:
        source = make_folder(tmp_path / "shot", 1 if what == "folder of one" else 3)
    predictor = FakePredictor()
    list(saliency_frames(source, normalize=normalize, predictor=predictor))  # type: ignore[arg-type]
    assert predictor.stills == [what == "still"]
    predict(source, write=("arrays",), output=str(tmp_path / "o.npz"), normalize=normalize, predictor=predictor)  # type: ignore[arg-type]
    assert predictor.stills == [what == "still"] * 2


def test_the_sidecar_says_how_the_product_was_made(tmp_path: Path, clip: Path) -> None:
    predict(clip, write=("arrays",), output=str(tmp_path / "o.npz"), crf=30, predictor=fake())
    said = json.loads((tmp_path / "o.npz.json").read_text())
    assert said["product"] == "arrays"
    assert said["input"]["sha256"] == hashlib.sha256(clip.read_bytes()).hexdigest()
    assert said["input"]["path"] == str(clip)
    assert (said["input"]["width"], said["input"]["height"], said["input"]["rate"]) == (64, 48, "25")
    assert (said["frames"], said["options"]["crf"], said["model"]["sha256"]) == (12, 30, "0" * 64)
    assert said["model"]["weights"] == "fake.safetensors"
    assert said["decoder"].startswith(("decord (", "pyav ("))
    assert (said["device"], said["precision"]) == ("cpu (a fake)", "fp32 (a fake)")
    assert {"torch", "numpy", "opencv", "av"} <= set(said["versions"])
    assert {"decode", "predict", "write", "total"} == set(said["timings"])
    assert all(value >= 0 for value in said["timings"].values())


def test_notes_of_the_writers_come_out(tmp_path: Path) -> None:
    """Those that a writer makes at its very end, too."""
    source = make_clip(tmp_path / "clip.mkv", frames=5, size=(67, 49), pix_fmt="yuv444p", sound=Tone(codec="pcm_s16le"))
    prediction = predict(source, output=str(tmp_path / "o.mp4"), predictor=fake())
    assert any("odd size" in warning for warning in prediction.warnings)
    assert any("encoded as AAC" in warning for warning in prediction.warnings)
    assert json.loads((tmp_path / "o.mp4.json").read_text())["warnings"] == list(prediction.warnings)


def test_notes_made_while_a_product_is_completed_come_out(
    tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from saliency_cli.media import ArrayWriter

    plain = ArrayWriter._finish

    def finish(self: ArrayWriter) -> None:
        plain(self)
        self.notes.append("at the end")

    monkeypatch.setattr(ArrayWriter, "_finish", finish)
    assert "at the end" in predict(clip, write=("arrays",), output=str(tmp_path / "o"), predictor=fake()).warnings


def test_a_truncated_video_gives_what_can_be_read_and_a_warning(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "clip.mp4", frames=60, size=(128, 96), faststart=True, sound=Tone(seconds=2.4))
    content = source.read_bytes()
    source.write_bytes(content[: len(content) * 6 // 10])
    product = tmp_path / "o.mp4"
    prediction = predict(source, output=str(product), opacity=0.0, predictor=fake())
    assert 5 < prediction.frames < 60
    assert any("could not be decoded" in warning for warning in prediction.warnings)
    assert numbers(product)[:5] == [0, 1, 2, 3, 4]
    assert len(video_facts(product).times) == prediction.frames


def earlier(folder: Path) -> dict[str, bytes]:
    """Everything in a folder, by name."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


EVERYTHING: Any = ("overlay", "heatmap", "maps", "arrays", "stats")


def broken_folder(tmp_path: Path) -> Path:
    folder = make_folder(tmp_path / "shot", 30)
    (folder / "20.png").write_bytes(b"no picture")
    return folder


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize(
    "cause", ["decoder", "predictor", "writer", "finish", "sidecar", "progress", "interrupt", "exit"]
)
def test_whatever_stops_it_earlier_products_stay_and_no_half_is_left(
    tmp_path: Path, cause: str, before: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_folder(tmp_path / "shot", 30)
    options: dict[str, Any] = {"write": EVERYTHING, "output": str(tmp_path / "o")}
    if before:
        predict(source, predictor=fake(), **options)
    if cause == "decoder":
        (source / "20.png").write_bytes(b"no picture")
    if cause == "writer":
        _break_writer(monkeypatch, at=20)
    if cause in ("finish", "sidecar"):  # when the products before it are complete

        def full(*args: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(ArrayWriter if cause == "finish" else SidecarWriter, "_finish", full)
    raising = {"progress": ZeroDivisionError, "interrupt": KeyboardInterrupt, "exit": SystemExit}

    def on_progress(done: int, total: int | None) -> None:
        assert total == 30
        if done == 20 and cause in raising:
            raise raising[cause]

    state = earlier(tmp_path)
    expected = {"decoder": ReadError, "predictor": RuntimeError, **raising}.get(cause, WriteError)
    predictor = fake(fail_at=20 if cause == "predictor" else None)
    with pytest.raises(expected):
        predict(source, predictor=predictor, on_progress=on_progress, **options)
    assert earlier(tmp_path) == state
    assert not before or (tmp_path / "o" / "shot.maps").is_dir()
    assert not list(tmp_path.rglob(".*"))


def _break_writer(monkeypatch: pytest.MonkeyPatch, *, at: int) -> None:
    """The third product's writer fails at a frame."""
    plain = pipeline.open_sink

    class Breaking:
        def __init__(self, *args: Any) -> None:
            self.context, self.product = plain(*args), args[0].product

        def __enter__(self) -> Sink:
            sink = self.context.__enter__()

            def write(frame: Any, saliency: Any) -> None:
                if frame.index == at and self.product == "maps":
                    raise WriteError("maps cannot be written: the disk is full; free some space.")
                sink.write(frame, saliency)

            return Sink(write, sink.writer, sink.needs_pixels)

        def __exit__(self, *args: Any) -> Any:
            return self.context.__exit__(*args)

    monkeypatch.setattr(pipeline, "open_sink", Breaking)


def test_a_product_that_cannot_be_opened_takes_the_others_with_it(tmp_path: Path, clip: Path) -> None:
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "clip.arrays.npz").mkdir()
    with pytest.raises(WriteError, match="is not a file"):
        predict(clip, write=EVERYTHING, output=str(tmp_path / "o"), predictor=fake())
    assert [path.name for path in (tmp_path / "o").iterdir()] == ["clip.arrays.npz"]


def test_a_rate_is_for_pictures(clip: Path) -> None:
    with pytest.raises(UsageError, match="has its own times"):
        predict(clip, rate=10, predictor=fake())


def test_there_are_signs_of_life_while_maps_of_a_known_scale_are_written(tmp_path: Path, clip: Path) -> None:
    seen: list[int] = []
    predict(
        clip,
        output=str(tmp_path / "o.mp4"),
        normalize="video",
        predictor=fake(),
        on_progress=lambda done, total: seen.append(done),
    )
    assert seen == [*range(1, max(seen) + 1), *[max(seen)] * max(seen)]


def test_an_input_that_vanishes_on_the_way_leaves_no_product(tmp_path: Path, clip: Path) -> None:
    def on_progress(done: int, total: int | None) -> None:
        clip.unlink(missing_ok=True)

    with pytest.raises((ReadError, OSError)):
        predict(clip, output=str(tmp_path / "o.mp4"), predictor=fake(), on_progress=on_progress)
    assert list(tmp_path.iterdir()) == []


def test_raw_maps_need_no_more_than_that_word(clip: Path) -> None:
    maps = [m.saliency for m in saliency_frames(clip, raw=True, predictor=fake())]
    finished = [m.saliency for m in saliency_frames(clip, predictor=fake())]
    assert len(maps) == len(finished)
    assert max(m.max() for m in maps) < 1  # as the network gave them
    assert {float(m.max()) for m in finished} == {1.0}


def test_saliency_frames_can_be_left_early(clip: Path) -> None:
    predictor = FakePredictor()
    for saliency in saliency_frames(clip, predictor=predictor):  # type: ignore[arg-type]
        assert (saliency.index, saliency.seconds) == (0, 0)
        break
    assert len(predictor.seen) < 12


@pytest.mark.parametrize("normalize", ["frame", "video"])
@pytest.mark.parametrize("delay", [0, 31])
def test_memory_does_not_grow_with_the_video(
    tmp_path: Path, delay: int, normalize: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frames alive at once: those of the predictor's window, and a few in each queue."""
    alive: weakref.WeakSet[Any] = weakref.WeakSet()
    most = {100: 0, 400: 0}
    for count in most:
        most[count] = _most_alive(tmp_path, count, delay, normalize, monkeypatch, alive)
        alive.clear()
    assert most[100] > pipeline.DEPTH  # they are counted
    assert most[100] <= delay + 3 * pipeline.DEPTH
    assert most[400] <= delay + 3 * pipeline.DEPTH


class _Pixels(np.ndarray):
    """An array that can be counted: sets hold what can be hashed."""

    __hash__ = object.__hash__  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:  # type: ignore[override]
        return self is other


def _most_alive(
    tmp_path: Path, count: int, delay: int, normalize: Any, monkeypatch: pytest.MonkeyPatch, alive: Any
) -> int:
    from saliency_cli.types import Frame

    rate = Fraction(25)
    info = VideoInfo(str(tmp_path / "source"), "frames", 16, 12, count, rate, 1 / rate, Fraction(0), "none")
    (tmp_path / "source").touch()
    most = 0

    class Synthetic(SimpleNamespace):
        decoder, reason, warnings, expected = "none", "a test", (), count
        name, sound, sha256, delay = "source", None, None, None

        def told(self, message: str) -> str:
            return message

        def delivered(self, frame: Frame) -> None:
            pass

        def interrupt(self) -> None:
            pass

        def __iter__(self) -> Iterator[Frame]:
            nonlocal most
            for index in range(count):
                frame = Frame(index, np.zeros((12, 16, 3), np.uint8).view(_Pixels), index, 1 / rate)
                alive.add(frame.pixels)
                most = max(most, len(alive))
                yield frame
                del frame

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(pipeline, "open_source", lambda *_, **__: Synthetic(info=info))
    predictor = fake(delay=delay)
    prediction = predict(
        tmp_path / "source", write=("overlay", "stats"), form="png", output=str(tmp_path / f"o{count}{delay}"),
        normalize=normalize, predictor=predictor,
    )  # fmt: skip
    assert prediction.frames == count
    return most
