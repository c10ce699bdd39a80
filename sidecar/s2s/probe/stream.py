"""What one server shows when it is connected to as a peer would, step by step.

Everything is looked at and nothing is required, unlike in a check.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sidecar.errors import InvalidValue, StreamViolation, shorten
from sidecar.jobs import Issue
from sidecar.names import DialbackKey, Domain, DomainPair, StreamId
from sidecar.protocol import namespaces as ns
from sidecar.protocol.dialback import read_result_response, write_result
from sidecar.protocol.stream import (
    CLOSE,
    STARTTLS,
    StreamHeader,
    read_features,
    read_header,
    read_stream_error,
    write_header,
)
from sidecar.protocol.xml import Element, StreamEnd, StreamPart, StreamStart, XmlStream
from sidecar.s2s.probe.findings import Rule
from sidecar.s2s.tls import chain_of

_READ_BYTES = 16_384
_SASL = "urn:ietf:params:xml:ns:xmpp-sasl"
_MECHANISM = re.compile(r"[A-Z0-9_-]{1,20}\Z")  # RFC 4422 §3.1

IssueKey = Callable[[Issue], Awaitable[DialbackKey]]
"""Gives a key for the stream as it is, or raises Trouble."""


class Trouble(Exception):
    """The stream went no further; `rule` says how, `text` what was seen."""

    def __init__(self, rule: Rule, text: str = "") -> None:
        super().__init__(text)
        self.rule, self.text = rule, text


@dataclass(slots=True)
class Seen:
    """What was seen on one connection, as far as it went; `dialback` is the result for us."""

    place: str
    direct_tls: bool
    stream_id: str = ""
    legacy: bool = False
    tls_offered: bool = False
    tls_version: str = ""
    tls_cipher: str = ""
    alpn: str = ""
    chain: tuple[bytes, ...] = ()
    mechanisms: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    dialback_offered: bool = False
    dialback_errors: bool = False
    dialback: str = ""
    trouble: Trouble | None = None


class ProbeStream:
    """One connection. `look` fills `seen`; it raises nothing."""

    def __init__(
        self,
        connected: socket.socket,
        place: str,
        *,
        ip: str,
        local: Domain | None,
        remote: Domain,
    ) -> None:
        self._socket = connected
        self._ip = ip
        self._local, self._remote = local, remote
        self._xml = XmlStream()
        self._parts: list[StreamPart] = []
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter
        self.seen = Seen(place, direct_tls=False)

    async def look(
        self,
        context: ssl.SSLContext,
        *,
        direct_tls: bool,
        issue: IssueKey | None,
        timeout_seconds: float,
        dialback_seconds: float,
    ) -> Seen:
        """Negotiate as far as it goes; with `issue` and a domain of ours, dial back too."""
        self.seen.direct_tls = direct_tls
        try:
            async with asyncio.timeout(timeout_seconds):
                self._reader, self._writer = await asyncio.open_connection(sock=self._socket)
                await self._negotiate(context)
            if issue is not None and self._local is not None:
                await self._dial_back(issue, self._local, dialback_seconds)
        except Trouble as trouble:
            self.seen.trouble = trouble
        except StreamViolation as violation:
            self.seen.trouble = Trouble(Rule.STREAM_FAILED, violation.text)
        except TimeoutError:
            self.seen.trouble = Trouble(Rule.STREAM_TIMEOUT)
        except (OSError, asyncio.IncompleteReadError) as error:
            self.seen.trouble = Trouble(Rule.STREAM_FAILED, shorten(str(error)))
        finally:
            self._close()
        return self.seen

    async def _negotiate(self, context: ssl.SSLContext) -> None:
        seen = self.seen
        if seen.direct_tls:
            await self._start_tls(context)
        header, features = await self._open()
        if seen.legacy or features is None:
            seen.dialback_offered = header.dialback
            return
        if not seen.direct_tls:
            seen.tls_offered = read_features(features).starttls
            if seen.tls_offered:
                self._writer.write(STARTTLS)
                reply = await self._element()
                if reply.name != "proceed":
                    raise Trouble(Rule.TLS_FAILED, "it offers STARTTLS and then refuses")
                await self._start_tls(context)
                header, features = await self._open()
                if features is None:
                    return
        found = read_features(features)
        seen.dialback_offered = found.dialback or header.dialback
        seen.dialback_errors = found.dialback_errors
        mechanisms = features.child(_SASL, "mechanisms")
        if mechanisms is not None:
            names = [child.text.strip() for child in mechanisms.children]
            seen.mechanisms = tuple(name for name in names if _MECHANISM.match(name))
        seen.features = tuple(f"{child.name} {child.namespace}" for child in features.children)

    async def _open(self) -> tuple[StreamHeader, Element | None]:
        """Exchange headers; the features that follow, unless the server is a legacy one."""
        self._xml, self._parts = XmlStream(), []
        self._writer.write(write_header(local=self._local, remote=self._remote))
        part = await self._part()
        if not isinstance(part, StreamStart):
            raise Trouble(Rule.STREAM_FAILED, "expected a stream header")
        header = read_header(part)
        self.seen.stream_id = header.id or ""
        self.seen.legacy = header.legacy
        return header, None if header.legacy else await self._element()

    async def _start_tls(self, context: ssl.SSLContext) -> None:
        try:
            await self._writer.start_tls(context, server_hostname=str(self._remote.a_label))
        except (ssl.SSLError, OSError) as error:
            reason = getattr(error, "reason", None) or str(error) or "the connection was closed"
            raise Trouble(Rule.TLS_FAILED, shorten(reason)) from error
        session = self._writer.get_extra_info("ssl_object")
        cipher = session.cipher()
        seen = self.seen
        seen.tls_version, seen.tls_cipher = session.version() or "", cipher[0] if cipher else ""
        seen.alpn = session.selected_alpn_protocol() or ""
        seen.chain = chain_of(session)

    async def _dial_back(self, issue: IssueKey, local: Domain, timeout_seconds: float) -> None:
        """Be the Initiating Server for once (XEP-0220 §2.1.1)."""
        pair = DomainPair(sender=local, target=self._remote)
        seen = self.seen
        try:
            stream = StreamId.parse(seen.stream_id)
        except InvalidValue as error:
            raise Trouble(Rule.STREAM_NO_ID, error.problem) from None
        key = await issue(
            Issue(
                pair=pair,
                stream=stream,
                encrypted=bool(seen.tls_version),
                ip=self._ip,
                certificate=seen.chain[0] if seen.chain else None,
            )
        )
        self._writer.write(write_result(pair, key))
        try:
            async with asyncio.timeout(timeout_seconds):
                while True:
                    result = read_result_response(await self._element())
                    if result is not None and result.pair == pair:
                        break
        except TimeoutError:
            raise Trouble(Rule.DIALBACK_TIMEOUT) from None
        except Trouble as trouble:
            raise Trouble(Rule.DIALBACK_REFUSED, trouble.text) from None
        self.seen.dialback = result.outcome.value
        if result.condition is not None:
            self.seen.dialback += f" ({shorten(result.condition)})"

    async def _element(self) -> Element:
        part = await self._part()
        if not isinstance(part, Element):
            raise Trouble(Rule.STREAM_FAILED, "the server closed the stream")
        if (part.namespace, part.name) == (ns.STREAM, "error"):
            condition, text = read_stream_error(part)
            rule = Rule.STREAM_ERROR
            if condition in ("host-unknown", "host-gone"):
                rule = Rule.HOST_UNKNOWN
            raise Trouble(rule, f"{shorten(condition)} {shorten(text)}" if text else condition)
        return part

    async def _part(self) -> StreamPart:
        while not self._parts:
            data = await self._reader.read(_READ_BYTES)
            if not data:
                raise Trouble(Rule.STREAM_FAILED, "the server closed the connection")
            self._xml.feed(data)
            self._parts += self._xml.parts()
        part = self._parts.pop(0)
        if isinstance(part, StreamEnd):
            raise Trouble(Rule.STREAM_FAILED, "the server closed the stream")
        return part

    def _close(self) -> None:
        if hasattr(self, "_writer"):
            if not self._writer.is_closing():
                self._writer.write(CLOSE)
            self._writer.close()
        else:
            self._socket.close()
