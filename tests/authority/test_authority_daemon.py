"""The authority listener of a real daemon without any link: its stream, its keys, its end."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from receiving_server import HEADER, ReceivingServer, answer, verify

from sidecar.key_client import KeyClient
from sidecar.lab.authority import AuthorityPlace
from sidecar.lab.dns import DnsServer
from sidecar.lab.process import run
from sidecar.lab.sidecar import ENVIRONMENT, Sidecar, SidecarSettings, command
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


async def told(sidecar: Sidecar, *words: str) -> str:
    """What the command line says, asked with the token of this machine."""
    return await run(
        command("dialback-sidecar", *words, "--config", sidecar.config_path),
        directory=sidecar.directory,
        environment=ENVIRONMENT,
    )


async def test_operators_see_the_listener_and_what_it_answered(
    sidecar: Sidecar, place: AuthorityPlace, keys: KeyClient
) -> None:
    key = await issue(keys, "seen")
    async with ReceivingServer(place.address, place.port) as peer:
        await peer.open()
        peer.send(verify(key, stream="seen") + verify(key, sender="verona.example"))
        await peer.until("<db:verify", 2)
        status = await told(sidecar, "status")
        assert f"authority on {place.address}:{place.port}," in status
        assert "for capulet.example: 1 connection" in status
        found = json.loads(await told(sidecar, "status", "--json"))["authority"]
    assert (found["connections"], found["counts"]["domain-not-ours"]) == (1, 1)
    (record,) = json.loads(await told(sidecar, "handshake", "list", "--json"))["items"]
    assert (record["role"], record["peer"], record["outcome"]) == (
        "authoritative",
        "montague.example",
        "valid",
    )
    await sidecar.output.wait_for("verify capulet.example -> montague.example valid")
    assert key not in sidecar.output.text()


async def test_hangup_signal_takes_up_another_domain_for_open_streams(
    sidecar: Sidecar, place: AuthorityPlace, keys: KeyClient
) -> None:
    async with ReceivingServer(place.address, place.port) as peer:
        await peer.open()
        peer.send(verify("0" * 64, sender="verona.example"))
        assert "<item-not-found " in await peer.until("</db:verify>")
        text = sidecar.config_path.read_text()
        both = text.replace('["capulet.example"]', '["capulet.example", "verona.example"]')
        sidecar.config_path.write_text(both)
        before = sidecar.output.mark()
        sidecar.signal(signal.SIGHUP)
        await sidecar.output.wait_for("took up ", after=before)
        peer.send(verify("0" * 64, sender="verona.example"))
        await peer.until(answer("invalid", sender="verona.example"))


async def test_verify_is_an_error_while_the_key_service_is_gone(
    sidecar: Sidecar, place: AuthorityPlace, keys: KeyClient
) -> None:
    key = await issue(keys, "out")
    (keyd,) = children(sidecar.pid)
    async with ReceivingServer(place.address, place.port) as peer:
        await peer.open()
        os.kill(keyd, signal.SIGSTOP)
        peer.send(verify(key, stream="out"))
        said = await peer.until("</db:verify>")
        assert "<internal-server-error " in said
        os.kill(keyd, signal.SIGCONT)
        peer.send(verify(key, stream="out"))
        await peer.until(answer(stream="out"))


def children(pid: int) -> list[int]:
    """The processes that `pid` started."""
    found: set[int] = set()
    for thread in Path(f"/proc/{pid}/task").iterdir():
        found |= {int(child) for child in (thread / "children").read_text().split()}
    return sorted(found)


async def test_daemon_that_stops_tells_every_peer(sidecar: Sidecar, place: AuthorityPlace) -> None:
    async with ReceivingServer(place.address, place.port) as peer:
        await peer.open()
        await peer.starttls()
        await peer.open()
        sidecar.signal(signal.SIGTERM)
        assert "<system-shutdown " in await peer.end()
    assert await sidecar.wait() == 0
