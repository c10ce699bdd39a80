"""Requests of a server's module read into jobs, and the replies to them rendered.

The format is docs/link-protocol.md. Every field of a request is checked here, once:
unknown attributes are ignored, unknown elements refused.
"""

from __future__ import annotations

import re
from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final
from xml.etree.ElementTree import Element

from sidecar.errors import InvalidValue, shorten
from sidecar.jobs import EXTERNAL, Check, Issue, Job, Report, ReportedOutcome, Role, Verify
from sidecar.names import DialbackKey, Domain, DomainPair, StreamId

NAMESPACE: Final = "urn:dialback-sidecar:1"
_TAG = "{" + NAMESPACE + "}"
_KEY, _CERTIFICATE, _OUTCOME = _TAG + "key", _TAG + "certificate", _TAG + "outcome"

MAX_CERTIFICATES: Final = 10
MAX_CERTIFICATE_BYTES: Final = 32 * 1024
MAX_OUTCOMES: Final = 64
MAX_CHAIN_CHARACTERS: Final = 1024
_MILLISECONDS = re.compile(r"[0-9]{1,9}\Z")
_ROLES = {role.value: role for role in Role}
_MECHANISMS = frozenset({"dialback", "external"})
_OUTCOME_TYPES = frozenset({"valid", "invalid", "error", "closed"})


def read_job(payload: Element, iq_type: str) -> Job:
    """Return the job in the payload of an `iq` of type `iq_type`.

    Raises InvalidValue, naming the field, for everything that is not exactly a request.
    """
    tag = payload.tag
    reader = _READERS.get(tag)
    if reader is None:
        raise InvalidValue("payload", f"expected a request, got {shorten(tag)}")
    expected_type, read = reader
    if iq_type != expected_type:
        raise InvalidValue("type", f"expected {expected_type}, got {shorten(iq_type)}")
    return read(payload)


def read_quick_job(element: Element) -> Issue | Verify:
    """Return the job of an element that may stand in a batch. Raises InvalidValue."""
    read = _QUICK.get(element.tag)
    if read is None:
        raise _unexpected(element)
    return read(element)


def read_remaining(payload: Element) -> float | None:
    """Return the seconds the server still has for a request, None where it does not say."""
    text = payload.get("remaining")
    if text is None:
        return None
    if not _MILLISECONDS.match(text):
        raise InvalidValue("remaining", f"expected milliseconds, got {shorten(text)}")
    return int(text) / 1000


def _issue(element: Element) -> Issue:
    certificates: list[bytes] = []
    for child in element:
        if child.tag != _CERTIFICATE or certificates:
            raise _unexpected(child)
        certificates.append(_certificate(child))
    return Issue(
        pair=_pair(element),
        stream=_stream(element),
        encrypted=_encrypted(element),
        ip=_ip(element),
        certificate=certificates[0] if certificates else None,
        certificate_on_demand=not certificates and element.get("certificate") == "on-demand",
        external=_external(element),
    )


def _verify(element: Element) -> Verify:
    return Verify(pair=_pair(element), stream=_stream(element), key=_key(element), ip=_ip(element))


def _check(element: Element) -> Check:
    key: DialbackKey | None = None
    certificates: list[bytes] = []
    for child in element:
        if child.tag == _KEY and key is None:
            key = _key(child)
        elif child.tag == _CERTIFICATE and len(certificates) < MAX_CERTIFICATES:
            certificates.append(_certificate(child))
        else:
            raise _unexpected(child)
    if key is None:
        raise InvalidValue("key", "expected one element, got none")
    chain = element.get("chain")
    if chain is not None and len(chain) > MAX_CHAIN_CHARACTERS:
        raise InvalidValue("chain", f"expected at most {MAX_CHAIN_CHARACTERS} characters")
    require = element.get("require")
    if require is not None and require != "certificate":
        raise InvalidValue("require", f"expected certificate, got {shorten(require)}")
    return Check(
        pair=_pair(element),
        stream=_stream(element),
        key=key,
        encrypted=_encrypted(element),
        ip=_ip(element),
        chain=chain,
        require=require,
        certificates=tuple(certificates),
        external=_external(element),
    )


