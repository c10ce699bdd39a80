"""What a peer's certificates prove: one table of chains, one of names."""

from __future__ import annotations

import pytest
from certificate_maker import CLIENT, CODE, NOW, SERVER, dns, make, srv_id, xmpp_addr
from hypothesis import given
from hypothesis import strategies as st

from sidecar.names import Domain
from sidecar.pkix.chain import TrustStore
from sidecar.pkix.flaws import Flaw, Flawed
from sidecar.pkix.peer import Proven, judge, same

CAPULET = Domain.parse("capulet.example")
NAMES = dns("capulet.example")

ROOT = make("root", authority=True)
MIDDLE = make("middle", issuer=ROOT, authority=True, purposes=[SERVER])
OLD_MIDDLE = make("old middle", issuer=ROOT, authority=True, to_days=-1)
OTHER_ROOT = make("other root", authority=True)
OTHER_MIDDLE = make("other middle", issuer=OTHER_ROOT, authority=True)
FALSE_ROOT = make("root", authority=True)  # the same name, another key
NO_AUTHORITY = make("shop.example", issuer=ROOT, names=dns("shop.example"))
TRUST = TrustStore.from_pem(ROOT.pem)

LEAF = make("leaf", issuer=MIDDLE, names=NAMES, purposes=[SERVER, CLIENT])
SERVER_ONLY = make("leaf", issuer=MIDDLE, names=NAMES, purposes=[SERVER])
UNDER_ROOT = make("leaf", issuer=ROOT, names=NAMES)
SELF_SIGNED = make("leaf", names=NAMES)

CHAINS = {
    "chain with its intermediate": ([LEAF, MIDDLE], None),
    "in any order after the leaf": ([LEAF, OTHER_ROOT, MIDDLE, ROOT], None),
    "for servers alone": ([SERVER_ONLY, MIDDLE], None),
    "for clients alone": (
        [make("leaf", issuer=ROOT, names=NAMES, purposes=[CLIENT])],
        None,
    ),
    "without purposes": ([UNDER_ROOT], None),
    "for signing code": (
        [make("leaf", issuer=ROOT, names=NAMES, purposes=[CODE])],
        Flaw.REFUSED,
    ),
    "none": ([], Flaw.NONE_SHOWN),
    "expired": ([make("leaf", issuer=ROOT, names=NAMES, to_days=-1)], Flaw.EXPIRED),
    "not yet valid": ([make("leaf", issuer=ROOT, names=NAMES, from_days=1)], Flaw.NOT_YET_VALID),
    "expired intermediate": (
        [make("leaf", issuer=OLD_MIDDLE, names=NAMES), OLD_MIDDLE],
        Flaw.EXPIRED,
    ),
    "intermediate not sent": ([LEAF], Flaw.INTERMEDIATE_MISSING),
    "another intermediate sent": ([LEAF, OTHER_MIDDLE], Flaw.INTERMEDIATE_MISSING),
    "self-signed": ([SELF_SIGNED], Flaw.SELF_SIGNED),
    "unknown authority, sent": (
        [make("leaf", issuer=OTHER_ROOT, names=NAMES), OTHER_ROOT],
        Flaw.UNTRUSTED,
    ),
    "unknown authority, not sent": (
        [make("leaf", issuer=OTHER_MIDDLE, names=NAMES), OTHER_MIDDLE],
        Flaw.UNTRUSTED,
    ),
    "authority of the same name": (
        [make("leaf", issuer=FALSE_ROOT, names=NAMES), FALSE_ROOT],
        Flaw.REFUSED,
    ),
    "intermediate of the same name": (
        [make("leaf", issuer=make("middle", authority=True), names=NAMES), MIDDLE],
        Flaw.UNTRUSTED,
    ),
    "signed by one that is no authority": (
        [make("leaf", issuer=NO_AUTHORITY, names=NAMES), NO_AUTHORITY],
        Flaw.REFUSED,
    ),
    "without names": ([make("capulet.example", issuer=ROOT)], Flaw.REFUSED),
    "names another": (
        [make("capulet.example", issuer=ROOT, names=dns("evil.example"))],
        Flaw.WRONG_NAME,
    ),
}


@pytest.mark.parametrize("name", CHAINS)
def test_chain_is_judged(name: str) -> None:
    chain, flaw = CHAINS[name]
    found = judge([made.der for made in chain], CAPULET, TRUST, NOW)
    if flaw is None:
        assert isinstance(found, Proven), found
        assert "DNS-ID capulet.example" in found.detail
    else:
        assert isinstance(found, Flawed)
        assert found.flaw is flaw, found


NAMED = {
    "DNS-ID": (dns("capulet.example"), True),
    "DNS-ID in capitals": (dns("Capulet.EXAMPLE"), True),
    "one of several": (dns("verona.example", "capulet.example"), True),
    "SRV-ID": ([srv_id("_xmpp-server.capulet.example")], True),
    "SRV-ID for clients": ([srv_id("_xmpp-client.capulet.example")], False),
    "SRV-ID of another": ([srv_id("_xmpp-server.verona.example")], False),
    "xmppAddr": ([xmpp_addr("capulet.example")], True),
    "xmppAddr with a user": ([xmpp_addr("juliet@capulet.example")], False),
    "xmppAddr of another": ([xmpp_addr("evil.example")], False),
    "parent": (dns("example"), False),
    "child": (dns("im.capulet.example"), False),
    "wildcard of the siblings": (dns("*.capulet.example"), False),
    "wildcard of a top-level domain": (dns("*.example"), False),
    "prefix": (dns("notcapulet.example"), False),
}


