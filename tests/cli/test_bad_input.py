"""Whatever is wrong: one sentence, the right exit code, no traceback, nothing half-written, nothing lost."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from clips import Tone, box_range, make_clip, make_sound
from fakes import program, video_facts
from safetensors.torch import save_file

from saliency_cli.models import manifest

pytestmark = pytest.mark.timeout(120)

EARLIER = b"an earlier product"


def state(folder: Path) -> dict[str, bytes | None]:
    """Everything below a folder: files with their content, folders with None."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def check(result: Any, code: int, *sentence: str) -> None:
    """One sentence on stderr that says all of this, and the exit code."""
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("vsal: error: ")
    assert lines[0].endswith(".")
    for part in sentence:
        assert part in lines[0]
    assert (result.exit_code, result.stdout) == (code, "")


@pytest.fixture
def earlier(folder: Path) -> Path:
    """An earlier product, which no failure may touch."""
    (folder / "o.mp4").write_bytes(EARLIER)
    return folder / "o.mp4"


def _text(path: Path) -> None:
    path.write_text("Dear diary,\ntoday I renamed a text file.\n")


def _without_index(path: Path) -> None:
    make_clip(path, frames=30)
    path.write_bytes(path.read_bytes()[: box_range(path, b"moov").start])


def _truncated_to_nothing(path: Path) -> None:
    make_clip(path, frames=30, faststart=True)
    path.write_bytes(path.read_bytes()[: box_range(path, b"mdat").start + 16])


INPUTS: dict[str, tuple[Any, str]] = {
    "missing file": (lambda path: None, "does not exist"),
    "empty file": (lambda path: path.touch(), "is empty"),
    "text": (_text, "is a text file, not a video"),
    "noise": (lambda path: path.write_bytes(os.urandom(5000)), "is no media file"),
    "audio only": (lambda path: make_sound(path, Tone()), ""),
    "no index": (_without_index, "has lost its index (moov)"),
    "index but no frame": (_truncated_to_nothing, ""),
    "empty folder": (lambda path: path.mkdir(), "is a folder without pictures"),
    "folder of other files": (lambda path: (path.mkdir(), (path / "a.txt").touch()), "is a folder without pictures"),
    "device": (lambda path: path.symlink_to("/dev/null"), "is not a regular file"),
}


@pytest.mark.parametrize("kind", INPUTS)
def test_inputs_that_cannot_be_read(vsal: Any, folder: Path, earlier: Path, kind: str) -> None:
    make, sentence = INPUTS[kind]
    make(folder / "clip.mp4")
    before = state(folder)
    check(vsal("predict", "clip.mp4", "-o", "o.mp4"), 3, "clip.mp4", sentence)
    check(vsal("predict", "clip.mp4", "--write", "stats", "--write", "maps", "-o", "out"), 3, "clip.mp4", sentence)
    assert state(folder) == before


def test_a_damaged_still_image(vsal: Any, folder: Path, earlier: Path) -> None:
    (folder / "still.png").write_bytes(b"no picture")
    check(vsal("predict", "still.png", "-o", "o.png"), 3, "still.png is no picture")
    assert sorted(state(folder)) == ["o.mp4", "still.png"]


