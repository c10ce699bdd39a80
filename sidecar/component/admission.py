"""Who may ask over a component link, decided on one `iq` without I/O.

The rules are those of docs/link-protocol.md, "Who may ask". Users, other components and
remote servers can all send stanzas to a component, and whoever binds the component port can play
the server. Only what passes here reaches the engine.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from sidecar.config.link_domains import LinkDomains
from sidecar.errors import InvalidValue
from sidecar.jobs import Check, Issue, Job, Role, Verify
from sidecar.names import Domain
from sidecar.protocol import link_batch
from sidecar.protocol.link_batch import RefusedRequest, read_batch
from sidecar.protocol.link_mac import LinkKey, canonical_request, same_mac
from sidecar.protocol.link_replies import ReplyAddress
from sidecar.protocol.link_stanzas import NAMESPACE, read_job, read_remaining

MAX_ID_CHARACTERS = 256
_TAG = "{" + NAMESPACE + "}"


class Why(enum.Enum):
    """Why something was not admitted, for the operator; strangers are told nothing of it."""

    NOT_ADDRESSED_TO_US = "not addressed to this component"
    NOT_A_REQUEST = "not a request"
    STRANGER = "from an address that is no domain of this link"
    WRONG_MAC = "its MAC is missing or wrong"
    MALFORMED = "a malformed request"
    FOREIGN_DOMAIN = "about a domain that is not of this link"
    OWN_SENDER = "a check whose sender domain is of this same link"


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request to answer, from the local domain `host`.

    `remaining_seconds` is what the server still has, None if it does not say.
    """

    job: Job
    host: Domain
    address: ReplyAddress
    mac: str
    remaining_seconds: float | None


@dataclass(frozen=True, slots=True)
class AdmittedBatch:
    """Requests to answer together, from the local domain `host`; those refused in their places."""

    requests: tuple[Issue | Verify | RefusedRequest, ...]
    refused: tuple[Refused, ...]
    host: Domain
    address: ReplyAddress
    mac: str
    remaining_seconds: float | None


@dataclass(frozen=True, slots=True)
class Refused:
    """An `iq` to answer with an error. `told` is for the error's text: empty for strangers."""

    why: Why
    address: ReplyAddress
    told: str = ""

    @property
    def is_bad_request(self) -> bool:
        return self.why is Why.MALFORMED


class Admission:
    """The rules of one link, and on a `*` link the local domains seen so far."""

    def __init__(self, jid: Domain, domains: LinkDomains, key: LinkKey) -> None:
        self._jid = jid
        self._domains = domains
        self._key = key
        self._seen: set[Domain] = set()

    def take_up(self, domains: LinkDomains) -> None:
        """The link speaks for other domains from now on."""
        self._domains = domains
        self._seen = {domain for domain in self._seen if domains.speaks_for(domain)}

    def forget_seen(self) -> None:
        """Forget the domains learnt from requests: the server may have changed its hosts."""
        self._seen.clear()

    def is_local(self, domain: Domain) -> bool:
        """Whether `domain` is known to be hosted by this link's server.

        `*` names no domain, so there one is known after its first authenticated request.
        """
        return self._domains.names(domain) or domain in self._seen

    def admit(self, iq: Element) -> Admitted | AdmittedBatch | Refused | None:
        """Judge one `iq`. None: drop it without an answer (results, errors, no way to answer)."""
        iq_type, iq_id, asker = iq.get("type"), iq.get("id"), iq.get("from")
        if iq_type not in ("get", "set") or not iq_id or not asker:
            return None
        if len(iq_id) > MAX_ID_CHARACTERS:
            return None
        address = ReplyAddress(iq_id, asker, self._jid)
        if iq.get("to") != self._jid:
            return Refused(Why.NOT_ADDRESSED_TO_US, address)
        host = self._local_host(asker)
        if host is None:
            return Refused(Why.STRANGER, address)
        if len(iq) != 1 or not iq[0].tag.startswith(_TAG):
            return Refused(Why.NOT_A_REQUEST, address)
        payload = iq[0]
        mac = self._key.mac(canonical_request(iq, payload))
        if not same_mac(mac, payload.get("mac")):
            return Refused(Why.WRONG_MAC, address)
        self._seen.add(host)
        try:
            remaining_seconds = read_remaining(payload)
            if payload.tag == link_batch.TAG:
                requests, refused = self._judge_each(read_batch(payload, iq_type), address)
                return AdmittedBatch(requests, refused, host, address, mac, remaining_seconds)
            job = read_job(payload, iq_type)
        except InvalidValue as error:
            return Refused(Why.MALFORMED, address, str(error))
        why = self._judge_domains(job)
        if why is not None:
            return Refused(why, address, why.value)
        return Admitted(job, host, address, mac, remaining_seconds)

    def _local_host(self, asker: str) -> Domain | None:
        """The domain of the link that `asker` is exactly: no user, no resource."""
        try:
            domain = Domain.parse(asker)
        except InvalidValue:
            return None
        return domain if self._domains.speaks_for(domain) else None

    def _judge_each(
        self, requests: tuple[Issue | Verify | RefusedRequest, ...], address: ReplyAddress
    ) -> tuple[tuple[Issue | Verify | RefusedRequest, ...], tuple[Refused, ...]]:
        """Refuse the requests of a batch that are about domains of others."""
        judged: list[Issue | Verify | RefusedRequest] = []
        refused: list[Refused] = []
        for request in requests:
            if isinstance(request, RefusedRequest):
                refused.append(Refused(Why.MALFORMED, address, request.text))
            elif (why := self._judge_domains(request)) is not None:
                refused.append(Refused(why, address, why.value))
                request = RefusedRequest("forbidden", why.value)
            judged.append(request)
        return tuple(judged), tuple(refused)

    def _judge_domains(self, job: Job) -> Why | None:
        for domain in local_domains(job):
            if not self._domains.speaks_for(domain):
                return Why.FOREIGN_DOMAIN
        if isinstance(job, Check) and self.is_local(job.pair.sender):
            return Why.OWN_SENDER
        return None


def local_domains(job: Job) -> Iterable[Domain]:
    """Return the domains that have to be the asking server's own."""
    if isinstance(job, Verify | Issue):
        return (job.pair.sender,)
    if isinstance(job, Check):
        return (job.pair.target,)
    return {
        outcome.pair.target if outcome.role is Role.RECEIVING else outcome.pair.sender
        for outcome in job.outcomes
    }
