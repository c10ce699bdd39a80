"""The parts of the daemon that operations work with, as interfaces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sidecar.engine import Engine
from sidecar.errors import KeyServiceUnavailable, Problem
from sidecar.handshakes import HandshakeFilter, HandshakeRecord, PeerDirection, PeerTotals
from sidecar.keys.messages import AsBearer, BearerRequest, Denied, Failed, Refused, Reply, Request
from sidecar.names import Domain
from sidecar.operations.caller import Call
from sidecar.operations.events import Events
from sidecar.operations.probe_report import ProbeReport
from sidecar.operations.refusals import REFUSALS, Refusal
from sidecar.peer_policy import PeerPattern, PeerRule, RuleBook, Terms, Unchanged
from sidecar.preconditions import Precondition

_SECONDS = 5.0


class Keys(Protocol):
    """dialback-keyd."""

    @property
    def connected(self) -> bool: ...

    async def ask(self, request: Request, *, timeout_seconds: float) -> Reply:
        """Raises KeyServiceUnavailable."""


class Stored(Protocol):
    """A record of the history with its number."""

    @property
    def number(self) -> int: ...
    @property
    def record(self) -> HandshakeRecord: ...


class Handshakes(Protocol):
    """The history of handshakes. Its methods raise sqlite3.Error; `fault` says why it has gaps."""

    lost: int
    fault: str

    @property
    def enabled(self) -> bool: ...
    def count(self) -> int: ...
    async def page(self, wanted: HandshakeFilter, limit: int) -> Sequence[Stored]: ...
    async def get(self, number: int) -> HandshakeRecord | None: ...
    async def peers(
        self,
        after: str,
        limit: int,
        locals_: Sequence[str] | None = None,
        *,
        needing_dialback: bool = False,
    ) -> Sequence[PeerDirection]: ...
    async def peer_totals(self, locals_: Sequence[str] | None = None) -> PeerTotals: ...


class PeerRules(Protocol):
    """The rules about peers. What cannot be read or written raises PolicyUnavailable."""

    fault: str

    @property
    def book(self) -> RuleBook: ...
    def now_ms(self) -> int: ...
    def terms_for(self, peer: Domain) -> Terms: ...
    async def put(self, rule: PeerRule, condition: Precondition) -> Unchanged | bool:
        """Whether there was no rule with its pattern before."""

    async def remove(self, pattern: PeerPattern, condition: Precondition) -> Unchanged | None: ...


@dataclass(frozen=True, slots=True)
class LinkFacts:
    """One component link at this moment; times in seconds since 1970."""

    jid: str
    phase: str
    since_seconds: float
    fault: str
    fault_text: str
    connects: int
    in_work: int
    domains: Sequence[str]


@dataclass(frozen=True, slots=True)
class AuthorityFacts:
    """The authority listener at this moment; `counts` since its start, by what happened."""

    places: Sequence[str]
    domains: Sequence[str]
    connections: int
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What a new configuration changed: JIDs of links, and settings that need a restart."""

    added: Sequence[str]
    removed: Sequence[str]
    changed: Sequence[str]
    restart_needed: Sequence[str]


class Daemon(Protocol):
    """The running process."""

    @property
    def started_ms(self) -> int: ...
    @property
    def key_service_is_child(self) -> bool: ...
    @property
    def api_failed(self) -> Sequence[str]: ...
    def link_facts(self) -> Sequence[LinkFacts]: ...
    def authority_facts(self) -> AuthorityFacts | None:
        """None where there is no listener."""

    def speaks_for(self, domain: Domain) -> bool:
        """Whether a link of the configuration does."""

    def issues_keys_for(self, domain: Domain) -> bool:
        """Whether whoever may can have keys of this domain over the API."""

    async def reload(self) -> Reloaded | Sequence[Problem]:
        """Take up the configuration file; the problems when it cannot be used."""


class Probes(Protocol):
    """Tries remote domains."""

    async def probe(self, domain: Domain, sender: Domain | None) -> ProbeReport | None:
        """Return the report; None where there are too many at once."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything an operation can use."""

    keys: Keys
    engine: Engine
    handshakes: Handshakes
    peer_rules: PeerRules
    events: Events
    daemon: Daemon
    probes: Probes

    async def ask_keys(self, call: Call, request: BearerRequest, *, dry_run: bool = False) -> Reply:
        """Ask the key service with the caller's token. Raises Refusal for every kind of no."""
        wrapped = AsBearer(call.caller.token, request, dry_run, call.repeat_key)
        return refuse_if_refused(await ask(self.keys, wrapped))


async def ask(keys: Keys, request: Request) -> Reply:
    """Raises Refusal when the key service does not answer."""
    try:
        return await keys.ask(request, timeout_seconds=_SECONDS)
    except KeyServiceUnavailable as error:
        raise Refusal("key-service-unavailable", str(error)) from error


def refuse_if_refused(reply: Reply) -> Reply:
    """Raises Refusal for a reply that says no."""
    if isinstance(reply, Refused | Denied) and reply.reason in REFUSALS:
        raise Refusal(reply.reason)
    if isinstance(reply, Refused | Denied | Failed):
        raise Refusal("key-service-unavailable", reply.reason)
    return reply
