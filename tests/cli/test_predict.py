"""vsal predict, with the network that comes with it: what it writes, and what it says where."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import reference
import torch
from clips import Tone, draw_number, make_clip
from fakes import program, video_facts

from saliency_cli.inference import windowed
from saliency_cli.models import manifest
from saliency_cli.models.checkpoint import read_checkpoint, save_checkpoint
from saliency_cli.models.config import ModelConfig
from saliency_cli.models.tased import TASEDNet
from saliency_cli.types import SaliencyFrame
from saliency_cli.windows import window_indices

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def clip(folder: Path) -> Path:
    make_clip(folder / "clip.mp4", frames=6, sound=Tone(seconds=0.24))
    return Path("clip.mp4")


def test_without_options_it_writes_an_overlay_here_and_prints_its_path(vsal: Any, clip: Path, folder: Path) -> None:
    result = vsal("predict", clip)
    assert result.exit_code == 0, result.stderr
    assert result.stdout == "clip.saliency.mp4\n"
    assert "clip.mp4: 6 frames at" in result.stderr
    assert "tsfp-lite0" in result.stderr
    assert {path.name for path in folder.iterdir()} == {"clip.mp4", "clip.saliency.mp4", "clip.saliency.mp4.json"}
    before, after = video_facts(clip), video_facts(Path("clip.saliency.mp4"))
    assert (after.codec, after.times, after.size, after.audio, after.sound) == (
        "h264", before.times, before.size, "aac", before.sound,
    )  # fmt: skip


def test_several_products_are_printed_in_the_order_asked_for(vsal: Any, clip: Path) -> None:
    writes = [word for product in ("stats", "maps", "arrays", "overlay") for word in ("--write", product)]
    result = vsal("predict", clip, *writes, "-o", "out", "--bits", "16", "-q", "--end", "0.1")
    assert result.stdout.splitlines() == [
        "out/clip.stats.jsonl", "out/clip.maps", "out/clip.arrays.npz", "out/clip.saliency.mp4",
    ]  # fmt: skip
    assert result.stderr == ""
    picture = cv2.imread("out/clip.maps/000002.png", cv2.IMREAD_UNCHANGED)
    assert picture is not None
    assert (picture.dtype, picture.shape, int(picture.max()) > 60_000) == (np.uint16, (48, 64), True)
    with np.load("out/clip.arrays.npz") as file:
        assert (file["saliency"].dtype, file["saliency"].shape) == (np.float32, (3, 48, 64))
        np.testing.assert_allclose(file["seconds"], [0, 0.04, 0.08])
        np.testing.assert_array_equal(
            picture, np.rint(np.clip(file["saliency"][1], 0, 1) * np.float32(65535)).astype(np.uint16)
        )
    lines = [json.loads(line) for line in Path("out/clip.stats.jsonl").read_text().splitlines()]
    assert [line["frame"] for line in lines] == [0, 1, 2]
    assert {"frame", "seconds", "peak", "centroid", "spread", "entropy", "mean"} == set(lines[0])


def test_a_submission_to_dhf1k(vsal: Any, clip: Path, folder: Path) -> None:
    Path("video").mkdir()
    clip.rename("video/701.AVI")
    make_clip(folder / "video" / "702.AVI", frames=3)
    for _ in range(2):  # the second time it replaces what it wrote
        result = vsal("predict", "video/*.AVI", "--write", "maps", "--layout", "dhf1k", "-o", "method")
        assert (result.exit_code, result.stdout) == (0, "method/0701\nmethod/0702\n"), result.stderr
    assert sorted(path.as_posix() for path in Path("method").rglob("*.png")) == [
        *(f"method/0701/{number:04d}.png" for number in range(1, 7)),
        *(f"method/0702/{number:04d}.png" for number in range(1, 4)),
    ]
    picture = cv2.imread("method/0701/0001.png", cv2.IMREAD_UNCHANGED)
    assert picture is not None
    assert (picture.dtype, picture.shape, int(picture.max()) > 240) == (np.uint8, (48, 64), True)
    vsal("predict", "video/701.AVI", "--write", "maps", "-o", "plain")
    np.testing.assert_array_equal(picture, cv2.imread("plain/000001.png", cv2.IMREAD_UNCHANGED))
    assert json.loads(Path("method/0701.json").read_text())["options"]["layout"] == "dhf1k"


def test_the_layout_of_dhf1k_is_for_maps(vsal: Any, clip: Path) -> None:
    result = vsal("predict", clip, "--layout", "dhf1k")
    assert result.exit_code == 2
    assert "--write maps" in result.stderr
    Path("0701/images").mkdir(parents=True)
    Path("701.AVI").touch()
    result = vsal("predict", "701.AVI", "0701/images", "--write", "maps", "--layout", "dhf1k")
    assert result.exit_code == 2
    assert "would write to the same names" in result.stderr


def test_raw_arrays_are_densities_of_the_network_s_size(vsal: Any, clip: Path) -> None:
    result = vsal("predict", clip, "--write", "arrays", "--raw", "-o", "raw.npz", "--end", "0.1")
    assert (result.exit_code, result.stdout) == (0, "raw.npz\n")
    with np.load("raw.npz") as file:
        maps = file["saliency"]
    assert maps.shape[0] == 3
    assert maps.shape[1:] != (48, 64)
    np.testing.assert_allclose(maps.sum(axis=(1, 2)), 1, atol=1e-3)
    assert len({maps[index].tobytes() for index in range(3)}) == 3


def test_the_video_s_maximum(vsal: Any, clip: Path) -> None:
    vsal("predict", clip, "--write", "arrays", "--raw", "-o", "raw.npz")
    with np.load("raw.npz") as file:
        raw = file["saliency"]
    assert vsal("predict", clip, "--write", "stats", "--normalize", "video", "-o", "s.jsonl").exit_code == 0
    means = [json.loads(line)["mean"] for line in Path("s.jsonl").read_text().splitlines()]
    np.testing.assert_allclose(means, raw.mean(axis=(1, 2)) / raw.max(), rtol=1e-4)


def test_a_folder_of_frames_and_a_still_image(vsal: Any, folder: Path) -> None:
    (folder / "shot").mkdir()
    for number in range(3):
        cv2.imwrite(f"shot/{number}.jpg", draw_number(number, (96, 64)))
    cv2.imwrite("still.png", draw_number(5, (80, 64)))
    assert vsal("predict", "shot", "--fps", "12.5").stdout == "shot.saliency.mp4\n"
    assert [float(time) for time in video_facts(Path("shot.saliency.mp4")).times] == [0, 0.08, 0.16]
    assert vsal("predict", "still.png").stdout == "still.saliency.png\n"
    picture = cv2.imread("still.saliency.png")
    assert picture is not None
    assert picture.shape == (64, 80, 3)


def test_statistics_on_stdout_are_json_lines_and_nothing_else(clip: Path, folder: Path) -> None:
    with program("predict", clip, "--write", "stats", "-o", "-", cwd=folder) as process:
        out, err = process.communicate(timeout=100)
    assert process.returncode == 0
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["frame"] for line in lines] == list(range(6))
    # A person's messages, without bar and colour, as nobody is watching.
    assert len(err.splitlines()) == 1
    assert "\x1b" not in err
    assert "\r" not in err
    assert {path.name for path in folder.iterdir()} == {"clip.mp4"}


def test_a_reader_of_stdout_that_goes_away_ends_it_quietly(folder: Path) -> None:
    make_clip(folder / "clip.mp4", frames=40)
    with program("predict", "clip.mp4", "--write", "stats", "-o", "-", cwd=folder) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["frame"] == 0
        process.stdout.close()
        assert process.stderr is not None
        err = process.stderr.read()
    assert (process.returncode, err) == (141, "")


def test_products_of_an_earlier_run_are_no_inputs(vsal: Any, clip: Path, folder: Path) -> None:
    make_clip(folder / "other.mp4", frames=2)
    options = ("--write", "heatmap", "--write", "stats")
    for _ in range(2):
        result = vsal("predict", "*.mp4", *options)
        assert result.exit_code == 0, result.stderr
        assert result.stdout.splitlines() == [
            f"{name}.{what}" for name in ("clip", "other") for what in ("heatmap.mp4", "stats.jsonl")
        ]
    assert "clip.heatmap.mp4 was made by vsal, and is left out" in result.stderr
    products = ("clip.heatmap.mp4", "other.heatmap.mp4")
    assert vsal("predict", *products).exit_code == 2
    assert vsal("predict", products[0], "--write", "stats").exit_code == 0


def test_several_inputs(vsal: Any, clip: Path, folder: Path) -> None:
    make_clip(folder / "other.mkv", frames=2)
    (folder / "broken.mp4").write_text("no video")
    result = vsal("predict", "o*.mkv", "broken.mp4", clip, "missing.mp4", "-o", "out", "--end", "0.05")
    assert result.exit_code == 6
    assert result.stdout.splitlines() == ["out/other.saliency.mp4", "out/clip.saliency.mp4"]
    assert "broken.mp4 is a text file" in result.stderr
    assert "missing.mp4 does not exist" in result.stderr
    assert "2 of 4 inputs failed" in result.stderr
    assert len(list((folder / "out").iterdir())) == 4


def test_the_same_command_again_does_not_write_over_its_inputs(vsal: Any, clip: Path, folder: Path) -> None:
    """``vsal predict *.mp4`` finds its own products the second time."""
    make_clip(folder / "clip.saliency.mp4", frames=2)
    before = (folder / "clip.saliency.mp4").read_bytes()
    result = vsal("predict", "*.mp4")
    assert result.exit_code == 6
    assert "would replace the input clip.saliency.mp4" in result.stderr
    assert (folder / "clip.saliency.mp4").read_bytes() == before


def test_inputs_whose_products_would_have_one_name_are_refused(vsal: Any, clip: Path, folder: Path) -> None:
    (folder / "a").mkdir()
    make_clip(folder / "a" / "clip.mkv", frames=2)
    result = vsal("predict", clip, "a/clip.mkv")
    assert result.exit_code == 2
    assert "clip.mp4 and a/clip.mkv would write to the same names" in result.stderr
    assert vsal("predict", clip, clip).exit_code == 2
    assert {path.name for path in folder.iterdir()} == {"clip.mp4", "a"}


def test_audio_says_plainly_that_weights_have_none(vsal: Any, clip: Path, folder: Path) -> None:
    embedded = read_checkpoint(manifest.verify("tsfp-lite0").path)
    deaf = {name: tensor for name, tensor in embedded.state.items() if not name.startswith("sound.")}
    config = replace(ModelConfig.from_metadata(embedded.metadata), audio=False)
    save_checkpoint(folder / "deaf.safetensors", deaf, config)
    result = vsal("predict", clip, "--audio", "--weights", "deaf.safetensors")
    assert result.exit_code == 2
    assert "have no audio branch; leave --audio out, or give weights of TSFP-Net with audio" in result.stderr
    assert {path.name for path in folder.iterdir()} == {"clip.mp4", "deaf.safetensors"}


def test_audio_says_what_was_measured_of_it(vsal: Any, clip: Path, folder: Path) -> None:
    result = vsal("predict", clip, "--audio", "-o", "heard.mp4")
    assert result.exit_code == 0, result.stderr
    assert "sound was found to be of no use" in " ".join(result.stderr.split())
    assert (folder / "heard.mp4").exists()


def test_the_environment_sets_options_and_flags_win(
    vsal: Any, clip: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VSAL_DECODER", "pyav")
    monkeypatch.setenv("VSAL_WEIGHTS", "nowhere")
    assert "nowhere is neither a file nor a name" in vsal("predict", clip).stderr
    result = vsal("predict", clip, "--weights", "tsfp-lite0", "--end", "0.05")
    assert result.exit_code == 0, result.stderr
    assert "read by pyav" in result.stderr
    assert json.loads((folder / "clip.saliency.mp4.json").read_text())["options"]["decoder"] == "pyav"


def test_verbose_says_how_it_is_read_and_quiet_nothing(vsal: Any, clip: Path) -> None:
    assert "vsal: clip.mp4: read by" in vsal("predict", clip, "-v", "--end", "0.05").stderr
    assert vsal("predict", clip, "-q", "--end", "0.05").stderr == ""
    assert "vsal: error: nowhere.mp4 does not exist" in vsal("predict", "nowhere.mp4", "-q").stderr


def test_warnings_come_out(vsal: Any, folder: Path) -> None:
    make_clip(folder / "odd.mp4", frames=2, size=(67, 49), pix_fmt="yuv444p")
    result = vsal("predict", "odd.mp4")
    assert "vsal: warning: odd.saliency.mp4: 67x49 is an odd size" in result.stderr
    assert "warning" not in vsal("predict", "odd.mp4", "-q").stderr


def test_help_and_version_are_there_and_quick(vsal: Any, folder: Path) -> None:
    assert vsal("--version").stdout.startswith("vsal 0.")
    assert "--normalize" in vsal("predict", "-h").stdout
    assert vsal("--help").exit_code == 0
    lazily = "import atexit, sys; atexit.register(lambda: print('torch' in sys.modules, 'cv2' in sys.modules))"
    for arguments in (["--help"], ["--version"], ["predict", "--help"], ["models", "list", "--help"]):
        with program(*arguments, cwd=folder, before=lazily) as process:
            out, _ = process.communicate(timeout=30)
        assert process.returncode == 0
        assert out.endswith("False False\n")


# TASED-Net


def save_tased(path: Path, prefix: str = "") -> Path:
    state = reference.state_dict(reference.keys("tased"), seed=1)
    torch.save({prefix + name: tensor for name, tensor in state.items()}, path)
    return path


def parity(vsal: Any, monkeypatch: pytest.MonkeyPatch, weights: str, wanted: set[int]) -> np.ndarray:
    """The maps of the command that the parity is defined by.

    64 windows take minutes: the network is spared those that nobody has asked for, and nothing else is.
    """
    plain = windowed.window_map

    def compute(module: Any, window: Any, **how: Any) -> SaliencyFrame:
        if window.index in wanted:
            return plain(module, window, **how)
        return SaliencyFrame(window.index, window.frames[-1].seconds, np.zeros((224, 384), np.float32))

    monkeypatch.setattr(windowed, "window_map", compute)
    result = vsal(
        "predict", "frames", "--model", "tased", "--weights", weights,
        "--write", "arrays", "--raw", "--exact", "--precision", "fp32", "-o", "o.npz",
    )  # fmt: skip
    assert (result.exit_code, result.stdout) == (0, "o.npz\n"), result.stderr
    with np.load("o.npz") as file:
        assert file["frame"].tolist() == list(range(64))
        maps: np.ndarray = file["saliency"]
    assert maps.shape == (64, 224, 384)
    return maps


@pytest.fixture
def frames(folder: Path) -> None:
    (folder / "frames").mkdir()
    for number, frame in enumerate(reference.frames(1, 64)):
        cv2.imwrite(f"frames/{number + 1:04d}.png", frame[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 0])


@pytest.mark.slow
@pytest.mark.usefixtures("frames")
@pytest.mark.parametrize(("prefix", "windows"), [("", [0, 31, 63]), ("module.", [30])])
def test_parity_with_the_authors_program(
    vsal: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, prefix: str, windows: list[int]
) -> None:
    """The bounds are those of the network's own test, which says why they are not tighter."""
    save_tased(folder / "w.pt", prefix)
    maps = parity(vsal, monkeypatch, "w.pt", set(windows))
    with np.load(reference.DATA / "tased_seed1.npz") as stored:
        expected = dict(zip(stored["frame"].tolist(), stored["probability"], strict=True))
    for number in windows:
        difference = np.abs(maps[number] - expected[number])
        assert difference.mean() < 1e-4
        assert (difference > 1e-2).mean() < 0.005


