"""Replies to a server's module, rendered as text that is ready to send.

Format and MAC of replies: docs/link-protocol.md, "Requests and replies", "The MAC".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from sidecar.jobs import Verdict
from sidecar.names import DialbackKey, Domain
from sidecar.protocol.link_mac import LinkKey, canonical_parts, canonical_reply
from sidecar.protocol.link_stanzas import NAMESPACE

_STANZAS: Final = "urn:ietf:params:xml:ns:xmpp-stanzas"
_ERROR_TYPES: Final = {"forbidden": "auth", "bad-request": "modify"}
_SPECIAL = re.compile(r"[&<>\"'\t\r\n]")


@dataclass(frozen=True, slots=True)
class ReplyAddress:
    """Where a reply goes: the id of the request, who asked, and whom."""

    id: str
    asker: str
    us: Domain

    def iq(self, iq_type: Literal["result", "error"], payload: str) -> str:
        return (
            f"<iq type='{iq_type}' id='{escaped(self.id)}' from='{self.us}'"
            f" to='{escaped(self.asker)}'>{payload}</iq>"
        )


def render_answer(
    answer: DialbackKey | Verdict | None, address: ReplyAddress, request_mac: str, key: LinkKey
) -> str:
    """Return the reply to one request; `None` (a report) is answered with `<received/>`."""
    name, text, attributes = parts_of(answer)
    mac = key.mac(canonical_reply(request_mac, canonical_parts(name, text, attributes)))
    written = "".join([f" {attribute}='{escaped(value)}'" for attribute, value in attributes])
    return address.iq(
        "result", f"<{name} xmlns='{NAMESPACE}'{written} mac='{mac}'>{escaped(text)}</{name}>"
    )


def parts_of(
    answer: DialbackKey | Verdict | None,
) -> tuple[str, str, list[tuple[str, str]]]:
    """Return name, text and attributes of the element that says this."""
    match answer:
        case DialbackKey():
            return "key", answer.reveal(), []
        case Verdict():
            return "verdict", "", _verdict_attributes(answer)
        case None:
            return "received", "", []


def escaped(text: str) -> str:
    """Escape for text and attribute values; white space as references, or parsers change it."""
    return _SPECIAL.sub(lambda match: f"&#{ord(match[0])};", text)


def render_refusal(
    condition: Literal["forbidden", "bad-request"], address: ReplyAddress, text: str = ""
) -> str:
    """Return the `iq` error for what is not accepted as a request; `text` only for who may ask."""
    said = f"<text xmlns='{_STANZAS}'>{escaped(text)}</text>" if text else ""
    return address.iq(
        "error",
        f"<error type='{_ERROR_TYPES[condition]}'><{condition} xmlns='{_STANZAS}'/>{said}</error>",
    )


def _verdict_attributes(verdict: Verdict) -> list[tuple[str, str]]:
    attributes = [("type", verdict.outcome.value)]
    if verdict.condition is not None:
        attributes.append(("condition", verdict.condition.value))
    if verdict.evidence is not None:
        attributes.append(("evidence", verdict.evidence.value))
    if verdict.reason is not None:
        attributes.append(("reason", verdict.reason))
    return attributes