def test_libraries_say_nothing_of_a_torn_picture(folder: Path) -> None:
    """In a process of its own: what they write does not pass through Python."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    content = cv2.imencode(".tif", noise)[1].tobytes()
    (folder / "still.tif").write_bytes(content[: len(content) // 2])
    with program("predict", "still.tif", cwd=folder) as process:
        check(finish(process), 3, "still.tif is no picture")


def test_a_truncated_video_gives_what_can_be_read(vsal: Any, folder: Path) -> None:
    make_clip(folder / "clip.mp4", frames=30, size=(128, 96), faststart=True)
    content = (folder / "clip.mp4").read_bytes()
    (folder / "clip.mp4").write_bytes(content[: len(content) * 7 // 10])
    result = vsal("predict", "clip.mp4")
    assert (result.exit_code, result.stdout) == (0, "clip.saliency.mp4\n")
    assert "vsal: warning: " in result.stderr
    assert "of 30 frames of clip.mp4 could not be decoded" in result.stderr
    assert 2 < len(video_facts(folder / "clip.saliency.mp4").times) < 30


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--colormap", "hot"], "hot"),
        (["--model", "unisal"], "unisal"),
        (["--write", "movie"], "--write movie: must be one of overlay"),
        (["--bits", "12"], "--bits 12"),
        (["--opacity", "2"], "--opacity 2.0"),
        (["--start", "soon"], "'--start'"),
        (["--end", "inf"], "--end inf"),
        (["--start", "3", "--end", "2"], "--end 2.0"),
        (["--start", "99"], "no frame from 99 s"),
        (["--fps", "0"], "--fps 0.0"),
        (["--colour", "red"], "--colour"),
        (["--device", "gpu"], "--device gpu"),
        (["--precision", "bf16", "--exact"], "--exact computes in fp32"),
        (["-o", "o.gif"], "not as .gif"),
        (["-o", "-", "--write", "arrays"], "arrays are completed at their beginning"),
        (["-o", "-", "--format", "gray"], "use it with --write maps"),
        (["-o", "-", "--write", "maps", "--write", "stats"], "only one product of one input"),
        (["--raw"], "which make no overlay"),
        (["-o", "clip.mp4"], "would replace the input"),
    ],
)
def test_wrong_use(vsal: Any, folder: Path, earlier: Path, arguments: list[str], sentence: str) -> None:
    make_clip(folder / "clip.mp4", frames=2)
    before = state(folder)
    result = vsal("predict", "clip.mp4", *([] if "-o" in arguments else ["-o", "o.mp4"]), *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert sentence in result.stderr
    assert "Traceback" not in result.stderr
    assert state(folder) == before


def test_wrong_use_of_the_program(vsal: Any) -> None:
    for arguments in (["predict"], ["foresee"], ["--colour"], ["models", "info"]):
        result = vsal(*arguments)
        assert (result.exit_code, result.stdout) == (2, ""), arguments
        assert result.stderr
        assert "Traceback" not in result.stderr


def test_devices_that_are_not_there(vsal: Any, folder: Path) -> None:
    make_clip(folder / "clip.mp4", frames=2)
    check(vsal("predict", "clip.mp4", "--device", "cuda:99"), 5, "--device cuda:99", "use --device cpu")
    check(vsal("predict", "clip.mp4", "--precision", "fp16", "--device", "cpu"), 5, "--precision fp16")


def _truncated_weights(path: Path) -> None:
    found = manifest.find("tsfp-lite0")
    assert found is not None
    shutil.copy(found, path)
    with path.open("r+b") as file:
        file.truncate(100_000)


def _empty_tensors(path: Path) -> None:
    import torch

    header = {"format": "1", "architecture": "tsfp", "encoder": "s3d", "clip_length": "32", "input_size": "192x352",
              "mean": "0.5", "std": "0.5", "audio": "no"}  # fmt: skip
    save_file({"a.weight": torch.zeros(1)}, path, metadata=header)


WEIGHTS: dict[str, tuple[Any, str, str]] = {
    "missing": (lambda path: None, "w.safetensors", "is neither a file nor a name of weights"),
    "text": (_text, "w.safetensors", "is damaged or no safetensors file"),
    "text, pt": (_text, "w.pt", ""),
    "empty": (lambda path: path.touch(), "w.safetensors", "is damaged"),
    "truncated": (_truncated_weights, "w.safetensors", "is damaged"),
    "names of another network": (_empty_tensors, "w.safetensors", "does not fit"),
    "other suffix": (_text, "w.onnx", "does not end like a checkpoint"),
}


@pytest.mark.parametrize("kind", WEIGHTS)
def test_weights_that_cannot_be_used(vsal: Any, folder: Path, earlier: Path, kind: str) -> None:
    make, name, sentence = WEIGHTS[kind]
    make_clip(folder / "clip.mp4", frames=2)
    make(folder / name)
    before = state(folder)
    check(vsal("predict", "clip.mp4", "-o", "o.mp4", "--weights", name), 4, name, sentence)
    assert state(folder) == before


def test_weights_of_another_architecture(vsal: Any, folder: Path, earlier: Path) -> None:
    make_clip(folder / "clip.mp4", frames=2)
    result = vsal("predict", "clip.mp4", "-o", "o.mp4", "--model", "tased", "--weights", "tsfp-lite0")
    check(result, 4, "holds weights of tsfp, not of tased", "use --model tsfp")
    assert earlier.read_bytes() == EARLIER


@pytest.mark.parametrize("output", ["file/o.mp4", "file/deep/o.mp4", "file", "folder.mp4", "x" * 300 + ".mp4"])
def test_places_that_cannot_be_written(vsal: Any, folder: Path, output: str) -> None:
    make_clip(folder / "clip.mp4", frames=2)
    (folder / "file").touch()
    (folder / "folder.mp4").mkdir()
    before = state(folder)
    result = vsal("predict", "clip.mp4", "-o", output)
    assert (result.exit_code, result.stdout) == (3, ""), result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert output[:50] in result.stderr
    assert state(folder) == before


def test_a_folder_without_permission_to_write(vsal: Any, folder: Path) -> None:
    """Root may write anywhere but where the kernel itself has files."""
    make_clip(folder / "clip.mp4", frames=2)
    place = Path("/proc/self")
    if os.geteuid() != 0 or not place.is_dir():
        place = folder / "locked"
        place.mkdir(mode=0o500)
    result = vsal("predict", "clip.mp4", "-o", place / "o.mp4")
    assert (result.exit_code, result.stdout) == (3, ""), result.stderr
    assert f"{place / 'o.mp4'} cannot be written" in result.stderr


def limited(size: int) -> str:
    """No file may grow beyond this: the nearest thing to a full disk that needs no rights."""
    return f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))"


def finish(process: subprocess.Popen[str]) -> Any:
    out, err = process.communicate(timeout=100)
    return type("Result", (), {"exit_code": process.returncode, "stdout": out, "stderr": err})


@pytest.mark.parametrize("product", ["overlay", "arrays"])
def test_a_file_that_the_disk_has_no_room_for(folder: Path, product: str) -> None:
    make_clip(folder / "clip.mp4", frames=6, size=(320, 240))
    name = {"overlay": "o.mp4", "arrays": "o.npz"}[product]
    (folder / name).write_bytes(EARLIER)
    before = state(folder)
    arguments = ("predict", "clip.mp4", "--write", product, "-o", name, "--crf", "0")
    with program(*arguments, cwd=folder, before=limited(20_000)) as process:
        check(finish(process), 3, f"{name} cannot be written", "larger than")
    assert state(folder) == before


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KB, where mounting is allowed."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    command = [str(mount), "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    if not mount or os.geteuid() != 0 or subprocess.run(command, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("only root may mount a small file system; the test with a limit on a file's size runs all the same")
    yield place
    # Lazily: where not even a video's header finds room, PyAV keeps the file open until the process ends.
    subprocess.run(["umount", "-l", place], check=True)


@pytest.mark.parametrize("product", ["overlay", "maps", "arrays", "stats"])
def test_a_full_disk(vsal: Any, folder: Path, small_disk: Path, product: str) -> None:
    make_clip(folder / "clip.mp4", frames=4, size=(320, 240))
    (small_disk / "full").write_bytes(bytes(60_000))
    with pytest.raises(OSError, match="No space"), (small_disk / "rest").open("wb", buffering=0) as rest:  # noqa: PT012
        while True:
            rest.write(bytes(4096))
    before = state(small_disk)
    output = small_disk / {"overlay": "o.mp4", "maps": "m", "arrays": "o.npz", "stats": "o.jsonl"}[product]
    check(vsal("predict", "clip.mp4", "--write", product, "-o", output), 3, str(output), "the disk is full")
    assert state(small_disk) == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_stdout(folder: Path) -> None:
    make_clip(folder / "clip.mp4", frames=2)
    with (
        open("/dev/full", "w") as full,
        program("predict", "clip.mp4", "--write", "stats", "-o", "-", cwd=folder, stdout=full) as process,
    ):
        _, err = process.communicate(timeout=100)
    assert process.returncode == 3
    assert len(err.splitlines()) == 1
    assert "stdout cannot be written: the disk is full" in err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_on_the_way(folder: Path, earlier: Path, number: signal.Signals, code: int) -> None:
    make_clip(folder / "clip.mp4", frames=600)
    before = state(folder)
    arguments = ("predict", "clip.mp4", "-o", "o.mp4")
    with program(*arguments, cwd=folder) as process:
        _wait_for(lambda: any(path.stat().st_size for path in folder.glob(".vsal-*")), process)
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (code, "")
    assert "Traceback" not in err
    assert len(err.splitlines()) <= 1
    if number == signal.SIGINT:
        assert err.startswith("vsal: interrupted")
    assert state(folder) == before


def _wait_for(there: Any, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 60
    while not there():
        assert time.monotonic() < end
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


def test_our_own_faults_say_so_and_show_where_with_vv(vsal: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from saliency_cli import pipeline

    def fault(*args: object, **kwargs: object) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(pipeline, "predict", fault)
    check(vsal("predict", "clip.mp4"), 1, "this is our fault", "ZeroDivisionError: by zero")
    result = vsal("predict", "clip.mp4", "-vv")
    assert "Traceback" in result.stderr
    assert result.exit_code == 1
    monkeypatch.setattr(pipeline, "predict", lambda *_, **__: _raise(MemoryError()))
    check(vsal("predict", "clip.mp4"), 5, "not enough memory")
    monkeypatch.setattr(pipeline, "predict", lambda *_, **__: _raise(OSError(5, "Input/output error", "clip.mp4")))
    check(vsal("predict", "clip.mp4"), 3, "clip.mp4: Input/output error")


def _raise(error: BaseException) -> None:
    raise error
