"""The page of one video: the template filled in, and written out piece by piece.

Everything that comes from outside (names, messages, options) is escaped for the place where it stands: HTML's text and
attributes, or JSON inside a script element.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any, TextIO

import numpy as np

from saliency_cli import render
from saliency_cli.reporting.chart import concentration_chart, place_chart, scale_of
from saliency_cli.reporting.collect import LONG_SIDE, MOST_FRAMES, KeyFrame, Report
from saliency_cli.reporting.measures import HOLD, JUMP
from saliency_cli.reporting.options import ReportOptions
from saliency_cli.reporting.sheets import COLUMNS, TILES

__all__ = ["asset", "clock_time", "data_uri", "plain", "safe_json", "summary_rows", "write_page"]

MEDIA_MARK = "<!-- media -->"  # where the template is interrupted by what is too large to hold
RARE_SOUND = {"ac3": "AC-3", "eac3": "E-AC-3", "alac": "ALAC", "mp2": "MP2"}  # what an mp4 may hold, by FFmpeg's names
PART = 3 << 20  # bytes of the video in one element, a multiple of 3: base64 without padding between


def write_page(out: TextIO, report: Report, *, name: str, options: ReportOptions, origin: Mapping[str, Any]) -> None:
    """Write the page. ``name``: of the input. ``origin``: what the sidecar says, as text of JSON understands it."""
    page = Template(asset("page.html")).substitute(
        title=escape(plain(name)),
        style=asset("page.css"),
        script=asset("page.js"),
        facts=escape(_facts(report)),
        width=report.size[0],
        height=report.size[1],
        colormaps="".join(
            f'<option value="{each}"{" selected" if each == options.colormap else ""}>{each}</option>'
            for each in render.COLORMAPS
        ),
        opacity=round(100 * options.opacity),
        end=f"{report.end:.3f}",
        end_text=clock_time(report.end),
        concentration=concentration_chart(report.seconds, report.concentration, report.cuts, report.end),
        top=f"{scale_of(report.concentration):.1f}",
        across=place_chart(report.seconds, report.peak[:, 0], report.centroid[:, 0], report.cuts, report.end),
        down=place_chart(report.seconds, report.peak[:, 1], report.centroid[:, 1], report.cuts, report.end),
        key_frames="\n".join(map(_key_frame, report.key_frames)),
        summary="\n".join(
            f'<tr><th scope="row">{escape(what)}</th><td>{escape(value)}</td><td>{escape(meaning)}</td></tr>'
            for what, value, meaning in summary_rows(report)
        ),
        notes="".join(f"<li>{escape(plain(note))}</li>" for note in [*_limits(report), *origin.get("warnings", ())]),
        provenance=escape(plain(json.dumps(origin, indent=2, ensure_ascii=False, default=str))),
        data=safe_json(_data(report, options)),
    )
    before, after = page.split(MEDIA_MARK)
    out.write(before)
    for number, part in enumerate(_parts(report.video)):
        out.write(f'<script type="text/plain" class="video-part" id="video-{number}">{_base64(part)}</script>\n')
    for number, sheet in enumerate(report.sheets):
        out.write(f'<script type="text/plain" class="sheet" id="sheet-{number}">{_base64(sheet)}</script>\n')
    out.write(after)


def asset(name: str) -> str:
    """The text of a file that comes with the package."""
    return (files("saliency_cli.reporting") / "assets" / name).read_text(encoding="utf-8")


def plain(text: str) -> str:
    """Text that UTF-8 can hold: a file's name need not be."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def safe_json(value: object) -> str:
    """JSON that ends no script element and begins no comment."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def data_uri(picture: bytes) -> str:
    """A JPEG as an address."""
    return f"data:image/jpeg;base64,{_base64(picture)}"


def clock_time(seconds: float) -> str:
    """``0:03.2``, ``12:03.2``, ``1:02:03.2``."""
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    short = f"{minutes:02d}" if hours else f"{minutes}"
    return f"{f'{hours}:' if hours else ''}{short}:{rest // 10:02d}.{rest % 10}"


def summary_rows(report: Report) -> list[tuple[str, str, str]]:
    """What is measured, its value, and what that means."""
    summary = report.summary
    minutes = summary.duration / 60
    return [
        ("Duration", clock_time(summary.duration), "from the first frame to the end of the last"),
        ("Frames", str(summary.frames), "of the source; each was predicted"),
        ("Shots", str(summary.shots), "where the picture changes at once, as the embedded model sees it; not fades"),
        (
            "Mean concentration",
            f"{summary.concentration:.2f}",
            "1 − H / log₂ n of a map’s entropy H over its n cells: 0 looks everywhere alike, 1 at one point",
        ),
        (
            "Mean spread",
            f"{summary.spread:.2f}",
            "root mean square distance of attention from its centre of mass, where the width and height are 1",
        ),
        (
            "Attention in the middle",
            f"{summary.middle:.0%}",
            "share of the time in which the peak lies in the middle third of the width and of the height",
        ),
        (
            "Attention jumps",
            f"{summary.jumps}" + (f" ({summary.jumps / minutes:.1f} a minute)" if minutes >= 1 else ""),
            f"moves of the peak, within a shot, by more than {JUMP:g} of the picture, after which it stays away "
            f"for {HOLD:g} s or longer",
        ),
    ]


def _facts(report: Report) -> str:
    info = report.info
    rate = f"{float(info.rate):.3f}".rstrip("0").rstrip(".")
    sound = "with sound" if report.sound else "no sound"
    return f"{clock_time(report.end)} · {info.width} × {info.height} · {rate} frames a second · {sound}"


def _limits(report: Report) -> Iterator[str]:
    """What the page cannot show."""
    if report.step > 1:
        yield (
            f"This is a long film: of {report.summary.frames} frames the page holds one in {report.step}, at most "
            f"{MOST_FRAMES}, with {LONG_SIDE} pixels at most, and coarser maps. The summary counts all frames."
        )
    elif max(report.info.width, report.info.height) > max(report.size):
        yield (
            f"The picture was made smaller for this page, {report.size[0]} × {report.size[1]}; the prediction saw "
            "it in full."
        )
    if report.sound and report.info.audio is not None and report.info.audio.codec in RARE_SOUND:
        yield (
            f"The sound is {RARE_SOUND[report.info.audio.codec]}, which most browsers do not play; it was left as it "
            "is. Sound in AAC, MP3, Opus or FLAC is heard in all."
        )


def _key_frame(key: KeyFrame) -> str:
    time = clock_time(key.seconds)
    return (
        f'<li><button type="button" class="key" data-frame="{key.frame}" aria-label="Go to {time}">'
        f'<img src="{data_uri(key.picture)}" alt="Frame at {time} with its heatmap"><span>{time}</span></button></li>'
    )


def _data(report: Report, options: ReportOptions) -> dict[str, Any]:
    """What the script works with."""
    tables = {name: render.lookup_table(name) for name in render.COLORMAPS}
    return {
        "times": [round(float(time), 6) for time in report.seconds],
        "end": round(report.end, 6),
        "cuts": [round(cut, 6) for cut in report.cuts],
        "concentration": np.round(report.concentration, 3).tolist(),
        "tile": list(report.sheets.tile),
        "columns": COLUMNS,
        "tiles": TILES,
        "covers": np.round(render.cover_table(1.0), 4).tolist(),
        "colormaps": {name: _base64(table.tobytes()) for name, table in tables.items()},
        "sound": report.sound,
    }


def _parts(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while part := file.read(PART):
            yield part


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
