"""What a peer may say on a verification stream, as data, with what has to come of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from sidecar.jobs import Outcome
from sidecar.names import DialbackKey, Domain, DomainPair, StreamId
from sidecar.protocol.events import Cause

CAPULET = Domain.parse("capulet.example")  # the sender domain: its server is the authority
MONTAGUE = Domain.parse("montague.example")  # the target domain: we ask for it
PAIR = DomainPair(sender=CAPULET, target=MONTAGUE)
STREAM = StreamId.parse("D60000229F")
KEY = DialbackKey.parse("b4835385f37fe2895af6c196b59097b16862406db80559900d96bf6fa7d23df3")

HEADER = (
    "<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' "
    "xmlns:stream='http://etherx.jabber.org/streams' from='capulet.example' id='peer1' "
    "version='1.0'>"
)
LEGACY_HEADER = HEADER.replace(" version='1.0'>", ">")
BARE_HEADER = HEADER.replace(" xmlns:db='jabber:server:dialback'", "")
DIALBACK = "<dialback xmlns='urn:xmpp:features:dialback'><errors/></dialback>"
STARTTLS = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
FEATURES = f"<stream:features>{DIALBACK}</stream:features>"
FEATURES_TLS = f"<stream:features>{STARTTLS}{DIALBACK}</stream:features>"
PROCEED = "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
FAILURE = "<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
HOST_UNKNOWN = (
    "<stream:error><host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"
    "<text xmlns='urn:ietf:params:xml:ns:xmpp-streams'>never heard</text></stream:error>"
)
END = "</stream:stream>"
OPEN = HEADER + FEATURES
TO_TLS = HEADER + FEATURES_TLS + PROCEED
NOT_FOUND = (
    "<error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
)

Answers = tuple[tuple[Outcome, str | None], ...]


def answer(
    kind: str | None = "valid",
    *,
    sender: str = "capulet.example",
    target: str = "montague.example",
    stream: str = "D60000229F",
    inner: str = "",
    name: str = "db:verify",
) -> str:
    attributes = f"from='{sender}' to='{target}' id='{stream}'"
    if kind is not None:
        attributes += f" type='{kind}'"
    return f"<{name} {attributes}>{inner}</{name}>"


@dataclass(frozen=True)
class Flow:
    """`says` is all the peer sends; the other fields are the events that must come of it.

    `inside_tls` is what it sends once the TLS handshake, that `says` led to, is done.
    `cause` None: the stream stays open. `dropped` counts the answers nobody asked for.
    """

    says: str
    answers: Answers = ()
    dropped: int = 0
    cause: Cause | None = None
    condition: str | None = None
    opened: bool = True
    stream: dict[str, bool] = field(default_factory=dict)
    inside_tls: str = ""


VALID: Answers = ((Outcome.VALID, None),)
INVALID: Answers = ((Outcome.INVALID, None),)

FLOWS: dict[str, Flow] = {
    # answers to what was asked
    "valid": Flow(OPEN + answer(), VALID),
    "invalid": Flow(OPEN + answer("invalid"), INVALID),
    "error": Flow(OPEN + answer("error", inner=NOT_FOUND), ((Outcome.ERROR, "item-not-found"),)),
    "error without a condition": Flow(
        OPEN + answer("error"), ((Outcome.ERROR, "undefined-condition"),)
    ),
    "answer that repeats the key": Flow(OPEN + answer(inner="b483"), VALID),
    "answer in other letters": Flow(OPEN + answer(sender="Capulet.Example"), VALID),
    "answer with another prefix": Flow(
        OPEN
        + "<x:verify xmlns:x='jabber:server:dialback' from='capulet.example' "
        + "to='montague.example' id='D60000229F' type='valid'/>",
        VALID,
    ),
    "answer, then end": Flow(OPEN + answer() + END, VALID, cause=Cause.PEER_CLOSED),
    "answer, then garbage": Flow(
        OPEN + answer() + "<<", VALID, cause=Cause.VIOLATION, condition="not-well-formed"
    ),
    "legacy server": Flow(LEGACY_HEADER + answer(), VALID),
    "legacy server that declares nothing": Flow(
        LEGACY_HEADER.replace(" xmlns:db='jabber:server:dialback'", "")
        + answer().replace("<db:verify", "<db:verify xmlns:db='jabber:server:dialback'"),
        VALID,
    ),
    "dialback only in the features": Flow(BARE_HEADER + FEATURES, ()),
    "dialback only in the header": Flow(HEADER + "<stream:features/>" + answer(), VALID),
    # answers nobody asked for (XEP-0220 §3.1)
    "another id": Flow(OPEN + answer(stream="D60000229E"), dropped=1),
    "id in other letters": Flow(OPEN + answer(stream="d60000229f"), dropped=1),
    "another sender": Flow(OPEN + answer(sender="verona.example"), dropped=1),
    "another target": Flow(OPEN + answer(target="verona.example"), dropped=1),
    "pair not swapped": Flow(
        OPEN + answer(sender="montague.example", target="capulet.example"), dropped=1
    ),
    "subdomain of the sender": Flow(OPEN + answer(sender="x.capulet.example"), dropped=1),
    "no domain at all": Flow(OPEN + answer(sender=""), dropped=1),
    "twice": Flow(OPEN + answer() + answer(), VALID, dropped=1),
    "invalid after valid": Flow(OPEN + answer() + answer("invalid"), VALID, dropped=1),
    "valid after invalid": Flow(OPEN + answer("invalid") + answer(), INVALID, dropped=1),
    "wrong ones before the right one": Flow(
        OPEN + answer(stream="x") + answer("invalid", target="x.example") + answer(),
        VALID,
        dropped=2,
    ),
    "another type": Flow(OPEN + answer("maybe"), dropped=1),
    "empty type": Flow(OPEN + answer(""), dropped=1),
    "request instead of an answer": Flow(OPEN + answer(None, inner="b483")),
    "result instead of an answer": Flow(OPEN + answer(name="db:result")),
    "answer of another namespace": Flow(OPEN + answer(name="verify")),
    "stanza": Flow(OPEN + "<message from='a@capulet.example' to='b@montague.example'/>"),
    "answer inside another element": Flow(OPEN + f"<x>{answer()}</x>"),
    # before we have asked
    "answer instead of the features": Flow(
        HEADER + answer(),
        cause=Cause.VIOLATION,
        condition="unsupported-stanza-type",
        opened=False,
    ),
    "answer together with the proceed": Flow(
        HEADER + FEATURES_TLS + PROCEED + answer(),
        cause=Cause.VIOLATION,
        condition="unsupported-stanza-type",
        opened=False,
    ),
    # streams that end
    "end without an answer": Flow(OPEN + END, cause=Cause.PEER_CLOSED),
    "end before the features": Flow(HEADER + END, cause=Cause.PEER_CLOSED, opened=False),
    "answer after the end": Flow(OPEN + END + answer(), cause=Cause.PEER_CLOSED),
    "host unknown": Flow(
        HEADER + HOST_UNKNOWN + END,
        cause=Cause.PEER_ERROR,
        condition="host-unknown",
        opened=False,
    ),
    "host unknown from a legacy server": Flow(
        LEGACY_HEADER + HOST_UNKNOWN, cause=Cause.PEER_ERROR, condition="host-unknown"
    ),
    "stream error after the question": Flow(
        OPEN + HOST_UNKNOWN + answer(), cause=Cause.PEER_ERROR, condition="host-unknown"
    ),
    "no dialback": Flow(BARE_HEADER + "<stream:features/>", cause=Cause.NO_DIALBACK, opened=False),
    "TLS offered and then refused": Flow(
        HEADER + FEATURES_TLS + FAILURE, cause=Cause.TLS_REFUSED, opened=False
    ),
    "no TLS where it must be": Flow(
        HEADER + FEATURES, cause=Cause.TLS_MISSING, opened=False, stream={"tls_required": True}
    ),
    "legacy server where TLS must be": Flow(
        LEGACY_HEADER + answer(),
        cause=Cause.TLS_MISSING,
        opened=False,
        stream={"tls_required": True},
    ),
    "TLS offered on TLS": Flow(
        HEADER + FEATURES_TLS + answer(), VALID, stream={"encrypted": True, "tls_required": True}
    ),
    # streams that begin anew inside TLS
    "valid inside TLS": Flow(TO_TLS, VALID, inside_tls=OPEN + answer()),
    "invalid inside TLS": Flow(
        TO_TLS, INVALID, inside_tls=OPEN + answer("invalid") + answer(), dropped=1
    ),
    "error inside TLS": Flow(
        TO_TLS,
        ((Outcome.ERROR, "item-not-found"),),
        inside_tls=OPEN + answer("error", inner=NOT_FOUND),
    ),
    "legacy server inside TLS": Flow(TO_TLS, VALID, inside_tls=LEGACY_HEADER + answer()),
    "TLS offered again inside TLS": Flow(
        TO_TLS, VALID, inside_tls=HEADER + FEATURES_TLS + answer()
    ),
    "half an answer before TLS and half inside": Flow(
        TO_TLS + "<db:verify from='capulet.example' ",
        inside_tls=OPEN + "to='montague.example' id='D60000229F' type='valid'/>",
        cause=Cause.VIOLATION,
        condition="bad-format",
    ),
    "answer before the features inside TLS": Flow(
        TO_TLS,
        inside_tls=HEADER + answer(),
        cause=Cause.VIOLATION,
        condition="unsupported-stanza-type",
        opened=False,
    ),
    "no dialback inside TLS": Flow(
        TO_TLS,
        inside_tls=BARE_HEADER + "<stream:features/>",
        cause=Cause.NO_DIALBACK,
        opened=False,
    ),
    "host unknown inside TLS": Flow(
        TO_TLS,
        inside_tls=HEADER + HOST_UNKNOWN + END,
        cause=Cause.PEER_ERROR,
        condition="host-unknown",
        opened=False,
    ),
    "end inside TLS": Flow(TO_TLS, inside_tls=OPEN + END + answer(), cause=Cause.PEER_CLOSED),
    "no header inside TLS": Flow(
        TO_TLS,
        inside_tls=answer(),
        cause=Cause.VIOLATION,
        condition="not-well-formed",
        opened=False,
    ),
    # streams that are none
    "client stream": Flow(
        HEADER.replace("'jabber:server'", "'jabber:client'"),
        cause=Cause.VIOLATION,
        condition="invalid-namespace",
        opened=False,
    ),
    "other root": Flow(
        "<html/>", cause=Cause.VIOLATION, condition="invalid-namespace", opened=False
    ),
    "other element of the stream namespace": Flow(
        HEADER.replace("stream:stream", "stream:features"),
        cause=Cause.VIOLATION,
        condition="bad-format",
        opened=False,
    ),
    "other version": Flow(
        HEADER.replace("'1.0'>", "'one'>"),
        cause=Cause.VIOLATION,
        condition="unsupported-version",
        opened=False,
    ),
    "features twice": Flow(
        OPEN + FEATURES, cause=Cause.VIOLATION, condition="unsupported-stanza-type"
    ),
    "doctype": Flow(
        "<!DOCTYPE x>" + HEADER, cause=Cause.VIOLATION, condition="restricted-xml", opened=False
    ),
    "oversized": Flow(
        OPEN + answer(inner="x" * 20_000), cause=Cause.VIOLATION, condition="policy-violation"
    ),
    "endless": Flow(
        OPEN + answer(inner="x" * 900, stream="other") * 200,
        dropped=131,
        cause=Cause.VIOLATION,
        condition="policy-violation",
    ),
}