def _external(element: Element) -> str | None:
    """What became of SASL EXTERNAL, for the record; a word that we do not know is left out."""
    said = element.get("external")
    return said if said in EXTERNAL else None


def _report(element: Element) -> Report:
    if not 1 <= len(element) <= MAX_OUTCOMES:
        raise InvalidValue("outcome", f"expected 1 to {MAX_OUTCOMES}, got {len(element)}")
    return Report(tuple([_outcome(child) for child in element]))


def _outcome(element: Element) -> ReportedOutcome:
    if element.tag != _OUTCOME:
        raise _unexpected(element)
    _refuse_children(element)
    role = _ROLES.get(element.get("role", ""))
    if role is None:
        raise InvalidValue("role", f"expected a role, got {shorten(element.get('role', ''))}")
    return ReportedOutcome(
        role=role,
        mechanism=_one_of(element, "mechanism", _MECHANISMS),
        pair=_pair(element),
        stream=_stream(element),
        type=_one_of(element, "type", _OUTCOME_TYPES),
    )


_READERS: Final[dict[str, tuple[str, Callable[[Element], Job]]]] = {
    _TAG + "issue": ("set", _issue),
    _TAG + "verify": ("get", _verify),
    _TAG + "check": ("get", _check),
    _TAG + "report": ("set", _report),
}
_QUICK: Final[dict[str, Callable[[Element], Issue | Verify]]] = {
    _TAG + "issue": _issue,
    _TAG + "verify": _verify,
}


def _pair(element: Element) -> DomainPair:
    return DomainPair(
        sender=Domain.parse(_required(element, "sender"), "sender"),
        target=Domain.parse(_required(element, "target"), "target"),
    )


def _stream(element: Element) -> StreamId:
    return StreamId.parse(_required(element, "stream"))


def _key(element: Element) -> DialbackKey:
    _refuse_children(element)
    return DialbackKey.parse(element.text or "")


def _encrypted(element: Element) -> bool:
    text = element.get("encrypted", "false")
    if text not in ("false", "true"):
        raise InvalidValue("encrypted", f"expected true or false, got {shorten(text)}")
    return text == "true"


def _ip(element: Element) -> str | None:
    text = element.get("ip")
    return None if text is None else _canonical_ip(text)


@lru_cache(maxsize=4096)
def _canonical_ip(text: str) -> str:
    """One spelling per address: an IPv4 address mapped into IPv6 is the IPv4 address."""
    try:
        address: IPv4Address | IPv6Address = ip_address(text)
    except ValueError:
        raise InvalidValue("ip", f"expected an IP address, got {shorten(text)}") from None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return str(address)


def _certificate(element: Element) -> bytes:
    _refuse_children(element)
    text = element.text or ""
    if not 1 <= len(text) <= MAX_CERTIFICATE_BYTES * 4 // 3 + 4:
        raise InvalidValue("certificate", f"expected 1 to {MAX_CERTIFICATE_BYTES} bytes")
    try:
        return a2b_base64(text, strict_mode=True)
    except (Base64Error, ValueError):
        raise InvalidValue("certificate", "expected base64 without line breaks") from None


def _required(element: Element, name: str) -> str:
    text = element.get(name)
    if text is None:
        raise InvalidValue(name, "expected an attribute, got none")
    return text


def _one_of(element: Element, name: str, allowed: frozenset[str]) -> str:
    text = _required(element, name)
    if text not in allowed:
        raise InvalidValue(name, f"expected {' or '.join(sorted(allowed))}, got {shorten(text)}")
    return text


def _refuse_children(element: Element) -> None:
    if len(element):
        raise _unexpected(element[0])


def _unexpected(element: Element) -> InvalidValue:
    return InvalidValue("payload", f"unexpected element {shorten(element.tag)}")
