"""All checks, each by itself: what breaks one of them becomes its finding."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from saliency_cli.doctor.findings import Diagnosis, Finding
from saliency_cli.doctor.machine import check_devices, check_media, check_program, check_room, check_weights
from saliency_cli.doctor.packages import check_extras, check_packages
from saliency_cli.errors import describe

__all__ = ["CHECKS", "examine"]

Check = Callable[[], Iterable[Finding]]

CHECKS: Mapping[str, Check] = {
    "program": check_program,
    "packages": check_packages,
    "media": check_media,
    "devices": check_devices,
    "weights": check_weights,
    "room": check_room,
    "extras": check_extras,
}
# Checks that import a package, which must not be tried where it ended another process
NEEDS = {"media": ("av",), "devices": ("torch", "numpy"), "weights": ("filelock",), "room": ("filelock",)}


def examine(checks: Mapping[str, Check] = CHECKS) -> Diagnosis:
    """Look at everything that ``vsal`` needs; nothing is downloaded or written."""
    findings: list[Finding] = []
    for group, check in checks.items():
        broken = {each.name for each in findings if each.group == "packages" and each.state == "broken"}
        lacking = [name for name in NEEDS.get(group, ()) if name in broken]
        if lacking:
            findings.append(
                Finding(
                    group=group,
                    name=group,
                    value=f"not looked at, for want of {lacking[0]}",
                    state="gap",
                    remedy=f"mend {lacking[0]} as said above, and run vsal doctor again",
                )
            )
            continue
        findings.extend(_alone(group, check))
    return Diagnosis(tuple(findings))


def _alone(group: str, check: Check) -> Iterator[Finding]:
    try:
        yield from check()
    except Exception as error:  # a check that breaks is a finding, and the others are made all the same
        message, code = describe(error)
        yield Finding(
            group=group,
            name=group,
            value=message.removesuffix("."),
            state="broken",
            remedy="repair what it names, or install vsal again",
            exit_code=code,
        )
