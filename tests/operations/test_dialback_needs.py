"""What `GET /v1/peers` says: who needs dialback, why, and what would break."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from sidecar.handshakes import PeerDirection, PeerTotals, Success
from sidecar.operations import REGISTRY, Call, Caller
from sidecar.operations.dialback_needs import Peer, PeerPage, PeersInput

CALL = Call(Caller("token", "id", ("handshakes:read",), None))

NOBODY = PeerTotals(0, 0, 0, 0, 0)


def direction(
    *successes: Success, peer: str = "montague.example", incoming: bool = True
) -> PeerDirection:
    return PeerDirection(peer, incoming, 3, 2, 1, 0, 1, 1, 9_000, 8_000, "why", [*successes])


def success(mechanism: str = "dialback", **facts: Any) -> Success:
    known = {"evidence": None, "external": None, "certificate": None, "key_asked": False, **facts}
    return Success(local="capulet.example", at_ms=7_000, mechanism=mechanism, **known)


class History:
    def __init__(self, found: Sequence[PeerDirection], totals: PeerTotals) -> None:
        self._found, self._totals = found, totals

    async def peers(self, *_: object, **__: object) -> Sequence[PeerDirection]:
        return self._found

    async def peer_totals(self, _: object) -> PeerTotals:
        return self._totals


async def page(*found: PeerDirection, totals: PeerTotals = NOBODY, limit: int = 50) -> PeerPage:
    parts: Any = type("Parts", (), {"handshakes": History(found, totals)})
    said = await REGISTRY["peers-list"].do(parts, CALL, PeersInput(limit=limit))
    assert isinstance(said, PeerPage)
    return said


async def only(found: PeerDirection) -> Peer:
    (item,) = (await page(found)).items
    return item


NEEDED = {
    "incoming, self-signed": (
        True,
        success(evidence="key", certificate="certificate-self-signed", external="not-offered"),
        ("key", "certificate-self-signed"),
    ),
    "incoming, its certificate would do": (
        True,
        success(evidence="certificate", certificate="valid"),
        ("certificate", "external-unused"),
    ),
    "incoming, its certificate would do, the server says": (
        True,
        success(evidence="certificate", certificate="valid", external="unused"),
        ("certificate", "external-unused"),
    ),
    "incoming, and ours did not take it": (
        True,
        success(evidence="certificate", certificate="valid", external="not-offered"),
        ("certificate", "external-not-offered"),
    ),
    "outgoing, refused": (
        False,
        success(external="refused", key_asked=True),
        ("key", "external-refused"),
    ),
    "outgoing, not offered, convinced otherwise": (
        False,
        success(external="not-offered"),
        ("key-not-asked", "external-not-offered"),
    ),
    "outgoing, nobody says": (False, success(key_asked=True), ("key", None)),
}


@pytest.mark.parametrize("name", NEEDED)
async def test_dialback_that_is_needed_says_why(name: str) -> None:
    incoming, last, expected = NEEDED[name]
    item = await only(direction(last, incoming=incoming))
    assert item.needs_dialback is True
    (pair,) = item.pairs
    assert (pair.domain, pair.evidence, pair.because) == ("capulet.example", *expected)
    assert (item.mechanism, item.evidence) == ("dialback", expected[0])


async def test_peer_that_got_through_by_external_needs_none() -> None:
    item = await only(direction(success("external")))
    assert (item.needs_dialback, item.mechanism, item.evidence) == (False, "external", None)
    assert (item.by_dialback, item.by_external, item.pairs) == (1, 1, [])


async def test_peer_that_never_got_through_is_unknown_and_says_why_it_failed() -> None:
    item = await only(direction())
    assert (item.needs_dialback, item.mechanism, item.last_success) == (None, None, None)
    assert item.failure == "why"


async def test_page_is_of_whole_peers() -> None:
    names = ("a.example", "b.example", "c.example")
    found = [
        direction(success(), peer=name, incoming=incoming)
        for name in names
        for incoming in (True, False)
    ]
    said = await page(*found, limit=2)
    assert [(item.peer, item.direction) for item in said.items] == [
        *[("a.example", "incoming"), ("a.example", "outgoing")],
        *[("b.example", "incoming"), ("b.example", "outgoing")],
    ]
    assert said.next == "b.example"
    assert (await page(*found, limit=3)).next is None


SUMMARIES = [
    (PeerTotals(0, 0, 0, 0, 0), "no handshake got through yet"),
    (PeerTotals(3, 0, 0, 0, 0), "no handshake got through yet"),
    (PeerTotals(41, 40, 0, 0, 0), "none of 40 peers needs dialback"),
    (
        PeerTotals(41, 40, 12, 9, 7),
        "12 of 40 peers need dialback: without it incoming from 9 and outgoing to 7 break",
    ),
    (PeerTotals(2, 2, 1, 1, 0), "1 of 2 peers needs dialback: without it incoming from 1 breaks"),
    (PeerTotals(9, 9, 3, 0, 3), "3 of 9 peers need dialback: without it outgoing to 3 break"),
]


@pytest.mark.parametrize(("totals", "sentence"), SUMMARIES)
async def test_summary_is_one_sentence(totals: PeerTotals, sentence: str) -> None:
    assert (await page(totals=totals)).summary == sentence
