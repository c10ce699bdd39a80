"""A DNS responder for endless names: every name under a zone has the same SRV and A record.

Answers are glued from bytes, so that it costs the benchmark a few microseconds a question.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass
from types import TracebackType
from typing import Self, cast

from sidecar.lab.addresses import free_ports
from sidecar.lab.dns import DnsServer

_HEADER_BYTES = 12
_A, _SOA, _SRV = 1, 6, 33
_AUTHORITATIVE_ANSWER = 0x8580
_NAME_OF_THE_QUESTION = b"\xc0\x0c"
_TTL_SECONDS = 300


@dataclass(frozen=True)
class Zone:
    """Where every domain under `name` has its server: `_xmpp-server` says `address`, `port`."""

    name: str
    address: str
    port: int


def _encode(name: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"


def _record(rtype: int, data: bytes, owner: bytes = _NAME_OF_THE_QUESTION) -> bytes:
    return owner + struct.pack(">HHIH", rtype, 1, _TTL_SECONDS, len(data)) + data


class _ZoneAnswers:
    """The records of one zone, rendered beforehand."""

    def __init__(self, zone: Zone, *, literal_targets: bool) -> None:
        self.suffix = _encode(zone.name)
        host = _encode(f"host.{zone.name}")
        target = _encode(zone.address) if literal_targets else host
        self.srv = _record(_SRV, struct.pack(">HHH", 0, 0, zone.port) + target)
        self.a = _record(_A, socket.inet_aton(zone.address))
        numbers = struct.pack(">IIIII", 1, 3600, 600, 86400, _TTL_SECONDS)
        self.soa = _record(_SOA, host + host + numbers, owner=self.suffix)

    def answer(self, name: bytes, qtype: int) -> bytes | None:
        if qtype == _SRV and name.startswith(b"\x0c_xmpp-server\x04_tcp"):
            return self.srv
        if qtype == _A and not name.startswith(b"\x0c_xmpp"):
            return self.a
        return None


class WildcardDns(DnsServer):
    """The lab's DNS server as far as others address it, answering for `zones` alone."""

    def __init__(self, address: str, *zones: Zone, literal_targets: bool = False) -> None:
        super().__init__(address)
        self._zones = zones
        self._answers = [_ZoneAnswers(zone, literal_targets=literal_targets) for zone in zones]
        self._literal: WildcardDns | None = None

    async def __aenter__(self) -> Self:
        (self.port,) = free_ports(self.address)
        loop = asyncio.get_running_loop()
        self._endpoint, _ = await loop.create_datagram_endpoint(
            lambda: _Answering(self), local_addr=(self.address, self.port)
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        if self._literal is not None:
            await self._literal.__aexit__(kind, error, tb)
        self._endpoint.close()

    async def literal_view(self) -> WildcardDns:
        """The same zones on another port, with addresses as SRV targets; ends with this."""
        if self._literal is None:
            view = WildcardDns(self.address, *self._zones, literal_targets=True)
            self._literal = await view.__aenter__()
        return self._literal

    def response(self, query: bytes) -> bytes | None:
        """The response to one query; None for what is none. EDNS is not answered."""
        end = query.find(b"\0", _HEADER_BYTES) + 5
        if not _HEADER_BYTES < end <= len(query):
            return None
        name = query[_HEADER_BYTES : end - 4].lower()
        (qtype,) = struct.unpack_from(">H", query, end - 4)
        answer, authority = b"", b""
        for zone in self._answers:
            if name.endswith(zone.suffix):
                record = zone.answer(name, qtype)
                answer, authority = (record, b"") if record else (b"", zone.soa)
                break
        counts = struct.pack(">HHHH", 1, bool(answer), bool(authority), 0)
        flags = struct.pack(">H", _AUTHORITATIVE_ANSWER)
        return query[:2] + flags + counts + query[_HEADER_BYTES:end] + answer + authority


class _Answering(asyncio.DatagramProtocol):
    def __init__(self, server: WildcardDns) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if response := self._server.response(data):
            self._transport.sendto(response, addr)
