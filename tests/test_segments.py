"""A prediction that was stopped goes on: the same maps to the last bit, from no more than is due."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clips import make_clip
from fakes import FakePredictor, fake, program
from filelock import FileLock
from stand_ins import listening, noisy_video, stand_in

from saliency_cli import segments
from saliency_cli.errors import UsageError, VsalError, WriteError
from saliency_cli.inference.predictor import SaliencyPredictor
from saliency_cli.models.config import ModelConfig
from saliency_cli.models.registry import load_model
from saliency_cli.pipeline import predict
from saliency_cli.segments import Segments, segments_folder
from saliency_cli.types import SaliencyFrame

EVERY = 4


def predictor_of(name: str) -> SaliencyPredictor:
    if name == "embedded":
        return SaliencyPredictor(load_model("tsfp"), device="cpu")
    architecture: Any = name.removesuffix(" with sound")
    config = ModelConfig(architecture=architecture, clip_length=16, input_size=(32, 64), audio=architecture != name)
    return SaliencyPredictor(stand_in(config), device="cpu")


@pytest.mark.parametrize("name", ["embedded", "tased", "tsfp with sound"])
def test_maps_go_on_as_if_nothing_had_happened(name: str) -> None:
    predictor = predictor_of(name)
    listen = listening if "sound" in name else None
    frames = [*noisy_video(20, (64, 96)), *noisy_video(12, (64, 96), seed=5, start=27)]  # a cut in the middle
    whole = list(predictor.predict(frames, listen=listen))
    first = list(predictor.resumed(frames, every=EVERY, listen=listen))
    assert [memory is not None for _, memory in first] == [number % EVERY == 0 for number in range(1, 33)]
    # Where reversed windows are due, and (the embedded model's memory) at the cut and near the end
    for done in (4, 20, 28) if name == "embedded" else (8, 20):
        history = frames[:done][max(0, done - predictor.history) :]
        rest = predictor.resumed(
            [*history, *frames[done:]], every=EVERY, memory=first[done - 1][1], known=len(history), listen=listen
        )
        maps = [saliency for saliency, _ in first[:done]] + [saliency for saliency, _ in rest]
        for found, expected in zip(maps, whole, strict=True):
            assert (found.index, found.seconds) == (expected.index, expected.seconds)
            assert np.array_equal(found.saliency, expected.saliency)


def keep(kept: Segments, numbers: range) -> None:
    for number in numbers:
        saliency = SaliencyFrame(number, number / 25, np.full((2, 3), number, np.float32))
        kept.keep(saliency, {} if number % EVERY == EVERY - 1 else None)


def broken_off(folder: Path, origin: dict[str, Any], count: int) -> None:
    with suppress(ZeroDivisionError), Segments(folder, origin) as kept:
        keep(kept, range(count))
        raise ZeroDivisionError


def test_whole_segments_survive_and_go_when_all_is_done(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    broken_off(folder, {"a": 1}, 10)
    with Segments(folder, {"a": 1}) as kept:
        assert kept.frames == 8
        maps = list(kept.maps())
        assert [(each.index, each.seconds, each.saliency.tolist()) for each in maps] == [
            (number, number / 25, [[number] * 3] * 2) for number in range(8)
        ]
        keep(kept, range(8, 12))
    assert not folder.exists()


def test_nothing_kept_leaves_nothing(tmp_path: Path) -> None:
    broken_off(tmp_path / "kept", {}, EVERY - 1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fault", ["origin", "cut", "missing", "half written"])
def test_what_is_not_whole_or_not_ours_is_computed_again(tmp_path: Path, fault: str) -> None:
    folder = tmp_path / "kept"
    broken_off(folder, {"a": 1}, 16)
    files = sorted(folder.glob("*.safetensors"))
    if fault == "cut":
        files[1].write_bytes(files[1].read_bytes()[:-5])
    elif fault == "missing":
        files[1].unlink()
    elif fault == "half written":
        (folder / ".vsal-123.safetensors").write_bytes(b"half")
    with Segments(folder, {"a": 2 if fault == "origin" else 1}) as kept:
        assert kept.frames == {"origin": 0, "cut": 4, "missing": 4, "half written": 16}[fault]
        held = {path.name for path in folder.iterdir()} - {"lock", "origin.json"}
        assert held == {path.name for path in files[: kept.frames // 4]}
        assert json.loads((folder / "origin.json").read_text()) == {"a": 2 if fault == "origin" else 1}


def test_two_runs_cannot_share_them(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    broken_off(folder, {}, EVERY)
    with FileLock(folder / "lock"), pytest.raises(WriteError, match="in use by another run"):
        Segments(folder, {})


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make_clip(tmp_path / "clip.mp4", frames=24)


@pytest.fixture(autouse=True)
def short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "SEGMENT", EVERY)


@pytest.mark.parametrize("normalize", ["frame", "video"])
def test_products_are_those_of_an_undisturbed_run(tmp_path: Path, clip: Path, normalize: Any) -> None:
    options: dict[str, Any] = {"write": ("overlay", "stats"), "normalize": normalize, "resume": True}
    predict(clip, output=str(tmp_path / "plain"), predictor=fake(), **{**options, "resume": False})
    folder = tmp_path / "resumed"
    with pytest.raises(RuntimeError):
        predict(clip, output=str(folder), predictor=fake(fail_at=18), **options)
    assert [path.name for path in folder.iterdir()] == [".clip.saliency.mp4.vsal-resume"]
    again = FakePredictor()
    prediction = predict(clip, output=str(folder), predictor=again, **options)  # type: ignore[arg-type]
    assert again.seen == list(range(16, 24))
    assert prediction.resumed == 16
    assert json.loads((folder / "clip.saliency.mp4.json").read_text())["resumed"] == 16
    names = {"clip.saliency.mp4", "clip.stats.jsonl"}
    assert {path.name for path in folder.iterdir()} == names | {f"{name}.json" for name in names}
    for name in names:
        assert (folder / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()


@pytest.mark.parametrize("change", [{"start": 0.1}, {"decoder": "pyav"}])
def test_other_options_or_another_input_start_anew(
    tmp_path: Path, clip: Path, change: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    options: dict[str, Any] = {"output": str(tmp_path / "o.mp4"), "resume": True}
    with pytest.raises(RuntimeError):
        predict(clip, predictor=fake(fail_at=18), **options)
    assert predict(clip, predictor=fake(), **options, **change).resumed == 0
    with pytest.raises(RuntimeError):
        predict(clip, predictor=fake(fail_at=18), **options)
    make_clip(clip, frames=25)
    assert predict(clip, predictor=fake(), **options).resumed == 0
    assert caplog.text.count("holds maps of another input, or made with other options") == 2


def test_maps_of_other_frames_are_not_taken(tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    product = tmp_path / "o.mp4"
    with pytest.raises(RuntimeError):
        predict(clip, output=str(product), predictor=fake(fail_at=18), resume=True)
    shifted = [SaliencyFrame(1, 0.04, np.ones((6, 8), np.float32))]
    monkeypatch.setattr(Segments, "maps", lambda self: iter(shifted))
    with pytest.raises(VsalError, match="other frames"):
        predict(clip, output=str(product), predictor=fake(), resume=True)


def test_stdout_cannot_be_resumed(clip: Path) -> None:
    with pytest.raises(UsageError, match="--resume"):
        predict(clip, write=("stats",), output="-", resume=True, predictor=fake())


@pytest.mark.slow
def test_killed_and_gone_on_with_from_the_command_line(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", frames=60)
    command = ("predict", clip, "--write", "arrays", "-o", tmp_path / "o.npz", "--resume")
    folder = segments_folder(tmp_path / "o.npz")
    # The file that follows the third segment never comes: the process is killed just then, as by kill -9.
    kill = (
        "import os, signal\nfrom saliency_cli import segments\nsegments.SEGMENT = 4\n"
        "plain = segments.Segments.keep\n"
        "def keep(self, *given):\n"
        "    plain(self, *given)\n"
        "    if self.frames == 12: os.kill(os.getpid(), signal.SIGKILL)\n"
        "segments.Segments.keep = keep"
    )
    killed = program(*command, cwd=tmp_path, before=kill)
    killed.communicate(timeout=60)
    assert killed.returncode == -9
    assert len(list(folder.glob("*.safetensors"))) == 3
    second = program(*command, "-v", cwd=tmp_path)
    out, err = second.communicate(timeout=60)
    assert second.returncode == 0, err
    assert "12 frames have their maps from an earlier run" in err
    assert out == f"{tmp_path / 'o.npz'}\n"
    assert not folder.exists()
    predict(clip, write=("arrays",), output=str(tmp_path / "p.npz"))
    assert (tmp_path / "o.npz").read_bytes() == (tmp_path / "p.npz").read_bytes()
