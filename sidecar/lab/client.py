"""A person with a chat client: a real client connection, messages out and in."""

from __future__ import annotations

import asyncio
import logging
import ssl
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self
from xml.etree import ElementTree

from slixmpp import JID, ClientXMPP

from sidecar.lab.faults import LabError

logging.getLogger("slixmpp").setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True)
class Message:
    """A message that arrived. `error` is its error condition, or None for a normal one."""

    sender: str
    text: str
    type: str
    error: str | None = None


class _Client(ClientXMPP):
    def data_received(self, data: bytes | str) -> None:
        """Feed the parser and let it report what is complete.

        COMPAT(expat 2.6): without the flush, a stanza in two TCP segments waits for the next.
        """
        super().data_received(data)
        flush = getattr(self.parser, "flush", None)
        if flush is not None:
            flush()
            super().data_received(b"")


class Client:
    """`async with Client("juliet@capulet.example", "secret", address, port) as juliet`.

    Trusts any certificate: the server is on this machine and its certificate self-signed.
    """

    def __init__(
        self, jid: str, password: str, address: str, port: int, *, tls: bool = True
    ) -> None:
        self.jid = jid
        self._password = password
        self._place = (address, port)
        self._tls = tls
        self._inbox: asyncio.Queue[Message] = asyncio.Queue()

    async def __aenter__(self) -> Self:
        self._stream = stream = _Client(self.jid, self._password, ssl_context=_trust_everything())
        stream.enable_direct_tls = False
        stream.enable_starttls = self._tls
        stream.enable_plaintext = not self._tls
        if not self._tls:
            mechanisms: Any = stream.plugin["feature_mechanisms"]
            mechanisms.unencrypted_plain = mechanisms.unencrypted_scram = True
        stream.register_plugin("xep_0045")
        started: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def ended(problem: str) -> Any:
            def handler(event: object) -> None:
                if not started.done():
                    started.set_exception(LabError(f"{self.jid}: {problem}: {event}"))

            return handler

        def session_started(event: object) -> None:
            stream.send_presence()
            if not started.done():
                started.set_result(None)

        stream.add_event_handler("session_start", session_started)
        stream.add_event_handler("failed_all_auth", ended("authentication failed"))
        stream.add_event_handler("connection_failed", ended("connection failed"))
        stream.add_event_handler("message", self._message)
        stream.add_event_handler("message_error", self._message)
        stream.add_event_handler("groupchat_message", self._message)
        stream.connect(*self._place)
        try:
            async with asyncio.timeout(20):
                await started
        except BaseException as error:
            stream.abort()
            if isinstance(error, TimeoutError):
                raise LabError(f"{self.jid}: no session within 20 s") from error
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        await self._stream.disconnect(wait=0.5)
        self._stream.abort()

    def send(
        self, to: str, text: str, *, type: Literal["chat", "normal", "groupchat"] = "chat"
    ) -> None:
        """Send a message; whether it arrived only the other side can tell."""
        self._stream.send_message(mto=JID(to), mbody=text, mtype=type)

    def send_raw(self, xml: str) -> None:
        """Send XML as it is."""
        self._stream.send_raw(xml)

    async def receive(self, *, timeout_seconds: float = 30) -> Message:
        """Return the next message that arrived, errors included; LabError when none comes."""
        try:
            async with asyncio.timeout(timeout_seconds):
                return await self._inbox.get()
        except TimeoutError as error:
            raise LabError(f"{self.jid} received nothing within {timeout_seconds:g} s") from error

    @property
    def waiting(self) -> int:
        """How many messages arrived that nobody took with `receive`."""
        return self._inbox.qsize()

    async def join(self, room: str, nick: str, *, timeout_seconds: float = 30) -> None:
        """Enter a chat room and return when the room has let us in."""
        try:
            rooms: Any = self._stream.plugin["xep_0045"]
            await rooms.join_muc_wait(JID(room), nick, maxstanzas=0, timeout=timeout_seconds)
        except Exception as error:  # a presence error or a time-out of its own
            raise LabError(f"{self.jid} could not join {room}: {error!r}") from error

    async def ping(self, jid: str, *, timeout_seconds: float = 30) -> str:
        """Send an IQ ping (XEP-0199) and return 'result' or the error condition."""
        iq: Any = self._stream.make_iq_get(ito=JID(jid))
        iq.xml.append(ElementTree.Element("{urn:xmpp:ping}ping"))
        try:
            await iq.send(timeout=timeout_seconds)
        except Exception as error:  # IqError and IqTimeout
            condition = getattr(error, "condition", None)
            return str(condition or error)
        return "result"

    def _message(self, stanza: Any) -> None:
        error = str(stanza["error"]["condition"]) if stanza["type"] == "error" else None
        message = Message(str(stanza["from"]), str(stanza["body"]), str(stanza["type"]), error)
        if error is not None or message.text:
            self._inbox.put_nowait(message)


def _trust_everything() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
