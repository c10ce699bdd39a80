"""An Authoritative Server that does exactly what a test wants, over real sockets and TLS."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from typing import Self

from sidecar.lab.addresses import free_ports, fresh_address
from sidecar.lab.certificates import Certificate

HEADER = (
    "<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' "
    "xmlns:stream='http://etherx.jabber.org/streams' id='peer1' version='1.0'>"
)
LEGACY_HEADER = HEADER.replace(" version='1.0'>", ">")
BARE_HEADER = HEADER.replace(" xmlns:db='jabber:server:dialback'", "")
STARTTLS = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
DIALBACK = "<dialback xmlns='urn:xmpp:features:dialback'><errors/></dialback>"
PROCEED = "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"

Script = Callable[["Peer"], Awaitable[None]]


def features(*inner: str) -> str:
    return f"<stream:features>{''.join(inner)}</stream:features>"


def answer(
    outcome: str,
    *,
    sender: str = "capulet.example",
    target: str = "montague.example",
    stream: str = "D60000229F",
    inner: str = "",
) -> str:
    return (
        f"<db:verify from='{sender}' to='{target}' id='{stream}' type='{outcome}'>"
        f"{inner}</db:verify>"
    )


def stream_error(condition: str) -> str:
    return (
        f"<stream:error><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>"
        "</stream:stream>"
    )


def dialback_error(condition: str) -> str:
    return (
        f"<error type='cancel'><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
    )


class Peer:
    """One connection from the server's side."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        context: ssl.SSLContext | None,
    ) -> None:
        self.reader, self.writer, self._context = reader, writer, context

    async def until(self, marker: str) -> str:
        return (await self.reader.readuntil(marker.encode())).decode()

    async def header(self) -> str:
        return await self.until(" version='1.0'>")

    async def verify(self) -> str:
        return await self.until("</db:verify>")

    def send(self, *texts: str) -> None:
        self.writer.write("".join(texts).encode())

    async def start_tls(self) -> None:
        assert self._context is not None
        await self.until("xmpp-tls'/>")
        self.send(PROCEED)
        await self.writer.start_tls(self._context)

    def reset(self) -> None:
        """Close with RST."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


class ScriptedAuthority:
    """Runs `script` for each connection; `seen` is what the scripts were sent, in order."""

    def __init__(
        self, script: Script, *, context: ssl.SSLContext | None = None, direct_tls: bool = False
    ) -> None:
        self.address = fresh_address()
        self.port = 0
        self.connections = 0
        self._script = script
        self._context = context
        self._direct_tls = direct_tls
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        (self.port,) = free_ports(self.address)
        await self.listen()
        return self

    async def listen(self) -> None:
        """Again, after `stop_listening`."""
        self._server = await asyncio.start_server(
            self._serve,
            self.address,
            self.port,
            ssl=self._context if self._direct_tls else None,
        )

    async def stop_listening(self) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._script(Peer(reader, writer, self._context))
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()


def server_context(certificate: Certificate, tmp_path: object) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    chain, key = certificate.write(tmp_path, "server")  # type: ignore[arg-type]
    context.load_cert_chain(chain, key)
    context.set_alpn_protocols(["xmpp-server"])
    return context


def attribute(element: str, name: str) -> str:
    found = re.search(rf" {name}='([^']*)'", element)
    assert found is not None
    return found.group(1)
