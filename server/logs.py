"""Logs: one JSON object a line on standard error, with the id of the request that it is about."""

import json
import logging
import re
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")

_FIELDS = ("route", "method", "status", "ms", "rung")
"""What a line may hold beside its message: given to the logger as `extra`."""
_LONGEST = 4_000
_SECRETS = (
    (re.compile(r"(://)[^/@\s]*@"), r"\1***@"),  # user and password of a URL
    (re.compile(r"hourfeed_(read|write|admin)_[\w-]+"), r"hourfeed_\1_***"),
    (re.compile(r"(?i)(bearer|basic)\s+\S+"), r"\1 ***"),
)


class JsonFormatter(logging.Formatter):
    """Writes a record as JSON in ASCII, so that no text that came with a request can begin a line of its own."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": without_secrets(record.getMessage()),
        }
        request_id = REQUEST_ID.get()
        if request_id:
            line["request_id"] = request_id
        line |= {name: getattr(record, name) for name in _FIELDS if getattr(record, name, None) is not None}
        if record.exc_info:
            line["exception"] = without_secrets(self.formatException(record.exc_info))
        return json.dumps(line, default=str)


def without_secrets(text: str) -> str:
    """Return a text without passwords in URLs and without keys, and not longer than a line may be."""
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text[:_LONGEST]


def logging_options(level: str) -> dict[str, Any]:
    """Return what `logging.config.dictConfig` takes: everything in JSON, gunicorn's own lines too."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": "server.logs.JsonFormatter"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stderr"}},
        "root": {"level": level.upper(), "handlers": ["stderr"]},
        # gunicorn sets the levels of its loggers by itself, and would give them handlers without these entries
        "loggers": {"gunicorn.error": {"handlers": [], "propagate": True, "level": level.upper()}},
    }
