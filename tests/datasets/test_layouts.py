"""The layouts in which video data sets are released: values, parts, gaps, damage, and folders of no layout at all."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from clips import draw_number, read_number
from scipy.io import savemat
from tiny_gaze import make_gaze
from tiny_layouts import (
    FRAMES,
    SIZE,
    density_at,
    fixations_at,
    gaze_at,
    make_clips,
    make_dhf1k,
    make_stavis,
    write,
)

from saliency_cli.datasets import Dataset, FrameRecording, Recording, open_dataset, other_fixations
from saliency_cli.errors import ReadError, UsageError
from saliency_cli.media import open_source

WIDTH, HEIGHT = SIZE
UCF = {"training": ["Run-Side-001", "Run-Side-002"], "testing": ["Diving-Side-001"]}
HOLLYWOOD = {"training": ["actionclipTrain00001_1"], "testing": ["actionclipTest00001_2"]}
DATABASES = {"AVAD": ["V1", "V2", "V3"], "DIEM": ["one_1280x720", "two_1280x720"]}


def of_name(dataset: Dataset, name: str) -> Recording:
    (found,) = [recording for recording in dataset.recordings if recording.name == name]
    return found


def check_truth(recording: Recording, *, shift: int, lossless: bool = True) -> None:
    """Every frame's truth is what was written for it."""
    assert (recording.height, recording.width) == (HEIGHT, WIDTH)
    for frame in range(FRAMES):
        truth = recording.truth(frame, frame / 30)
        assert truth is not None
        np.testing.assert_array_equal(truth.counts, fixations_at(frame, value=1, shift=shift))
        assert truth.density.dtype == np.float32
        np.testing.assert_allclose(truth.density, density_at(frame, shift=shift), atol=0 if lossless else 12)


# DHF1K


@pytest.mark.parametrize(("matrices", "value"), [(False, 255), (False, 1), (True, 1)])
def test_dhf1k(tmp_path: Path, matrices: bool, value: int) -> None:
    dataset = open_dataset(make_dhf1k(tmp_path / "DHF1K", matrices=matrices, value=value))
    assert dataset.layout == "dhf1k"
    assert [r.name for r in dataset.recordings] == ["0001", "0601", "0602"]  # 701 has no annotation
    assert [r.name for r in dataset.part("validation")] == ["0601", "0602"]
    assert [r.name for r in dataset.part("train")] == ["0001"]
    for recording in dataset.recordings:
        assert (recording.dataset, recording.kind, recording.pairing) == ("dhf1k", "video", "frame")
        assert recording.frames == FRAMES
        check_truth(recording, shift=int(recording.name) % 7)


def test_dhf1k_videos_are_found(tmp_path: Path) -> None:
    root = make_dhf1k(tmp_path / "DHF1K", [1, 2, 3, 4, 5])
    shutil.move(root / "video" / "002.AVI", root / "video" / "0002.mp4")
    for number, place in ((3, "annotation/0003/images"), (4, "frames/0004")):
        (root / "video" / f"{number:03}.AVI").unlink()
        write(root / place / "0001.png", draw_number(0, SIZE))
    (root / "video" / "005.AVI").unlink()
    stimuli = [r.stimulus and str(r.stimulus.relative_to(root)) for r in open_dataset(root).recordings]
    assert stimuli == ["video/001.AVI", "video/0002.mp4", "annotation/0003/images", "frames/0004", None]


def test_dhf1k_truth_belongs_to_the_frame_of_that_number(tmp_path: Path) -> None:
    """Annotation 0001.png is that of the first frame, which the clip numbers 0."""
    recording = of_name(open_dataset(make_dhf1k(tmp_path / "DHF1K")), "0601")
    assert recording.stimulus is not None
    with open_source(recording.stimulus) as source:
        for frame in source:
            truth = recording.truth(frame.index, frame.seconds)
            assert truth is not None
            number = read_number(frame.pixels)
            assert number is not None
            assert np.argwhere(truth.counts).tolist() == [list(gaze_at(number, 601 % 7))]


