"""Who comes to a server from outside: remote servers in our hands, and local users."""

from __future__ import annotations

import itertools
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Protocol, Self
from xml.etree.ElementTree import Element

from host_servers import CAPULET, PASSWORD, VERONA
from raw_client import log_in
from raw_peer import RawPeer
from raw_stream import RawStream

from sidecar.lab.network import Network

MESSAGE = "{jabber:client}message"
_numbers = itertools.count(1)


class Reachable(Protocol):
    """A server, as far as guests know it."""

    address: str
    s2s_port: int
    c2s_port: int


class Guests:
    """The guests of one `server`. What was opened in an `async with` ends with it."""

    def __init__(self, server: Reachable, network: Network) -> None:
        self._server = server
        self._network = network
        self._stack = AsyncExitStack()

    async def peer(self, name: str = "peer", *, tls: bool = True) -> RawPeer:
        """A remote server with a domain of its own, new to the server."""
        return await self.peer_for(f"{name}-{next(_numbers)}.example", tls=tls)

    async def peer_for(self, *domains: str, tls: bool = True, publish: bool = True) -> RawPeer:
        """A remote server for these domains; with `publish=False` nobody finds it."""
        peer = RawPeer(
            *domains,
            dns=self._network.dns,
            directory=self._network.new_directory("peer"),
            tls=tls,
            publish=publish,
        )
        return await self._stack.enter_async_context(peer)

    async def stream(
        self,
        peer: RawPeer,
        *,
        sender: str | None = None,
        target: str = CAPULET,
        tls: bool | None = None,
    ) -> RawStream:
        """A stream from `peer` to the server, before any dialback."""
        server = self._server
        return await peer.connect(
            server.address, server.s2s_port, target=target, sender=sender, tls=tls
        )

    async def log_in(self, user: str) -> RawStream:
        """A local user's client; `juliet`, `nurse` or `escalus`."""
        jid = f"{user}@{VERONA if user == 'escalus' else CAPULET}"
        stream = await log_in(jid, PASSWORD, self._server.address, self._server.c2s_port)
        self._stack.callback(stream.abort)
        return stream

    async def federate(self) -> RawPeer:
        """First stanzas to and from a peer never seen before, which is returned."""
        peer = await self.peer()
        juliet = await self.log_in("juliet")
        await juliet.send(message(to=f"romeo@{peer.domain}", text="who decides?"))
        await peer.next_stanza()
        stream = await self.stream(peer)
        assert (await peer.authenticate(stream, target=CAPULET)).get("type") == "valid"
        return peer

    async def key_shown_to(self, peer: RawPeer) -> dict[str, str]:
        """Have the server send `peer` a key, and return what a verify request asks about it."""
        peer.on_result = peer.ignore
        nurse = await self.log_in("nurse")
        await nurse.send(message(to=f"romeo@{peer.domain}", text="hello"))
        stream, element = await peer.next_request("result")
        return {
            "sender": CAPULET,
            "target": peer.domain,
            "stream": stream.sent_headers[-1]["id"],
            "key": element.text or "",
        }

    async def delivered_to(self, juliet: RawStream) -> list[str]:
        """The bodies of the messages that reached juliet until now.

        A message of the nurse's is the fence: what was delivered came before it.
        """
        nurse = await self.log_in("nurse")
        fence = f"fence {next(_numbers)}"
        await nurse.send(
            f"<message to='juliet@{CAPULET}' type='chat'><body>{fence}</body></message>"
        )
        await juliet.receive(MESSAGE, where=lambda element: body(element) == fence)
        return [body(element) for element in juliet.elements if element.tag == MESSAGE]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        await self._stack.aclose()


def body(element: Element) -> str:
    """The text of a message."""
    for child in element:
        if child.tag.endswith("}body"):
            return child.text or ""
    return ""


def message(*, to: str, text: str, sender: str | None = None) -> str:
    """A chat message; clients leave `sender` to their server."""
    from_ = "" if sender is None else f" from='{sender}'"
    return f"<message{from_} to='{to}' type='chat'><body>{text}</body></message>"
