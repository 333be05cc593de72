"""``vsal evaluate``: tables for people, JSON for programs, and exit codes."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from tiny_gaze import VIDEO_FRAMES, make_gaze
from tiny_layouts import make_clips, make_dhf1k
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
    found = scores(gaze, "--center", "--metric", "nss", "--metric", "cc")
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
    result = vsal(gaze, "--center")
    assert result.exit_code == 0, result.output
    head, *lines = [line.rstrip() for line in result.stdout.splitlines()]
    assert head.split() == ["frames", "NSS", "CC", "SIM", "AUC-J", "s-AUC", "KL", "change"]
    assert [line.strip().split("  ")[0] for line in lines] == [
        "hevc/Yan",
        "photos, mean over items",
        "95 % interval",
        "photos, mean over frames",
        "hevc, mean over items",
        "hevc, mean over frames",
    ]
    assert "…" not in result.stdout
    assert "baseline:center: skipped frames: 2 (no fixation)" in result.stderr
    assert "negatives from ten other stimuli" in result.stderr
    assert "(gaze), validation, 3 items" in result.stderr
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
    assert row == ["hevc/Yan", "0", "of", "12", *["–"] * 6, "0.0000"]
    assert f"{VIDEO_FRAMES} (no fixation)" in result.stderr
    alone = scores(unwatched, "--center", "--dataset", "hevc")
    assert alone["means"]["hevc"]["over_items"] == alone["means"]["hevc"]["over_frames"] == {}
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
        (("--select", "some"), 2, "--select some: "),
        (("--layout", "none"), 2, "no layout 'none'"),
        (("--item", "Nobody"), 2, "--item Nobody: there is no such item"),
        (("--limit", "0"), 2, "limit"),
        (("baseline:center", "--center"), 2, "PREDICTIONS are named twice"),
        (("baseline:center", "--predictions", "x"), 2, "PREDICTIONS are named twice"),
        (("--center", "--compare", "a", "b"), 2, "--compare names two PREDICTIONS of its own"),
        (("--compare", "a.json", "baseline:center"), 2, "a result of --json compares with another one"),
        (("--compare", "a.json", "b.json", "--plot", "a.png"), 2, "need scores, which two results do not hold"),
        (("--json", "--csv", "-"), 2, "both go to stdout"),
        (("baseline:middle",), 2, "there is no such baseline"),
        (("nowhere",), 3, "nowhere does not exist"),
        (("--center", "--plot", "a.pdf"), 2, "a plot is written as .png or .svg"),
        (("--center", "--csv", "/proc/none/a.csv"), 3, "/proc/none/a.csv cannot be written"),
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
    assert "of no layout known here" in result.stderr


def test_a_selection_of_nothing(tmp_path: Path) -> None:
    folder = make_gaze(tmp_path / "gaze")
    lines = (folder / "items.csv").read_text().splitlines()
    (folder / "items.csv").write_text("\n".join(line for line in lines if "Yan" not in line) + "\n")
    result = vsal(folder, "--center", "--dataset", "hevc")
    assert result.exit_code == 2
    assert "nothing is selected" in result.stderr


def test_without_data() -> None:
    result = vsal()
    assert (result.exit_code, result.stdout) == (2, "")
    assert "DATA is missing" in result.stderr


def test_what_stands_beside_a_source(gaze: Path, weights: Path) -> None:
    model = (gaze, "--weights", weights, "--device", "cpu", "--dataset", "hevc", "--metric", "nss")
    assert set(scores(*model)["baselines"]) == {"baseline:center"}
    assert scores(*model, "--baselines", "none")["baselines"] == {}
    every = scores(*model, "--baselines", "all")
    assert set(every["baselines"]) == {"baseline:center", "baseline:observers"}
    assert every["baselines"]["baseline:observers"]["source"]["splits"] == 10
    assert len(every["source"]["sha256"]) == 64
    table = vsal(*model, "--baselines", "all").stdout
    for row in ("hevc, mean over items", "centre Gaussian, over items", "half of the observers, over items"):
        assert row in table


@pytest.fixture
def maps(gaze: Path, folder: Path) -> Path:
    """Maps of hevc/Yan and photos/00 that vsal predict could have written."""
    (folder / "maps" / "hevc" / "Yan.maps").mkdir(parents=True)
    centre = np.outer(np.hanning(24), np.hanning(36))
    for number in range(1, VIDEO_FRAMES + 1):
        path = folder / "maps" / "hevc" / "Yan.maps" / f"{number:06}.png"
        cv2.imwrite(str(path), (255 * centre).astype(np.uint8))
    cv2.imwrite(str(folder / "maps" / "00.png"), (65535 * centre).astype(np.uint16))
    return folder / "maps"


def test_stored_maps(gaze: Path, maps: Path) -> None:
    result = vsal(gaze, maps, "--metric", "nss")
    assert result.exit_code == 0, result.output
    assert f"photos/10 is skipped: no prediction called 10 in {maps}" in result.stderr
    assert "the maps of 1 of 2 items have 8 bits" in result.stderr
    found = scores(gaze, "--predictions", maps, "--metric", "nss")
    assert [row["item"] for row in found["items"]] == ["00", "Yan"]
    assert list(found["missing"]) == ["photos/10"]
    beside = found["baselines"]["baseline:center"]
    assert [row["item"] for row in beside["items"]] == ["00", "Yan"]  # the same items, or it says nothing
    assert found["source"]["files"]["hevc/Yan"]["form"] == "8-bit pictures"
    assert found["means"]["hevc"]["over_items"]["nss"] > 0


def test_predictions_that_are_not_there_or_wrong(gaze: Path, maps: Path, folder: Path) -> None:
    (folder / "empty").mkdir()
    result = vsal(gaze, "empty")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "empty has no predictions for any of 3 items" in result.stderr
    np.save(folder / "Yan.npy", np.full((VIDEO_FRAMES, 6, 8), np.nan))
    result = vsal(gaze, "Yan.npy", "--item", "Yan")
    assert (result.exit_code, result.stdout) == (3, "")
    assert "the map of frame 0 (counted from 0) of hevc/Yan cannot be scored" in result.stderr
    np.save(folder / "Yan.npy", np.ones((5, 6, 8)))
    result = vsal(gaze, "Yan.npy", "--item", "Yan", "--csv", "left.csv")
    assert result.exit_code == 3
    assert "Yan.npy holds 5 maps, but hevc/Yan has 12 frames" in result.stderr
    assert not (folder / "left.csv").exists()


def test_csv(gaze: Path, folder: Path) -> None:
    result = vsal(gaze, "--center", "--csv", "-", "--metric", "nss", "--limit", "5")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].startswith("source,row,dataset,item,kind,frames,scored,change,nss,nss_low,nss_high")
    assert len(lines) == 1 + 3 + 4
    again = vsal(gaze, "--center", "--csv", "a.csv", "--frames", "f.csv", "--metric", "nss", "--limit", "5")
    assert again.exit_code == 0, again.output
    assert (folder / "a.csv").read_text() == result.stdout
    assert len((folder / "f.csv").read_text().splitlines()) == 1 + 2 + 5
    assert "mean over items" in again.stdout


def test_files_that_would_take_another_s_place(gaze: Path, folder: Path) -> None:
    options = (gaze, "--center", "--metric", "nss", "--item", "00")
    same = vsal(*options, "--csv", "a.csv", "--frames", "./a.csv")
    assert (same.exit_code, same.stdout) == (2, "")
    assert "give each another name" in same.stderr
    (folder / "items.csv").write_text("dataset,item\n")
    (folder / "a.csv").touch()
    for flag in ("--csv", "--frames"):
        result = vsal(*options, flag, "items.csv")
        assert (result.exit_code, result.stdout) == (3, "")
        assert "items.csv is there already and is no table of vsal evaluate" in result.stderr
        assert (folder / "items.csv").read_text() == "dataset,item\n"
        for _ in range(2):  # an empty file, and an earlier table
            assert vsal(*options, flag, "a.csv").exit_code == 0


def test_a_table_tells_how_many_frames_its_means_are_of(gaze: Path) -> None:
    result = vsal(gaze, "--center", "--metric", "nss", "--item", "Yan")
    assert [line.split()[-5:-2] for line in result.stdout.splitlines()[1:2]] == [["10", "of", "12"]]
    assert result.stdout.count("10 of 12") == 3


def test_too_few_other_stimuli_for_shuffled_auc(gaze: Path, folder: Path) -> None:
    found = scores(gaze, "--center", "--metric", "auc_shuffled")
    assert found["notes"] == [
        "s-AUC on hevc: negatives come from 1 other stimuli instead of 10, since the data set has no more; "
        "its values depend on that."
    ]  # and none on photos, of which there are 12
    assert scores(gaze, "--center", "--metric", "nss")["notes"] == []
    alone = vsal(make_dhf1k(folder / "DHF1K", numbers=[601]), "--center", "--metric", "auc_shuffled", "--metric", "nss")
    assert alone.exit_code == 0, alone.output
    assert "negatives come from no other stimuli instead of 10" in alone.stderr
    pair = vsal(gaze, "--compare", "baseline:center", "baseline:center", "--item", "Yan")
    assert pair.stderr.count("negatives come from 1 other") == 1
    assert pair.stderr.count("baseline:center: skipped frames") == 2


def test_maps_named_as_the_frames_of_a_shot(folder: Path) -> None:
    """Hollywood-2's shots begin anywhere: their densities, as they are named, predict themselves."""
    root = make_clips(folder / "set", {"training": [], "testing": ["actionclipTest00001"]}, first=45)
    shutil.copytree(root / "testing" / "actionclipTest00001" / "maps", folder / "maps" / "actionclipTest00001")
    found = scores(root, "maps", "--metric", "cc")
    assert (found["data"]["layout"], found["items"][0]["scored"]) == ("hollywood2", "0-4")
    assert found["items"][0]["cc"] == pytest.approx(1)