@pytest.mark.parametrize("name", NAMED)
def test_only_names_of_xmpp_servers_count(name: str) -> None:
    names, right = NAMED[name]
    chain = [make("leaf", issuer=ROOT, names=names).der]
    found = judge(chain, CAPULET, TRUST, NOW)
    assert isinstance(found, Proven) if right else found.flaw is Flaw.WRONG_NAME  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("pattern", "domain", "right"),
    [
        ("*.capulet.example", "rooms.capulet.example", True),
        ("*.capulet.example", "a.rooms.capulet.example", False),
        ("r*.capulet.example", "rooms.capulet.example", False),
        ("*.*.example", "rooms.capulet.example", False),
        ("xn--mnchen-3ya.example", "münchen.example", True),
        ("*.xn--mnchen-3ya.example", "rooms.münchen.example", True),
    ],
)
def test_wildcards_and_international_names(pattern: str, domain: str, right: bool) -> None:
    chain = [make("leaf", issuer=ROOT, names=dns(pattern)).der]
    assert isinstance(judge(chain, Domain.parse(domain), TRUST, NOW), Proven) == right


def test_xmpp_addr_is_compared_as_a_domain() -> None:
    chain = [make("leaf", issuer=ROOT, names=[xmpp_addr("MÜNCHEN.example")]).der]
    assert isinstance(judge(chain, Domain.parse("münchen.example"), TRUST, NOW), Proven)


# COMPAT(ejabberd): the leaf alone, and the server's word for the chain.


def test_word_of_our_server_stands_for_a_chain_it_did_not_give() -> None:
    found = judge([LEAF.der], CAPULET, TRUST, NOW, word="valid")
    assert isinstance(found, Proven)
    assert found.detail.endswith("in the judgement of our server")


@pytest.mark.parametrize(
    ("chain", "word", "flaw"),
    [
        ([LEAF], "unable to get local issuer certificate", Flaw.INTERMEDIATE_MISSING),
        ([LEAF], None, Flaw.INTERMEDIATE_MISSING),
        ([make("l", names=dns("evil.example"))], "valid", Flaw.WRONG_NAME),
        ([make("l", names=NAMES, to_days=-1)], "valid", Flaw.EXPIRED),
        ([SELF_SIGNED, OTHER_ROOT], "valid", Flaw.SELF_SIGNED),
        ([], "valid", Flaw.NONE_SHOWN),
    ],
)
def test_word_of_our_server_stands_for_nothing_else(chain, word, flaw) -> None:
    found = judge([made.der for made in chain], CAPULET, TRUST, NOW, word=word)
    assert isinstance(found, Flawed)
    assert found.flaw is flaw


def test_without_authorities_nothing_is_trusted() -> None:
    found = judge([LEAF.der, MIDDLE.der, ROOT.der], CAPULET, TrustStore([]), NOW)
    assert isinstance(found, Flawed)
    assert found.flaw is Flaw.UNTRUSTED


def test_entries_of_a_bundle_that_cannot_be_read_are_left_out() -> None:
    broken = b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
    assert len(TrustStore.from_pem(b"# comment\n" + broken + ROOT.pem + broken)) == 1


# XEP-0344 §2.6


def test_same_certificate_on_both_sides_proves_its_name_whoever_signed_it() -> None:
    assert same(SELF_SIGNED.der, SELF_SIGNED.der, CAPULET, NOW) is not None


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (SELF_SIGNED, make("leaf", names=NAMES)),
        (SELF_SIGNED, LEAF),
        *[(made, made) for made in (make("leaf", names=dns("evil.example")),)],
        *[(made, made) for made in (make("leaf", names=NAMES, to_days=-1),)],
    ],
    ids=["another key", "another issuer", "another name", "expired"],
)
def test_what_is_not_the_same_or_not_in_order_proves_nothing(ours, theirs) -> None:
    assert same(ours.der, theirs.der, CAPULET, NOW) is None


# Any bytes


@given(data=st.data())
def test_certificate_with_any_bytes_changed_is_judged_and_never_raises(data) -> None:
    der = bytearray(data.draw(st.sampled_from([LEAF.der, SELF_SIGNED.der, MIDDLE.der])))
    for _ in range(data.draw(st.integers(1, 4))):
        der[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
    if bytes(der) == LEAF.der:
        return
    found = judge([bytes(der), MIDDLE.der], CAPULET, TRUST, NOW)
    assert isinstance(found, Flawed)
    same(bytes(der), bytes(der), CAPULET, NOW)


@given(chain=st.lists(st.binary(max_size=200), max_size=4))
def test_bytes_that_are_no_certificates_prove_nothing(chain) -> None:
    assert isinstance(judge(chain, CAPULET, TRUST, NOW), Flawed)
