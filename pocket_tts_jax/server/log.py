"""The server's log: one line for each event, as text or JSON. Users' texts are not in it."""

import json
import logging
import sys
from datetime import UTC, datetime

_LOG = logging.getLogger("pocket_tts_jax.server")
# The warnings of these loggers quote the user's text.
_QUOTING = ("pocket_tts_jax.text", "pocket_tts_jax.generation", "pocket_tts_jax.audio")


def log_event(event: str, **fields: object) -> None:
    """Log one event with its fields, without those that are None."""
    known = {name: value for name, value in fields.items() if value is not None}
    _LOG.info(event, extra={"fields": known})


def log_failure(error: Exception) -> None:
    """Log an unexpected error with its traceback."""
    _LOG.error("failure", exc_info=error)


def set_up_logging(format: str, *, log_text: bool) -> None:
    """Log to stderr; `format` is "text" or "json". `log_text` lets users' texts into it."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if format == "json" else _Line())
    if not log_text:
        handler.addFilter(lambda record: not record.name.startswith(_QUOTING))
    for name in ("pocket_tts_jax", "uvicorn", "wyoming"):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.propagate = False
        logger.setLevel(logging.INFO if name == "pocket_tts_jax" else logging.WARNING)


def _fields(record: logging.LogRecord) -> dict[str, object]:
    fields = dict(getattr(record, "fields", {}))
    if record.exc_info:
        fields["error"] = logging.Formatter().formatException(record.exc_info)
    return fields


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"time": at, "level": record.levelname.lower(), "event": record.getMessage()}
        return json.dumps(line | _fields(record), ensure_ascii=False, default=str)


class _Line(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        parts = [f"{name}={value}" for name, value in _fields(record).items()]
        return " ".join([at, record.levelname.lower(), record.getMessage(), *parts])