def test_frames_that_are_not_annotated(tmp_path: Path) -> None:
    root = make_dhf1k(tmp_path / "DHF1K", [1])
    (root / "annotation" / "0001" / "maps" / "0002.png").unlink()
    (root / "annotation" / "0001" / "fixation" / "0004.png").unlink()
    (recording,) = open_dataset(root).recordings
    known = [recording.truth(frame, 0.0) is not None for frame in range(-1, FRAMES + 2)]
    assert known == [False, True, False, True, False, True, False, False]
    assert recording.frames == FRAMES


def test_a_frame_that_nobody_looks_at_is_annotated(tmp_path: Path) -> None:
    root = make_dhf1k(tmp_path / "DHF1K", [1])
    for kind in ("maps", "fixation"):
        write(root / "annotation" / "0001" / kind / "0002.png", np.zeros((HEIGHT, WIDTH), np.uint8))
    truth = open_dataset(root).recordings[0].truth(1, 0.0)
    assert truth is not None
    assert truth.counts.sum() == truth.density.sum() == 0


def test_what_else_lies_about_is_no_annotation(tmp_path: Path) -> None:
    root = make_dhf1k(tmp_path / "DHF1K", [1])
    folder = root / "annotation" / "0001"
    (root / "annotation" / "readme").mkdir()
    for name in ("._0001.png", "Thumbs.db", "overlay_0009.png", "0001.txt"):
        (folder / "maps" / name).write_bytes(b"x")
    (recording,) = open_dataset(root).recordings
    assert recording.frames == FRAMES
    check_truth(recording, shift=1)


def test_fixations_in_a_jpeg_are_its_bright_pixels(tmp_path: Path) -> None:
    root = make_dhf1k(tmp_path / "DHF1K", [1])
    folder = root / "annotation" / "0001" / "fixation"
    for frame in range(FRAMES):
        (folder / f"{frame + 1:04}.png").unlink()
        assert cv2.imwrite(str(folder / f"{frame + 1:04}.jpg"), fixations_at(frame, shift=1))
    compressed = cv2.imread(str(folder / "0001.jpg"), cv2.IMREAD_GRAYSCALE)
    assert compressed is not None
    assert (compressed > 0).sum() > 1  # the halo that a threshold at 0 would take for fixations
    check_truth(open_dataset(root).recordings[0], shift=1)


