"""``vsal doctor``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from saliency_cli.cli.console import guarded, printable

if TYPE_CHECKING:
    from saliency_cli.doctor.findings import Diagnosis

__all__ = ["doctor"]

MARKS = {"ok": "ok", "gap": "gap", "broken": "BROKEN"}


@guarded
def doctor(as_json: Annotated[bool, typer.Option("--json", help="As JSON on stdout.")] = False) -> None:
    """Show what this machine can do, what is missing, and what to do about each gap.

    The exit code is 0 if vsal predict would work, otherwise the one that it would end with. A gap is something that
    only other commands or options need.
    """
    from saliency_cli.doctor.examining import examine

    diagnosis = examine()
    if as_json:
        typer.echo(json.dumps(diagnosis.record(), indent=2, allow_nan=False))
    else:
        _print(diagnosis)
    if diagnosis.exit_code:
        raise typer.Exit(diagnosis.exit_code)


def _print(diagnosis: Diagnosis) -> None:
    group = ""
    width = max(len(finding.name) for finding in diagnosis.findings)
    for finding in diagnosis.findings:
        if finding.group != group:
            group = finding.group
            typer.echo(group)
        typer.echo(printable(f"  {MARKS[finding.state]:<6} {finding.name:<{width}} {finding.value}"))
        if finding.remedy:
            typer.echo(printable(f"         {'':<{width}} → {finding.remedy}"))
    gaps = sum(finding.state == "gap" for finding in diagnosis.findings)
    works = "vsal predict works" if diagnosis.exit_code == 0 else "vsal predict does not work"
    typer.echo(f"{works}; {gaps} gap{'' if gaps == 1 else 's'}.")
