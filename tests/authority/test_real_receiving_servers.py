"""Stock servers, as Receiving Servers, ask the listener about keys that the key service issued."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
import pytest_asyncio
from receiving_server import ReceivingServer

from sidecar.key_client import KeyClient
from sidecar.lab.authority import AuthorityPlace
from sidecar.lab.dns import DnsServer
from sidecar.lab.ejabberd import Ejabberd, require_ejabberd
from sidecar.lab.ejabberd_config import EjabberdSettings
from sidecar.lab.jabberd2 import Jabberd2, Jabberd2Settings, require_jabberd2
from sidecar.lab.prosody import Prosody, require_prosody
from sidecar.lab.prosody_config import ProsodySettings
from sidecar.lab.sidecar import Sidecar, SidecarSettings
from sidecar.names import Domain, DomainPair, StreamId

pytestmark = pytest.mark.interop

SENDER, TARGET = "capulet.example", "montague.example"
PAIR = DomainPair(sender=Domain.parse(SENDER), target=Domain.parse(TARGET))

Host = Prosody | Ejabberd | Jabberd2
Start = Callable[[Path, DnsServer, bool], AbstractAsyncContextManager[Host]]


def prosody(directory: Path, dns: DnsServer, tls: bool) -> Prosody:
    require_prosody()
    return Prosody(ProsodySettings(hosts=[TARGET], tls=tls), directory=directory, dns=dns)


def ejabberd(directory: Path, dns: DnsServer, tls: bool) -> Ejabberd:
    require_ejabberd()
    return Ejabberd(EjabberdSettings(hosts=[TARGET], tls=tls), directory=directory, dns=dns)


def jabberd2(directory: Path, dns: DnsServer, tls: bool) -> Jabberd2:
    require_jabberd2()
    return Jabberd2(Jabberd2Settings(hosts=[TARGET], tls=tls), directory=directory, dns=dns)


@pytest_asyncio.fixture
async def sidecar(dns: DnsServer, tmp_path: Path) -> AsyncIterator[Sidecar]:
    place = AuthorityPlace.fresh(SENDER, allow_cleartext=True)
    async with Sidecar(
        SidecarSettings([], authority=place), directory=tmp_path / "sidecar", dns=dns
    ) as sidecar:
        yield sidecar


@pytest_asyncio.fixture
async def keys(sidecar: Sidecar) -> AsyncIterator[KeyClient]:
    client = KeyClient(sidecar.keyd_socket)
    await client.start(timeout_seconds=30)
    yield client
    await client.close()


@pytest.mark.parametrize("tls", [False, True], ids=["cleartext", "tls"])
@pytest.mark.parametrize("start", [prosody, ejabberd, jabberd2])
async def test_stock_server_verifies_a_key_through_the_listener(
    start: Start, tls: bool, sidecar: Sidecar, keys: KeyClient, dns: DnsServer, tmp_path: Path
) -> None:
    header = (
        "<stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' "
        "xmlns:stream='http://etherx.jabber.org/streams' "
        f"from='{SENDER}' to='{TARGET}' version='1.0'>"
    )
    async with start(tmp_path / "host", dns, tls) as host:
        for forged in (False, True):
            async with ReceivingServer(host.address, host.s2s_port) as initiating:
                await initiating.open(header)
                if tls:
                    await initiating.starttls()
                    await initiating.open(header)
                found = re.search(r"<stream:stream[^>]* id=['\"]([^'\"]+)", initiating.said)
                assert found is not None
                stream = StreamId.parse(found[1])
                key = await keys.issue(PAIR, stream, timeout_seconds=10)
                text = "0" * 64 if forged else key.reveal()
                initiating.send(f"<db:result from='{SENDER}' to='{TARGET}'>{text}</db:result>")
                said = await initiating.until("<db:result")
                said = await initiating.until(">", said.count(">", 0, said.index("<db:result")) + 1)
                assert re.search(rf"type=['\"]{'invalid' if forged else 'valid'}['\"]", said)
    assert f"verify {SENDER} -> {TARGET} valid" in sidecar.output.text()
    assert f"verify {SENDER} -> {TARGET} invalid" in sidecar.output.text()
