"""Stanzas in both directions between the host server and stock servers of both kinds.

The sidecar decides each dialback in all its roles, and the host server's own module none.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio
from host_servers import CAPULET, PASSWORD, ROOMS, VERONA
from raw_client import log_in
from raw_stream import RawStream
from world import MESSAGE, Visit, World, body, message

from sidecar.lab.ejabberd import Ejabberd
from sidecar.lab.ejabberd_config import EjabberdSettings
from sidecar.lab.prosody import Prosody
from sidecar.lab.prosody_config import ProsodySettings

PRESENCE = "{jabber:client}presence"


@dataclass
class Stock:
    """A server without us; `domain` is where romeo lives."""

    server: Prosody | Ejabberd
    domain: str

    @property
    def romeo(self) -> str:
        return f"romeo@{self.domain}"

    async def log_in(self) -> RawStream:
        return await log_in(self.romeo, PASSWORD, self.server.address, self.server.c2s_port)


@pytest_asyncio.fixture(
    scope="module",
    loop_scope="session",
    params=["prosody-tls", "prosody-cleartext", "ejabberd-tls", "ejabberd-cleartext"],
)
async def stock(request: pytest.FixtureRequest, world: World) -> AsyncIterator[Stock]:
    """A stock server that insists on TLS, or has none at all."""
    kind, _, security = request.param.partition("-")
    tls = security == "tls"
    domain = f"{request.param}.example"
    accounts = {f"romeo@{domain}": PASSWORD}
    directory = world.network.new_directory(request.param)
    server: Prosody | Ejabberd
    if kind == "prosody":
        settings = ProsodySettings([domain], accounts, tls=tls, s2s_require_encryption=tls)
        server = Prosody(settings, directory=directory, dns=world.network.dns)
    else:
        starttls = "required" if tls else "optional"
        ours = EjabberdSettings([domain], accounts, tls=tls, s2s_use_starttls=starttls)
        server = Ejabberd(ours, directory=directory, dns=world.network.dns)
    async with server:
        yield Stock(server, domain)


async def assert_sidecar_decided_it_all(visit: Visit, local: str, remote: str) -> None:
    await visit.decided("issue", sender=local, target=remote, outcome="valid")
    await visit.decided("verify", sender=local, target=remote, outcome="valid")
    await visit.decided("check", sender=remote, target=local, outcome="valid")
    assert visit.stock_acts() == []


@pytest.mark.parametrize(
    ("user", "local"), [("juliet", CAPULET), ("escalus", VERONA)], ids=[CAPULET, VERONA]
)
async def test_messages_arrive_in_both_directions(
    visit: Visit, stock: Stock, user: str, local: str
) -> None:
    """For each of two hosts of the one host server, which begins."""
    ours, romeo = await visit.log_in(user), await stock.log_in()
    await ours.send(message(to=stock.romeo, text="from us"))
    assert body(await romeo.receive(MESSAGE, timeout_seconds=30)) == "from us"
    await romeo.send(message(to=f"{user}@{local}", text="to us"))
    assert body(await ours.receive(MESSAGE, timeout_seconds=30)) == "to us"
    await assert_sidecar_decided_it_all(visit, local, stock.domain)
    await romeo.close()


async def test_user_of_a_stock_server_takes_part_in_our_room(visit: Visit, stock: Stock) -> None:
    """Here the stock server begins."""
    room = f"{stock.domain}@{ROOMS}"
    juliet, romeo = await visit.log_in("juliet"), await stock.log_in()
    for stream, nick in ((romeo, "romeo"), (juliet, "juliet")):
        await stream.send(
            f"<presence to='{room}/{nick}'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
        )
        await stream.receive(
            PRESENCE,
            where=lambda e, nick=nick: e.get("from") == f"{room}/{nick}",
            timeout_seconds=30,
        )
    await romeo.send(f"<message to='{room}' type='groupchat'><body>but soft</body></message>")
    for stream in (juliet, romeo):
        await stream.receive(MESSAGE, where=lambda e: body(e) == "but soft")
    await assert_sidecar_decided_it_all(visit, ROOMS, stock.domain)
    await romeo.close()


async def test_users_of_two_hosts_of_the_one_server_need_no_dialback(visit: Visit) -> None:
    juliet, escalus = await visit.log_in("juliet"), await visit.log_in("escalus")
    await juliet.send(message(to=f"escalus@{VERONA}", text="help"))
    assert body(await escalus.receive(MESSAGE)) == "help"
    assert (visit.decisions(), visit.stock_acts()) == ([], [])
