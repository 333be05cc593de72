"""From stdin to stdout: the right maps at the right times, each as soon as it can be, in little memory."""

from __future__ import annotations

import hashlib
import json
import os
import select
import threading
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from clips import Tone, make_clip, read_number
from fakes import FakePredictor, fake, sees, video_facts
from piped import SIZE, frames_of, piped, raw_frames, stdout_in_memory, stdout_pipe

from saliency_cli import render
from saliency_cli.errors import ReadError, UsageError, WriteError
from saliency_cli.media import stdin
from saliency_cli.pipeline import DEPTH, predict, saliency_frames

pytestmark = pytest.mark.timeout(60)

MAP = SIZE[0] * SIZE[1]  # bytes of a map of 8 bits


def expected(number: int) -> np.ndarray[Any, Any]:
    return render.gray8(render.resize(render.normalise(sees(number)), *SIZE))


def test_maps_through_both_pipes_keep_times_and_sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times = [index * (index + 5) / 100 for index in range(12)]
    clip = make_clip(tmp_path / "clip.mkv", times=times, sound=Tone(start=0.2, seconds=1.2))
    with piped(monkeypatch, clip), stdout_in_memory(monkeypatch) as stdout:
        prediction = predict("-", write=("maps",), output="-", predictor=fake())
    (tmp_path / "o.nut").write_bytes(stdout.getvalue())
    before, after = video_facts(clip), video_facts(tmp_path / "o.nut")
    assert (after.times, after.audio, after.sound) == (before.times, before.audio, before.sound)
    assert after.sound_start is not None
    assert before.sound_start is not None
    assert abs(after.sound_start - before.sound_start) < Fraction(1, 1000)
    np.testing.assert_array_equal(frames_of(stdout.getvalue()).pictures, [expected(number) for number in range(12)])
    assert (prediction.frames, prediction.outputs[0].path) == (12, None)
    assert prediction.delay is not None
    assert 0 < prediction.delay["median"] <= prediction.delay["largest"] < 30
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mkv", "o.nut"]


@pytest.mark.parametrize("form", ["auto", "y4m", "mkv", "video"])
def test_pictures_on_stdout(monkeypatch: pytest.MonkeyPatch, form: Any) -> None:
    with piped(monkeypatch, b"".join(raw_frames(5, "y4m"))), stdout_in_memory(monkeypatch) as stdout:
        predict("-", output="-", form=form, opacity=0.0, predictor=fake())
    stored = frames_of(stdout.getvalue())
    assert stored.codec == ("rawvideo" if form in ("auto", "y4m") else "h264")
    assert stored.times == [Fraction(number, 25) for number in range(5)]
    with av.open(BytesIO(stdout.getvalue())) as file:
        assert [read_number(frame.to_ndarray(format="rgb24")) for frame in file.decode(video=0)] == list(range(5))


@pytest.mark.parametrize("bits", [8, 16])
def test_bare_bytes(monkeypatch: pytest.MonkeyPatch, bits: int) -> None:
    with piped(monkeypatch, b"".join(raw_frames(4))), stdout_in_memory(monkeypatch) as stdout:
        predict("-", write=("maps",), output="-", form="gray", bits=bits, predictor=fake())
    found = np.frombuffer(stdout.getvalue(), "<u2" if bits == 16 else np.uint8).reshape(4, SIZE[1], SIZE[0])
    for number, picture in enumerate(found):
        saliency = render.resize(render.normalise(sees(number)), *SIZE)
        np.testing.assert_array_equal(picture, (render.gray16 if bits == 16 else render.gray8)(saliency))


@pytest.mark.parametrize("name", ["fast.mp4", "end.mp4", "a.ts", "a.mkv"])
def test_files_from_stdin_keep_the_sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Two products: each takes the sound from the one stream, and one of them encodes it anew."""
    codec = "mp2" if name == "a.mkv" else "aac"
    clip = make_clip(
        tmp_path / name,
        frames=20,
        start=0.5,
        faststart=name == "fast.mp4",
        sound=Tone(seconds=1, start=0.4, codec=codec),
    )
    predict(clip, write=("overlay", "heatmap"), output=str(tmp_path / "file"), predictor=fake())
    with piped(monkeypatch, clip):
        prediction = predict("-", write=("overlay", "heatmap"), output=str(tmp_path / "piped"), predictor=fake())
    stem = name.split(".")[0]
    for product in ("saliency", "heatmap"):
        one = video_facts(tmp_path / "file" / f"{stem}.{product}.mp4")
        other = video_facts(tmp_path / "piped" / f"stdin.{product}.mp4")
        assert other == one
        assert other.audio
    said = json.loads((tmp_path / "piped" / "stdin.saliency.mp4.json").read_text())
    assert said["input"]["sha256"] == hashlib.sha256(clip.read_bytes()).hexdigest()
    assert said["input"]["path"] == "-"
    assert f"stdin is {'mp4' if 'mp4' in name else 'M'}" in said["decoder"]
    assert (said["delay"] is None) == (name == "end.mp4")
    assert prediction.frames == 20


def test_sound_that_has_to_be_encoded_anew_for_several(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = make_clip(tmp_path / "a.mkv", frames=20, sound=Tone(seconds=0.8, codec="pcm_s16le"))
    predict(clip, output=str(tmp_path / "file.mp4"), predictor=fake())
    with piped(monkeypatch, clip):
        prediction = predict("-", write=("overlay", "heatmap"), output=str(tmp_path / "o"), predictor=fake())
    one = video_facts(tmp_path / "file.mp4")
    for product in ("saliency", "heatmap"):
        assert video_facts(tmp_path / "o" / f"stdin.{product}.mp4") == one
    assert sum("stdin: its sound (pcm_s16le) does not fit" in warning for warning in prediction.warnings) == 2


def test_a_part_of_a_stream_has_the_sound_of_that_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also the sound that comes behind the last picture in the stream."""
    clip = make_clip(tmp_path / "a.mkv", frames=30, sound=Tone(seconds=1.2))
    how: Any = {"start": 0.2, "end": 0.64, "predictor": fake()}
    predict(clip, output=str(tmp_path / "file.mp4"), **how)
    with piped(monkeypatch, clip):
        prediction = predict("-", output=str(tmp_path / "piped.mp4"), **how)
    assert prediction.frames == 11
    assert video_facts(tmp_path / "piped.mp4") == video_facts(tmp_path / "file.mp4")


