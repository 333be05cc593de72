"""From a video to its crop: it follows, its times and its sound are kept, and nothing is lost."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import pytest
from clips import Tone, draw_number, make_clip
from fakes import FakePredictor, video_facts
from numpy.typing import NDArray

import saliency_cli
from saliency_cli.errors import ReadError, UsageError, WriteError
from saliency_cli.inference.predictor import Listen, SaliencyPredictor
from saliency_cli.media import VideoWriter, open_source, probe
from saliency_cli.reframing import reframe as module
from saliency_cli.reframing.reframe import reframe
from saliency_cli.types import Frame, SaliencyFrame, VideoInfo

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield
    for thread in threading.enumerate():
        if thread.name.startswith("vsal-"):
            thread.join(1)
            assert not thread.is_alive()


class Bright(FakePredictor):
    """Attention is where it is bright."""

    def predict(
        self, frames: Iterable[Frame], *, still: bool = False, listen: Listen | None = None
    ) -> Iterator[SaliencyFrame]:
        for frame in frames:
            gray = frame.pixels.mean(axis=2, dtype=np.float32) / 255
            yield SaliencyFrame(frame.index, frame.seconds, cv2.resize(gray**4, (48, 32), interpolation=cv2.INTER_AREA))


def bright(**options: Any) -> SaliencyPredictor:
    return cast(SaliencyPredictor, Bright(**options))


def picture(where: float, *, seed: int, size: tuple[int, int] = (160, 96)) -> NDArray[np.uint8]:
    """A bright disc on a dark ground that depends on the seed."""
    ground = np.random.default_rng(seed).integers(0, 90, 3).astype(np.uint8)
    frame = np.full((size[1], size[0], 3), ground, np.uint8)
    cv2.circle(frame, (round(where * size[0]), size[1] // 2), 8, (255, 255, 255), -1)
    return frame


def film(path: Path, places: Iterable[tuple[float, int]]) -> Path:
    """A video of discs: their places, and their grounds' seeds."""
    info = VideoInfo("film", "video", 160, 96, None, Fraction(25), Fraction(1, 25), Fraction(0), "")
    with VideoWriter(path, info=info, width=160, height=96) as writer:
        for index, (where, seed) in enumerate(places):
            writer.write(picture(where, seed=seed), index)
    return path


def disc(pixels: NDArray[np.uint8]) -> float | None:
    """Where the disc's middle is, as a part of the width; None if less than half of it is seen."""
    found = np.flatnonzero((pixels.min(axis=2) > 180).any(axis=0))
    return None if len(found) < 9 else float(found.mean() + 0.5) / pixels.shape[1]


def test_the_crop_follows_what_draws_attention() -> None:
    places = [(0.2 + 0.6 * min(max(index - 15, 0) / 60, 1), 1) for index in range(90)]
    source = film(Path("clip.mp4"), places)
    result = reframe(source, "9:16", predictor=bright())
    assert result.output == Path("clip.9x16.mp4")
    assert result.size == (54, 96)
    assert result.cuts == ()
    assert result.attention is not None
    assert result.attention > 0.9  # the rest is the ground's
    with open_source(result.output) as video:
        seen = [disc(frame.pixels) for frame in video]
    assert len(seen) == 90
    assert all(where is not None and 0.15 < where < 0.85 for where in seen)
    x = result.boxes[:, 0]
    assert x[0] < 15
    assert x[-1] > 90
    assert np.abs(np.diff(x)).max() <= 0.5 * 160 / 25 + 1
    assert (result.boxes[:, 1:] == [0, 54, 96]).all()


def test_cuts_are_found_and_jumped_at() -> None:
    source = film(Path("clip.mp4"), [*[(0.2, 1)] * 25, *[(0.8, 2)] * 25])
    result = reframe(source, "1:1", predictor=bright())
    assert result.cuts == (1.0,)
    x = result.boxes[:, 0]
    assert np.ptp(x[:25]) == np.ptp(x[25:]) == 0
    assert x[25] - x[24] > 50


CLIPS: dict[str, dict[str, Any]] = {
    "plain": {"sound": Tone(seconds=0.8)},
    "variable rate": {"times": [index * (index + 3) / 100 for index in range(20)], "sound": Tone(seconds=4)},
    "late start": {"start": 0.5, "sound": Tone(seconds=1.2)},
    "ntsc rate": {"rate": Fraction(30000, 1001)},
    "odd size": {"size": (101, 75), "pix_fmt": "yuv444p"},
    "rotated phone": {"rotation": 90, "size": (72, 96), "sound": Tone(seconds=0.8)},
    "wide pixels": {"pixel_aspect": Fraction(4, 3)},
    "one frame": {"frames": 1},
}


