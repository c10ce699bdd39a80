"""`[authority]`: the listener that answers about keys by itself."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from sidecar.config.link_domains import LinkDomains


class AuthorityConfig(Struct, frozen=True, kw_only=True):
    """`[authority]`: answer other servers' questions about our keys without a server of ours."""

    listen: Annotated[
        tuple[str, ...],
        Meta(
            description="addresses for other servers, `IP`, `IP:port` or `[IPv6]:port`; port 5269"
        ),
    ] = ()
    listen_tls: Annotated[
        tuple[str, ...],
        Meta(description="the same for TLS from the first byte (XEP-0368); port 5270"),
    ] = ()
    domains: Annotated[
        LinkDomains | None,
        Meta(description="sender domains answered for; without it those of the links"),
    ] = None
    allow_cleartext: Annotated[
        bool, Meta(description="answer about keys on streams without TLS as well")
    ] = False
    check_peers: Annotated[
        bool,
        Meta(
            description="check a server that authenticates itself here, as Prosody does before it "
            "asks; without it every such server gets an error"
        ),
    ] = True
    connections: Annotated[
        int, Meta(ge=1, le=100_000, description="connections at most, in all")
    ] = 4_000
    connections_per_network: Annotated[
        int, Meta(ge=1, le=100_000, description="from one /24, or /48 of IPv6")
    ] = 200
    requests_per_second: Annotated[
        float,
        Meta(gt=0, description="from one network, lasting; whoever asks more is read more slowly"),
    ] = 2_000

    @property
    def enabled(self) -> bool:
        return bool(self.listen or self.listen_tls)