@pytest.mark.parametrize("product", ["overlay", "maps"])
def test_the_video_s_maximum_from_a_pipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, product: Any) -> None:
    """Pictures are needed twice, and so the stream is kept; maps are not."""
    with piped(monkeypatch, b"".join(raw_frames(5))):
        how: Any = {"form": "png", "output": str(tmp_path / "o"), "normalize": "video"}
        prediction = predict("-", write=(product,), predictor=fake(), **how)
    assert len(list((tmp_path / "o").iterdir())) == 5
    assert ("needed as a whole" in prediction.decoder) == (product == "overlay")


@pytest.mark.parametrize("delay", [0, 3])
@pytest.mark.parametrize("form", ["nut", "y4m"])
def test_a_map_goes_out_before_the_next_frame_comes(monkeypatch: pytest.MonkeyPatch, form: str, delay: int) -> None:
    """Map n is there when frame n + k was written, where k is what the predictor asks for: pipes add nothing to it."""
    out, into = os.pipe()
    monkeypatch.setattr(stdin, "DESCRIPTOR", out)

    def run() -> None:
        predict("-", write=("maps",), output="-", form="gray", predictor=fake(delay=delay))

    with stdout_pipe(monkeypatch) as maps:
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        due = 0
        for number, frame in enumerate(raw_frames(20, form)):
            os.write(into, frame)
            while number and due <= number - delay:  # NUT tells its rate by two frames
                picture = np.frombuffer(taken(maps, MAP), np.uint8).reshape(SIZE[1], SIZE[0])
                np.testing.assert_array_equal(picture, expected(due))
                due += 1
        assert due == 20 - delay
        os.close(into)
        assert len(taken(maps, delay * MAP)) == delay * MAP
        thread.join(10)
        assert not thread.is_alive()
    os.close(out)


def taken(descriptor: int, size: int) -> bytes:
    """So many bytes; fewer if no more come for a long while."""
    content = b""
    while len(content) < size and select.select([descriptor], [], [], 20)[0]:
        content += os.read(descriptor, size - len(content))
    return content


def test_a_slow_reader_keeps_memory_flat(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody reads: after a few frames, nobody takes any either; and what waits can be interrupted."""
    frames = raw_frames(60)
    out, into = os.pipe()
    monkeypatch.setattr(stdin, "DESCRIPTOR", out)
    os.set_blocking(into, False)
    predictor = FakePredictor()
    failure: list[BaseException] = []

    def run() -> None:
        try:
            predict("-", output="-", predictor=predictor)  # type: ignore[arg-type]
        except BaseException as error:
            failure.append(error)

    with stdout_pipe(monkeypatch) as maps:
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        left = b"".join(frames)
        while left and select.select([], [into], [], 0.5)[1]:
            left = left[os.write(into, left[:4096]) :]
        assert left
        pictures_in_pipes = 2 * (1 << 16) // (3 * MAP) + 2
        assert len(predictor.seen) <= pictures_in_pipes + 3 * DEPTH
        os.close(maps)  # downstream ends
        thread.join(10)
        assert not thread.is_alive()
    os.close(into)
    os.close(out)
    assert isinstance(failure[0], WriteError)
    assert isinstance(failure[0].__cause__, BrokenPipeError)


def test_what_a_pipe_cannot_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="--resume: stdin"):
        predict("-", resume=True, predictor=fake())
    with piped(monkeypatch, b"".join(raw_frames(3))), pytest.raises(UsageError, match="--fps 5: stdin is a video"):
        predict("-", rate=5, predictor=fake())
    with piped(monkeypatch, b""), pytest.raises(ReadError, match="stdin is empty"):
        predict("-", predictor=fake())
    monkeypatch.chdir(tmp_path)
    with piped(monkeypatch, b"".join(raw_frames(3))), pytest.raises(RuntimeError, match="broke"):
        predict("-", output="o.mp4", predictor=fake(fail_at=1))
    assert list(tmp_path.iterdir()) == []


def test_saliency_frames_of_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    with piped(monkeypatch, b"".join(raw_frames(6))):
        assert [each.index for each in saliency_frames("-", predictor=fake())] == list(range(6))
    with piped(monkeypatch, b"".join(raw_frames(60))):
        for saliency in saliency_frames("-", predictor=fake()):
            assert saliency.index == 0
            break