def test_comparing(gaze: Path, folder: Path) -> None:
    sides = ("baseline:center", "baseline:observers")
    options = (gaze, "--select", "all", "--metric", "nss")
    result = vsal(*options, "--compare", *sides, "--plot", "p.png")
    assert result.exit_code == 0, result.output
    assert "second − first" in result.stdout
    assert "photos: NSS of baseline:observers minus that of baseline:center is " in result.stderr
    assert (folder / "p.png").stat().st_size > 1000
    live = scores(*options, "--compare", *sides)
    for side, name in zip(sides, ("a.json", "b.json"), strict=True):
        (folder / name).write_text(json.dumps(scores(*options, side)))
    stored = scores("--compare", "a.json", "b.json")
    one, other = (found["differences"]["photos"]["nss"] for found in (live, stored))
    assert one["items"] == other["items"] == 12
    assert one["difference"] == pytest.approx(other["difference"])
    assert one["interval"] == pytest.approx(other["interval"])
    assert one["excludes_zero"] is True


def test_earlier_results_of_other_items(gaze: Path, folder: Path) -> None:
    for name, item in (("a.json", "Yan"), ("b.json", "00")):
        (folder / name).write_text(json.dumps(scores(gaze, "--center", "--item", item)))
    result = vsal("--compare", "a.json", "b.json")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "hold different items" in result.stderr


def test_a_layout_with_pictures(folder: Path) -> None:
    """The truth as its own prediction, whose name and numbers are those of the annotation."""
    root = make_dhf1k(folder / "DHF1K")
    (folder / "maps").mkdir()
    (root / "annotation" / "0601" / "maps").rename(folder / "maps" / "0601")
    shutil.copytree(folder / "maps" / "0601", root / "annotation" / "0601" / "maps")
    result = vsal(root, "maps", "--baselines", "all")
    assert result.exit_code == 0, result.output
    row = next(line.split() for line in result.stdout.splitlines() if line.strip().startswith("dhf1k/0601"))
    assert row[1:] == ["5", row[2], "1.000", "1.000", *row[5:7], "0.000", row[8]]
    assert "0602 is skipped" in result.stderr
    assert "does not tell observers apart" in result.stderr
    assert vsal(root, "baseline:observers").exit_code == 2
    found = scores(root, "maps", "--baselines", "none")
    assert (found["data"]["layout"], found["data"]["select"]) == ("dhf1k", "validation")
    assert found["items"][0]["cc"] == pytest.approx(1)
