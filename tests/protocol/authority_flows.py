"""What a peer may say to the authority listener, as data, with what has to come of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from sidecar.protocol.events import Cause

KEY = "b4835385f37fe2895af6c196b59097b16862406db80559900d96bf6fa7d23df3"
DB = " xmlns:db='jabber:server:dialback'"
HEADER = (
    "<?xml version='1.0'?><stream:stream xmlns='jabber:server'" + DB + " "
    "xmlns:stream='http://etherx.jabber.org/streams' from='montague.example' "
    "to='capulet.example' version='1.0'>"
)
LEGACY_HEADER = HEADER.replace(" version='1.0'>", ">")
BARE_HEADER = LEGACY_HEADER.replace(" from='montague.example' to='capulet.example'", "")
STARTTLS = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
END = "</stream:stream>"
STANZAS = "urn:ietf:params:xml:ns:xmpp-stanzas"


def verify(
    inner: str = KEY,
    *,
    sender: str = "capulet.example",
    target: str = "montague.example",
    stream: str = "D60000229F",
) -> str:
    return f"<db:verify from='{target}' to='{sender}' id='{stream}'>{inner}</db:verify>"


def result(
    inner: str = KEY, *, sender: str = "montague.example", target: str = "capulet.example"
) -> str:
    return f"<db:result from='{sender}' to='{target}'>{inner}</db:result>"


def error(
    condition: str,
    kind: str,
    *,
    sender: str = "capulet.example",
    target: str = "montague.example",
    stream: str = "D60000229F",
) -> str:
    return (
        f"<db:verify from='{sender}' to='{target}' id='{stream}' type='error'>"
        f"<error type='{kind}'><{condition} xmlns='{STANZAS}'/></error></db:verify>"
    )


def result_error(
    condition: str,
    kind: str,
    *,
    sender: str = "montague.example",
    target: str = "capulet.example",
) -> str:
    return (
        f"<db:result from='{target}' to='{sender}' type='error'>"
        f"<error type='{kind}'><{condition} xmlns='{STANZAS}'/></error></db:result>"
    )


Question = tuple[str, str, str, str]
"""Sender domain, target domain, stream ID, key."""

ASKED: Question = ("capulet.example", "montague.example", "D60000229F", KEY)


@dataclass(frozen=True)
class Flow:
    """`says` is all the peer sends; the other fields are what must come of it.

    `at_once` is answered without a verdict, in order. `cause` None: the stream stays open.
    """

    says: str
    asks: tuple[Question, ...] = ()
    wants: tuple[tuple[str, str], ...] = ()
    """The domain pairs of dialback requests: sender, target."""
    at_once: tuple[str, ...] = ()
    dropped: int = 0
    cause: Cause | None = None
    condition: str | None = None
    stream: dict[str, bool] = field(default_factory=dict)


def _violation(says: str, condition: str, **more: object) -> Flow:
    return Flow(says, cause=Cause.VIOLATION, condition=condition, **more)  # type: ignore[arg-type]


MALFORMED = "bad-request", "modify"
NOT_FOUND = "item-not-found", "cancel"

FLOWS: dict[str, Flow] = {
    # questions (XEP-0220 §2.2.2)
    "question": Flow(HEADER + verify(), (ASKED,)),
    "white space around the key": Flow(HEADER + verify(f"\n\t {KEY} \r\n"), (ASKED,)),
    "key as CDATA": Flow(HEADER + verify(f"<![CDATA[{KEY}]]>"), (ASKED,)),
    "key partly as CDATA": Flow(HEADER + verify(f" {KEY[:5]}<![CDATA[{KEY[5:]}]]> "), (ASKED,)),
    "key with character references": Flow(HEADER + verify(f"&#x62;&#52;{KEY[2:]}"), (ASKED,)),
    "another prefix": Flow(HEADER.replace(":db=", ":x=") + verify().replace("db:", "x:"), (ASKED,)),
    "no prefix": Flow(
        HEADER
        + verify()
        .replace("<db:verify", "<verify xmlns='jabber:server:dialback'")
        .replace("db:", ""),
        (ASKED,),
    ),
    "prefix declared on the element alone": Flow(
        HEADER.replace(DB, "") + verify().replace("<db:verify", f"<db:verify{DB}"), (ASKED,)
    ),
    "more attributes": Flow(
        HEADER + verify().replace(" id=", " xml:lang='en' version='1.0' id="), (ASKED,)
    ),
    "domains in other letters": Flow(
        HEADER + verify(sender="CAPULET.example", target="Montague.Example"), (ASKED,)
    ),
    "markup in the id": Flow(
        HEADER + verify(stream="a&apos;&lt;&amp;&gt;&quot;b"),
        (("capulet.example", "montague.example", "a'<&>\"b", KEY),),
    ),
    "U-labels": Flow(
        HEADER + verify(sender="bücher.example", target="münchen.example"),
        (("bücher.example", "münchen.example", "D60000229F", KEY),),
    ),
    "A-labels": Flow(
        HEADER + verify(sender="xn--bcher-kva.example", target="xn--mnchen-3ya.example"),
        (("bücher.example", "münchen.example", "D60000229F", KEY),),
    ),
    "many pairs, pipelined with the header": Flow(
        HEADER
        + verify()
        + verify(sender="rooms.capulet.example", stream="2")
        + verify(target="verona.example", stream="3")
        + verify(),
        (
            ASKED,
            ("rooms.capulet.example", "montague.example", "2", KEY),
            ("capulet.example", "verona.example", "3", KEY),
            ASKED,
        ),
    ),
    "questions, then the end": Flow(
        HEADER + verify() + verify(stream="2") + END,
        (ASKED, ("capulet.example", "montague.example", "2", KEY)),
        cause=Cause.PEER_CLOSED,
    ),
    "legacy server": Flow(LEGACY_HEADER + verify(), (ASKED,)),
    "legacy server without from and to": Flow(BARE_HEADER + verify(), (ASKED,)),
    "legacy server that declares nothing": Flow(
        BARE_HEADER.replace(DB, "") + verify().replace("<db:verify", f"<db:verify{DB}"), (ASKED,)
    ),
    "header that names no domain": Flow(
        HEADER.replace(" to='capulet.example'", "") + verify(), (ASKED,)
    ),
    "header from nobody": Flow(HEADER.replace(" from='montague.example'", "") + verify(), (ASKED,)),
    "header of a later version": Flow(HEADER.replace("'1.0'>", "'1.7'>") + verify(), (ASKED,)),
    "header for another domain of ours": Flow(
        HEADER.replace("to='capulet", "to='rooms.capulet") + verify(), (ASKED,)
    ),
    "white space between elements": Flow(HEADER + "\n \n" + verify() + "\n", (ASKED,)),
    # answered at once
    "domain that is not ours": Flow(
        HEADER + verify(sender="verona.example") + verify(),
        (ASKED,),
        at_once=(error(*NOT_FOUND, sender="verona.example"),),
    ),
    "domain that is not ours, spelt its own way": Flow(
        HEADER + verify(sender="VERONA.example", target="xn--mnchen-3ya.example"),
        at_once=(error(*NOT_FOUND, sender="VERONA.example", target="xn--mnchen-3ya.example"),),
    ),
    "pair the wrong way round": Flow(
        HEADER + verify(sender="montague.example", target="capulet.example"),
        at_once=(error(*NOT_FOUND, sender="montague.example", target="capulet.example"),),
    ),
    "no id": Flow(
        HEADER + verify().replace(" id='D60000229F'", ""),
        at_once=(error(*MALFORMED).replace(" id='D60000229F'", ""),),
    ),
    "empty id": Flow(HEADER + verify(stream=""), at_once=(error(*MALFORMED, stream=""),)),
    "id with a space": Flow(
        HEADER + verify(stream="a b"), at_once=(error(*MALFORMED, stream="a b"),)
    ),
    "id with a line break": Flow(
        HEADER + verify(stream="a&#10;b"), at_once=(error(*MALFORMED, stream="a&#10;b"),)
    ),
    "id too long": Flow(
        HEADER + verify(stream="x" * 257), at_once=(error(*MALFORMED, stream="x" * 257),)
    ),
    "no from": Flow(
        HEADER + verify().replace(" from='montague.example'", ""),
        at_once=(error(*MALFORMED).replace(" to='montague.example'", ""),),
    ),
    "no to": Flow(
        HEADER + verify().replace(" to='capulet.example'", ""),
        at_once=(error(*MALFORMED).replace(" from='capulet.example'", ""),),
    ),
    "nothing at all": Flow(
        HEADER + "<db:verify/>" + verify(),
        (ASKED,),
        at_once=(
            f"<db:verify type='error'><error type='modify'><bad-request xmlns='{STANZAS}'/>"
            "</error></db:verify>",
        ),
    ),
    "JID instead of a domain": Flow(
        HEADER + verify(target="romeo@montague.example"),
        at_once=(error(*MALFORMED, target="romeo@montague.example"),),
    ),
    "no key": Flow(HEADER + verify(""), at_once=(error(*MALFORMED),)),
    "key of white space": Flow(HEADER + verify(" \n "), at_once=(error(*MALFORMED),)),
    "key with a space": Flow(HEADER + verify("b483 5385"), at_once=(error(*MALFORMED),)),
    "key too long": Flow(HEADER + verify("a" * 257), at_once=(error(*MALFORMED),)),
    "element in the key": Flow(HEADER + verify(KEY + "<x/>"), at_once=(error(*MALFORMED),)),
    "TLS is a must": Flow(
        HEADER + verify(),
        at_once=(error("policy-violation", "modify"),),
        stream={"requires_tls": True, "offers_tls": True},
    ),
    "TLS is a must, and there": Flow(
        HEADER + verify(), (ASKED,), stream={"requires_tls": True, "encrypted": True}
    ),
    # dialback requests (XEP-0220 §2.2.1)
    "dialback request": Flow(
        HEADER + result() + verify(), (ASKED,), wants=(("montague.example", "capulet.example"),)
    ),
    "dialback request for a domain that is not ours": Flow(
        HEADER + result(target="verona.example"),
        at_once=(result_error(*NOT_FOUND, target="verona.example"),),
    ),
    "dialback request without a key": Flow(
        HEADER + result(""), at_once=(result_error(*MALFORMED),)
    ),
    "dialback request where TLS is a must": Flow(
        HEADER + result(),
        at_once=(result_error("policy-violation", "modify"),),
        stream={"requires_tls": True, "offers_tls": True},
    ),
    # answers nobody asked for (XEP-0220 §3.1)
    "answer": Flow(
        HEADER + verify().replace("'>", "' type='valid'>") + verify(), (ASKED,), dropped=1
    ),
    "result": Flow(HEADER + result().replace("'>", "' type='valid'>"), dropped=1),
    "answer of an unknown type": Flow(HEADER + verify().replace("'>", "' type=''>"), dropped=1),
    # what else a stream may hold (RFC 6120)
    "SASL, which we do not offer": Flow(
        HEADER
        + "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>"
        + verify(),
        (ASKED,),
        at_once=(
            "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><invalid-mechanism/></failure>",
        ),
    ),
    "end": Flow(HEADER + END, cause=Cause.PEER_CLOSED),
    "stream error": Flow(
        HEADER
        + "<stream:error><host-gone xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>"
        + verify(),
        cause=Cause.PEER_ERROR,
        condition="host-gone",
    ),
    "stanza": _violation(HEADER + "<message/>", "not-authorized"),
    "stanza after a question": _violation(
        HEADER + verify() + "<iq/>", "not-authorized", asks=(ASKED,)
    ),
    "features": _violation(HEADER + "<stream:features/>", "unsupported-stanza-type"),
    "other element": _violation(HEADER + "<x xmlns='y'/>", "unsupported-stanza-type"),
    "other dialback element": _violation(HEADER + "<db:other/>", "unsupported-stanza-type"),
    "STARTTLS that we do not offer": Flow(HEADER + STARTTLS, cause=Cause.VIOLATION),
    "STARTTLS on TLS": Flow(
        HEADER + STARTTLS, cause=Cause.VIOLATION, stream={"offers_tls": True, "encrypted": True}
    ),
    "STARTTLS while an answer is due": Flow(
        HEADER + verify() + STARTTLS, (ASKED,), cause=Cause.VIOLATION, stream={"offers_tls": True}
    ),
    "question in the clear behind STARTTLS": _violation(
        HEADER + STARTTLS + verify(), "unsupported-stanza-type", stream={"offers_tls": True}
    ),
    "header for a domain that is not ours": _violation(
        HEADER.replace("to='capulet", "to='verona") + verify(), "host-unknown"
    ),
    "header for what is no domain": _violation(
        HEADER.replace("to='capulet.example'", "to='a b'") + verify(), "host-unknown"
    ),
    "client's stream": _violation(
        HEADER.replace("'jabber:server' ", "'jabber:client' "), "invalid-namespace"
    ),
    "other stream": _violation(HEADER.replace("etherx", "other"), "invalid-namespace"),
    "other root": _violation("<html/>", "invalid-namespace"),
    "version that is none": _violation(HEADER.replace("'1.0'>", "'x'>"), "unsupported-version"),
    "not XML": _violation("GET / HTTP/1.1\r\n\r\n", "not-well-formed"),
    "not well-formed": _violation(HEADER + verify() + "<a></b>", "not-well-formed", asks=(ASKED,)),
    "comment": _violation(HEADER + "<!-- -->" + verify(), "restricted-xml"),
    "processing instruction": _violation(HEADER + "<?a b?>", "restricted-xml"),
    "document type": _violation("<!DOCTYPE a>" + HEADER, "restricted-xml"),
    "entity": _violation(HEADER + verify("&lol;"), "restricted-xml"),
    "text between elements": _violation(HEADER + "key", "bad-format"),
    "element too large": _violation(HEADER + verify("a" * 9_000), "policy-violation"),
    "too deep": _violation(HEADER + verify("<x>" * 9), "policy-violation"),
    "too many elements": _violation(HEADER + verify("<x/>" * 64), "policy-violation"),
}
