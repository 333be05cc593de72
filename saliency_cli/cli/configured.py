"""Commands whose options may stand in ``vsal.toml``: flags come first, then variables, then the file."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from typer.core import TyperCommand

from saliency_cli.errors import UsageError
from saliency_cli.settings import Settings, load_settings

__all__ = ["Configured", "chosen_settings"]


class Configured(TyperCommand):
    """A command of ``settings.KEYS``. Its help page shows the defaults that are in force."""

    def make_context(self, info_name: Any, args: Any, parent: Any = None, **extra: Any) -> Any:
        """What the file says becomes the defaults, behind flags and variables. Raises UsageError, ReadError."""
        if parent is not None and not parent.resilient_parsing:  # the shell asks for completions
            extra["default_map"] = self._in_force(chosen_settings(parent.params).of(str(info_name)))
        return super().make_context(info_name, args, parent, **extra)

    def _in_force(self, options: dict[str, Any]) -> dict[str, Any]:
        """Values by the names of parameters; the help of each says no more what it would be without."""
        names = {flag.removeprefix("--"): each for each in self.params for flag in each.opts if flag.startswith("--")}
        values = {}
        for flag, parameter in names.items():
            variable = parameter.envvar if isinstance(parameter.envvar, str) else ""
            value = os.environ.get(variable) or options.get(flag)
            if value is None or parameter.name is None:
                continue
            values[parameter.name] = value
            if isinstance(value, bool):
                parameter.default = value  # which of two flags the help page names
            told = getattr(parameter, "help", None)
            if told:
                setattr(parameter, "help", re.sub(r" *\[default: [^]]*\]$", "", told))  # noqa: B010
        return values


def chosen_settings(asked: dict[str, Any]) -> Settings:
    """The files that the global options choose. Raises UsageError, ReadError: see ``load_settings``."""
    config, without = asked.get("config"), asked.get("no_config")
    if without:
        if config is not None and not os.environ.get("VSAL_CONFIG"):
            raise UsageError("--config and --no-config exclude each other; leave one out.")
        return Settings()
    return load_settings(None if config is None else [Path(config)])
