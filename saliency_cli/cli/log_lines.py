"""Messages for programs: one JSON object a line, as ``--log-format json`` wants them."""

from __future__ import annotations

import json
import logging
import re
from datetime import UTC, datetime
from typing import Any

__all__ = ["JsonFormatter", "error_code", "json_line"]

OURS = "vsal"  # the logger of what the command line itself says


def json_line(level: str, message: str, *, logger: str = OURS, seconds: float | None = None, **more: Any) -> str:
    """An object with ``time`` (UTC, ISO 8601), ``level``, ``message``, ``logger``, and what else there is.

    ``seconds`` since 1970, instead of now.
    """
    time = datetime.now(UTC) if seconds is None else datetime.fromtimestamp(seconds, UTC)
    line = {
        "time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": level,
        "message": message,
        "logger": logger,
    }
    return json.dumps({**line, **more})  # ASCII: a name need not be UTF-8


def error_code(error: BaseException) -> str:
    """A word for the kind of an error, for programs to compare: ``read_error``, ``usage_error``, ``os_error`` …"""
    if isinstance(error, OSError):
        return "os_error"
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(error).__name__).lower()


class JsonFormatter(logging.Formatter):
    """Python's log records as such lines."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever the message holds."""
        more = {} if record.exc_info is None else {"traceback": self.formatException(record.exc_info)}
        return json_line(
            record.levelname.lower(), record.getMessage(), logger=record.name, seconds=record.created, **more
        )
