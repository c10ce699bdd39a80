"""The other side of every handshake, on one loopback address: DNS, domains, servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from bench.dns import WildcardDns, Zone
from bench.inbound import Inbound
from bench.outbound import Outbound
from bench.tls import Tls
from sidecar.lab.addresses import free_ports, fresh_address

INBOUND_ZONE = "initiating.example"
OUTBOUND_ZONE = "receiving.example"
_BACKLOG = 1024


@dataclass(frozen=True)
class Peers:
    """Domains of `INBOUND_ZONE` federate with us, with those of `OUTBOUND_ZONE` we do."""

    dns: WildcardDns
    inbound: Inbound
    outbound: Outbound
    tls: Tls | None


@asynccontextmanager
async def peers(tls: Tls | None) -> AsyncIterator[Peers]:
    """Listen and answer DNS questions until the block ends."""
    address = fresh_address()
    authoritative, receiving = free_ports(address, 2)
    inbound, outbound = Inbound(INBOUND_ZONE, tls), Outbound(OUTBOUND_ZONE, tls)
    zones = (
        Zone(INBOUND_ZONE, address, authoritative),
        Zone(OUTBOUND_ZONE, address, receiving),
    )

    async def listen(protocol: Callable[[], asyncio.Protocol], port: int) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        return await loop.create_server(protocol, address, port, backlog=_BACKLOG)

    async with (
        WildcardDns(address, *zones) as dns,
        await listen(inbound.authoritative, authoritative),
        await listen(outbound.receiving, receiving),
    ):
        yield Peers(dns, inbound, outbound, tls)
