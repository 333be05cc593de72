"""What a check found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

__all__ = ["Diagnosis", "Finding", "State"]

State = Literal["ok", "gap", "broken"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        group: what it belongs to: ``program``, ``packages``, ``media``, ``devices``, ``weights``, ``room``, ``extras``.
        name: of the thing. ``value``: how it is, in words.
        state: ``ok``; ``gap``, which something needs, but not ``vsal predict`` as it is; ``broken``, which it needs.
        remedy: one line for what is not ``ok``.
        exit_code: of ``vsal predict``, for what is broken.
        facts: the same as ``value`` for programs, where there is more to tell.
    """

    group: str
    name: str
    value: str
    state: State = "ok"
    remedy: str = ""
    exit_code: int = 0
    facts: Mapping[str, Any] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """As JSON takes it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All that was found."""

    findings: tuple[Finding, ...]

    @property
    def exit_code(self) -> int:
        """0 if ``vsal predict`` would work with its default model; otherwise that of the first thing it lacks."""
        return next((each.exit_code for each in self.findings if each.state == "broken"), 0)

    def record(self) -> dict[str, Any]:
        """As JSON takes it."""
        return {
            "predict_works": self.exit_code == 0,
            "exit_code": self.exit_code,
            "gaps": sum(each.state == "gap" for each in self.findings),
            "findings": [each.record() for each in self.findings],
        }
