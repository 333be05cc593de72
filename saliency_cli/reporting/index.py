"""The page that leads to several reports."""

from __future__ import annotations

import os
from collections.abc import Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import TextIO
from urllib.parse import quote

from saliency_cli.reporting.page import asset, clock_time, data_uri, plain
from saliency_cli.reporting.result import ReportFailure, ReportPage

__all__ = ["write_index"]


def write_index(
    out: TextIO, goal: Path, pages: Sequence[ReportPage], failures: Sequence[ReportFailure], *, title: str
) -> None:
    """Write the index that will lie at ``goal``; its links are relative, so that the folder can be moved."""
    length = clock_time(sum(page.summary.duration for page in pages))
    count = f"{len(pages)} video{'' if len(pages) == 1 else 's'}"
    out.write(
        Template(asset("index.html")).substitute(
            title=escape(plain(title)),
            style=asset("page.css"),
            facts=f"{length} in all" if title == count else f"{count} · {length} in all",
            cards="\n".join(_card(page, goal.parent) for page in pages),
            failures=_told(failures),
        )
    )


def _card(page: ReportPage, folder: Path) -> str:
    summary = page.summary
    shots = f"{summary.shots} shot{'' if summary.shots == 1 else 's'}"
    jumps = f"{summary.jumps} jump{'' if summary.jumps == 1 else 's'}"
    # Quoted as bytes: a name need not be UTF-8
    link = "/".join(quote(os.fsencode(part), safe="") for part in Path(os.path.relpath(page.output, folder)).parts)
    return (
        f'<li class="card"><a href="{link}"><img src="{data_uri(page.picture)}" alt="">'
        f"<div><h2>{escape(plain(page.source.name))}</h2><p>{clock_time(summary.duration)} · {shots} · {jumps}</p>"
        f"<p>concentration {summary.concentration:.2f}</p><p>in the middle {summary.middle:.0%}</p></div></a></li>"
    )


def _told(failures: Sequence[ReportFailure]) -> str:
    if not failures:
        return ""
    lines = "".join(f"<li>{escape(plain(failure.message))}</li>" for failure in failures)
    return (
        '<section aria-labelledby="failed-title"><h2 id="failed-title">Without a report</h2>'
        f'<ul class="notes">{lines}</ul></section>'
    )
