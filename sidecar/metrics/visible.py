"""What of the metrics a token restricted to some domains may see."""

from __future__ import annotations

import re
from collections.abc import Set

_HOST = re.compile(rb'[{,]host="([^"\\]*)"')


def keep_visible(text: bytes, hosts: Set[str]) -> bytes:
    """Drop every line of an exposition that is not labelled with one of `hosts`.

    What is not labelled with a host at all is about the whole daemon, and dropped as well;
    comments stay.
    """
    return b"".join(
        line for line in text.splitlines(keepends=True) if line.startswith(b"#") or _of(line, hosts)
    )


def _of(line: bytes, hosts: Set[str]) -> bool:
    host = _HOST.search(line)
    return host is not None and host[1].decode() in hosts
