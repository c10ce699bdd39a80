"""Which peers need dialback, and what would break without it: the history, peer by peer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from msgspec import Meta

from sidecar.handshakes import PeerDirection, PeerTotals, Success
from sidecar.keys.scopes import Scope
from sidecar.names import Domain
from sidecar.operations.caller import Call
from sidecar.operations.fields import Input, Limit, Output, Time, at, at_if
from sidecar.operations.handshakes import read_history
from sidecar.operations.operation import Operation
from sidecar.operations.parts import Parts


class DialbackPair(Output, frozen=True):
    """A domain of ours with which a peer got through by dialback when it last did.

    `because`: why SASL EXTERNAL did not do instead. Incoming: a flaw of the peer's certificate
    (`certificate-self-signed`), or `external-unused`, when it would have done. Outgoing:
    `external-refused` or `external-not-offered` by the peer, to which our certificate was not
    enough. Null where our server did not say. `evidence` is what convinced the receiving side: of
    a peer all that is known is whether it asked about the key.
    """

    domain: str
    at: Time
    evidence: str
    because: str | None


class Peer(Output, frozen=True):
    """One peer in one direction. `needs_dialback`: true when without dialback handshakes break
    that get through now, null when none ever did.

    `valid`, `invalid` and `error` count handshakes by outcome, `by_dialback` and `by_external`
    those that got through. `mechanism` and `evidence` are of the last one that did.
    """

    peer: str
    direction: Literal["incoming", "outgoing"]
    needs_dialback: bool | None
    mechanism: str | None
    evidence: str | None
    pairs: list[DialbackPair]
    handshakes: int
    valid: int
    invalid: int
    error: int
    by_dialback: int
    by_external: int
    last: Time
    last_success: Time | None
    last_failure: Time | None
    failure: str | None


class PeersInput(Input, frozen=True):
    needing_dialback: Annotated[bool, Meta(description="only peers that need dialback")] = False
    after: Annotated[Domain | None, Meta(description="`next` of the page before")] = None
    limit: Limit = 50


class Totals(Output, frozen=True):
    """Over all peers: how many there are, got through ever, and need dialback."""

    peers: int
    through: int
    need_dialback: int
    need_dialback_incoming: int
    need_dialback_outgoing: int


class PeerPage(Output, frozen=True):
    """Up to `limit` peers by name, each with one item for each direction there was."""

    items: list[Peer]
    next: str | None
    totals: Totals
    summary: str


async def _peers(parts: Parts, call: Call, given: PeersInput) -> PeerPage:
    domains = call.caller.domains
    found = await read_history(
        parts.handshakes.peers(
            str(given.after or ""),
            given.limit + 1,
            domains,
            needing_dialback=given.needing_dialback,
        )
    )
    totals = await read_history(parts.handshakes.peer_totals(domains))
    names = list(dict.fromkeys(each.peer for each in found))
    more = len(names) > given.limit
    shown = set(names[: given.limit])
    return PeerPage(
        items=[_peer(each) for each in found if each.peer in shown],
        next=names[given.limit - 1] if more else None,
        totals=Totals(
            peers=totals.peers,
            through=totals.through,
            need_dialback=totals.dialback,
            need_dialback_incoming=totals.incoming,
            need_dialback_outgoing=totals.outgoing,
        ),
        summary=_summary(totals),
    )


def _peer(seen: PeerDirection) -> Peer:
    last = max(seen.successes, key=lambda success: success.at_ms, default=None)
    return Peer(
        peer=seen.peer,
        direction="incoming" if seen.incoming else "outgoing",
        needs_dialback=bool(seen.dialbacks) if seen.successes else None,
        mechanism=None if last is None else last.mechanism,
        evidence=None if last is None else _evidence(last, incoming=seen.incoming),
        pairs=list(_pairs(seen)),
        handshakes=seen.handshakes,
        valid=seen.valid,
        invalid=seen.invalid,
        error=seen.error,
        by_dialback=seen.dialback,
        by_external=seen.external,
        last=at(seen.last_ms),
        last_success=at_if(None if last is None else last.at_ms),
        last_failure=at_if(seen.failed_ms),
        failure=seen.failed_why,
    )


def _pairs(seen: PeerDirection) -> Iterable[DialbackPair]:
    for success in seen.dialbacks:
        yield DialbackPair(
            domain=success.local,
            at=at(success.at_ms),
            evidence=_evidence(success, incoming=seen.incoming) or "key",
            because=_because(success, incoming=seen.incoming),
        )


def _evidence(success: Success, *, incoming: bool) -> str | None:
    if success.mechanism != "dialback":
        return None
    if incoming:
        return success.evidence
    return "key" if success.key_asked else "key-not-asked"


def _because(success: Success, *, incoming: bool) -> str | None:
    if incoming and success.certificate not in (None, "valid"):
        return success.certificate
    if success.external is not None:
        return f"external-{success.external}"
    return "external-unused" if incoming and success.certificate == "valid" else None


def _summary(totals: PeerTotals) -> str:
    if not totals.through:
        return "no handshake got through yet"
    if not totals.dialback:
        return f"none of {totals.through} peers needs dialback"
    need = "needs" if totals.dialback == 1 else "need"
    ways = [
        f"{way} {totals_of}"
        for way, totals_of in (
            ("incoming from", totals.incoming),
            ("outgoing to", totals.outgoing),
        )
        if totals_of
    ]
    breaks = "breaks" if len(ways) == 1 and "1" == ways[0].split()[-1] else "break"
    return (
        f"{totals.dialback} of {totals.through} peers {need} dialback: "
        f"without it {' and '.join(ways)} {breaks}"
    )


OPERATIONS = (
    Operation(
        name="peers-list",
        summary="List the peers in the history: which of them need dialback",
        description="What would break without it, and why SASL EXTERNAL does not do instead.",
        scope=Scope.HANDSHAKES_READ,
        input=PeersInput,
        output=PeerPage,
        handler=_peers,
        refusals=("history-unavailable",),
    ),
)
