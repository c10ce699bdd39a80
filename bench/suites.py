"""All benchmarks by name, in the order in which they are run."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from bench import api, authority, check, handshake, keyd
from bench.comparison import Comparison
from bench.run import Run

SUITES: Mapping[str, Callable[[Run], Coroutine[Any, Any, list[Comparison]]]] = {
    "handshake": handshake.compare,
    "authority": authority.compare,
    "check": check.compare,
    "keyd": keyd.compare,
    "api": api.compare,
}
