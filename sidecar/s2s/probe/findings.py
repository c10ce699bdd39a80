"""What a probe can find: rules with a stable id, a severity, and what to do about it."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Severity(enum.Enum):
    """`ERROR`: nobody federates this way. `WARNING`: some peers do not, or soon nobody does.
    `NOTE`: good to know."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


_E, _W, _N = Severity


class Rule(enum.Enum):
    """Stable id, severity, advice. Ids are never reused for something else."""

    PROBE_TIMEOUT = "probe-timeout", _E, "what was found by then is shown; something is very slow"
    PROBE_LIMITED = "probe-limited", _W, "this address was dialled too often: wait a minute"
    DOMAIN_IDN = (
        "domain-idn",
        _N,
        "DNS and certificates take this form of the name, XMPP servers the other one",
    )
    DNS_FAILED = "dns-failed", _E, "ask its name servers with dig; DNSSEC or a lame server?"
    DNS_SERVICE_FAILED = "dns-service-failed", _W, "one of two SRV questions fails: ask with dig"
    DNS_SLOW = "dns-slow", _W, "servers give up after a few seconds: look at its name servers"
    DNS_LAME = (
        "dns-lame",
        _W,
        "a name server that the zone names does not answer for it: fix it, or remove its NS record",
    )
    DNS_INCONSISTENT = (
        "dns-inconsistent",
        _W,
        "its name servers do not say the same: look at the transfer of the zone and at serials",
    )
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
    DNS_DOT_AMONG_OTHERS = (
        "dns-dot-among-others",
        _W,
        "target '.' means that there is no service, so it has to be the only one (RFC 2782)",
    )
    DNS_SRV_ADDRESS = (
        "dns-srv-address",
        _W,
        "an SRV target is the name of a host, never an address (RFC 2782): servers leave it out",
    )
    DNS_SRV_ALIAS = (
        "dns-srv-alias",
        _W,
        "an SRV target must not be a CNAME (RFC 2782, RFC 2181): name the host itself",
    )
    DNS_DIRECT_TLS_ONLY = (
        "dns-direct-tls-only",
        _W,
        "add an _xmpp-server record: servers without XEP-0368 look for no other",
    )
    DNS_NO_IPV6 = "dns-no-ipv6", _N, "add AAAA records: some peers have IPv6 alone"
    DNS_NO_DIRECT_TLS = (
        "dns-no-direct-tls",
        _N,
        "an _xmpps-server record (XEP-0368) spares a round trip and hides the domain asked for",
    )
    TCP_REFUSED = "tcp-refused", _E, "nothing listens there: is the server up, the port right?"
    TCP_TIMEOUT = "tcp-timeout", _E, "nothing comes back: look at the firewall"
    TCP_NO_IPV6_HERE = "tcp-no-ipv6-here", _N, "there is no IPv6 from here: try from elsewhere"
    TCP_UNREACHABLE = "tcp-unreachable", _E, "there is no route from here: try from elsewhere"
    NO_CONNECTION = "no-connection", _E, "no address of the domain took a connection from here"
    STREAM_FAILED = "stream-failed", _E, "what listens there speaks no XMPP for servers"
    STREAM_TIMEOUT = "stream-timeout", _E, "the server accepts connections and says nothing"
    HOST_UNKNOWN = "host-unknown", _E, "DNS points at a server that does not host this domain"
    STREAM_ERROR = "stream-error", _E, "the server refuses us; its log says why"
    STREAM_LEGACY = "stream-legacy", _W, "a server without version 1.0 has no TLS: update it"
    STREAM_NO_ID = "stream-no-id", _W, "dialback keys are made for a stream ID: update the server"
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
    NO_AUTHENTICATION = (
        "no-authentication",
        _E,
        "it has seen our certificate and offers neither SASL EXTERNAL nor dialback: no way in",
    )
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
    KEY_NOT_ISSUED = "key-not-issued", _E, "the daemon gave no key: see `dialback-sidecar status`"

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