@pytest.mark.parametrize("preview", [False, True])
@pytest.mark.parametrize("which", CLIPS)
def test_the_facts_of_the_source_are_kept(which: str, preview: bool) -> None:
    source = make_clip(Path("clip.mp4"), **{"frames": 20, "size": (96, 72), **CLIPS[which]})
    result = reframe(source, "1:1", predictor=bright(), preview=preview)
    assert result.output is not None
    before, after = video_facts(source), video_facts(result.output)
    assert after.codec == "h264"
    assert after.times == before.times
    assert (after.audio, after.sound, after.sound_start) == (before.audio, before.sound, before.sound_start)
    assert after.rotation == 0
    assert list(result.seconds) == pytest.approx([float(time) for time in before.times])
    old, new = probe(source).info, probe(result.output).info
    assert new.pixel_aspect == old.pixel_aspect
    assert new.colour == old.colour or old.colour.space == 2
    assert (new.width, new.height) == ((old.width, old.height) if preview else result.size)
    shown = new.width * new.pixel_aspect / new.height
    assert preview or abs(shown - 1) < 0.04


def test_the_sidecar_and_the_path_say_how_it_was_made() -> None:
    source = make_clip(Path("clip.mp4"), frames=12, size=(96, 72))
    result = reframe(source, "4:5", predictor=bright(), output="out/", path="out/path.json", height=100)
    assert (result.output, result.path) == (Path("out/clip.4x5.mp4"), Path("out/path.json"))
    with open_source(result.output) as video:
        assert (video.info.width, video.info.height) == (80, 100)
    sidecar = json.loads(Path("out/clip.4x5.mp4.json").read_bytes())
    assert (sidecar["product"], sidecar["options"]["height"], sidecar["frames"]) == ("reframed", 100, 12)
    assert sidecar["model"]["weights"] == "fake.safetensors"
    path = json.loads(Path("out/path.json").read_bytes())
    assert path["input"] == sidecar["input"]
    keys = ("x", "y", "width", "height")
    assert [[frame[key] for key in keys] for frame in path["path"]] == result.boxes.tolist()
    assert path["crop"] == {"width": 58, "height": 72}
    assert {entry.name for entry in Path("out").iterdir()} == {"clip.4x5.mp4", "clip.4x5.mp4.json", "path.json"}
    reframe(source, "4:5", predictor=bright(), output="out", path="out/path.json")  # what vsal made may be replaced


@pytest.mark.parametrize("name", ["path.json", "path.cmd", "path.txt"])
def test_a_path_alone_writes_no_video(name: str) -> None:
    source = make_clip(Path("clip.mp4"), frames=6, size=(96, 72))
    calls: list[tuple[int, int | None]] = []
    result = reframe(source, predictor=bright(), path=name, on_progress=lambda *told: calls.append(told))
    assert result.output is None
    assert {entry.name for entry in Path().iterdir()} == {"clip.mp4", name}
    assert Path(name).read_text().startswith("{" if name.endswith("json") else "# ffmpeg")
    assert calls == [(index, 6) for index in range(1, 7)]


def test_a_path_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    source = make_clip(Path("clip.mp4"), frames=6, size=(96, 72))
    reframe(source, predictor=bright(), path="-")
    assert len(json.loads(capsys.readouterr().out)["path"]) == 6
    assert {entry.name for entry in Path().iterdir()} == {"clip.mp4"}


def test_what_has_the_shape_already_stays_whole() -> None:
    source = make_clip(Path("clip.mp4"), frames=6, size=(96, 54), sound=Tone(seconds=0.24))
    calls: list[tuple[int, int | None]] = []
    result = reframe(
        source, "16:9", device="none", on_progress=lambda *told: calls.append(told)
    )  # no network is needed
    assert result.size == (96, 54)
    assert result.attention is None
    assert "has this shape already" in result.warnings[0]
    assert (result.boxes == [0, 0, 96, 54]).all()
    assert video_facts(Path("clip.16x9.mp4")).sound == video_facts(source).sound
    assert json.loads(Path("clip.16x9.mp4.json").read_bytes())["model"] is None
    assert calls[-1] == (12, 12)


