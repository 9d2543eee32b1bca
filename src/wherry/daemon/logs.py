"""The daemon's own log on stderr, one line for each record, as text or JSON, in the shape of dockerd's.

Text: `time="2006-01-02T15:04:05.123456Z" level=info msg="API listen on /run/wherry.sock"`.
JSON: `{"level":"info","msg":"API listen on /run/wherry.sock","time":"2006-01-02T15:04:05.123456Z"}`.
"""

from __future__ import annotations

import logging
import traceback

import msgspec

from wherry.engine.records import timestamp

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR,
          "fatal": logging.CRITICAL}
_NAMES = {logging.DEBUG: "debug", logging.INFO: "info", logging.WARNING: "warning", logging.ERROR: "error",
          logging.CRITICAL: "fatal"}


def configure(level: str, form: str, *, debug: bool) -> None:
    """Sends the house's log to stderr. `debug` wins over the level."""
    handler = logging.StreamHandler()
    handler.setFormatter(Text() if form == "text" else Json())
    logging.basicConfig(handlers=[handler], force=True)
    set_level(level, debug=debug)


def set_level(level: str, *, debug: bool) -> None:
    """Changes the level while running. Libraries speak from warnings upwards."""
    logging.getLogger().setLevel(max(LEVELS[level], logging.WARNING))
    logging.getLogger("wherry").setLevel(logging.DEBUG if debug else LEVELS[level])


class Text(logging.Formatter):
    """logfmt."""

    def format(self, record: logging.LogRecord) -> str:
        """One line; a traceback is a quoted field of it."""
        fields = f"time=\"{_time(record)}\" level={_level(record)} msg={_quoted(record.getMessage())}"
        return fields + (f" error={_quoted(_trace(record))}" if record.exc_info else "")


class Json(logging.Formatter):
    """One JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        fields = {"level": _level(record), "msg": record.getMessage(), "time": _time(record)}
        if record.exc_info:
            fields["error"] = _trace(record)
        return msgspec.json.encode(fields).decode()


def _time(record: logging.LogRecord) -> str:
    return timestamp(int(record.created * 1_000_000) * 1000)


def _level(record: logging.LogRecord) -> str:
    return _NAMES.get(record.levelno, record.levelname.lower())


def _trace(record: logging.LogRecord) -> str:
    return "".join(traceback.format_exception(*record.exc_info)).strip() if record.exc_info else ""


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
    return f'"{escaped}"'
