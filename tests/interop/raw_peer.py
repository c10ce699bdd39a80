"""A remote server that does what a test tells it: initiating, receiving and authoritative.

Left alone it is honest: it offers STARTTLS when it has TLS, answers a verify request from the
keys it issued, accepts every dialback request it receives, and keeps the stanzas that arrive.
"""

from __future__ import annotations

import asyncio
import secrets
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Self
from xml.etree.ElementTree import Element

from raw_stream import DIALBACK, STREAM, TLS, RawStream, StreamEnded

from sidecar.lab.addresses import free_ports, fresh_address
from sidecar.lab.certificates import Certificate, self_signed
from sidecar.lab.dns import DnsServer

Answer = Callable[[RawStream, Element], Awaitable[None]]
DIALBACK_FEATURE = "<dialback xmlns='urn:xmpp:features:dialback'><errors/></dialback>"
STANZAS = ("{jabber:server}message", "{jabber:server}iq", "{jabber:server}presence")


class RawPeer:
    """`async with RawPeer("peer.example", dns=..., directory=...) as peer`.

    `on_verify` and `on_result` replace its honest answers to requests from others;
    `streams` are the streams others opened to it.
    """

    def __init__(
        self, *domains: str, dns: DnsServer, directory: Path, tls: bool = True, publish: bool = True
    ) -> None:
        self.domain = domains[0]
        self.domains = domains
        self.address = fresh_address()
        (self.port,) = free_ports(self.address)
        self.tls = tls
        self.certificate = self_signed(*domains)
        """What it shows to those who connect to it."""
        self.client_certificate: Certificate | None = None
        """What it shows on streams it opens. None, so that its keys have to prove its domain."""
        self.issued: dict[tuple[str, str, str], str] = {}
        """(sender, target, stream ID) to the key this peer presented."""
        self.streams: list[RawStream] = []
        self._greeted: asyncio.Queue[None] = asyncio.Queue()
        self.requests: asyncio.Queue[tuple[RawStream, Element]] = asyncio.Queue()
        """The db:result and db:verify elements without a type that reached this peer."""
        self.stanzas: asyncio.Queue[Element] = asyncio.Queue()
        self.new_stream_id: Callable[[], str] = lambda: secrets.token_hex(12)
        self.on_verify: Answer = self.verify_honestly
        self.on_result: Answer = self.accept_result
        self.dialback_feature = DIALBACK_FEATURE
        self.before_features = ""
        self.after_features = ""
        """XML sent right before or after the last features on streams that others opened."""
        self._dns = dns
        self._publish = publish
        self._directory = directory
        self._tasks: set[asyncio.Task[None]] = set()
        self._opened: list[RawStream] = []

    # initiating

    async def connect(
        self,
        address: str,
        port: int,
        *,
        target: str,
        sender: str | None = None,
        tls: bool | None = None,
    ) -> RawStream:
        """Open a stream as `sender` to a server and return it once its features are here.

        The stream ID is `stream.header["id"]`; the features are in `stream.everything[-1]`.
        """
        stream = await RawStream.connect(address, port)
        self._opened.append(stream)
        claimed = sender or self.domain
        await stream.send_header(from_=claimed, to=target, version="1.0")
        await stream.wait_header()
        await stream.receive(STREAM + "features")
        if self.tls if tls is None else tls:
            await stream.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
            await stream.receive(TLS + "proceed")
            await stream.start_tls(
                self._tls_context(ssl.PROTOCOL_TLS_CLIENT, self.client_certificate), target
            )
            await stream.send_header(from_=claimed, to=target, version="1.0")
            await stream.wait_header()
            await stream.receive(STREAM + "features")
        return stream

    async def request(
        self, stream: RawStream, *, target: str, sender: str | None = None, key: str | None = None
    ) -> str:
        """Send a dialback request on `stream` with a key this peer will stand by; return it."""
        claimed = sender or self.domain
        issued = key or secrets.token_hex(32)
        self.issued[claimed, target, stream.header["id"]] = issued
        await stream.db_result(sender=claimed, target=target, key=issued)
        return issued

    async def authenticate(
        self, stream: RawStream, *, target: str, sender: str | None = None
    ) -> Element:
        """Send a dialback request and return the db:result that answers it."""
        claimed = sender or self.domain
        await self.request(stream, target=target, sender=claimed)
        return await stream.receive(
            DIALBACK + "result", where=lambda e: (e.get("to"), e.get("from")) == (claimed, target)
        )

    # authoritative and receiving

    async def verify_honestly(self, stream: RawStream, element: Element) -> None:
        target, sender, stream_id = (element.get(name, "") for name in ("from", "to", "id"))
        known = self.issued.get((sender, target, stream_id))
        good = known is not None and known == (element.text or "").strip()
        await stream.answer_verify(
            sender=sender, target=target, stream=stream_id, type="valid" if good else "invalid"
        )

    async def verify_with_error(self, stream: RawStream, element: Element) -> None:
        """As `on_verify`: it cannot say whether the key is its own."""
        target, sender, stream_id = (element.get(name) for name in ("from", "to", "id"))
        await stream.send(
            f"<db:verify from='{sender}' to='{target}' id='{stream_id}' type='error'>"
            "<error type='cancel'>"
            "<item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></db:verify>"
        )

    async def accept_result(self, stream: RawStream, element: Element) -> None:
        await stream.answer_result(
            sender=element.get("from", ""), target=element.get("to", ""), type="valid"
        )

    async def ignore(self, stream: RawStream, element: Element) -> None:
        """Answer nothing; as `on_verify` it leaves a check in flight."""

    async def next_request(self, name: str) -> tuple[RawStream, Element]:
        """Return the next request of that name ('verify' or 'result') that reached this peer."""
        async with asyncio.timeout(30):
            while True:
                stream, element = await self.requests.get()
                if element.tag == DIALBACK + name:
                    return stream, element

    async def greeted(self) -> None:
        """Return once another stream that somebody opened has its final features."""
        async with asyncio.timeout(30):
            await self._greeted.get()

    async def next_stanza(self) -> Element:
        async with asyncio.timeout(30):
            return await self.stanzas.get()

    def behave(self) -> None:
        """Be honest again, and forget what was asked and delivered so far."""
        self.on_verify = self.verify_honestly
        self.on_result = self.accept_result
        for queue in (self.requests, self.stanzas):
            while not queue.empty():
                queue.get_nowait()

    def close_port(self) -> None:
        """Let nobody connect any more."""
        self._server.close()

    async def hang_up(self) -> None:
        """Drop every stream, opened by us or by others."""
        for stream in (*self.streams, *self._opened):
            stream.abort()
        self.streams.clear()
        self._opened.clear()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stream = RawStream(reader, writer, namespace="jabber:server")
        self.streams.append(stream)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            stream.start_reading()
            await self._serve(stream)
        except (StreamEnded, TimeoutError, OSError, asyncio.CancelledError):
            pass  # the stream is over, or we are
        finally:
            stream.abort()

    async def _serve(self, stream: RawStream) -> None:
        await self._greet(stream, offer_tls=self.tls)
        while True:
            element = await stream.receive(timeout_seconds=600)
            if element.tag == TLS + "starttls" and not self.tls:
                # Prosody asks even where it was not offered, when it needs encryption.
                await stream.send("<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
                await stream.close()
            elif element.tag == TLS + "starttls":
                await stream.start_tls(
                    self._tls_context(ssl.PROTOCOL_TLS_SERVER, self.certificate),
                    first="<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
                )
                await self._greet(stream, offer_tls=False)
            elif element.tag in STANZAS:
                self.stanzas.put_nowait(element)
            elif element.tag.startswith(DIALBACK) and "type" not in element.attrib:
                self.requests.put_nowait((stream, element))
                verify = element.tag == DIALBACK + "verify"
                await (self.on_verify if verify else self.on_result)(stream, element)

    async def _greet(self, stream: RawStream, *, offer_tls: bool) -> None:
        header = await stream.wait_header()
        to = header.get("from")
        await stream.send_header(
            from_=header.get("to", self.domain),
            **({"to": to} if to else {}),
            id=self.new_stream_id(),
            version="1.0",
        )
        starttls = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>" if offer_tls else ""
        features = f"<stream:features>{starttls}{self.dialback_feature}</stream:features>"
        if not offer_tls:
            features = self.before_features + features + self.after_features
        await stream.send(features)
        if not offer_tls:
            self._greeted.put_nowait(None)

    def _tls_context(self, protocol: int, shown: Certificate | None) -> ssl.SSLContext:
        context = ssl.SSLContext(protocol)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if shown is not None:
            context.load_cert_chain(*shown.write(self._directory, f"{protocol}"))
        return context

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accepted, self.address, self.port)
        if self._publish:
            for domain in self.domains:
                self._dns.add_srv(domain, f"xmpp.{domain}", self.port)
                self._dns.add_address(f"xmpp.{domain}", self.address)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._server.close()
        await self.hang_up()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
