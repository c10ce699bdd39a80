"""The checker asks stock Prosody and stock ejabberd about keys made from their own secrets."""

from __future__ import annotations

import hashlib
import hmac
import re

import pytest

from sidecar.jobs import Check, Condition, Evidence, Verdict
from sidecar.lab.ejabberd_config import EjabberdSettings
from sidecar.lab.network import Network
from sidecar.lab.prosody_config import ProsodySettings
from sidecar.names import DialbackKey, Domain, DomainPair, StreamId
from sidecar.s2s.checker import Checker
from sidecar.s2s.resolver import Resolver

pytestmark = pytest.mark.interop

SENDER, TARGET, STREAM = "capulet.example", "montague.example", "417GAF25"
SECRET = "s3cr3tf0rd14lb4ck"


def key(secret: str, *, sender: str = SENDER, target: str = TARGET, stream: str = STREAM) -> str:
    """XEP-0185, as both servers compute it."""
    hashed = hashlib.sha256(secret.encode()).hexdigest()
    return hmac.digest(hashed.encode(), f"{target} {sender} {stream}".encode(), "sha256").hex()


async def start_prosody(network: Network, *, tls: bool) -> str:
    await network.prosody(
        ProsodySettings(hosts=[SENDER], tls=tls, options={"dialback_secret": SECRET})
    )
    return SECRET


async def start_ejabberd(network: Network, *, tls: bool) -> str:
    server = await network.ejabberd(EjabberdSettings(hosts=[SENDER], tls=tls))
    shown = await server.evaluate("ejabberd_config:get_shared_key().")
    found = re.search(r"[0-9a-f]{40}", shown)
    assert found is not None, shown
    return found.group()


@pytest.mark.parametrize("tls", [True, False], ids=["tls", "cleartext"])
@pytest.mark.parametrize("start", [start_prosody, start_ejabberd])
async def test_stock_server_tells_right_keys_from_wrong_ones(start, tls, network):
    secret = await start(network, tls=tls)
    checker = Checker(Resolver([network.dns.nameserver]), allow_private_addresses=True)

    async def verdict(text: str) -> Verdict:
        pair = DomainPair(sender=Domain.parse(SENDER), target=Domain.parse(TARGET))
        check = Check(pair=pair, stream=StreamId.parse(STREAM), key=DialbackKey.parse(text))
        return await checker.check(check)

    right = key(secret)
    assert await verdict(right) == Verdict.valid(Evidence.KEY)
    for wrong in (
        key(secret, sender="rooms.capulet.example"),
        key(secret, target="evil.example"),
        key(secret, stream="417GAF26"),
        key("another secret"),
        right[:-1] + ("0" if right[-1] != "0" else "1"),
    ):
        assert await verdict(wrong) == Verdict.invalid("answer-invalid")
    await checker.close()


@pytest.mark.parametrize("start", [start_prosody, start_ejabberd])
async def test_stock_server_that_does_not_host_the_domain_is_not_found(start, network):
    """SRV records of another domain point at it."""
    await start(network, tls=True)
    resolver = Resolver([network.dns.nameserver])
    checker = Checker(resolver, allow_private_addresses=True)
    (target,) = await resolver.targets(Domain.parse(SENDER))
    network.dns.add_srv("verona.example", target.name, target.port)
    pair = DomainPair(sender=Domain.parse("verona.example"), target=Domain.parse(TARGET))
    check = Check(pair=pair, stream=StreamId.parse(STREAM), key=DialbackKey.parse("0" * 64))
    verdict = await checker.check(check)
    assert verdict.condition is Condition.REMOTE_SERVER_NOT_FOUND
    await checker.close()
