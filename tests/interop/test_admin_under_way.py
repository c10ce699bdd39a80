"""Rotate, revoke and import over HTTP while Prosody and ejabberd shake hands."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest_asyncio
from conftest import open_world
from host_servers import CAPULET, PASSWORD, HostSettings
from prosody_host import ProsodyHost
from raw_client import log_in
from sidecar_api import api
from world import MESSAGE, Visit, World, body, message

from sidecar.lab.ejabberd import Ejabberd
from sidecar.lab.ejabberd_config import EjabberdSettings

DOMAINS = [f"d{number}.example" for number in range(12)]
FLOWING, AFTER_REVOCATION = DOMAINS[:8], DOMAINS[8:]
SECRETS = f"/v1/domains/{CAPULET}/secrets"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world() -> AsyncIterator[World]:
    async with open_world(ProsodyHost(HostSettings())) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def ejabberd(world: World) -> AsyncIterator[Ejabberd]:
    accounts = {f"romeo@{domain}": PASSWORD for domain in DOMAINS}
    directory = world.network.new_directory("ejabberd")
    settings = EjabberdSettings(DOMAINS, accounts)
    async with Ejabberd(settings, directory=directory, dns=world.network.dns) as server:
        yield server


async def arrive(visit: Visit, ejabberd: Ejabberd, domains: list[str]) -> None:
    """A message of juliet's to each of these domains, each with a handshake of its own."""
    juliet = await visit.log_in("juliet")
    for domain in domains:
        jid = f"romeo@{domain}"
        romeo = await log_in(jid, PASSWORD, ejabberd.address, ejabberd.c2s_port)
        await juliet.send(message(to=jid, text=f"to {domain}"))
        assert body(await romeo.receive(MESSAGE, timeout_seconds=30)) == f"to {domain}"
        await romeo.close()


async def test_no_honest_handshake_fails(visit: Visit, ejabberd: Ejabberd) -> None:
    sidecar = visit.sidecar
    await arrive(visit, ejabberd, FLOWING[:1])
    flowing = asyncio.ensure_future(arrive(visit, ejabberd, FLOWING[1:]))
    rotations = 0
    while not flowing.done():
        if rotations < 10:
            await api(sidecar, "POST", f"{SECRETS}/rotate")
            rotations += 1
            if rotations == 3:
                await api(sidecar, "POST", f"{SECRETS}/import", {"secret": "of another node"})
        await asyncio.wait([flowing], timeout=0.1)
    await flowing
    listed = await api(sidecar, "GET", SECRETS)
    states = [(each["kind"], each["state"]) for each in listed["versions"]]
    former = states.count(("ledger", "retired")) + states.count(("ledger", "removed"))
    assert (states[-1], former) == (("ledger", "active"), rotations)
    assert states.count(("ledger", "active")) == states.count(("stateless", "retired")) == 1
    assert any(each["uses"] and each["state"] == "retired" for each in listed["versions"])

    await api(sidecar, "POST", f"{SECRETS}/revoke")
    await arrive(visit, ejabberd, AFTER_REVOCATION)
    listed = await api(sidecar, "GET", SECRETS)
    states = [each["state"] for each in listed["versions"]]
    assert states[-2:] == ["revoked", "active"]

    page = await api(sidecar, "GET", f"/v1/handshakes?domain={CAPULET}&role=initiating&limit=100")
    outcomes = {each["peer"]: each["outcome"] for each in page["items"]}
    assert outcomes == dict.fromkeys(DOMAINS, "valid")
    assert visit.stock_acts() == []
