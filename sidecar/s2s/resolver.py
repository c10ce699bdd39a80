"""DNS: where a domain's servers are, and at which addresses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from random import random as system_random
from time import monotonic
from typing import Any

from sidecar.names import Domain
from sidecar.s2s.address_policy import is_literal
from sidecar.s2s.dns_cache import Answer, DnsCache, Question
from sidecar.s2s.dns_channel import DnsChannel, error_text
from sidecar.s2s.failures import Failure, Reason
from sidecar.s2s.srv import SrvRecord, Target, order

FALLBACK_PORT = 5269
SERVICES = ("_xmpps-server", "_xmpp-server")
"""Of XEP-0368 and of RFC 6120."""
_ABSENT_SECONDS = 5.0
_FAILED_SECONDS = 2.0

_NONE = {1, 4, 8}  # ARES_ENODATA, ARES_ENOTFOUND, ARES_EBADNAME
_TIMEOUT = 12  # ARES_ETIMEOUT
_UNREACHABLE = 11  # ARES_ECONNREFUSED
_RECORD_TYPES = {"A": 1, "AAAA": 28, "CNAME": 5, "NS": 2, "SRV": 33}


class Resolver:
    """Asks `nameservers` (`ip` or `ip:port`), or those of the system when there are none.

    Build it inside a running event loop. `random()` in [0, 1) decides between weights. A
    lookup takes at most `timeout_seconds`. What DNS says is believed as long as its TTL; that there
    is nothing, or that it failed, for seconds.
    """

    def __init__(
        self,
        nameservers: Sequence[str] = (),
        *,
        timeout_seconds: float = 5.0,
        random: Callable[[], float] = system_random,
        clock: Callable[[], float] = monotonic,
        on_lookup: Callable[[str, str, float], None] = lambda *_: None,
    ) -> None:
        """`on_lookup` is told of each question that was asked: its type, `found`, `none` or a
        reason, and the seconds it took."""
        self._channel = DnsChannel(nameservers, clock=clock)
        self._cache = DnsCache(clock)
        self._timeout_seconds = timeout_seconds
        self._random = random
        self._clock = clock
        self._on_lookup = on_lookup

    async def targets(self, domain: Domain) -> tuple[Target, ...] | Failure:
        """Where the server of `domain` may be, in the order to try (RFC 6120 §3.2, XEP-0368)."""
        records = await self.services(domain)
        if isinstance(records, Failure):
            return records
        if records:
            return order(records, self._random)
        return (Target(domain.a_label, FALLBACK_PORT),)

    async def services(self, domain: Domain) -> tuple[SrvRecord, ...] | Failure:
        """The SRV records that can be used; none: the domain itself is the target."""
        name = domain.a_label
        direct, plain = await self._lookup(
            *((f"{service}._tcp.{name}", "SRV") for service in SERVICES)
        )
        records = (
            *_srv_records(direct, direct_tls=True),
            *_srv_records(plain, direct_tls=False),
        )
        if records:
            return records
        if isinstance(plain, Failure):
            return _one_of(plain, direct) or plain
        if plain:  # "." or nothing that is a name
            return Failure(Reason.DNS_NO_SERVICE, f"no usable SRV target for {name}")
        return ()

    async def addresses(self, name: str) -> tuple[str, ...] | Failure:
        """The addresses of a target, IPv6 and IPv4 by turns (RFC 8305 §4)."""
        v6, v4 = await self._lookup((name, "AAAA"), (name, "A"))
        merged: list[str] = []
        lists = [
            [record.addr for record in found]
            for found in (v6, v4)
            if not isinstance(found, Failure)
        ]
        for place in range(max((len(each) for each in lists), default=0)):
            merged += [each[place] for each in lists if place < len(each)]
        if merged:
            return tuple(merged)
        return _one_of(v4, v6) or Failure(Reason.DNS_NO_ADDRESS, f"no address for {name}")

    async def raw_services(self, domain: Domain) -> dict[str, tuple[SrvRecord, ...] | Failure]:
        """All that stands under each service, usable or not: a target may be `` or an address."""
        names = {service: f"{service}._tcp.{domain.a_label}" for service in SERVICES}
        found = await self._lookup(*((name, "SRV") for name in names.values()))
        return {
            service: answer
            if isinstance(answer, Failure)
            else tuple(_raw_srv(data, direct_tls=service == SERVICES[0]) for data in answer)
            for service, answer in zip(names, found, strict=True)
        }

    async def alias(self, name: str) -> str | None:
        """The name that `name` is only another one for."""
        (found,) = await self._lookup((name, "CNAME"))
        if isinstance(found, Failure) or not found:
            return None
        return _name_in(found[0].cname)

    async def name_servers(self, domain: Domain) -> tuple[str, ...]:
        """The names of the servers of the zone that `domain` is in; none where nobody says."""
        labels = domain.a_label.split(".")
        for start in range(len(labels) - 1):
            (found,) = await self._lookup((".".join(labels[start:]), "NS"))
            if not isinstance(found, Failure) and found:
                return tuple(sorted(_name_in(each.nsdname) for each in found))
        return ()

    async def close(self) -> None:
        """Lookups under way end as failures."""
        self._channel.close()

    async def _lookup(self, *questions: Question) -> list[tuple[Any, ...] | Failure]:
        """Ask all (name, type) at once. An empty one means that there are no such records."""
        known = {question: self._cache.get(question) for question in questions}
        asked = {
            question: self._cache.ask(question, partial(self._ask, question))
            for question, answer in known.items()
            if answer is None
        }
        if asked:
            await asyncio.wait(asked.values(), timeout=self._timeout_seconds)
        for question, future in asked.items():
            known[question] = future.result() if future.done() else _late(*question)
        return [answer.records for answer in known.values() if answer is not None]

    def _ask(self, question: Question) -> asyncio.Future[Answer]:
        """Ask one question, whoever waits for it: c-ares ends it in time."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        start = self._clock()

        def settle(found: Any, code: int | None) -> None:
            if answer.done():
                return
            try:
                result = _answer(found, code, *question)
            except Exception as error:
                answer.set_exception(error)
                return
            self._on_lookup(question[1], _name_of(result), self._clock() - start)
            answer.set_result(result)

        name, record_type = question
        self._channel.ask(name, _RECORD_TYPES[record_type], settle)
        return answer


