"""Where the authority listener of a sidecar in the lab is, and what of it goes into its file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sidecar.lab.addresses import free_ports, fresh_address
from sidecar.lab.certificates import Certificate, self_signed
from sidecar.lab.dns import DnsServer
from sidecar.lab.server import announce


@dataclass(frozen=True)
class AuthorityPlace:
    """One address with a port for STARTTLS and one for direct TLS, for these sender domains."""

    domains: Sequence[str]
    address: str
    port: int
    tls_port: int
    certificate: Certificate
    options: Mapping[str, Any] = field(default_factory=dict)
    """More keys of `[authority]`."""

    @classmethod
    def fresh(cls, *domains: str, **options: Any) -> AuthorityPlace:
        """An address and ports that nobody uses, and a self-signed certificate."""
        address = fresh_address()
        port, tls_port = free_ports(address, 2)
        return cls(domains, address, port, tls_port, self_signed(*domains), options)

    def publish(self, dns: DnsServer) -> None:
        """Tell `dns` that other servers find the domains here."""
        announce(dns, self.domains, self.address, self.port)

    def toml(self, directory: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """The tables of the configuration; the certificate's files are written to `directory`."""
        certificate, key = self.certificate.write(directory, "authority")
        yield (
            "[authority]",
            {
                "listen": [f"{self.address}:{self.port}"],
                "listen_tls": [f"{self.address}:{self.tls_port}"],
                "domains": list(self.domains),
                **self.options,
            },
        )
        yield (
            "[[certificate]]",
            {"domains": list(self.domains), "certificate": str(certificate), "key": str(key)},
        )
