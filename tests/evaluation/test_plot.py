"""Plots: a panel a metric, a line a video or a source, PNG and SVG, whole or not at all."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from tiny_recordings import recording, together

from saliency_cli.errors import UsageError, WriteError
from saliency_cli.evaluation import Centre, Evaluation, Observers, evaluate
from saliency_cli.evaluation.files import ResultFiles
from saliency_cli.evaluation.plot import check_plot, plot_scores

DATA = together([recording(name, first=column) for name, column in (("a", 4), ("b", 10), ("c", 16))])


@pytest.fixture(scope="module")
def centre() -> Evaluation:
    return evaluate(DATA, Centre(), metrics=("nss", "kl"))


def words(path: Path) -> str:
    """What an SVG says, which matplotlib keeps as comments beside the glyphs."""
    ElementTree.parse(path)
    return path.read_text(encoding="utf-8")


def test_one_source_has_a_line_a_video(tmp_path: Path, centre: Evaluation) -> None:
    said = words(plot_scores([centre], tmp_path / "plot.svg"))
    for text in ("NSS", "KL", "standard deviations", "nats", "frame (number)", "tiny/a", "tiny/b", "tiny/c"):
        assert f"<!-- {text} -->" in said or f"({text})" in said, text


def test_several_sources_have_a_colour_each(tmp_path: Path, centre: Evaluation) -> None:
    other = evaluate(DATA, Observers(2), metrics=("nss", "kl"))
    said = words(plot_scores([centre, other], tmp_path / "plot.svg"))
    assert "<!-- baseline:center, mean over videos while all last -->" in said
    assert "#0072b2" in said.lower()
    assert "#d55e00" in said.lower()


def test_many_videos_have_a_mean(tmp_path: Path) -> None:
    data = together([recording(f"v{number}", first=number) for number in range(16)])
    said = words(plot_scores([evaluate(data, Centre(), metrics=("nss",))], tmp_path / "plot.svg"))
    assert "mean over videos" in said
    assert "tiny/v3" not in said


def test_a_png_shows_something(tmp_path: Path, centre: Evaluation) -> None:
    picture = cv2.imread(str(plot_scores([centre], tmp_path / "plot.png")))
    assert picture is not None
    assert picture.shape[1] > 800
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 50


def test_what_cannot_be_drawn(tmp_path: Path, centre: Evaluation, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"plot\.pdf: a plot is written as \.png or \.svg"):
        check_plot(tmp_path / "plot.pdf")
    still = together([recording(kind="image", frames=None)])
    with pytest.raises(UsageError, match="scores of stills have no time"):
        plot_scores([evaluate(still, Centre(), metrics=("nss",))], tmp_path / "plot.png")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UsageError, match=r"--plot needs matplotlib: pip install 'vsal\[plot\]'"):
        check_plot(tmp_path / "plot.png")
    assert list(tmp_path.iterdir()) == []


def test_files_appear_together_or_not_at_all(tmp_path: Path, centre: Evaluation) -> None:
    goals = [tmp_path / name for name in ("table.csv", "frames.csv", "plot.svg")]

    def stop() -> None:
        with ResultFiles(*goals) as files:
            files.write([centre], [centre])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop()
    assert list(tmp_path.iterdir()) == []
    with ResultFiles(*goals) as files:
        assert not any(goal.exists() for goal in goals)
        files.write([centre], [centre])
    assert all(goal.stat().st_size for goal in goals)
    (tmp_path / "folder").mkdir()
    with pytest.raises(WriteError, match="folder cannot be written"):
        ResultFiles(tmp_path / "new.csv", tmp_path / "folder").__enter__()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "frames.csv", "plot.svg", "table.csv"]
