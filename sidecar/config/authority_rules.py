"""Rules of `[authority]`: where it listens, what for, and with which certificate."""

from __future__ import annotations

from collections.abc import Iterator

from sidecar.config.rules import split_address
from sidecar.config.types import Config
from sidecar.errors import Problem, shorten

PORT = 5269
TLS_PORT = 5270


def authority_problems(config: Config) -> Iterator[Problem]:
    """What is wrong with the table as part of the whole configuration."""
    authority = config.authority
    for key, default in (("listen", PORT), ("listen_tls", TLS_PORT)):
        for number, address in enumerate(getattr(authority, key), 1):
            if split_address(address, default_port=default) is None:
                yield Problem(
                    f"authority.{key}[{number}]",
                    f"expected IP, IP:port or [IPv6]:port, got {shorten(address)}",
                )
    if not authority.enabled:
        if not config.link:
            yield Problem("link", "expected at least one [[link]], or an [authority] that listens")
        return
    if authority.domains is None and not config.link:
        yield Problem("authority.domains", "is missing; there is no [[link]] to take them from")
    if not config.certificate and (authority.listen_tls or not authority.allow_cleartext):
        yield Problem(
            "authority",
            "TLS needs a [[certificate]]; without one: listen only, and allow_cleartext = true",
        )