@pytest.mark.parametrize("which", ["plain", "variable rate", "late start"])
@pytest.mark.parametrize("stretch", [(0.2, 0.4), (0.28, None), (None, 0.3)])
def test_a_stretch_is_cut_as_predict_cuts_it(which: str, stretch: tuple[float | None, float | None]) -> None:
    source = make_clip(Path("clip.mp4"), **{"frames": 20, "size": (96, 72), **CLIPS[which]})
    start, end = stretch
    saliency_cli.predict(source, write=("overlay", "stats"), output=".", start=start, end=end, predictor=bright())
    calls: list[tuple[int, int | None]] = []
    result = reframe(
        source, "1:1", predictor=bright(), output="crop.mp4", path="path.json", start=start, end=end,
        on_progress=lambda *told: calls.append(told),
    )  # fmt: skip
    theirs, ours = video_facts(Path("clip.saliency.mp4")), video_facts(Path("crop.mp4"))
    assert 0 < len(ours.times) < 20
    assert ours.times == theirs.times
    assert 0 < len(ours.sound) < len(video_facts(source).sound)
    assert (ours.sound, ours.sound_start) == (theirs.sound, theirs.sound_start)
    stats = [json.loads(line) for line in Path("clip.stats.jsonl").read_text().splitlines()]
    path = json.loads(Path("path.json").read_bytes())
    assert [frame["frame"] for frame in path["path"]] == [line["frame"] for line in stats]
    assert [frame["seconds"] for frame in path["path"]] == pytest.approx([line["seconds"] for line in stats])
    assert (path["options"]["start"], path["options"]["end"]) == stretch
    assert calls[-1] == (2 * len(ours.times), 2 * len(ours.times))
    reframe(source, "1:1", predictor=bright(), path="path.cmd", start=start, end=end)
    line = Path("path.cmd").read_text().splitlines()[0]
    assert f"-ss {result.seconds[0]:.6f} " in line
    assert (f"-to {(end or 0) + float(probe(source).info.start):.6f} " in line) == (end is not None)


def test_an_end_between_two_ticks_of_the_clock_keeps_the_frame_before_it() -> None:
    make_clip(Path("clip.mp4"), frames=6, size=(96, 72), rate=Fraction(30000, 1001))
    result = reframe("clip.mp4", "1:1", predictor=bright(), path="path.cmd", end=0.033370)
    assert len(result.seconds) == 2
    assert "-to 0.033400 " in Path("path.cmd").read_text()


def test_what_is_whole_needs_no_network_that_is_given() -> None:
    source = make_clip(Path("clip.mp4"), frames=6, size=(96, 54))
    predictor = bright()
    predictor.predict = None  # type: ignore[assignment, method-assign]
    result = reframe(source, "16:9", predictor=predictor)
    assert (result.attention, result.weights) == (None, "")


