"""Logs of the service's processes: lines for a terminal, JSON for everything else.

A record that belongs to a job carries its key: `log.info("...", extra={"job": record.key})`. Other
fields in `extra` that are listed here are written as well; nothing else is, so that no secret or
prompt gets in by an accident.
"""

import json
import logging
import os
import sys
import time
from typing import Any, Literal

from teststrip import logs
from teststrip.serve.operate import tracing

Format = Literal["auto", "text", "json"]
# what may be told beside the message
FIELDS = (
    *("job", "worker", "attempt", "image", "state", "seconds", "reason", "owner"),
    *("route", "method", "status", "request"),
)
MOST_CHARS = 8000


class JsonLine(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, message, role, fields, trace id."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self._always = {"role": role, "pid": os.getpid()}

    def format(self, record: logging.LogRecord) -> str:
        """The line; a fault's traceback is in it."""
        data: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage()[:MOST_CHARS],
        }
        data |= self._always | _fields(record)
        if trace := tracing.current_trace():
            data["trace"] = trace
        if record.exc_info:
            data["error"] = self.formatException(record.exc_info)[-MOST_CHARS:]
        return json.dumps(data, ensure_ascii=False, default=str)


class TextLine(logging.Formatter):
    """For people at a terminal: time, level, message, and the fields behind it."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The message with its fields; a job by the first 12 digits of its key."""
        fields = {k: v[:12] if k == "job" else v for k, v in _fields(record).items()}
        told = "".join(f" {name}={value}" for name, value in fields.items())
        return super().formatMessage(record) + told


def configure(role: str, form: Format = "auto") -> None:
    """Set up this process: level TESTSTRIP_LOG, else INFO. `auto`: text at a terminal, else JSON.

    Raises ConfigError for an unknown level.
    """
    logs.configure()
    if form == "auto":
        form = "text" if sys.stderr.isatty() else "json"
    formatter = TextLine() if form == "text" else JsonLine(role)
    chosen = logging.getLogger("teststrip")
    if "TESTSTRIP_LOG" not in os.environ:
        chosen.setLevel(logging.INFO)  # a service tells what it does; warnings of code stay quiet
    for handler in chosen.handlers:
        handler.setFormatter(formatter)
    level = max(logging.WARNING, chosen.level)  # of servers and libraries, only what is wrong
    for name in ("uvicorn", "aio_pika", "aiormq", "redis", "mlflow"):
        other = logging.getLogger(name)
        other.handlers, other.propagate = list(chosen.handlers), False
        other.setLevel(level)


def _fields(record: logging.LogRecord) -> dict[str, str]:
    return {name: str(record.__dict__[name]) for name in FIELDS if record.__dict__.get(name)}
