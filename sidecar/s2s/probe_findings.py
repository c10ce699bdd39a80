"""What a probe can find: rules with a stable id, a severity, and what to do about it."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Severity(enum.Enum):
    """`ERROR`: nobody federates this way. `WARNING`: some peers do not. `NOTE`: good to know."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


_E, _W, _N = Severity


class Rule(enum.Enum):
    """Stable id, severity, advice. Ids are never reused for something else."""

    DNS_FAILED = "dns-failed", _E, "ask its name servers with dig; DNSSEC or a lame server?"
    DNS_NO_SERVICE = (
        "dns-no-service",
        _E,
        "an SRV record says that there is no XMPP service: remove the one with target '.'",
    )
    DNS_NO_ADDRESS = "dns-no-address", _E, "add A and AAAA records for the target"
    DNS_NOT_PUBLIC = "dns-not-public", _E, "publish an address that others can reach"
    DNS_NO_SRV = (
        "dns-no-srv",
        _N,
        "the domain itself on port 5269 is used; with an SRV record it could be anywhere",
    )
    DNS_NO_IPV6 = "dns-no-ipv6", _N, "add AAAA records: some peers have IPv6 alone"
    DNS_NO_DIRECT_TLS = (
        "dns-no-direct-tls",
        _N,
        "an _xmpps-server record (XEP-0368) spares a round trip and hides the domain asked for",
    )
    TCP_REFUSED = "tcp-refused", _E, "nothing listens there: is the server up, the port right?"
    TCP_TIMEOUT = "tcp-timeout", _E, "nothing comes back: look at the firewall"
    TCP_UNREACHABLE = "tcp-unreachable", _E, "there is no route from here: try from elsewhere"
    STREAM_FAILED = "stream-failed", _E, "what listens there speaks no XMPP for servers"
    STREAM_TIMEOUT = "stream-timeout", _E, "the server accepts connections and says nothing"
    HOST_UNKNOWN = "host-unknown", _E, "DNS points at a server that does not host this domain"
    STREAM_ERROR = "stream-error", _E, "the server refuses us; its log says why"
    STREAM_LEGACY = "stream-legacy", _W, "a server without version 1.0 has no TLS: update it"
    TLS_ABSENT = "tls-absent", _W, "most servers refuse cleartext: give it a certificate"
    TLS_FAILED = "tls-failed", _E, "look at the certificate, its key, and the TLS versions"
    TLS_OLD = "tls-old", _W, "offer TLS 1.3 and 1.2"
    TLS_NO_ALPN = "tls-no-alpn", _N, "with direct TLS the server should choose xmpp-server"
    CERTIFICATE_EXPIRED = "certificate-expired", _W, "renew it, and let the server reload it"
    CERTIFICATE_NOT_YET_VALID = "certificate-not-yet-valid", _W, "look at both clocks"
    CERTIFICATE_WRONG_NAME = (
        "certificate-wrong-name",
        _W,
        "it has to name the XMPP domain, not the host that SRV points at",
    )
    CERTIFICATE_SELF_SIGNED = (
        "certificate-self-signed",
        _W,
        "peers that demand certificates refuse it; others fall back to dialback",
    )
    CERTIFICATE_INTERMEDIATE_MISSING = (
        "certificate-intermediate-missing",
        _W,
        "let the server send the full chain (fullchain.pem)",
    )
    CERTIFICATE_UNTRUSTED = "certificate-untrusted", _W, "use an authority that peers know"
    CERTIFICATE_REFUSED = "certificate-refused", _W, "the chain breaks a rule; issue it anew"
    CERTIFICATE_UNREADABLE = "certificate-unreadable", _W, "issue it anew"
    CERTIFICATE_ENDS_SOON = "certificate-ends-soon", _W, "renewal should have happened by now"
    CERTIFICATE_SERVER_ONLY = (
        "certificate-server-only",
        _N,
        "peers that insist on clientAuth need dialback; no public authority issues it any more",
    )
    EXTERNAL_ABSENT = (
        "external-absent",
        _N,
        "it does not accept our certificate by SASL EXTERNAL: dialback decides",
    )
    DIALBACK_ABSENT = "dialback-absent", _W, "without it, peers need a certificate it trusts"
    DIALBACK_NO_ERRORS = (
        "dialback-no-errors",
        _N,
        "it does not announce dialback errors (XEP-0220 §2.4), so problems end streams",
    )
    DIALBACK_INVALID = (
        "dialback-invalid",
        _E,
        "it asked an authoritative server of ours that does not know our keys: see check dns",
    )
    DIALBACK_ERROR = "dialback-error", _E, "it could not ask our server: see check dns"
    DIALBACK_TIMEOUT = "dialback-timeout", _E, "it never answered: can it reach our server?"
    DIALBACK_REFUSED = "dialback-refused", _E, "it ended the stream when we proved our domain"
    KEY_NOT_ISSUED = "key-not-issued", _E, "is dialback-keyd up, and may this user ask it?"

    def __init__(self, id: str, severity: Severity, advice: str) -> None:
        self.id = id
        self.severity = severity
        self.advice = advice


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule that fired, at a place (a name or an address), with what was seen."""

    rule: Rule
    place: str
    text: str = ""