def test_a_short_folder_is_looped(vsal: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clips that the network sees are those of a direct call; what it makes of them is tested above."""
    pictures = reference.frames(1, 3)
    (folder / "frames").mkdir()
    for number, frame in enumerate(pictures):
        cv2.imwrite(f"frames/{number}.png", frame[..., ::-1])
    save_tased(folder / "w.pt")
    clips: list[torch.Tensor] = []

    def forward(self: TASEDNet, clip: torch.Tensor) -> torch.Tensor:
        clips.append(clip.clone())
        return clip[:, 0, -1].abs()

    monkeypatch.setattr(TASEDNet, "forward", forward)
    how = ("--exact", "--threads", "1", "--write", "arrays", "--raw")
    result = vsal("predict", "frames", "--model", "tased", "--weights", "w.pt", *how)
    assert result.exit_code == 0, result.stderr
    prepared = (2 * pictures.astype(np.float32) - 255) / 255
    for number in range(3):
        expected = prepared[window_indices(number, length=32, count=3)].transpose(3, 0, 1, 2)[None]
        np.testing.assert_array_equal(clips[number].numpy(), expected)
    assert len(clips) == 3


def test_tased_without_weights_says_where_to_get_some(
    vsal: Any, clip: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = tmp_path / "wheel"
    wheel.mkdir()
    shutil.copy(manifest.weights_folder() / "manifest.toml", wheel)
    monkeypatch.setattr(manifest, "weights_folder", lambda: wheel)
    result = vsal("predict", clip, "--model", "tased")
    assert result.exit_code == 4
    assert "run `vsal models pull tased-dhf1k --unverified`" in result.stderr
    assert "run `vsal models pull tased-open --from PLACE`" in result.stderr
    assert "https://drive.google.com" in result.stderr
    assert str(tmp_path / "store" / "TASED_updated.pt") in result.stderr
    assert [path.name for path in folder.iterdir()] == ["clip.mp4"]


def test_the_program_and_the_module_are_one(folder: Path) -> None:
    with program("--version", cwd=folder, stderr=subprocess.DEVNULL) as process:
        out, _ = process.communicate(timeout=30)
    assert out.startswith("vsal 0.")
