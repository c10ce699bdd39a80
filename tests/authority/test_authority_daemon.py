"""The authority listener of a real daemon without any link: its stream, its keys, its end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from receiving_server import HEADER, ReceivingServer, answer, verify

from sidecar.key_client import KeyClient
from sidecar.lab.authority import AuthorityPlace
from sidecar.lab.dns import DnsServer
from sidecar.lab.sidecar import Sidecar, SidecarSettings
from sidecar.names import Domain, DomainPair, StreamId

PAIR = DomainPair(sender=Domain.parse("capulet.example"), target=Domain.parse("montague.example"))


@pytest_asyncio.fixture
async def sidecar(dns: DnsServer, tmp_path: Path) -> AsyncIterator[Sidecar]:
    place = AuthorityPlace.fresh("capulet.example", allow_cleartext=True)
    async with Sidecar(
        SidecarSettings([], authority=place), directory=tmp_path / "sidecar", dns=dns
    ) as sidecar:
        yield sidecar


@pytest.fixture
def place(sidecar: Sidecar) -> AuthorityPlace:
    assert sidecar.settings.authority is not None
    return sidecar.settings.authority


@pytest_asyncio.fixture
async def keys(sidecar: Sidecar) -> AsyncIterator[KeyClient]:
    client = KeyClient(sidecar.keyd_socket)
    await client.start(timeout_seconds=30)
    yield client
    await client.close()


async def issue(keys: KeyClient, stream: str) -> str:
    key = await keys.issue(PAIR, StreamId.parse(stream), timeout_seconds=10)
    return key.reveal()


@pytest.mark.parametrize("way", ["cleartext", "starttls", "direct tls"])
async def test_key_is_verified_once_issued_and_another_is_not(
    place: AuthorityPlace, keys: KeyClient, way: str
) -> None:
    key = await issue(keys, "D60000229F")
    direct = way == "direct tls"
    port = place.tls_port if direct else place.port
    async with ReceivingServer(place.address, port, direct_tls=direct) as peer:
        said = await peer.open()
        assert ("<starttls" in said) is not direct
        if way == "starttls":
            await peer.starttls()
            assert "<starttls" not in await peer.open()
        peer.send(verify(key) + verify("0" * 64, stream="other"))
        said = await peer.until("<db:verify", 2)
        assert answer("valid") in said
        assert answer("invalid", stream="other") in said
        assert key not in said
        peer.send("</stream:stream>")
        assert (await peer.end()).endswith("</stream:stream>")


async def test_all_that_is_said_in_one_go_is_answered_before_the_end(
    place: AuthorityPlace, keys: KeyClient
) -> None:
    key = await issue(keys, "one")
    async with ReceivingServer(place.address, place.port) as peer:
        peer.send(HEADER + verify(key, stream="one") + "</stream:stream>")
        said = await peer.end()
    assert answer("valid", stream="one") in said
    assert said.endswith("</stream:stream>")
