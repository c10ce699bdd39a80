"""Keeps slixmpp from writing stanzas, and the keys in them, to any log."""

from __future__ import annotations

import logging


class _Nothing(logging.Filter):
    """A filter and not a level: levels are changed by whoever configures logging later."""

    def filter(self, record: logging.LogRecord) -> bool:
        return False


_NOTHING = _Nothing()


def silence_slixmpp() -> None:
    """Drop every record of every logger slixmpp has made so far; may be called again."""
    for name in [n for n in logging.root.manager.loggerDict if n.split(".")[0] == "slixmpp"]:
        logging.getLogger(name).addFilter(_NOTHING)
