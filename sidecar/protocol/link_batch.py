"""Several requests in one stanza, and their answers in one: docs/link-protocol.md, `batch`.

One MAC covers a whole batch, in both directions; what is wrong with one element harms no other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal
from xml.etree.ElementTree import Element

from sidecar.errors import InvalidValue, shorten
from sidecar.jobs import Issue, Verdict, Verify
from sidecar.names import DialbackKey
from sidecar.protocol.link_mac import LinkKey, canonical_parts, canonical_reply
from sidecar.protocol.link_replies import ReplyAddress, escaped, parts_of
from sidecar.protocol.link_stanzas import NAMESPACE, read_quick_job

TAG: Final = "{" + NAMESPACE + "}batch"
MAX_IN_BATCH: Final = 64


@dataclass(frozen=True, slots=True)
class RefusedRequest:
    """A request of a batch that is not accepted; `text` is for who may ask."""

    condition: Literal["forbidden", "bad-request"]
    text: str


def read_batch(payload: Element, iq_type: str) -> tuple[Issue | Verify | RefusedRequest, ...]:
    """Return what each element asks. Raises InvalidValue where it is no batch at all."""
    if iq_type != "set":
        raise InvalidValue("type", f"expected set, got {shorten(iq_type)}")
    if not 1 <= len(payload) <= MAX_IN_BATCH:
        raise InvalidValue("batch", f"expected 1 to {MAX_IN_BATCH}, got {len(payload)}")
    return tuple([_read(element) for element in payload])


def render_answers(
    answers: Sequence[DialbackKey | Verdict | RefusedRequest],
    address: ReplyAddress,
    request_mac: str,
    key: LinkKey,
) -> str:
    """Return the reply to a batch, with the answers in the order of its requests."""
    distinct = {id(answer): answer for answer in answers}  # many verdicts are the very same
    rendered = {number: _render(answer) for number, answer in distinct.items()}
    canonical, written = zip(*[rendered[id(answer)] for answer in answers], strict=True)
    count = str(len(answers))
    covered = f"7:answers0:1:0{len(count)}:{count}{''.join(canonical)}"
    mac = key.mac(canonical_reply(request_mac, covered))
    return address.iq(
        "result", f"<answers xmlns='{NAMESPACE}' mac='{mac}'>{''.join(written)}</answers>"
    )


def _read(element: Element) -> Issue | Verify | RefusedRequest:
    try:
        return read_quick_job(element)
    except InvalidValue as error:
        return RefusedRequest("bad-request", str(error))


def _render(answer: DialbackKey | Verdict | RefusedRequest) -> tuple[str, str]:
    """Return what the MAC covers, and the XML."""
    name, text, attributes = _parts_of(answer)
    pairs = "".join([f" {attribute}='{escaped(value)}'" for attribute, value in attributes])
    return (
        canonical_parts(name, text, attributes),
        f"<{name}{pairs}>{escaped(text)}</{name}>",
    )


def _parts_of(
    answer: DialbackKey | Verdict | RefusedRequest,
) -> tuple[str, str, list[tuple[str, str]]]:
    if isinstance(answer, RefusedRequest):
        return "refused", answer.text, [("condition", answer.condition)]
    return parts_of(answer)
