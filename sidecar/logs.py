"""Log lines on standard error, for humans or as JSON: one object on each line."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

# Libraries whose debug lines hold stanzas or addresses of no use to an operator.
_CHATTY = ("slixmpp", "asyncio", "aiohttp")


def configure(level: str, program: str, format: str = "human") -> None:
    """Log at `level` (debug, info, warning, error) to standard error, as `human` or `json`.

    What the chatty libraries say below warning is dropped: slixmpp would log stanzas.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter(program) if format == "json" else _human(program))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)


def fields(**values: object) -> dict[str, object]:
    """Return `extra` for a logging call: values that a JSON line carries beside its text."""
    return {"fields": {name: value for name, value in values.items() if value is not None}}


def _human(program: str) -> logging.Formatter:
    return logging.Formatter(
        f"%(asctime)s.%(msecs)03d {program} %(levelname)-7s %(message)s", "%Y-%m-%dT%H:%M:%S"
    )


class _JsonFormatter(logging.Formatter):
    """One JSON object for each record: time (UTC), program, level, message, then its fields."""

    def __init__(self, program: str) -> None:
        super().__init__()
        self._program = program

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, object] = {
            "time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "program": self._program,
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)
