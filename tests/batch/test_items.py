from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from saliency_cli.batch.items import Selection, find_jobs, natural
from saliency_cli.batch.jobs import Job, Outcome
from saliency_cli.errors import ReadError, UsageError


def tree(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return folder


def found(folder: Path, output: Path | None = None, **selection: object) -> list[str]:
    jobs = find_jobs(folder, output or folder.parent / "out", Selection(**selection))  # type: ignore[arg-type]
    return [job.item for job in jobs]


def test_videos_at_any_depth_in_natural_order(tmp_path: Path) -> None:
    folder = tree(
        tmp_path / "in",
        "b/10.mp4",
        "b/9.MKV",
        "a.mov",
        "B/x.webm",
        "notes.txt",
        "photo.jpg",
        ".hidden.mp4",
        ".git/v.mp4",
    )
    assert found(folder) == ["a.mov", "b/9.MKV", "b/10.mp4", "B/x.webm"]
    assert natural("b/9") < natural("b/10")


def test_the_tree_is_kept(tmp_path: Path) -> None:
    folder, out = tree(tmp_path / "in", "a.mp4", "deep/er/b.mp4"), tmp_path / "out"
    jobs = find_jobs(folder, out, Selection())
    assert [(job.source, job.folder, job.name) for job in jobs] == [
        (folder / "a.mp4", out, "a"),
        (folder / "deep/er/b.mp4", out / "deep/er", "b"),
    ]
    assert jobs[0].size == 1
    assert jobs[0].modified == (folder / "a.mp4").stat().st_mtime_ns
    assert len({job.mark for job in jobs}) == 2


def test_links_to_folders_are_not_followed_and_the_output_is_passed_over(tmp_path: Path) -> None:
    folder = tree(tmp_path / "in", "a.mp4", "out/sub/a.mp4", "taken/b.mp4")
    (folder / "loop").symlink_to(folder)
    (folder / "link.mp4").symlink_to(folder / "a.mp4")
    assert found(folder, folder / "out") == ["a.mp4", "link.mp4", "taken/b.mp4"]


def test_products_are_not_inputs(tmp_path: Path) -> None:
    folder = tree(
        tmp_path / "in", "a.mp4", "a.saliency.mp4", "b.saliency.mp4", "a.maps/0001.png", "c.mp4", "c.mp4.json"
    )
    for product in ("a.saliency.mp4", "a.maps"):
        (folder / f"{product}.json").write_text(json.dumps({"vsal": "1", "product": "overlay"}))
    assert found(folder, folder) == ["a.mp4", "b.saliency.mp4", "c.mp4"]
    with pytest.raises(UsageError, match="has no folders of pictures: it holds 3 videos"):
        found(folder, folder, kind="frames")


@pytest.mark.parametrize(
    ("include", "exclude", "expected"),
    [
        ((), ("raw/*",), ["a.mp4", "b.mp4"]),
        (("*.dat",), (), ["raw/deep/c.dat"]),
        (("raw/*",), ("*.dat",), ["raw/b.mp4", "raw/notes.txt"]),
        (("b.*",), (), ["b.mp4", "raw/b.mp4"]),
        (("[ab].mp4",), ("raw/b.mp4",), ["a.mp4", "b.mp4"]),
    ],
)
def test_patterns(tmp_path: Path, include: Sequence[str], exclude: Sequence[str], expected: list[str]) -> None:
    folder = tree(tmp_path / "in", "a.mp4", "b.mp4", "raw/b.mp4", "raw/notes.txt", "raw/deep/c.dat")
    assert found(folder, include=tuple(include), exclude=tuple(exclude)) == expected


def test_folders_of_frames_and_pictures(tmp_path: Path) -> None:
    folder = tree(tmp_path / "in", "one/1.png", "one/2.png", "two/deep/1.jpg", "video.mp4", "3.bmp")
    assert found(folder, kind="frames") == [".", "one", "two/deep"]
    assert found(folder, kind="images") == ["3.bmp", "one/1.png", "one/2.png", "two/deep/1.jpg"]
    jobs = find_jobs(folder, tmp_path / "out", Selection(kind="frames"))
    assert [(job.source, job.folder, job.name, job.size) for job in jobs] == [
        (folder, tmp_path / "out", "in", 1),
        (folder / "one", tmp_path / "out", "one", 2),
        (folder / "two/deep", tmp_path / "out/two", "deep", 1),
    ]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("a.mp4", "a.mov", "b.mov"), ["a.mov", "a.mp4", "b"]),
        (("a.mp4", "a.mov", "a.mov.mkv"), ["a.mov", "a.mov.mkv", "a.mp4"]),
        (("a.mp4", "x/a.mov"), ["a", "a"]),
    ],
)
def test_names_that_collide_are_called_in_full(tmp_path: Path, names: Sequence[str], expected: list[str]) -> None:
    jobs = find_jobs(tree(tmp_path / "in", *names), tmp_path / "out", Selection())
    assert [job.name for job in jobs] == expected
    assert len({(job.folder, job.name) for job in jobs}) == len(jobs)


