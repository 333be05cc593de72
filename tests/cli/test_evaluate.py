"""``vsal evaluate``: tables for people, JSON for programs, and exit codes."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_gaze import VIDEO_FRAMES, make_gaze
from typer.testing import CliRunner, Result

from saliency_cli.cli.app import app
from saliency_cli.models import ModelConfig, build, save_checkpoint

pytestmark = pytest.mark.usefixtures("folder")  # away from the user's environment

CONFIG = ModelConfig(architecture="tsfp", encoder="efficientnet-lite0", input_size=(64, 96), mean=0.498, std=0.502)


@pytest.fixture(scope="module")
def gaze(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_gaze(tmp_path_factory.mktemp("gaze") / "gaze")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(6)
    return save_checkpoint(tmp_path_factory.mktemp("weights") / "random.safetensors", build(CONFIG), CONFIG)


def vsal(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["evaluate", *(str(argument) for argument in arguments)])


def scores(*arguments: object) -> dict[str, Any]:
    result = vsal(*arguments, "--json")
    assert result.exit_code == 0, result.output

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    loaded: dict[str, Any] = json.loads(result.stdout, parse_constant=refuse)
    return loaded


def test_the_centre_as_json(gaze: Path) -> None:
    found = scores(gaze, "--center")
    items = {f"{row['dataset']}/{row['item']}": row for row in found["items"]}
    assert list(items) == ["photos/00", "photos/10", "hevc/Yan"]  # what validates, and nothing else
    video, still = items["hevc/Yan"], items["photos/00"]
    assert (video["kind"], video["frames"], video["skipped"]) == ("video", VIDEO_FRAMES, {"no fixation": 2})
    assert (still["kind"], still["frames"], still["skipped"], still["change"]) == ("image", 1, {}, None)
    assert video["change"] == 0
    mean = found["means"]["photos"]["over_items"]
    assert mean["nss"] == pytest.approx((items["photos/00"]["nss"] + items["photos/10"]["nss"]) / 2)
    assert set(mean) == {"nss", "cc"}
    assert set(found["means"]) == {"photos", "hevc"}


def test_a_model(gaze: Path, weights: Path) -> None:
    model = scores(gaze, "--weights", weights, "--device", "cpu", "--dataset", "hevc", "--select", "all")
    assert [row["item"] for row in model["items"]] == ["Moved", "Yan"]
    assert all(row["change"] > 0 for row in model["items"])
    centre = scores(gaze, "--center", "--dataset", "hevc", "--select", "all")
    assert model["means"]["hevc"] != centre["means"]["hevc"]


def test_means_over_items_and_over_frames(gaze: Path) -> None:
    found = scores(gaze, "--center", "--dataset", "hevc", "--select", "all", "--metric", "nss")
    one, other = (row["nss"] for row in found["items"])
    means = found["means"]["hevc"]
    assert means["over_items"]["nss"] == pytest.approx((one + other) / 2)
    assert means["over_frames"]["nss"] == pytest.approx((one * VIDEO_FRAMES + other * (VIDEO_FRAMES - 2)) / 22)


def test_a_table(gaze: Path) -> None:
    result = vsal(gaze, "--center", *(f"--metric={m}" for m in ("nss", "cc", "sim", "kl", "auc_judd", "auc_shuffled")))
    assert result.exit_code == 0, result.output
    head, *lines = [line.rstrip() for line in result.stdout.splitlines()]
    assert head.split() == ["frames", "NSS", "CC", "SIM", "KL", "AUC-J", "s-AUC", "change"]
    assert [line.split("  ")[0].strip() for line in lines] == [
        "hevc/Yan",
        "photos, mean over items",
        "photos, mean over frames",
        "hevc, mean over items",
        "hevc, mean over frames",
    ]
    assert "…" not in result.stdout
    assert "skipped frames: 2 (no fixation)" in result.stderr
    quiet = vsal(gaze, "--center", "-q")
    assert (quiet.exit_code, quiet.stderr) == (0, "")


def test_a_dataset_named_twice_counts_once(gaze: Path) -> None:
    once, twice = (scores(gaze, "--center", *["--dataset", "photos"] * times) for times in (1, 2))
    assert once == twice


def test_all_videos_together(tmp_path: Path) -> None:
    folder = make_gaze(tmp_path / "gaze")
    (folder / "find").mkdir()
    (folder / "find" / "022.mp4").write_bytes((folder / "hevc" / "Yan.mp4").read_bytes())
    with (folder / "items.csv").open("a") as file:
        file.write("find,022,video,96,64,25,12\n")
    table = gzip.decompress((folder / "fixations.csv.gz").read_bytes()).decode()
    (folder / "fixations.csv.gz").write_bytes(gzip.compress((table + "find,022,1,0,5000,0.5,0.5\n").encode()))
    found = scores(folder, "--center")
    assert set(found["means"]) == {"photos", "hevc", "find", "all videos"}
    each = [row["nss"] for row in found["items"] if row["kind"] == "video"]
    assert found["means"]["all videos"]["over_items"]["nss"] == pytest.approx(sum(each) / 2)


@pytest.fixture
def unwatched(tmp_path: Path) -> Path:
    """A video of which every frame is skipped."""
    folder = make_gaze(tmp_path / "gaze")
    table = gzip.decompress((folder / "fixations.csv.gz").read_bytes()).decode().splitlines()
    kept = [line for line in table if not line.startswith("hevc,Yan")]
    (folder / "fixations.csv.gz").write_bytes(gzip.compress(("\n".join(kept) + "\n").encode()))
    return folder


def test_a_video_that_nobody_watched_has_no_scores(unwatched: Path) -> None:
    result = vsal(unwatched, "--center")
    assert result.exit_code == 0, result.output
    row = next(line.split() for line in result.stdout.splitlines() if line.strip().startswith("hevc/Yan"))
    assert row == ["hevc/Yan", "12", "–", "–", "0.0000"]
    assert f"{VIDEO_FRAMES} (no fixation)" in result.stderr
    alone = scores(unwatched, "--center", "--dataset", "hevc")
    assert alone["means"]["hevc"] == {"over_items": {}, "over_frames": {}}
    assert vsal(unwatched, "--center", "--dataset", "hevc").exit_code == 0


def test_a_score_that_is_not_defined_is_null(tmp_path: Path) -> None:
    """s-AUC needs other stimuli, and hevc has but one here."""
    folder = make_gaze(tmp_path / "gaze")
    lines = (folder / "items.csv").read_text().splitlines()
    (folder / "items.csv").write_text("\n".join(line for line in lines if "Moved" not in line) + "\n")
    found = scores(folder, "--center", "--dataset", "hevc", "--metric", "auc_shuffled", "--metric", "nss")
    (row,) = found["items"]
    assert row["auc_shuffled"] is None
    assert row["nss"] > 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--metric", "fame"), 2, "--metric fame: must be one of nss, cc"),
        (("--dataset", "nowhere"), 2, "has no dataset 'nowhere'"),
        (("--weights", "missing.safetensors"), 4, "missing.safetensors"),
        (("--device", "cuda:99", "--weights", "WEIGHTS"), 5, "CUDA devices"),
        (("--threads", "0"), 2, "--threads 0"),
        (("--select", "some"), 2, "some"),
    ],
)
def test_what_is_wrong_is_said(
    gaze: Path, weights: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], code: int, message: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    result = vsal(gaze, *(str(weights) if argument == "WEIGHTS" else argument for argument in arguments))
    assert result.exit_code == code
    assert result.stdout == ""
    assert message in result.stderr


def test_folders_without_gaze(tmp_path: Path) -> None:
    result = vsal(tmp_path, "--center")
    assert result.exit_code == 3
    assert "items.csv is missing" in result.stderr


def test_a_selection_of_nothing(tmp_path: Path) -> None:
    folder = make_gaze(tmp_path / "gaze")
    lines = (folder / "items.csv").read_text().splitlines()
    (folder / "items.csv").write_text("\n".join(line for line in lines if "Yan" not in line) + "\n")
    result = vsal(folder, "--center", "--dataset", "hevc")
    assert result.exit_code == 2
    assert "nothing is selected" in result.stderr
