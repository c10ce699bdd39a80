"""Log lines for humans, on standard error."""

from __future__ import annotations

import logging
import sys

# Libraries whose debug lines hold stanzas or addresses of no use to an operator.
_CHATTY = ("slixmpp", "asyncio", "aiodns", "aiohttp")


def configure(level: str, program: str) -> None:
    """Log at `level` (debug, info, warning, error) to standard error, each line led by `program`.

    What the chatty libraries say below warning is dropped: slixmpp would log stanzas.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        logging.Formatter(
            f"%(asctime)s.%(msecs)03d {program} %(levelname)-7s %(message)s", "%Y-%m-%dT%H:%M:%S"
        )
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
