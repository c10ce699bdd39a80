"""An authoritative DNS server for test zones, over UDP and TCP, changeable while it runs.

    async with DnsServer() as dns:
        dns.add_srv("capulet.example", "xmpp.capulet.example", port=20001)
        dns.add_address("xmpp.capulet.example", "127.64.1.2")
        dns.script("slow.example", Slow(seconds=3))

A name with no records and none below it is NXDOMAIN, one with other records NODATA. The
messages themselves are dnspython's.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from types import TracebackType
from typing import Self, cast

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

from sidecar.lab.addresses import free_ports, fresh_address
from sidecar.lab.faults import LabError
from sidecar.lab.script import Behaviour, Respond, Truncate

_SOA = "ns.{zone} hostmaster.{zone} 1 3600 600 86400 {ttl}"
_MAX_CNAMES = 8


@dataclass(frozen=True, slots=True)
class Query:
    """One question as it came: the name without its final dot, the type ('SRV'), 'udp' or 'tcp'."""

    name: str
    type: str
    transport: str


class DnsServer:
    """Records by (name, type). With `literal_targets`, SRV targets are answered as addresses.

    COMPAT(ejabberd): it resolves SRV targets through libc, which knows nothing of this server,
    but takes an address in place of the target. `literal_view` is a server of the same records
    that answers so; everybody else sees names.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        port: int = 0,
        ttl_seconds: int = 0,
        shared: DnsServer | None = None,
    ) -> None:
        """`port` 0: any free one."""
        self.address = address or fresh_address()
        self.port = port
        self.queries: list[Query] = []
        self.ttl_seconds = ttl_seconds
        self._literal_targets = shared is not None
        self._records: dict[tuple[dns.name.Name, dns.rdatatype.RdataType], dns.rrset.RRset] = (
            shared._records if shared else {}
        )
        self._scripts: dict[dns.name.Name, Behaviour] = shared._scripts if shared else {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._view: DnsServer | None = None

    @property
    def nameserver(self) -> str:
        """`ip:port`, as `check.nameservers` wants it."""
        return f"{self.address}:{self.port}"

    # Records.

    def add(self, name: str, record_type: str, text: str) -> None:
        """Add a record in zone file form: `add("a.example", "SRV", "0 0 5269 b.example.")`."""
        new = dns.rrset.from_text(_absolute(name), self.ttl_seconds, "IN", record_type, text)
        known = self._records.setdefault((new.name, new.rdtype), new)
        if known is not new:
            known.add(new[0], self.ttl_seconds)

    def add_srv(
        self,
        domain: str,
        target: str,
        port: int,
        *,
        service: str = "_xmpp-server._tcp",
        priority: int = 0,
        weight: int = 0,
    ) -> None:
        self.add(f"{service}.{domain}", "SRV", f"{priority} {weight} {port} {_absolute(target)}")

    def add_address(self, name: str, *addresses: str) -> None:
        for address in addresses:
            self.add(name, "AAAA" if ":" in address else "A", address)

    def add_cname(self, name: str, target: str) -> None:
        self.add(name, "CNAME", _absolute(target))

    def remove(self, name: str, record_type: str | None = None) -> None:
        """Forget the records of `name` (of one type, or all) and what was scripted for it."""
        owner = dns.name.from_text(name)
        for key in [key for key in self._records if key[0] == owner]:
            if record_type is None or key[1] == dns.rdatatype.from_text(record_type):
                del self._records[key]
        if record_type is None:
            self._scripts.pop(owner, None)

    def script(self, name: str, behaviour: Behaviour) -> None:
        """Answer questions about `name` and all names below it in this way until `remove`."""
        self._scripts[dns.name.from_text(name)] = behaviour

    def asked(self, name: str, record_type: str | None = None) -> list[Query]:
        """The questions about exactly this name so far."""
        wanted = name.rstrip(".").lower()
        return [
            query
            for query in self.queries
            if query.name == wanted and record_type in (None, query.type)
        ]

    # Answers.

    def answer(self, request: dns.message.Message) -> dns.message.Message:
        """Return the response to one question from the records alone."""
        question = request.question[0]
        response = dns.message.make_response(request)
        response.flags |= dns.flags.AA | dns.flags.RA
        name = question.name.canonicalize()
        for _ in range(_MAX_CNAMES):
            if found := self._records.get((name, question.rdtype)):
                response.answer.append(self._shown(found))
                return response
            alias = self._records.get((name, dns.rdatatype.CNAME))
            if alias is None:
                break
            response.answer.append(alias)
            name = alias[0].target.canonicalize()
        if not response.answer and not any(owner.is_subdomain(name) for owner, _ in self._records):
            response.set_rcode(dns.rcode.NXDOMAIN)
        response.authority.append(self._soa(name))
        return response

    def _shown(self, found: dns.rrset.RRset) -> dns.rrset.RRset:
        if not self._literal_targets or found.rdtype != dns.rdatatype.SRV:
            return found
        shown = dns.rrset.RRset(found.name, found.rdclass, found.rdtype)
        for record in found:
            addresses = self._records.get((record.target.canonicalize(), dns.rdatatype.A))
            for address in [entry.address for entry in addresses or ()] or [None]:
                target = dns.name.from_text(address) if address else record.target
                shown.add(record.replace(target=target), ttl=found.ttl)
        return shown

    def _soa(self, name: dns.name.Name) -> dns.rrset.RRset:
        zone = dns.name.Name(name.labels[-3:])
        text = _SOA.format(zone=zone, ttl=self.ttl_seconds)
        return dns.rrset.from_text(zone, self.ttl_seconds, "IN", "SOA", text)

    def _behaviour(self, name: dns.name.Name) -> Behaviour:
        while True:
            if found := self._scripts.get(name):
                return found
            if name == dns.name.root:
                return Respond()
            name = name.parent()

    async def respond(self, wire: bytes, transport: str) -> bytes | None:
        """Return the response to a request in wire form, or None where none is to be sent."""
        try:
            request = dns.message.from_wire(wire)
            question = request.question[0]
        except (dns.exception.DNSException, IndexError):
            return None
        name = question.name.canonicalize()
        self.queries.append(
            Query(name.to_text(omit_final_dot=True), question.rdtype.name, transport)
        )
        behaviour = self._behaviour(name)
        response = await behaviour(request, self.answer(request))
        if response is None:
            return None
        if transport == "tcp":
            return response.to_wire(max_size=65535)
        limit = request.payload if request.edns >= 0 else 512
        try:
            if isinstance(behaviour, Truncate):
                raise dns.exception.TooBig
            return response.to_wire(max_size=max(512, limit))
        except dns.exception.TooBig:
            short = dns.message.make_response(request)
            short.flags |= dns.flags.TC
            return short.to_wire()

    # Sockets.

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        if not self.port:
            (self.port,) = free_ports(self.address)
        try:
            self._udp, _ = await loop.create_datagram_endpoint(
                lambda: _Udp(self), (self.address, self.port)
            )
            self._tcp = await asyncio.start_server(self._serve_tcp, self.address, self.port)
        except OSError as error:
            raise LabError(f"no DNS server on {self.nameserver}: {error.strerror}") from error
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        if self._view is not None:
            await self._view.__aexit__(kind, error, tb)
            self._view = None
        self._udp.close()
        self._tcp.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def literal_view(self) -> DnsServer:
        """The same records on another port, with addresses as SRV targets; ends with this."""
        if self._view is None:
            view = DnsServer(self.address, ttl_seconds=self.ttl_seconds, shared=self)
            view.queries = self.queries
            self._view = await view.__aenter__()
        return self._view

    def spawn(self, answering: asyncio.Task[None]) -> None:
        self._tasks.add(answering)
        answering.add_done_callback(self._tasks.discard)

    async def _serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.spawn(task)
        try:
            while True:
                length = int.from_bytes(await reader.readexactly(2), "big")
                reply = await self.respond(await reader.readexactly(length), "tcp")
                if reply is not None:
                    writer.write(len(reply).to_bytes(2, "big") + reply)
                    await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not an instance of DatagramTransport on Python 3.11.
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._server.spawn(asyncio.get_running_loop().create_task(self._reply(data, addr)))

    async def _reply(self, data: bytes, addr: tuple[str, int]) -> None:
        reply = await self._server.respond(data, "udp")
        if reply is not None and not self._transport.is_closing():
            self._transport.sendto(reply, addr)


def _absolute(name: str) -> str:
    return name if name.endswith(".") else name + "."