def test_truth_at_another_size(tmp_path: Path) -> None:
    recording = open_dataset(make_dhf1k(tmp_path / "DHF1K", [1])).recordings[0]
    for size in ((HEIGHT // 4, WIDTH // 4), (HEIGHT * 3, WIDTH * 2), (7, 9)):
        truth = recording.truth(2, 0.0, size)
        assert truth is not None
        assert truth.counts.shape == truth.density.shape == size
        assert truth.counts.sum() == 1
        ((row, column),) = np.argwhere(truth.counts)
        expected = [(at + 0.5) * new / old for at, new, old in zip(gaze_at(2, 1), size, (HEIGHT, WIDTH), strict=True)]
        assert [row, column] == [int(at) for at in expected]
        peak = np.argwhere(truth.density == truth.density.max()).mean(axis=0)
        assert abs(peak - [row, column]).max() <= max(1, size[0] / HEIGHT)


def test_annotations_of_two_sizes_are_scored_at_that_of_the_densities(tmp_path: Path) -> None:
    root = make_dhf1k(tmp_path / "DHF1K", [1])
    for frame in range(FRAMES):
        big = np.zeros((2 * HEIGHT, 2 * WIDTH), np.uint8)
        row, column = gaze_at(frame, 1)
        big[2 * row, 2 * column] = big[2 * row + 1, 2 * column + 1] = 255
        write(root / "annotation" / "0001" / "fixation" / f"{frame + 1:04}.png", big)
    recording = open_dataset(root).recordings[0]
    truth = recording.truth(0, 0.0)
    assert truth is not None
    assert truth.density.shape == truth.counts.shape == (HEIGHT, WIDTH)
    assert truth.counts[gaze_at(0, 1)] == truth.counts.sum() == 2
    assert recording.fixated(HEIGHT, WIDTH).sum() == FRAMES


@pytest.mark.parametrize("kind", ["maps", "fixation"])
def test_a_damaged_annotation(tmp_path: Path, kind: str) -> None:
    root = make_dhf1k(tmp_path / "DHF1K", [1])
    path = root / "annotation" / "0001" / kind / "0003.png"
    path.write_bytes(path.read_bytes()[:-40])
    recording = open_dataset(root).recordings[0]
    assert recording.truth(1, 0.0) is not None
    with pytest.raises(ReadError, match=r"0003\.png is no gray picture"):
        recording.truth(2, 0.0)


def test_a_damaged_matrix(tmp_path: Path) -> None:
    root = make_dhf1k(tmp_path / "DHF1K", [1], matrices=True)
    path = root / "annotation" / "0001" / "fixation" / "maps" / "0003.mat"
    path.write_bytes(path.read_bytes()[:300])
    recording = open_dataset(root).recordings[0]
    with pytest.raises(ReadError, match=r"0003\.mat is no MATLAB file"):
        recording.truth(2, 0.0)
    with pytest.raises(ReadError, match=r"0003\.mat"):
        recording.fixated(HEIGHT, WIDTH)


@pytest.mark.parametrize(
    ("kind", "message"), [("maps", "has fixations but no densities"), ("fixation", "no fixations")]
)
def test_half_of_an_annotation(tmp_path: Path, kind: str, message: str) -> None:
    root = make_dhf1k(tmp_path / "DHF1K", [1])
    shutil.rmtree(root / "annotation" / "0001" / kind)
    with pytest.raises(ReadError, match=rf"0001 .*{message}"):
        open_dataset(root)


def test_all_that_was_fixated(tmp_path: Path) -> None:
    recording = open_dataset(make_dhf1k(tmp_path / "DHF1K", [1])).recordings[0]
    union = np.any([fixations_at(frame, shift=1) for frame in range(FRAMES)], axis=0)
    np.testing.assert_array_equal(recording.fixated(HEIGHT, WIDTH), union)
    assert recording.fixated(2 * HEIGHT, 2 * WIDTH).sum() == FRAMES
    assert recording.fixated(1, 1).tolist() == [[True]]


def test_other_videos_fixations(tmp_path: Path) -> None:
    dataset = open_dataset(make_dhf1k(tmp_path / "DHF1K", [1, 2, 3]))
    others = other_fixations(dataset, dataset.recordings[1], height=HEIGHT, width=WIDTH)
    expected = np.any([fixations_at(frame, shift=shift) for frame in range(FRAMES) for shift in (1, 3)], axis=0)
    np.testing.assert_array_equal(others, expected)


def test_observers_are_not_told_apart(tmp_path: Path) -> None:
    recording = open_dataset(make_dhf1k(tmp_path / "DHF1K", [1])).recordings[0]
    with pytest.raises(UsageError, match="dhf1k/0001 does not tell observers apart"):
        recording.halves()


# Hollywood-2 and UCF-Sports


@pytest.mark.parametrize(("names", "layout"), [(UCF, "ucf-sports"), (HOLLYWOOD, "hollywood2")])
def test_clips(tmp_path: Path, names: dict[str, list[str]], layout: str) -> None:
    dataset = open_dataset(make_clips(tmp_path, names))
    assert dataset.layout == layout
    assert dataset.splits == ("test", "train")
    assert [r.name for r in dataset.part("train")] == names["training"]
    assert [r.name for r in dataset.part("test")] == names["testing"]
    for part, clips in names.items():
        for shift, clip in enumerate(clips):
            recording = of_name(dataset, clip)
            assert (recording.dataset, recording.pairing, recording.frames) == (layout, "frame", FRAMES)
            assert recording.stimulus == tmp_path / part / clip / "images"
            check_truth(recording, shift=shift)


@pytest.mark.parametrize("images", [True, False])
def test_a_clip_that_begins_late_and_has_a_frame_without_a_map(tmp_path: Path, images: bool) -> None:
    make_clips(tmp_path, {"testing": ["actionclipTest00001_2"]}, first=57, missing=[2])
    if not images:
        shutil.rmtree(tmp_path / "testing" / "actionclipTest00001_2" / "images")
    (recording,) = open_dataset(tmp_path).recordings
    assert (recording.stimulus is None) == (not images)
    assert recording.frames == FRAMES
    for frame in range(FRAMES):
        truth = recording.truth(frame, 0.0)
        if frame == 2:
            assert truth is None
        else:
            assert truth is not None
            np.testing.assert_array_equal(truth.counts, fixations_at(frame, value=1))
    # A frame without a map has no part in s-AUC either
    assert recording.fixated(HEIGHT, WIDTH).sum() == FRAMES - 1


def test_a_first_frame_without_a_map(tmp_path: Path) -> None:
    (recording,) = open_dataset(make_clips(tmp_path, {"testing": ["Run-Side-001"]}, missing=[0])).recordings
    assert recording.truth(0, 0.0) is None
    truth = recording.truth(1, 0.0)
    assert truth is not None
    np.testing.assert_array_equal(truth.counts, fixations_at(1, value=1))


def test_frames_after_the_last_annotation(tmp_path: Path) -> None:
    make_clips(tmp_path, {"testing": ["Run-Side-001"]}, missing=[4])
    (recording,) = open_dataset(tmp_path).recordings
    assert recording.frames == FRAMES
    assert recording.truth(4, 0.0) is None


def test_a_clip_in_both_parts(tmp_path: Path) -> None:
    make_clips(tmp_path, {"training": ["Run-Side-001"], "testing": ["Run-Side-001"]})
    with pytest.raises(ReadError, match="has Run-Side-001 in two of its parts"):
        open_dataset(tmp_path)


def test_a_clip_whose_pictures_have_no_number(tmp_path: Path) -> None:
    make_clips(tmp_path, {"testing": ["Run-Side-001"]})
    write(tmp_path / "testing" / "Run-Side-001" / "images" / "cover.png", draw_number(9, SIZE))
    with pytest.raises(ReadError, match=r"cover\.png has no number"):
        open_dataset(tmp_path)


# The layout of STAViS


def test_stavis(tmp_path: Path) -> None:
    dataset = open_dataset(make_stavis(tmp_path, DATABASES))
    assert dataset.layout == "stavis"
    assert [(r.dataset, r.name) for r in dataset.recordings] == [
        (d, n) for d, names in DATABASES.items() for n in names
    ]
    for recording in dataset.recordings:
        assert isinstance(recording, FrameRecording)
        assert recording.stimulus == tmp_path / "video_frames" / recording.dataset / recording.name
        assert (recording.frames, recording.rate, recording.sound) == (FRAMES, 29.9997, None)
        check_truth(recording, shift=DATABASES[recording.dataset].index(recording.name), lossless=False)


def test_stavis_has_three_splits_which_share_the_lists_of_diem(tmp_path: Path) -> None:
    dataset = open_dataset(make_stavis(tmp_path, DATABASES))
    assert dataset.splits == ("test", "test-1", "test-2", "test-3", "train", "train-1", "train-2", "train-3")
    assert [r.name for r in dataset.part("test-2")] == ["V2", "one_1280x720"]
    assert [r.name for r in dataset.part("train-2")] == ["V1", "V3", "two_1280x720"]
    assert [r.name for r in dataset.part("test")] == ["one_1280x720"]
    assert of_name(dataset, "V1").splits == {"test-1", "train-2", "train-3"}


def test_stavis_scores_as_many_frames_as_the_lists_say(tmp_path: Path) -> None:
    recording = of_name(open_dataset(make_stavis(tmp_path, DATABASES, listed=FRAMES - 2)), "V1")
    assert recording.frames == FRAMES - 2
    assert [recording.truth(frame, 0.0) is not None for frame in range(FRAMES)] == [True, True, True, False, False]
    assert recording.fixated(HEIGHT, WIDTH).sum() == FRAMES - 2


def test_stavis_without_lists_and_frames(tmp_path: Path) -> None:
    make_stavis(tmp_path, DATABASES)
    shutil.rmtree(tmp_path / "fold_lists")
    shutil.rmtree(tmp_path / "video_frames")
    sound = tmp_path / "video_audio" / "AVAD" / "V1" / "V1.wav"
    sound.parent.mkdir(parents=True)
    sound.write_bytes(b"RIFF")
    recording = of_name(open_dataset(tmp_path), "V1")
    assert isinstance(recording, FrameRecording)
    assert (recording.stimulus, recording.splits, recording.frames) == (None, frozenset(), FRAMES)
    assert (recording.rate, recording.sound) == (None, sound)


def test_other_fixations_are_those_of_the_same_database(tmp_path: Path) -> None:
    dataset = open_dataset(make_stavis(tmp_path, DATABASES))
    others = other_fixations(dataset, of_name(dataset, "one_1280x720"), height=HEIGHT, width=WIDTH)
    np.testing.assert_array_equal(others, of_name(dataset, "two_1280x720").fixated(HEIGHT, WIDTH))


def test_counts_in_a_matrix_are_fixated_or_not(tmp_path: Path) -> None:
    make_stavis(tmp_path, {"AVAD": ["V1"]})
    counts = np.zeros((HEIGHT, WIDTH))
    counts[3, 4], counts[5, 6] = 2, 1
    savemat(tmp_path / "annotations" / "AVAD" / "V1" / "fixMap_00001.mat", {"eyeMap": counts})
    truth = open_dataset(tmp_path).recordings[0].truth(0, 0.0)
    assert truth is not None
    np.testing.assert_array_equal(truth.counts, counts > 0)


@pytest.mark.parametrize("line", ["V1 5", "V1 five 25", "V1 5 25 more", "V1 5 fast"])
def test_a_damaged_list(tmp_path: Path, line: str) -> None:
    make_stavis(tmp_path, {"AVAD": ["V1"]})
    path = tmp_path / "fold_lists" / "AVAD_list_test_1_fps.txt"
    path.write_text(f"V1 5 25\n\n{line}\n", encoding="utf-8")
    with pytest.raises(ReadError, match=r"AVAD_list_test_1_fps\.txt .* in line 3"):
        open_dataset(tmp_path)


# Which layout


def test_a_layout_can_be_asked_for(tmp_path: Path) -> None:
    make_gaze(tmp_path / "both")
    make_dhf1k(tmp_path / "both")
    assert open_dataset(tmp_path / "both").layout == "gaze"
    assert open_dataset(str(tmp_path / "both"), layout="dhf1k").layout == "dhf1k"
    make_clips(tmp_path / "clips", UCF)
    assert {r.dataset for r in open_dataset(tmp_path / "clips", layout="hollywood2").recordings} == {"hollywood2"}


def test_a_folder_of_no_layout(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    with pytest.raises(ReadError) as caught:
        open_dataset(tmp_path)
    message = str(caught.value)
    assert str(tmp_path) in message
    for part in ("items.csv", "annotation/0601/maps", "training/actionclip", "testing/<clip>", "annotations/DIEM"):
        assert part in message
    assert "\n" not in message


@pytest.mark.parametrize("layout", ["dhf1k", "hollywood2", "ucf-sports", "stavis"])
def test_an_empty_folder_of_a_layout(tmp_path: Path, layout: str) -> None:
    with pytest.raises(ReadError, match=r"unpack the annotations\.$"):
        open_dataset(tmp_path, layout=layout)  # type: ignore[arg-type]


def test_a_folder_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="nowhere is no folder"):
        open_dataset(tmp_path / "nowhere")


def test_a_layout_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no layout 'coco': choose auto or one of gaze, dhf1k, hollywood2"):
        open_dataset(tmp_path, layout="coco")  # type: ignore[arg-type]


def test_a_clip_whose_annotations_are_of_other_frames(tmp_path: Path) -> None:
    """It would be left out without a word."""
    root = make_clips(tmp_path, {"training": [], "testing": ["Run-Side-001"]})
    images = root / "testing" / "Run-Side-001" / "images"
    for picture in sorted(images.iterdir()):
        picture.rename(images / f"Run-Side_001_1{picture.stem[-2:]}.png")
    with pytest.raises(ReadError, match="Run-Side-001 has annotations for none of its frames: their numbers differ"):
        open_dataset(root)


@pytest.mark.parametrize(("first", "numbers"), [(1, None), (3, (3, 4, 5, 6, 7))])
def test_a_shot_knows_the_numbers_of_its_frames(tmp_path: Path, first: int, numbers: tuple[int, ...] | None) -> None:
    root = make_clips(tmp_path, {"training": [], "testing": ["actionclipTest00001"]}, first=first)
    assert open_dataset(root).recordings[0].numbers == numbers
