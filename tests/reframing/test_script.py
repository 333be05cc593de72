"""The path as text: JSON that can be read again, and commands that FFmpeg follows to the pixel."""

from __future__ import annotations

import contextlib
import json
import shlex
from fractions import Fraction
from pathlib import Path

import av
import av.filter
import numpy as np
import pytest

from saliency_cli.reframing.crop import Box
from saliency_cli.reframing.script import as_commands, as_json

BOXES: list[Box] = [(10, 0, 20, 40), (10, 0, 20, 40), (11, 2, 20, 40), (13, 2, 20, 40), (13, 2, 20, 40), (0, 8, 20, 40)]


def test_json_has_an_entry_for_each_frame() -> None:
    text = as_json({"vsal": "1", "odd": Path("\udcff")}, [0.5 + index / 3 for index in range(6)], BOXES)
    assert text.isascii()
    read = json.loads(text)
    assert read["vsal"] == "1"
    assert len(read["path"]) == 6
    assert read["path"][2] == {"frame": 2, "seconds": 1.166667, "x": 11, "y": 2, "width": 20, "height": 40}


@pytest.mark.parametrize(
    "times", [[0, 1, 2, 3, 4, 5], [100, 103, 104, 110, 151, 152], [3, 5, 10, 11, 12, 90], [-4, -3, -2, -1, 0, 1]]
)
def test_ffmpeg_follows_the_commands(tmp_path: Path, times: list[int]) -> None:
    base = Fraction(1001, 30000)
    goal = tmp_path / "clip.cmd"
    goal.write_text(as_commands(Path("clip.mp4"), goal, [float(pts * base) for pts in times], BOXES))
    words = shlex.split(goal.read_text().splitlines()[0].removeprefix("# "))
    graph = av.filter.Graph()
    source = graph.add_buffer(width=64, height=48, format="gray", time_base=base)
    filters = [graph.add(*each.split("=", 1)) for each in words[words.index("-vf") + 1].split(",")]
    chain = [source, *filters, graph.add("buffersink")]
    graph.link_nodes(*chain).configure()
    found = []
    ramp = (np.arange(64)[None] + np.arange(48)[:, None] * 4).astype(np.uint8)  # the corner's value tells x and y
    for pts in times:
        frame = av.VideoFrame.from_ndarray(ramp, format="gray")
        frame.pts, frame.time_base = pts, base
        chain[0].push(frame)
        window = chain[-1].pull()
        assert isinstance(window, av.VideoFrame)
        assert window.pts == pts
        found.append(window.to_ndarray())
    assert [window.shape for window in found] == [(40, 20)] * 6
    assert [int(window[0, 0]) for window in found] == [x + 4 * y for x, y, _, _ in BOXES]


def test_the_script_tells_how_to_use_it() -> None:
    text = as_commands(Path("it's a clip.mp4"), Path("a:b.cmd"), [0.0], BOXES[:1])
    line, *rest = text.splitlines()
    assert rest == []
    words = shlex.split(line.removeprefix("# "))
    assert words[:5] == ["ffmpeg", "-copyts", "-i", "it's a clip.mp4", "-vf"]
    assert words[5] == r"sendcmd=f='a\:b.cmd',crop=20:40:10:0:exact=1"


@pytest.mark.parametrize(
    ("stretch", "kept", "said"),
    [
        ((5 / 3, None), [2, 3, 4, 5], "-ss 1.666667 -c:a"),
        ((0.5, 4 / 3), [0, 1], "-ss 0.500000 -to 1.333333 -c:a"),
        ((1.0, 1.7), [1, 2], "-ss 1.000000 -to 1.700000 -c:a"),
    ],
)
def test_the_line_cuts_out_the_stretch(stretch: tuple[float, float | None], kept: list[int], said: str) -> None:
    times = [0.5, 1, 5 / 3, 2, 2.5, 3]
    if stretch[1] == 4 / 3:
        times = [0.5, 1, 4 / 3, 2, 2.5, 3]
    text = as_commands(
        Path("a.mp4"), Path("a.cmd"), [times[index] for index in kept], BOXES[: len(kept)], stretch=stretch
    )
    assert said in text
    words = shlex.split(text.splitlines()[0])
    begins = float(words[words.index("-ss") + 1])
    options = f"starti={round(begins * 1e6)}us"
    if "-to" in words:
        options += f":durationi={round((float(words[words.index('-to') + 1]) - begins) * 1e6)}us"
    assert cut_by_ffmpeg(times, options) == kept


def cut_by_ffmpeg(times: list[float], options: str) -> list[int]:
    """Which frames are left by the filter that ``ffmpeg -ss -to``, behind an input, puts at the end of the others."""
    graph = av.filter.Graph()
    base = Fraction(1, 30000)
    chain = [
        graph.add_buffer(width=16, height=16, format="gray", time_base=base),
        graph.add("trim", options),
        graph.add("buffersink"),
    ]
    graph.link_nodes(*chain).configure()
    kept = []
    for index, time in enumerate(times):
        frame = av.VideoFrame.from_ndarray(np.zeros((16, 16), np.uint8), format="gray")
        frame.pts, frame.time_base = round(time * 30000), base
        with contextlib.suppress(av.FFmpegError, EOFError):
            chain[0].push(frame)
            chain[-1].pull()
            kept.append(index)
    return kept


def test_a_path_that_holds_still_needs_no_commands() -> None:
    assert as_commands(Path("a.mp4"), Path("a.cmd"), [0.0, 1.0], [BOXES[0]] * 2).count("\n") == 1
