"""Names of products, and what they never replace."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from saliency_cli.errors import UsageError, WriteError
from saliency_cli.media import SidecarWriter, sidecar_path, stdin
from saliency_cli.options import PredictOptions
from saliency_cli.outputs import Output, no_folders_left, plan_outputs
from saliency_cli.types import SourceKind

SOURCE = Path("clips/walk.01.mp4")


def plan(kind: SourceKind = "video", *, source: Path = SOURCE, **options: Any) -> list[tuple[str, str]]:
    """(storage, path) of each product."""
    outputs = plan_outputs(source, kind, PredictOptions(**options))
    return [(output.storage, output.path.as_posix() if output.path else "-") for output in outputs]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("product", "kind", "form", "storage", "name"),
    [
        ("overlay", "video", "auto", "video", "walk.01.saliency.mp4"),
        ("overlay", "frames", "auto", "video", "walk.01.mp4.saliency.mp4"),
        ("overlay", "image", "auto", "image", "walk.01.saliency.png"),
        ("overlay", "image", "video", "video", "walk.01.saliency.mp4"),
        ("overlay", "video", "png", "png", "walk.01.saliency"),
        ("heatmap", "video", "video", "video", "walk.01.heatmap.mp4"),
        ("side-by-side", "video", "auto", "video", "walk.01.side-by-side.mp4"),
        ("maps", "video", "auto", "png", "walk.01.maps"),
        ("maps", "video", "video", "video", "walk.01.maps.mp4"),
        ("maps", "image", "png", "image", "walk.01.maps.png"),
        ("arrays", "video", "auto", "arrays", "walk.01.arrays.npz"),
        ("stats", "image", "auto", "stats", "walk.01.stats.jsonl"),
        ("overlay", "video", "mkv", "video", "walk.01.saliency.mkv"),
        ("overlay", "image", "nut", "nut", "walk.01.saliency.nut"),
        ("heatmap", "video", "y4m", "y4m", "walk.01.heatmap.y4m"),
        ("maps", "video", "gray", "gray", "walk.01.maps.gray"),
    ],
)
def test_without_o_products_are_called_after_the_input(
    product: str, kind: SourceKind, form: str, storage: str, name: str
) -> None:
    assert plan(kind, write=(product,), form=form) == [(storage, name)]


@pytest.mark.parametrize(
    ("product", "kind", "form", "output", "storage", "name"),
    [
        ("overlay", "video", "auto", "o.MKV", "video", "o.MKV"),
        ("overlay", "video", "auto", "a/o.mov", "video", "a/o.mov"),
        ("overlay", "video", "auto", "a/b", "video", "a/b/walk.01.saliency.mp4"),
        ("overlay", "video", "png", "a/b", "png", "a/b"),
        ("maps", "video", "auto", "a/b", "png", "a/b"),
        ("maps", "video", "auto", "b.mp4", "video", "b.mp4"),
        ("maps", "video", "video", "b", "video", "b/walk.01.maps.mp4"),
        ("maps", "image", "auto", "b", "image", "b/walk.01.maps.png"),
        ("maps", "image", "auto", "b.jpg", "image", "b.jpg"),
        ("overlay", "image", "auto", "b.mp4", "video", "b.mp4"),
        ("arrays", "video", "auto", "b.npy", "arrays", "b.npy"),
        ("maps", "video", "auto", ".", "png", "walk.01.maps"),
        ("maps", "video", "auto", "..", "png", "../walk.01.maps"),
        ("arrays", "video", "auto", "b", "arrays", "b/walk.01.arrays.npz"),
        ("stats", "video", "auto", "b.json", "stats", "b.json"),
        ("maps", "video", "auto", "b.nut", "nut", "b.nut"),
        ("overlay", "video", "y4m", "b.y4m", "y4m", "b.y4m"),
        ("maps", "video", "gray", "b", "gray", "b/walk.01.maps.gray"),
        ("maps", "video", "auto", "-", "nut", "-"),
        ("overlay", "image", "auto", "-", "image", "-"),
        ("overlay", "image", "y4m", "-", "y4m", "-"),
        ("overlay", "video", "video", "-", "video", "-"),
        ("maps", "frames", "gray", "-", "gray", "-"),
        ("stats", "video", "auto", "-", "stats", "-"),
    ],
)
def test_o_is_a_file_of_one_product_or_a_folder(
    product: str, kind: SourceKind, form: str, output: str, storage: str, name: str
) -> None:
    assert plan(kind, write=(product,), form=form, output=output) == [(storage, name)]


def test_several_products_go_into_a_folder_in_the_order_asked_for() -> None:
    assert plan(write=("stats", "maps", "overlay"), output="out") == [
        ("stats", "out/walk.01.stats.jsonl"),
        ("png", "out/walk.01.maps"),
        ("video", "out/walk.01.saliency.mp4"),
    ]


@pytest.mark.parametrize(
    ("source", "kind", "output", "name"),
    [
        ("video/701.AVI", "video", "method", "method/0701"),
        ("video/1000.AVI", "video", "method", "method/1000"),
        ("video/0042.mp4", "video", "method", "method/0042"),
        ("video/701.AVI", "video", None, "0701"),
        ("annotation/0701/images", "frames", "method", "method/0701"),
        ("annotation/0701/images/", "frames", "method", "method/0701"),
        ("frames/701", "frames", "method", "method/0701"),
        ("7.png", "image", "method", "method/0007"),
        ("walk.avi", "video", "method", "method/walk"),
    ],
)
def test_maps_in_the_layout_of_dhf1k_lie_in_a_folder_of_the_video_s_number(
    source: str, kind: SourceKind, output: str | None, name: str
) -> None:
    assert plan(kind, source=Path(source), write=("maps",), layout="dhf1k", output=output) == [("png", name)]


def test_a_submission_is_a_folder() -> None:
    for output in ("method.mp4", "method.png"):
        with pytest.raises(UsageError, match="--layout dhf1k needs a folder"):
            plan(write=("maps",), layout="dhf1k", output=output)


def test_the_statistics_can_go_to_stdout() -> None:
    assert plan_outputs(SOURCE, "video", PredictOptions(write=("stats",), output="-")) == (
        Output("stats", "stats", None),
    )


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"output": "-", "write": ("stats", "arrays")}, "only one product of one input"),
        ({"output": "-", "write": ("arrays",)}, "arrays are completed at their beginning"),
        ({"output": "-", "form": "png"}, "numbered PNG files need a folder"),
        ({"output": "-", "write": ("maps",), "layout": "dhf1k"}, "--layout dhf1k makes a folder"),
        ({"output": "-", "write": ("maps",), "raw": True}, "a video does not"),
        ({"output": "-", "write": ("maps",), "form": "mkv", "bits": 16}, "use --format png, nut, y4m or gray"),
        ({"output": "o.gif"}, r"overlay can be written as \.mp4, \.m4v, \.mov, \.mkv, \.nut, \.y4m, not as \.gif"),
        ({"output": "o.gray"}, r"not as \.gray"),
        ({"output": "o.mp4", "form": "nut"}, "ask for two formats"),
        ({"output": "o.mp4", "write": ("arrays",)}, r"arrays can be written as \.npz, \.npy, not as \.mp4"),
        ({"output": "o.mp4", "write": ("stats",)}, r"stats can be written as"),
        ({"output": "o.npz"}, "overlay can be written as"),
        ({"output": "o.mp4", "form": "png"}, "--format png writes a folder"),
        ({"output": "o.mp4", "write": ("overlay", "maps")}, "need a folder"),
        ({"output": "m.mp4", "write": ("maps",), "raw": True}, "a video does not"),
    ],
)
def test_names_that_do_not_fit_are_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        plan(**options)


def test_with_several_inputs_o_is_a_folder() -> None:
    with pytest.raises(UsageError, match="need a folder"):
        plan_outputs(SOURCE, "video", PredictOptions(output="o.mp4"), others=[Path("b.mp4")])
    (output,) = plan_outputs(SOURCE, "video", PredictOptions(output="o"), others=[Path("b.mp4")])
    assert output.path == Path("o/walk.01.saliency.mp4")
    with pytest.raises(UsageError, match="one input"):
        plan_outputs(SOURCE, "video", PredictOptions(output="-", write=("stats",)), others=[Path("b.mp4")])


def test_what_cannot_be_kept_is_refused() -> None:
    with pytest.raises(UsageError, match="videos and JPEGs have 8"):
        plan(write=("maps",), output="o.mp4", bits=16)
    with pytest.raises(UsageError, match="the name is empty"):
        plan(output="")


def test_an_input_is_never_replaced(tmp_path: Path) -> None:
    clip, other = tmp_path / "a.mp4", tmp_path / "a.saliency.mp4"
    clip.write_bytes(b"1")
    other.write_bytes(b"2")
    for same in (clip, tmp_path / "x" / ".." / "a.mp4"):
        (tmp_path / "x").mkdir(exist_ok=True)
        with pytest.raises(UsageError, match="would replace the input"):
            plan(source=clip, output=str(same))
    link = tmp_path / "link.mp4"
    link.symlink_to(clip)
    with pytest.raises(UsageError, match="would replace the input"):
        plan(source=clip, output=str(link))
    with pytest.raises(UsageError, match=r"would replace the input .*a\.saliency\.mp4"):
        plan_outputs(clip, "video", PredictOptions(), others=[other])


def test_a_folder_that_holds_the_input_is_never_replaced(tmp_path: Path) -> None:
    frames = tmp_path / "frames"
    frames.mkdir()
    (frames / "000001.png").touch()
    for output in ("frames", str(tmp_path)):
        with pytest.raises(UsageError, match="would replace the input"):
            plan("frames", source=frames, write=("maps",), output=output)
    with pytest.raises(UsageError, match="would replace the input"):
        plan("image", source=frames / "000001.png", write=("maps",), output=str(frames / "000001.png"))


def earlier(folder: Path) -> Path:
    """A folder of maps as an earlier run left it."""
    folder.mkdir()
    (folder / "000001.png").touch()
    with SidecarWriter(folder) as sidecar:
        sidecar.write({"vsal": "0"})
    return folder


def test_an_earlier_product_is_replaced_unless_the_user_says_no(tmp_path: Path) -> None:
    maps = earlier(tmp_path / "maps")
    video = tmp_path / "o.mp4"
    video.touch()
    assert plan(write=("maps",), output="maps") == [("png", "maps")]
    assert plan(output="o.mp4") == [("video", "o.mp4")]
    for path, product in ((maps, "maps"), (video, "overlay")):
        with pytest.raises(WriteError, match="is there already; leave out --no-overwrite"):
            plan(write=(product,), output=str(path), overwrite=False)


def test_a_foreign_folder_is_never_replaced(tmp_path: Path) -> None:
    maps = earlier(tmp_path / "maps")
    (maps / "notes.txt").touch()
    with pytest.raises(WriteError, match=r"holds notes\.txt"):
        plan(write=("maps",), output="maps")
    frames = tmp_path / "frames"  # numbered by another program
    frames.mkdir()
    (frames / "000001.png").touch()
    with pytest.raises(WriteError, match="pictures that vsal did not make"):
        plan(write=("maps",), output="frames")
    (tmp_path / "empty").mkdir()
    assert plan(write=("maps",), output="empty") == [("png", "empty")]


def test_a_foreign_file_where_the_sidecar_belongs_is_kept(tmp_path: Path) -> None:
    for text in ('{"streams": []}', "not json", "[]"):
        (tmp_path / "o.mp4.json").write_text(text)
        with pytest.raises(WriteError, match=r"o\.mp4\.json is there already and not vsal's"):
            plan(output="o.mp4")
    (tmp_path / "o.mp4.json").unlink()
    (tmp_path / "o.mp4.json").mkdir()
    with pytest.raises(WriteError, match="not vsal's"):
        plan(output="o.mp4")


def test_the_sidecar_looked_for_is_the_one_that_is_written(tmp_path: Path) -> None:
    sidecar_path(tmp_path / "o.mp4").write_text("mine")
    with pytest.raises(WriteError, match="not vsal's"):
        plan(output=str(tmp_path / "o.mp4"))


def test_a_file_and_a_folder_do_not_replace_each_other(tmp_path: Path) -> None:
    (tmp_path / "walk.01.saliency.mp4").mkdir()
    with pytest.raises(WriteError, match="is not a file"):
        plan()
    (tmp_path / "walk.01.maps").touch()
    with pytest.raises(WriteError, match="is not a folder"):
        plan(write=("maps",))
    (tmp_path / "file").touch()
    for output in ("file",):
        with pytest.raises(WriteError, match="is a file, and a folder is needed"):
            plan(output=output)


def test_folders_made_for_products_that_failed_go_again(tmp_path: Path) -> None:
    planned = [Output("arrays", "arrays", Path("a/b/c/o.npz")), Output("stats", "stats", None)]
    (tmp_path / "a").mkdir()
    with pytest.raises(ZeroDivisionError), no_folders_left(planned):  # noqa: PT012
        Path("a/b/c").mkdir(parents=True)
        raise ZeroDivisionError
    assert list(tmp_path.rglob("*")) == [tmp_path / "a"]
    with pytest.raises(ZeroDivisionError), no_folders_left(planned):  # noqa: PT012
        Path("a/b/c").mkdir(parents=True)
        Path("a/b/another.txt").touch()
        raise ZeroDivisionError
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "a", tmp_path / "a" / "b", tmp_path / "a" / "b" / "another.txt"]
    with no_folders_left([Output("arrays", "arrays", Path("d/o.npz"))]):
        Path("d").mkdir()
    assert Path("d").is_dir()


def test_a_folder_of_frames_is_called_by_its_own_name(tmp_path: Path) -> None:
    (tmp_path / "shot").mkdir()
    os.chdir(tmp_path / "shot")
    assert plan("frames", source=Path(), write=("stats",), output="../o") == [("stats", "../o/shot.stats.jsonl")]


def test_products_of_stdin_are_called_stdin() -> None:
    assert plan(source=Path("-")) == [("video", "stdin.saliency.mp4")]
    assert plan("image", source=Path("-"), write=("maps", "stats")) == [
        ("image", "stdin.maps.png"), ("stats", "stdin.stats.jsonl"),
    ]  # fmt: skip


def test_pictures_do_not_go_to_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    with pytest.raises(UsageError, match="that is a terminal"):
        plan(write=("maps",), output="-")
    assert plan(write=("stats",), output="-") == [("stats", "-")]


@pytest.mark.parametrize("folder", ["out", "out.mp4", "deep/er"])
def test_a_folder_is_one_whatever_its_name_and_whatever_the_product(tmp_path: Path, folder: str) -> None:
    goal = Path(folder)
    maps = plan_outputs(SOURCE, "video", PredictOptions(write=("maps",)), folder=goal, name="walk.01.mp4")
    assert maps == (Output("maps", "png", goal / "walk.01.mp4.maps"),)
    both = plan_outputs(SOURCE, "video", PredictOptions(write=("overlay", "stats")), folder=goal)
    assert [output.path for output in both] == [goal / "walk.01.saliency.mp4", goal / "walk.01.stats.jsonl"]
    submission = PredictOptions(write=("maps",), layout="dhf1k")
    assert plan_outputs(Path("701.AVI"), "video", submission, folder=goal) == (Output("maps", "png", goal / "0701"),)
    goal.parent.mkdir(exist_ok=True)
    goal.touch()
    with pytest.raises(WriteError, match="is a file, and a folder is needed"):
        plan_outputs(SOURCE, "video", PredictOptions(), folder=goal)


def test_a_link_at_a_products_place_leads_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "clip.stats.jsonl").symlink_to(tmp_path / "precious")
    options = PredictOptions(write=("stats",))
    with pytest.raises(WriteError, match="leads out of"):
        plan_outputs(Path("clip.mp4"), "video", options, folder=folder)
    (folder / "clip.stats.jsonl").unlink()
    (folder / "clip.stats.jsonl").symlink_to("elsewhere.jsonl")
    assert plan_outputs(Path("clip.mp4"), "video", options, folder=folder)[0].path == folder / "clip.stats.jsonl"


def test_the_file_that_stdin_reads_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film = tmp_path / "film.mp4"
    film.write_bytes(b"film")
    with film.open("rb") as given:
        monkeypatch.setattr(stdin, "DESCRIPTOR", given.fileno())
        with pytest.raises(UsageError, match=r"film\.mp4: the product would replace the input"):
            plan_outputs(Path("-"), "video", PredictOptions(output=str(film)))
        plan_outputs(Path("-"), "video", PredictOptions(output=str(tmp_path / "other.mp4")))
