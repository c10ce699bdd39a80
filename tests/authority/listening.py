"""An authority listener in the test's own process, before a key service that a test decides."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sidecar.config import Config, parse
from sidecar.engine import Engine
from sidecar.errors import KeyServiceUnavailable
from sidecar.jobs import Check, Verdict
from sidecar.lab.addresses import free_ports, fresh_address
from sidecar.lab.certificates import Certificate, self_signed
from sidecar.s2s.authority.limits import Bounds, Patience
from sidecar.s2s.authority.listener import AuthorityListener

RIGHT = "b4835385f37fe2895af6c196b59097b16862406db80559900d96bf6fa7d23df3"


@dataclass
class Keys:
    """A key service: `RIGHT` is valid, whatever else is not. `out`: it is down."""

    out: bool = False
    asked: list[int] = field(default_factory=list)

    async def verify_all(self, asked: Sequence[Any], *, timeout_seconds: float) -> list[Verdict]:
        if self.out:
            raise KeyServiceUnavailable("not connected to the key service")
        self.asked.append(len(asked))
        return [
            Verdict.valid() if each.key.reveal() == RIGHT else Verdict.invalid("key-wrong")
            for each in asked
        ]


@dataclass
class Checks:
    """A checker that answers with what a test decides, when it decides."""

    decide: Callable[[Check], Any]
    asked: list[Check] = field(default_factory=list)

    async def check(self, check: Check, *_: object, timeout_seconds: float) -> Verdict:
        self.asked.append(check)
        verdict: Verdict = await self.decide(check)
        return verdict


@dataclass
class Listening:
    """The listener, where it is, and what it asks."""

    listener: AuthorityListener
    address: str
    port: int
    tls_port: int
    keys: Keys
    checks: Checks
    config: Callable[..., Config]


async def _valid(_: Check) -> Verdict:
    return Verdict.valid()


class _Policy:
    def terms_for(self, peer: object) -> Any:
        from sidecar.peer_policy import Terms

        return Terms()


def configuration(
    directory: Path, address: str, port: int, tls_port: int, certificate: Certificate
) -> Callable[..., Config]:
    """Return what makes a configuration from keys of `[authority]`."""
    crt, key = certificate.write(directory, "authority")

    def make(**options: Any) -> Config:
        table = {
            "listen": [f"{address}:{port}"],
            "listen_tls": [f"{address}:{tls_port}"],
            "domains": ["capulet.example", "*.capulet.example"],
            "allow_cleartext": True,
            **options,
        }
        lines = [f"{name} = {_toml(value)}" for name, value in table.items()]
        return parse(
            "[authority]\n" + "\n".join(lines) + "\n[[certificate]]\n"
            f'domains = ["*"]\ncertificate = "{crt}"\nkey = "{key}"\n'
        )

    return make


def _toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value).replace("'", '"')


@asynccontextmanager
async def listening(
    directory: Path,
    *,
    patience: Patience | None = None,
    bounds: Bounds | None = None,
    decide: Callable[[Check], Any] = _valid,
    **options: Any,
) -> AsyncIterator[Listening]:
    """Listen until the block ends."""
    address = fresh_address()
    port, tls_port = free_ports(address, 2)
    make = configuration(directory, address, port, tls_port, self_signed("capulet.example"))
    keys, checks = Keys(), Checks(decide)
    engine = Engine(
        keys,  # type: ignore[arg-type] # the listener issues nothing
        checks,
        _Policy(),
        clock=time.monotonic,
        on_decision=lambda _: None,
    )
    listener = AuthorityListener(
        make(**options), engine, patience=patience or Patience(), bounds=bounds or Bounds()
    )
    await listener.start()
    try:
        yield Listening(listener, address, port, tls_port, keys, checks, make)
    finally:
        await listener.close()
