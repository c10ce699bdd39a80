"""The tables of `sidecar.toml`, with defaults and descriptions.

A field is a key of the file when it has a description.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from sidecar.config.authority import AuthorityConfig
from sidecar.config.keyd import KeydConfig
from sidecar.config.link_domains import LinkDomains
from sidecar.names import Domain

Port = Annotated[int, Meta(ge=1, le=65535)]


class Secret:
    """The component secret, read from `secret_file`; hidden wherever a config is printed."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = value

    def reveal(self) -> bytes:
        return self._value

    def __repr__(self) -> str:
        return "<secret>"


class LinkConfig(Struct, frozen=True, kw_only=True):
    """`[[link]]`: one server, reached as its external component (XEP-0114)."""

    jid: Annotated[
        Domain, Meta(description="the component's JID, as in the server's configuration")
    ]
    secret_file: Annotated[
        Path, Meta(description="file with the component secret, readable by the sidecar alone")
    ]
    domains: Annotated[
        LinkDomains,
        Meta(description="local domains of that server: names, `*.name`, or `*` for hosters"),
    ]
    host: Annotated[str, Meta(description="where the server listens for components")] = "127.0.0.1"
    port: Annotated[Port, Meta(description="the server's component port")] = 5347
    tunnel: Annotated[
        bool,
        Meta(description="`host` is not loopback but reached through an encrypted tunnel"),
    ] = False
    secret: Secret

    @property
    def name(self) -> str:
        """What logs and messages call this link."""
        return str(self.jid)


class CheckConfig(Struct, frozen=True, kw_only=True):
    """`[check]`: how other servers are checked."""

    timeout_seconds: Annotated[
        float, Meta(gt=0, le=60, description="time for one check, from DNS to the answer")
    ] = 12
    nameservers: Annotated[
        tuple[str, ...],
        Meta(description="DNS servers, `IP` or `IP:port`; empty: those of the system"),
    ] = ()
    allow_private_addresses: Annotated[
        bool,
        Meta(description="connect to addresses that are not public, loopback included"),
    ] = False
    keep_open_seconds: Annotated[
        float,
        Meta(ge=0, le=60, description="a quiet stream to another server is kept for more checks"),
    ] = 10
    address_connections_per_second: Annotated[
        float,
        Meta(gt=0, description="to one address of others, lasting; a quarter of it on one asker's"),
    ] = 200
    evidence: Annotated[
        tuple[Literal["certificate", "same-certificate", "key"], ...],
        Meta(min_length=1, description="what may prove a sender domain, the best there is first"),
    ] = ("certificate", "same-certificate", "key")
    trusted_certificates: Annotated[
        Path | None,
        Meta(description="PEM file of certificate authorities; without it those of the system"),
    ] = None


class CertificateConfig(Struct, frozen=True, kw_only=True):
    """`[[certificate]]`: what we show of ourselves to other servers, asking or asked about keys."""

    domains: Annotated[
        LinkDomains,
        Meta(description="local domains it is for: names, `*.name`, `*`; the first that fits"),
    ]
    certificate: Annotated[
        Path,
        Meta(description="PEM file, leaf first, then the chain; read again when it is renewed"),
    ]
    key: Annotated[Path, Meta(description="PEM file with its private key, not open to every user")]


class AdminConfig(Struct, frozen=True, kw_only=True):
    """`[admin]`: the HTTP API for operators, and what Prometheus reads."""

    socket: Annotated[
        Path | None,
        Meta(description="Unix socket of the API; without it `api.sock` in `state_directory`"),
    ] = None
    listen: Annotated[
        tuple[str, ...],
        Meta(description="TCP addresses of the API, `IP:port`; not loopback only with TLS"),
    ] = ("127.0.0.1:5290",)
    certificate: Annotated[
        Path | None, Meta(description="PEM file with the certificate chain for TLS on `listen`")
    ] = None
    key: Annotated[Path | None, Meta(description="PEM file with its private key")] = None
    hosts: Annotated[
        tuple[str, ...],
        Meta(description="more names under which clients reach `listen`, for the Host check"),
    ] = ()
    issue_keys_for: Annotated[
        tuple[Domain, ...],
        Meta(description="sender domains whose keys a token with `keys:issue` gets; else none"),
    ] = ()


class HistoryConfig(Struct, frozen=True, kw_only=True):
    """`[history]`: one record for each handshake, in `state_directory`. 0 keeps none."""

    days: Annotated[
        int, Meta(ge=0, le=3650, description="days after which a handshake is forgotten; 0: none")
    ] = 30
    records: Annotated[
        int,
        Meta(ge=0, le=10_000_000, description="handshakes kept at most; 0: none"),
    ] = 200_000


class LogConfig(Struct, frozen=True, kw_only=True):
    """`[log]`: written to standard error."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="least level written")
    ] = "info"
    format: Annotated[
        Literal["human", "json"], Meta(description="lines for humans, or one JSON object each")
    ] = "human"


class Config(Struct, frozen=True, kw_only=True):
    """The whole of `sidecar.toml`."""

    link: Annotated[tuple[LinkConfig, ...], Meta(description="one table for each server")] = ()
    state_directory: Annotated[
        Path,
        Meta(description="where the key service, the history and the rules about peers are kept"),
    ] = Path("/var/lib/dialback-sidecar")
    keyd: KeydConfig = field(default_factory=KeydConfig)
    check: CheckConfig = field(default_factory=CheckConfig)
    certificate: Annotated[
        tuple[CertificateConfig, ...], Meta(description="one table for each certificate")
    ] = ()
    authority: AuthorityConfig = field(default_factory=AuthorityConfig)
    admin: AdminConfig = field(default_factory=AdminConfig)
    history: HistoryConfig = field(default_factory=HistoryConfig)
    log: LogConfig = field(default_factory=LogConfig)

    @property
    def domains(self) -> tuple[LinkDomains, ...]:
        """Every domain of ours: of the links, and what the authority listener answers for."""
        own = self.authority.domains if self.authority.enabled else None
        return (*(link.domains for link in self.link), *(() if own is None else (own,)))
