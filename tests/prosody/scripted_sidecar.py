"""A sidecar that answers as a test tells it, written from docs/link-protocol.md alone.

Left alone it issues keys and knows them again, and calls every key of others valid.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Callable
from types import TracebackType
from typing import Self
from xml.etree.ElementTree import Element, tostring
from xml.sax.saxutils import quoteattr

from raw_component import connect_component
from raw_stream import RawStream

NAMESPACE = "urn:dialback-sidecar:1"
_IQ = "{jabber:component:accept}iq"


def verdict(type: str, **attributes: str) -> Element:
    return Element("verdict", {"type": type, **attributes})


def key(text: str) -> Element:
    element = Element("key")
    element.text = text
    return element


class Stanza:
    """An iq with one request or a batch of them, and the MAC it had to carry."""

    def __init__(self, iq: Element, mac: str) -> None:
        self.iq = iq
        self.mac = mac
        self.is_batch = _local(iq[0].tag) == "batch"
        payloads = list(iq[0]) if self.is_batch else [iq[0]]
        self.requests = [Request(self, payload) for payload in payloads]


class Request:
    """One request that arrived, and the answer to it, which a batch sends with all others."""

    def __init__(self, stanza: Stanza, payload: Element) -> None:
        self.stanza = stanza
        self.mac = stanza.mac
        self.payload = payload
        self.job = _local(payload.tag)
        self.answer: Element | None = None

    @property
    def iq(self) -> Element:
        return self.stanza.iq

    def __getitem__(self, attribute: str) -> str:
        return self.payload.attrib[attribute]

    @property
    def key(self) -> str:
        found = self.payload.find(f"{{{NAMESPACE}}}key")
        return ((self.payload if found is None else found).text or "").strip()


Answer = Callable[[Request], Element | None]


class ScriptedSidecar:
    """`answers[job]` replaces an answer; jobs in `held` wait in `waiting` for `reply`."""

    def __init__(self, jid: str, secret: str, address: str, port: int) -> None:
        self.jid = jid
        self.answers: dict[str, Answer] = {}
        self.held: set[str] = set()
        self.waiting: asyncio.Queue[Request] = asyncio.Queue()
        self.requests: list[Request] = []
        self.strangers: list[Element] = []
        """What arrived and was no request with the right MAC, or a batch of such."""
        self._secret = secret
        self._place = (address, port)
        self._key = _hmac(secret.encode(), f"{NAMESPACE} link key").digest()
        self._stream: RawStream | None = None
        self._task: asyncio.Task[None] | None = None

    def asked(self, *jobs: str) -> list[Request]:
        """The requests so far of these jobs."""
        return [request for request in self.requests if request.job in jobs]

    async def next_held(self) -> Request:
        async with asyncio.timeout(15):
            return await self.waiting.get()

    async def connect(self) -> None:
        self._stream = await connect_component(self.jid, self._secret, *self._place)
        self._task = asyncio.create_task(self._serve(self._stream))

    async def vanish(self) -> None:
        """Drop the connection without a word."""
        if self._task is not None:
            self._task.cancel()
        if self._stream is not None:
            self._stream.abort()

    async def release(self) -> None:
        """Answer what is held, and hold nothing any more."""
        self.held.clear()
        while not self.waiting.empty():
            await self.answer(self.waiting.get_nowait())

    async def answer(self, request: Request) -> None:
        payload = self.answers.get(request.job, _usual)(request)
        if payload is not None:
            await self.reply(request, payload)

    async def reply(self, request: Request, payload: Element, *, mac: str | None = None) -> None:
        """Answer it; with all others, if it came in a batch, when those are answered too."""
        assert self._stream is not None
        if request.stanza.is_batch:
            request.answer = payload
            answers = [each.answer for each in request.stanza.requests]
            payload = Element("answers")
            for answer in answers:
                if answer is None:
                    return
                payload.append(answer)
        payload.set("xmlns", NAMESPACE)
        if mac is None:
            mac = self._mac(_field("reply") + _field(request.mac) + _canonical(payload))
        payload.set("mac", mac)
        await self._stream.send(
            f"<iq type='result' id={quoteattr(request.iq.attrib['id'])}"
            f" from='{self.jid}' to='{request.iq.get('from')}'>{tostring(payload).decode()}</iq>"
        )

    async def refuse(self, request: Request, condition: str = "forbidden") -> None:
        assert self._stream is not None
        await self._stream.send(
            f"<iq type='error' id={quoteattr(request.iq.attrib['id'])}"
            f" from='{self.jid}' to='{request.iq.get('from')}'><error type='auth'>"
            f"<{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"
        )

    async def _serve(self, stream: RawStream) -> None:
        while True:
            element = await stream.receive(timeout_seconds=600)
            stanza = self._read(element)
            if stanza is None:
                self.strangers.append(element)
                continue
            self.requests += stanza.requests
            for request in stanza.requests:
                if request.job in self.held:
                    self.waiting.put_nowait(request)
                else:
                    await self.answer(request)

    def _read(self, iq: Element) -> Stanza | None:
        if iq.tag != _IQ or iq.get("type") not in ("get", "set") or len(iq) != 1:
            return None
        head = "".join(_field(iq.attrib[name]) for name in ("id", "from", "to", "type"))
        mac = self._mac(_field("request") + head + _canonical(iq[0]))
        if iq[0].get("mac") != mac:
            return None
        stanza = Stanza(iq, mac)
        if stanza.is_batch and any({"mac", "remaining"} & {*each.keys()} for each in iq[0]):
            return None
        return stanza

    def _mac(self, text: str) -> str:
        return _hmac(self._key, text).hexdigest()

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        await self.vanish()


def _usual(request: Request) -> Element | None:
    if request.job == "issue":
        return key(_issued(request))
    if request.job == "verify":
        return verdict("valid" if request.key == _issued(request) else "invalid")
    if request.job == "check":
        return verdict("valid", evidence="key")
    return Element("received")


def _issued(request: Request) -> str:
    triple = f"{request['sender']} {request['target']} {request['stream']}"
    return hashlib.sha256(triple.encode()).hexdigest()


def _hmac(secret: bytes, text: str) -> hmac.HMAC:
    return hmac.new(secret, text.encode(), hashlib.sha256)


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _field(text: str) -> str:
    return f"{len(text.encode())}:{text}"


def _canonical(element: Element) -> str:
    attributes = sorted(
        (name, value)
        for name, value in element.attrib.items()
        if name not in ("mac", "xmlns") and "{" not in name
    )
    text = (element.text or "") + "".join(child.tail or "" for child in element)
    return (
        _field(_local(element.tag))
        + _field(text)
        + _field(str(len(attributes)))
        + "".join(_field(name) + _field(value) for name, value in attributes)
        + _field(str(len(element)))
        + "".join(_canonical(child) for child in element)
    )
