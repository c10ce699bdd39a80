"""`[keyd]`: where the key service is, and what it lives by when the daemon starts it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, Struct

from sidecar.durations import Duration
from sidecar.errors import Problem

MAX_KEY_LIFETIME = Duration(4 * 3_600_000)

Entries = Annotated[int, Meta(ge=1, le=1_000_000_000)]


class KeydConfig(Struct, frozen=True, kw_only=True):
    """`[keyd]`: where the key service is; the rest is for one that is started as a child."""

    socket: Annotated[
        Path | None,
        Meta(
            description="Unix socket of a `dialback-keyd` that runs by itself and has the options "
            "below on its own command line; without it one is started as a child"
        ),
    ] = None
    rotate_every: Annotated[
        Duration,
        Meta(description="age at which a secret is replaced, 10 % more or less: `30m`, `24h`"),
    ] = Duration(86_400_000)
    key_lifetime: Annotated[
        Duration, Meta(description="how long an issued key can be verified, up to `4h`")
    ] = Duration(120_000)
    max_entries: Annotated[
        Entries, Meta(description="live keys in the ledger, over which no more are issued")
    ] = 1_000_000
    max_entries_per_domain: Annotated[
        Entries, Meta(description="of them, for one sender domain that has no own policy")
    ] = 500_000
    max_entries_per_zone: Annotated[
        Entries,
        Meta(description="of them, for target domains with the same last two labels"),
    ] = 100_000
    max_domains: Annotated[Entries, Meta(description="sender domains that may have a secret")] = (
        100_000
    )

    @property
    def options(self) -> list[str]:
        """The command line of the child."""
        names = [name for name in self.__struct_fields__ if name != "socket"]
        return [each for name in names for each in (_option(name), str(getattr(self, name)))]


def keyd_problems(values: Mapping[str, Any]) -> Iterator[Problem]:
    """What is wrong; `values` holds the single values that were given and right."""
    lifetime = values.get("key_lifetime")
    if lifetime is not None and lifetime.ms > MAX_KEY_LIFETIME.ms:
        yield Problem("keyd.key_lifetime", f"expected at most {MAX_KEY_LIFETIME}, got {lifetime}")
    if values.get("socket") is not None:
        for name in values.keys() - {"socket"}:
            yield Problem(
                f"keyd.{name}",
                f"the key service at keyd.socket has this on its own command line: {_option(name)}",
            )


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