def _late(name: str, record_type: str) -> Answer:
    return Answer(Failure(Reason.DNS_TIMEOUT, f"{record_type} {name}"), 0)


def _name_of(answer: Answer) -> str:
    """What came of a question, in one word for the metrics."""
    if isinstance(answer.records, Failure):
        return answer.records.reason.code
    return "found" if answer.records else "none"


def _answer(found: Any, code: int | None, name: str, record_type: str) -> Answer:
    """Turn what c-ares says into an answer. Absence and failure are remembered only briefly."""
    if code is None:
        return _records(found, record_type)
    if code in _NONE:
        return Answer((), _ABSENT_SECONDS)
    if code == _TIMEOUT:
        return Answer(Failure(Reason.DNS_TIMEOUT, f"{record_type} {name}"), _FAILED_SECONDS)
    reason = Reason.DNS_UNREACHABLE if code == _UNREACHABLE else Reason.DNS_SERVFAIL
    return Answer(Failure(reason, f"{record_type} {name}: {error_text(code)}"), _FAILED_SECONDS)


def _one_of(*found: Sequence[Any] | Failure) -> Failure | None:
    """The failure to report. COMPAT(c-ares): of lookups at once over a dead socket only one is
    told that nobody is there, the others that it took too long, which it did not."""
    failures = [each for each in found if isinstance(each, Failure)]
    unreachable = (each for each in failures if each.reason is Reason.DNS_UNREACHABLE)
    return next(unreachable, failures[0] if failures else None)


def _records(result: Any, record_type: str) -> Answer:
    """The data of the records of that type, good as long as they and the aliases on the way."""
    wanted = _RECORD_TYPES[record_type]
    data = tuple(record.data for record in result.answer if record.type == wanted)
    ttl = min((record.ttl for record in result.answer), default=_ABSENT_SECONDS)
    return Answer(data, ttl if data else min(ttl, _ABSENT_SECONDS))


def _srv_records(found: Sequence[Any] | Failure, *, direct_tls: bool) -> list[SrvRecord]:
    if isinstance(found, Failure):
        return []
    records = [_raw_srv(data, direct_tls=direct_tls) for data in found]
    return [each for each in records if each.port and not is_literal(each.target)]


def _raw_srv(data: Any, *, direct_tls: bool) -> SrvRecord:
    name = _name_in(data.target)
    return SrvRecord(data.priority, data.weight, data.port, name, direct_tls)


def _name_in(field: object) -> str:
    return str(field).rstrip(".").lower()
