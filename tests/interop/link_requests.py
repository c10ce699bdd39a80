"""Requests and replies of docs/link-protocol.md as anybody could write them, MAC or no MAC."""

from __future__ import annotations

import secrets
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from host_servers import CAPULET, SIDECAR

from sidecar.protocol.link_mac import LinkKey, canonical_element, canonical_reply, canonical_request

NAMESPACE = "urn:dialback-sidecar:1"
_PAIR = "sender='{sender}' target='{target}' stream='D60000229F' remaining='3000'"
_TYPES = {"issue": "set", "verify": "get", "check": "get", "report": "set"}


def payload(job: str, *, sender: str, target: str) -> str:
    """The payload of one of the four jobs, well-formed, without a MAC."""
    pair = _PAIR.format(sender=sender, target=target)
    inside = {
        "issue": "",
        "verify": "b4835385f37fe289",
        "check": "<key>b4835385f37fe289</key>",
        "report": "<outcome role='initiating' mechanism='dialback' type='closed'"
        f" sender='{sender}' target='{target}' stream='D60000229F'/>",
    }[job]
    attributes = "" if job == "report" else f" {pair}"
    return f"<{job} xmlns='{NAMESPACE}'{attributes}>{inside}</{job}>"


def every_job(*, local: str = CAPULET, remote: str = "montague.example") -> dict[str, str]:
    """Job to payload, with `local` where the server's own domain belongs."""
    return {
        job: payload(
            job,
            sender=remote if job == "check" else local,
            target=local if job == "check" else remote,
        )
        for job in _TYPES
    }


def request(
    job: str,
    inside: str,
    *,
    sender: str | None,
    to: str = SIDECAR,
    secret: str | None = None,
    id: str | None = None,
) -> tuple[str, str]:
    """Return an iq with `inside` as its payload, and its id. With `secret` it carries a MAC."""
    id = id or secrets.token_hex(12)
    address = f" from='{sender}'" if sender else ""
    plain = f"<iq type='{_TYPES[job]}' id='{id}'{address} to='{to}'>{inside}</iq>"
    if secret is None:
        return plain, id
    iq = ElementTree.fromstring(plain)
    mac = LinkKey(secret.encode()).mac(canonical_request(iq, iq[0]))
    return plain.replace(f"xmlns='{NAMESPACE}'", f"xmlns='{NAMESPACE}' mac='{mac}'", 1), id


def reply(asked: Element, inside: str, *, sender: str = SIDECAR, secret: str | None = None) -> str:
    """Return the iq that answers the request `asked` with `inside`; with `secret` it has a MAC."""
    id, to = asked.get("id", ""), asked.get("from", "")
    if secret is not None:
        canonical = canonical_element(ElementTree.fromstring(inside))
        mac = LinkKey(secret.encode()).mac(canonical_reply(asked[0].get("mac", ""), canonical))
        inside = inside.replace(f"xmlns='{NAMESPACE}'", f"xmlns='{NAMESPACE}' mac='{mac}'", 1)
    return f"<iq type='result' id='{id}' from='{sender}' to='{to}'>{inside}</iq>"