def test_pictures_that_change_places_are_another_input(tmp_path: Path) -> None:
    folder = tree(tmp_path / "in", "one/1.png", "one/2.png")
    (before,) = find_jobs(folder, tmp_path / "out", Selection(kind="frames"))
    for old, new in (("1", "3"), ("2", "1"), ("3", "2")):
        (folder / "one" / f"{old}.png").rename(folder / "one" / f"{new}.png")
    (after,) = find_jobs(folder, tmp_path / "out", Selection(kind="frames"))
    assert after.size == before.size
    assert after.modified > before.modified


def test_a_folder_of_frames_with_one_of_its_own_name_inside(tmp_path: Path) -> None:
    folder = tree(tmp_path / "in", "1.png", "in/1.png")
    assert [job.name for job in find_jobs(folder, tmp_path, Selection(kind="frames"))] == ["in.frames", "in"]
    tree(folder, "in.frames/1.png")
    with pytest.raises(UsageError, match="would write to the same names"):
        find_jobs(folder, tmp_path, Selection(kind="frames"))


def test_submissions_to_dhf1k(tmp_path: Path) -> None:
    folder, out = tree(tmp_path / "in", "0701/images/1.png", "0702/images/1.png"), tmp_path / "out"
    jobs = find_jobs(folder, out, Selection(kind="frames"), layout="dhf1k")
    assert [(job.folder, job.name) for job in jobs] == [(out, "0701"), (out, "0702")]


STRANGE = ["with space.mp4", "-dash.mp4", "new\nline.mp4", "été ☃.mp4", os.fsdecode(b"latin-\xe9.mp4"), "[red]*?.mp4"]


def test_strange_names_come_back_from_json(tmp_path: Path) -> None:
    folder = tree(tmp_path / "in", *STRANGE)
    jobs = find_jobs(folder, tmp_path / "out", Selection())
    assert {job.item for job in jobs} == set(STRANGE)
    for job in jobs:
        outcome = Outcome(job.item, "done", products=(str(job.folder / f"{job.name}.saliency.mp4"),))
        assert Outcome.from_record(json.loads(json.dumps(outcome.record()))) == outcome


def test_no_link_leads_out_of_the_output(tmp_path: Path) -> None:
    folder, out = tree(tmp_path / "in", "sub/a.mp4"), tmp_path / "out"
    out.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (out / "sub").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="leads out of"):
        find_jobs(folder, out, Selection())
    (out / "sub").unlink()
    (tmp_path / "link").symlink_to(out)
    assert len(find_jobs(folder, tmp_path / "link", Selection())) == 1


def test_names_do_not_depend_on_the_patterns(tmp_path: Path) -> None:
    folder = tree(tmp_path / "in", "a.mp4", "a.mov", "b.mp4", "b.dat")
    jobs = find_jobs(folder, tmp_path / "out", Selection(include=("*.mp4", "*.dat")))
    assert [job.name for job in jobs] == ["a.mp4", "b.dat", "b.mp4"]


def test_a_folder_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tree(tmp_path / "in", "a.mp4", "lost+found/b.mp4")
    scandir = os.scandir

    def refuse(path: str) -> object:
        if path.endswith("lost+found"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", lambda path: refuse(os.fspath(path)))
    with pytest.raises(ReadError, match=r"lost\+found cannot be read .* --exclude 'lost\+found/\*'"):
        found(folder)
    assert found(folder, exclude=("lost+found/*",)) == ["a.mp4"]


def test_inputs_beside_products_are_protected(tmp_path: Path) -> None:
    folder = tree(tmp_path / "in", "a.mp4", "a.saliency.mp4", "b.mp4")
    jobs = {job.item: job for job in find_jobs(folder, folder, Selection())}
    assert jobs["a.mp4"].others == (folder / "a.saliency.mp4",)
    assert jobs["b.mp4"].others == ()
    assert find_jobs(folder, tmp_path / "out", Selection())[0].others == ()


@pytest.mark.parametrize(
    ("names", "selection", "phrase"),
    [
        ((), {}, "has no videos: it is empty; name another folder"),
        (("a.jpg", "b.png", "c.txt"), {}, r"holds 2 pictures and 1 other file \(.txt\); .* --kind frames or images"),
        (("a.mp4",), {"kind": "images"}, "has no pictures: it holds 1 video"),
        (("a.mp4",), {"exclude": ("*",)}, "has no videos that the patterns let through"),
    ],
)
def test_nothing_to_do_says_what_there_is(
    tmp_path: Path, names: Sequence[str], selection: dict[str, object], phrase: str
) -> None:
    folder = tree(tmp_path / "in", *names)
    folder.mkdir(exist_ok=True)
    with pytest.raises(UsageError, match=phrase):
        found(folder, **selection)


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="is not there; check the name"):
        found(tmp_path / "missing")
    with pytest.raises(ReadError, match="is a file"):
        found(tree(tmp_path, "clip.mp4") / "clip.mp4")
    with pytest.raises(UsageError, match="--kind films"):
        Selection(kind="films")  # type: ignore[arg-type]


def test_a_link_to_nothing_fails_when_it_is_read(tmp_path: Path) -> None:
    folder = tree(tmp_path / "in", "a.mp4")
    (folder / "gone.mp4").symlink_to(tmp_path / "nowhere.mp4")
    jobs: list[Job] = find_jobs(folder, tmp_path / "out", Selection())
    assert [(job.item, job.size) for job in jobs] == [("a.mp4", 1), ("gone.mp4", 0)]
