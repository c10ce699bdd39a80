"""Rules of `[admin]`: an API in clear stays on this machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sidecar.config.rules import is_loopback, read_private, split_address
from sidecar.errors import InvalidValue, Problem, shorten


def admin_problems(values: Mapping[str, Any]) -> Iterator[Problem]:
    """What is wrong; `values` holds the single values that were right."""
    certificate, key = values.get("certificate"), values.get("key")
    for number, address in enumerate(values.get("listen") or (), 1):
        place = f"admin.listen[{number}]"
        split = split_address(address, default_port=0)
        if split is None or split[1] == 0:
            yield Problem(place, f"expected IP:port or [IPv6]:port, got {shorten(address)}")
        elif not is_loopback(split[0]) and certificate is None:
            yield Problem(
                place,
                f"{split[0]} is not loopback, and tokens would cross the network in clear: "
                "set admin.certificate and admin.key",
            )
    if certificate is not None and not Path(certificate).is_file():
        yield Problem("admin.certificate", f"there is no file {certificate}")
    if (certificate is None) != (key is None):
        yield Problem("admin", "expected both certificate and key, or neither")
    if key is not None:
        try:
            read_private(key)
        except InvalidValue as error:
            yield Problem("admin.key", error.problem)
