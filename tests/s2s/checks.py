"""The check that tests make, where DNS says the server for it is, and what can come of it."""

from __future__ import annotations

from typing import Any

from scripted_authority import ScriptedAuthority

from sidecar.jobs import Check, Condition, Evidence, Verdict
from sidecar.lab.dns import DnsServer
from sidecar.names import DialbackKey, Domain, DomainPair, StreamId

KEY = "b4835385f37fe2895af6c196b59097b16862406db80559900d96bf6fa7d23df3"
VALID = Verdict.valid(Evidence.KEY)
INVALID = Verdict.invalid("answer-invalid")
TIMEOUT = Condition.REMOTE_SERVER_TIMEOUT
NOT_FOUND = Condition.REMOTE_SERVER_NOT_FOUND
FAILED = Condition.REMOTE_CONNECTION_FAILED


def check_of(
    sender: str = "capulet.example",
    *,
    target: str = "montague.example",
    stream: str = "D60000229F",
    key: str = KEY,
    **more: Any,
) -> Check:
    pair = DomainPair(sender=Domain.parse(sender), target=Domain.parse(target))
    return Check(pair=pair, stream=StreamId.parse(stream), key=DialbackKey.parse(key), **more)


CHECK = check_of()


def error(condition: Condition, reason: str) -> Verdict:
    return Verdict.error(condition, reason)


def publish(
    dns: DnsServer,
    *authorities: ScriptedAuthority,
    service: str = "_xmpp-server",
    domain: str = "capulet.example",
    first_priority: int = 0,
) -> None:
    """Name these servers for `domain` in DNS, in this order."""
    for priority, authority in enumerate(authorities, first_priority):
        name = f"{service.strip('_')}{priority}.{domain}"
        dns.add_srv(domain, name, authority.port, service=f"{service}._tcp", priority=priority)
        dns.add_address(name, authority.address)
