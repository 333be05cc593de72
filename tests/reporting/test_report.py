"""vsal report as a function: where pages go, what is refused, and what is left when something fails."""

from __future__ import annotations

from pathlib import Path

import pytest
from clips import make_clip
from fakes import fake

import saliency_cli
from saliency_cli.errors import ReadError, UsageError, WriteError
from saliency_cli.reporting.report import report, report_all


@pytest.fixture
def clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    make_clip(tmp_path / "clip.mp4", frames=3)
    return Path("clip.mp4")


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_without_a_name_it_is_written_here(clip: Path, tmp_path: Path) -> None:
    page = saliency_cli.report(clip, predictor=fake())
    assert page.output == Path("clip.report.html")
    assert names(tmp_path) == {"clip.mp4", "clip.report.html", "clip.report.html.json"}
    assert (page.summary.frames, page.weights, page.step) == (3, "fake.safetensors", 1)
    assert report(clip, predictor=fake()).output == page.output  # replaces its own


def test_into_a_folder(clip: Path) -> None:
    assert report(clip, predictor=fake(), output="new/pages").output == Path("new/pages/clip.report.html")


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"output": "page.pdf"}, UsageError, "-o page.pdf: a page is written as .html or .htm, not as .pdf."),
        ({"output": ""}, UsageError, "the name is empty"),
        ({"output": "-"}, UsageError, "-o -: a page is a file"),
        ({"output": "clip.mp4/x.html"}, WriteError, "clip.mp4/x.html cannot be written"),
        ({"output": "notes"}, WriteError, "notes is a file, and a folder is needed"),
        ({"size": 20}, UsageError, "--size 20: must lie between 64 and 1920"),
        ({"opacity": 2.0}, UsageError, "--opacity 2.0"),
        ({"rate": 20.0}, UsageError, "--fps 20: clip.mp4 is a video"),
        ({"start": 5.0}, UsageError, "no frame from 5 s"),
        ({"output": "theirs.html"}, WriteError, "theirs.html.json is there already and not vsal's"),
        ({"output": "notes.html", "overwrite": False}, WriteError, "notes.html is there already"),
    ],
)
def test_refusals_leave_nothing(
    clip: Path, tmp_path: Path, changes: dict[str, object], kind: type[Exception], words: str
) -> None:
    for name in ("notes", "theirs.html.json", "notes.html"):
        (tmp_path / name).write_text("mine")
    before = names(tmp_path)
    with pytest.raises(kind) as error:
        report(clip, predictor=fake(), **changes)
    assert words in str(error.value)
    assert names(tmp_path) == before


def test_what_cannot_be_read(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="does not exist"):
        report("missing.mp4", predictor=fake())
    with pytest.raises(UsageError, match="stdin has no name"):
        report("-", predictor=fake())
    assert names(tmp_path) == {"clip.mp4"}


def test_a_failure_on_the_way_leaves_the_earlier_page(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "clip.report.html").write_text("earlier")
    with pytest.raises(RuntimeError, match="the fake broke"):
        report(clip, predictor=fake(fail_at=2))
    assert (tmp_path / "clip.report.html").read_text() == "earlier"
    with pytest.raises(RuntimeError, match="the fake broke"):
        report(clip, predictor=fake(fail_at=2), output="deep/er")
    assert names(tmp_path) == {"clip.mp4", "clip.report.html"}


def test_a_folder_of_videos_and_its_index(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "films" / "old").mkdir(parents=True)
    make_clip(tmp_path / "films" / "b.mp4", frames=2)
    make_clip(tmp_path / "films" / "old" / "a.mp4", frames=2)
    (tmp_path / "films" / "broken.mp4").write_bytes(b"\0" * 100)
    seen: list[str] = []
    index = report_all(
        ["films"],
        predictor=fake(),
        output="pages",
        on_begin=lambda source: seen.append(source.name),
        on_page=lambda page: seen.append(page.output.as_posix()),
        on_failure=lambda failure, error: seen.append(type(error).__name__),
    )
    assert index.output == Path("pages/index.html")
    assert seen == [
        "b.mp4", "pages/b.report.html", "broken.mp4", "ReadError", "a.mp4", "pages/old/a.report.html",
    ]  # fmt: skip
    assert [failure.exit_code for failure in index.failures] == [3]
    text = index.output.read_text(encoding="utf-8")
    assert 'href="b.report.html"' in text
    assert 'href="old/a.report.html"' in text
    assert "broken.mp4 is no media file" in text
    again = report_all(["films"], predictor=fake(), output="pages")  # its own index is replaced
    assert len(again.pages) == 2


def test_several_need_a_folder_and_names_of_their_own(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = make_clip(tmp_path / "other" / "clip.mkv", frames=2)
    with pytest.raises(UsageError, match="several pages need a folder"):
        report_all([clip, other], predictor=fake())
    with pytest.raises(UsageError, match="several pages need a folder"):
        report_all([clip, other], predictor=fake(), output="all.html")
    with pytest.raises(UsageError, match="would write to the same page"):
        report_all([clip, other], predictor=fake(), output="pages")
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "index.html").write_text("mine")
    with pytest.raises(WriteError, match="is there already and not vsal's"):
        report_all([clip], predictor=fake(), output="pages")
    assert names(tmp_path / "pages") == {"index.html"}


def test_a_folder_of_frames_is_one_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import cv2
    import numpy as np

    monkeypatch.chdir(tmp_path)
    (tmp_path / "frames").mkdir()
    for number in range(3):
        cv2.imwrite(str(tmp_path / "frames" / f"{number}.png"), np.full((48, 64, 3), 60, np.uint8))
    assert report("frames", predictor=fake(), rate=10.0).summary.duration == pytest.approx(0.3)
    index = report_all(["frames"], predictor=fake(), output="pages")
    assert [page.output.name for page in index.pages] == ["frames.report.html"]
