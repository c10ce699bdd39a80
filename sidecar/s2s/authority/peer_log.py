"""What the log says of connections to the listener."""

from __future__ import annotations

import logging

from sidecar.errors import shorten
from sidecar.protocol.events import Cause, StreamClosed

log = logging.getLogger("sidecar.authority")


def log_closed(ip: str, closed: StreamClosed) -> None:
    """At debug only: strangers would decide how long the log gets."""
    if closed.cause is Cause.VIOLATION:
        log.debug("%s: ended with %s: %s", ip, closed.condition, closed.text)
    elif closed.cause is Cause.PEER_ERROR:
        log.debug("%s: ended by the peer with %s", ip, shorten(closed.condition or ""))
