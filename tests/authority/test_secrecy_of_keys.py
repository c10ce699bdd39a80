"""No key that was issued over the API and asked about over the listener is anywhere but in the two
answers that are for it: not in the output at DEBUG, not in an event, a list, a metric or a file.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest_asyncio
from receiving_server import END, HEADER, STARTTLS, ReceivingServer, answer, verify

from sidecar.lab.authority import AuthorityPlace
from sidecar.lab.dns import DnsServer
from sidecar.lab.sidecar import Sidecar, SidecarSettings

PAIR = {"sender": "capulet.example", "target": "montague.example"}
READ = ("status", "handshakes", "peers", "peer-rules", "domains", "tokens", "secrets")


@pytest_asyncio.fixture
async def sidecar(dns: DnsServer, tmp_path: Path) -> AsyncIterator[Sidecar]:
    place = AuthorityPlace.fresh("capulet.example", allow_cleartext=True)
    admin = {"listen": [], "issue_keys_for": ["capulet.example"]}
    async with Sidecar(
        SidecarSettings([], authority=place, admin=admin), directory=tmp_path / "sidecar", dns=dns
    ) as sidecar:
        yield sidecar


@pytest_asyncio.fixture
async def session(sidecar: Sidecar) -> AsyncIterator[aiohttp.ClientSession]:
    path = str(sidecar.state_directory / "api.sock")
    await _listening(path)
    token = (sidecar.state_directory / "keyd" / "admin-token").read_text().strip()
    connector = aiohttp.UnixConnector(path)
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(
        "http://localhost", connector=connector, headers=headers
    ) as session:
        yield session


async def _listening(path: str) -> None:
    """Return when the API is there; the authority was before."""
    async with asyncio.timeout(30):
        while True:
            try:
                _, writer = await asyncio.open_unix_connection(path)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return


async def ask(session: aiohttp.ClientSession, path: str, content: Any, **headers: str) -> Any:
    async with session.post(path, json=content, headers=headers) as response:
        return response.status, await response.text()


async def test_key_is_in_the_answers_that_are_for_it_and_nowhere_else(
    sidecar: Sidecar, session: aiohttp.ClientSession
) -> None:
    stream = "D60000229F"
    events: list[bytes] = []

    async def listen() -> None:
        async with session.get("/v1/events", timeout=aiohttp.ClientTimeout(None)) as response:
            async for line in response.content:
                events.append(line)

    listening = asyncio.ensure_future(listen())
    about = {**PAIR, "stream": stream}
    status, text = await ask(session, "/v1/keys/issue", about, **{"Idempotency-Key": "k1"})
    assert status == 200
    key = json.loads(text)["key"]
    assert len(key) == 64

    # The API: right, wrong, in the wrong field, in an unknown one, malformed.
    for content in (
        {**about, "key": key},
        {**about, "key": key[::-1]},
        {**PAIR, "stream": key, "key": "x y"},
        {**about, "key": key, key: key},
        {**about, "key": [key]},
        {**about, "key": key + " "},
        {**about, "key": key * 5},
        {**PAIR, "sender": f"{key}..example", "stream": "1", "key": key},
    ):
        status, text = await ask(session, "/v1/keys/verify", content)
        assert status in (200, 400, 422)

    # The listener: right, wrong, and wherever else a peer may put it.
    place = sidecar.settings.authority
    assert place is not None
    at = "from='montague.example' to='capulet.example'"
    for said in (
        verify(key) + verify(key[::-1]) + verify(key, sender="verona.example") + END,
        f"<db:verify {at} id='{stream}' type='valid'>{key}</db:verify>" + END,
        f"<db:result {at}>{key}</db:result>" + END,
        f"<db:result from='{key} x' to='capulet.example'>{key}</db:result>" + END,
        f"<db:verify {at} id='1'>{key}<x/></db:verify>" + END,
        f"<db:verify {at} id='1'>{key} {key}</db:verify>" + END,
        f"<message {at}><body>{key}</body></message>",
        f"<x{key}/>",
        f"<stream:error><x{key} xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>",
        f"<stream:error><text>{key}</text></stream:error>",
        f"{key}",
        f"<db:verify {at}>{key}</wrong>",
        STARTTLS + verify(key),
    ):
        async with ReceivingServer(place.address, place.port) as peer:
            peer.send(HEADER + said)
            await peer.end()
            if said.startswith("<db:verify") and said.endswith(verify(key) + END):
                assert answer() in peer.said

    shown = [sidecar.output.text(), str(events)]
    for path in (*(f"/v1/{name}" for name in READ), "/metrics", f"/v1/handshakes?peer={key}"):
        async with session.get(path) as response:
            shown.append(await response.text())
    async with session.get("/v1/handshakes") as response:
        numbers = [each["id"] for each in (await response.json())["items"]]
    assert numbers
    for number in numbers:
        async with session.get(f"/v1/handshakes/{number}") as response:
            shown.append(await response.text())
    listening.cancel()
    for name in ("cmdline", "environ"):
        shown.append(Path(f"/proc/{sidecar.pid}/{name}").read_bytes().decode(errors="replace"))
    assert "verify capulet.example -> montague.example valid" in sidecar.output.text()
    assert any(b"event: handshake" in line for line in events)
    for text in shown:
        assert key not in text
    # Nor is it on the disk, but for its digest in the ledger.
    for file in sidecar.state_directory.rglob("*"):
        if file.is_file():
            raw = file.read_bytes()
            assert key.encode() not in raw, file
            assert bytes.fromhex(key) not in raw, file
