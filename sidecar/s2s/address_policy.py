"""Which names and addresses we connect to on the word of a stranger."""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

_NUMERIC_LABEL = re.compile(r"([0-9]+|0x[0-9a-f]*)\Z", re.IGNORECASE)

_NAT64 = IPv6Network("64:ff9b::/96")
_IPV4_COMPATIBLE = IPv6Network("::/96")
_GLOBAL_UNICAST = IPv6Network("2000::/3")


def is_literal(name: str) -> bool:
    """Whether something could take `name` for an IPv4 address (`127.1`, `0x7f.1`) or IPv6."""
    last = name.rstrip(".").rpartition(".")[2]
    return ":" in name or not last or _NUMERIC_LABEL.match(last) is not None


@lru_cache(maxsize=4096)
def is_public(address: str) -> bool:
    """Whether `address` is one of the public internet, looking into addresses within addresses."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(parsed, IPv4Address):
        return _is_public_v4(parsed)
    embedded = _embedded_v4(parsed)
    if embedded is not None:
        return _is_public_v4(embedded)
    return parsed in _GLOBAL_UNICAST and parsed.is_global and not parsed.is_multicast


def _is_public_v4(address: IPv4Address) -> bool:
    return address.is_global and not address.is_multicast and not address.is_reserved


def _embedded_v4(address: IPv6Address) -> IPv4Address | None:
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address in _NAT64 or address in _IPV4_COMPATIBLE:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return None