def test_a_folder_of_frames(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(5):
        cv2.imwrite(str(folder / f"{number}.png"), draw_number(number, (96, 72)))
    result = reframe(folder, "1:1", predictor=bright(), rate=10.0)
    assert result.output == Path("frames.1x1.mp4")
    assert list(result.seconds) == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    part = reframe(folder, "1:1", predictor=bright(), rate=10.0, start=0.2, path="part.json")
    assert list(part.seconds) == pytest.approx([0.2, 0.3, 0.4])
    assert [frame["frame"] for frame in json.loads(Path("part.json").read_bytes())["path"]] == [2, 3, 4]


@pytest.mark.parametrize(
    ("options", "kind", "said"),
    [
        ({"aspect": "wide"}, UsageError, "--aspect wide"),
        ({"aspect": "1:10"}, UsageError, "would be left"),
        ({"output": "-"}, UsageError, "-o -"),
        ({"output": ""}, UsageError, "name is empty"),
        ({"output": "out.avi"}, UsageError, "not as .avi"),
        ({"output": "clip.mp4"}, UsageError, "would replace the input"),
        ({"path": "clip.mp4"}, UsageError, "must end in"),
        ({"path": "a.json", "preview": True}, UsageError, "no video is written"),
        ({"path": "a.json", "height": 100}, UsageError, "no video is written"),
        ({"preview": True, "height": 100}, UsageError, "leave out --height"),
        ({"path": "out.mp4.json", "output": "out.mp4"}, UsageError, "sidecar"),
        ({"path": "clip.mp4.json"}, UsageError, "sidecar of the input"),
        ({"height": 99}, UsageError, "even"),
        ({"height": 16000, "aspect": "2:1"}, UsageError, "32000 pixels wide"),
        ({"max_speed": float("nan")}, UsageError, "--max-speed"),
        ({"max_acceleration": -1.0}, UsageError, "--max-acceleration"),
        ({"rate": 25.0}, UsageError, "own times"),
        ({"crf": 99}, UsageError, "--crf"),
        ({"start": -1.0}, UsageError, "--start -1"),
        ({"start": 0.1, "end": 0.1}, UsageError, "--end 0.1"),
        ({"start": 5.0}, UsageError, "no frame from 5 s"),
        ({"output": "taken"}, WriteError, "taken is a file"),
        ({"output": "kept.mp4", "overwrite": False}, WriteError, "leave out --no-overwrite"),
        ({"output": "foreign.mp4"}, WriteError, "not vsal's"),
        ({"source": "-"}, UsageError, "stdin"),
        ({"source": "missing.mp4"}, ReadError, "does not exist"),
        ({"source": "photo.png"}, UsageError, "picture"),
    ],
)
def test_what_cannot_be_is_said_in_one_sentence(options: dict[str, Any], kind: type[Exception], said: str) -> None:
    make_clip(Path("clip.mp4"), frames=3, size=(64, 48))
    cv2.imwrite("photo.png", draw_number(1))
    for name in ("taken", "kept.mp4", "foreign.mp4.json"):
        Path(name).write_text("mine")
    before = {entry.name: entry.read_bytes() for entry in Path().iterdir()}
    arguments = {"source": "clip.mp4", "aspect": "9:16", "predictor": bright(), **options}
    with pytest.raises(kind, match=said) as caught:
        reframe(arguments.pop("source"), arguments.pop("aspect"), **arguments)
    assert "\n" not in str(caught.value)
    assert {entry.name: entry.read_bytes() for entry in Path().iterdir()} == before


@pytest.mark.parametrize("moment", ["planning", "writing"])
def test_a_failure_leaves_nothing_behind(moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_clip(Path("clip.mp4"), frames=8, size=(96, 72), sound=Tone(seconds=0.3))
    Path("out.mp4").write_bytes(b"earlier")

    def broken(*arguments: Any, **options: Any) -> Any:
        raise RuntimeError("broken")

    monkeypatch.setattr(module, "plan_path" if moment == "planning" else "cut_out", broken)
    for options in ({"output": "out.mp4", "path": "new/path.json"}, {"output": "new/folder/"}):
        with pytest.raises(RuntimeError, match="broken"):
            reframe(source, predictor=bright(), **options)
    assert {entry.name for entry in Path().iterdir()} == {"clip.mp4", "out.mp4"}
    assert Path("out.mp4").read_bytes() == b"earlier"


def test_a_path_that_cannot_be_written_is_refused_before_the_work() -> None:
    source = make_clip(Path("clip.mp4"), frames=3, size=(96, 72))
    Path("file").touch()
    predictor = bright()
    predictor.predict = None  # type: ignore[assignment, method-assign]
    for options in ({}, {"output": "out.mp4"}):
        with pytest.raises(WriteError, match=r"file/path\.json cannot be written"):
            reframe(source, predictor=predictor, path="file/path.json", **options)
    assert {entry.name for entry in Path().iterdir()} == {"clip.mp4", "file"}


def test_a_file_that_changes_meanwhile_is_refused() -> None:
    source = make_clip(Path("clip.mp4"), frames=8, size=(96, 72))
    longer = make_clip(Path("longer.mp4"), frames=12, size=(96, 72)).read_bytes()

    def swap(done: int, total: int | None) -> None:
        if done == 8:
            Path("clip.mp4").write_bytes(longer)

    with pytest.raises(ReadError):
        reframe(source, predictor=bright(), decoder="pyav", on_progress=swap)
    assert {entry.name for entry in Path().iterdir()} == {"clip.mp4", "longer.mp4"}


def test_it_is_part_of_the_public_api() -> None:
    assert saliency_cli.reframe is reframe
    with pytest.raises(TypeError, match="raw"):
        saliency_cli.reframe("clip.mp4", raw=True)
