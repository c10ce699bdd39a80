"""Imports point downwards only (docs/architecture.md), shown over the import graph."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "sidecar"

# From the bottom up. A module belongs to the longest prefix that fits.
TIERS = {
    "sidecar": 0,
    "sidecar.errors": 0,
    "sidecar.durations": 0,
    "sidecar.names": 0,
    "sidecar.jobs": 0,
    "sidecar.logs": 0,
    "sidecar.preconditions": 0,
    "sidecar.config": 0,
    "sidecar.protocol": 1,
    "sidecar.keys": 1,
    "sidecar.pkix": 1,
    "sidecar.peer_policy": 1,
    "sidecar.engine": 2,
    "sidecar.decision_log": 2,
    "sidecar.handshakes": 2,
    "sidecar.operations": 2,
    "sidecar.keyd": 3,
    "sidecar.key_client": 3,
    "sidecar.admin_client": 3,
    "sidecar.s2s": 3,
    "sidecar.component": 3,
    "sidecar.store": 3,
    "sidecar.metrics": 3,
    "sidecar.admin": 3,
    "sidecar.daemon": 4,
    "sidecar.lab": 4,
    "sidecar.cli": 5,
}
SHELLS = [name for name, tier in TIERS.items() if tier == 3]
IMPURE = {"asyncio", "socket", "ssl", "time", "random", "secrets", "threading", "subprocess"}
# Third-party libraries, each with the only places that may know it.
OUTSIDE = {
    "slixmpp": ["sidecar.component", "sidecar.lab"],
    "pycares": ["sidecar.s2s"],
    "aiohttp": ["sidecar.admin"],
    "click": ["sidecar.cli"],
    "rich": ["sidecar.cli"],
    "dns": ["sidecar.lab"],
    "prometheus_client": ["sidecar.metrics"],
}


def _modules() -> list[tuple[str, Path]]:
    return [
        (".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"), path)
        for path in sorted(PACKAGE.rglob("*.py"))
    ]


MODULES = dict(_modules())


@cache
def _imports(path: Path) -> frozenset[str]:
    """The modules it takes something from, inside functions and for type checkers too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            base = node.module or ""
            for name in (f"{base}.{alias.name}" for alias in node.names):
                found.add(name if name in MODULES else base)
    return frozenset(found)


def _place(module: str) -> str:
    """The entry of TIERS that a module belongs to."""
    fitting = [name for name in TIERS if f"{module}.".startswith(f"{name}.")]
    place = max(fitting, key=len)
    assert place != "sidecar" or module == "sidecar", f"{module} is in no tier"
    return place


@pytest.mark.parametrize(("module", "path"), MODULES.items(), ids=lambda value: str(value))
def test_imports_point_downwards_only(module: str, path: Path) -> None:
    here = _place(module)
    for imported in _imports(path):
        if imported.split(".")[0] != "sidecar":
            continue
        there = _place(imported)
        assert TIERS[there] <= TIERS[here], f"{module} imports {imported}, which is above it"
        if here in SHELLS and there in SHELLS:
            assert here == there, f"{module} imports {imported}: shells do not know each other"
        assert there != "sidecar.lab" or here in ("sidecar.lab", "sidecar.cli")


def test_no_imports_run_in_a_circle() -> None:
    under_way: list[str] = []
    seen: set[str] = set()

    def follow(module: str) -> None:
        assert module not in under_way, " -> ".join([*under_way, module])
        if module in seen:
            return
        seen.add(module)
        under_way.append(module)
        for imported in sorted(_imports(MODULES[module]) & MODULES.keys()):
            follow(imported)
        under_way.pop()

    for module in MODULES:
        follow(module)


def test_every_module_stands_in_the_table_of_the_architecture() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ")][1:]
    tiers = ["leaf", "pure", "decisions", "shells", "assembly", "assembly"]
    for module, tier in TIERS.items():
        name = module.removeprefix("sidecar.")
        if name in ("sidecar", "lab"):  # the package itself; what stands beside the assembly
            continue
        (row,) = [row for row in rows if row.startswith(f"| {tiers[tier]} ")]
        assert f"`{name}`" in row or f"`{name}/`" in row, f"{name} is not among the {tiers[tier]}"


@pytest.mark.parametrize(("module", "path"), MODULES.items(), ids=lambda value: str(value))
def test_pure_code_knows_no_clock_no_chance_and_no_network(module: str, path: Path) -> None:
    if TIERS[_place(module)] == 1:
        assert not {name.split(".")[0] for name in _imports(path)} & IMPURE


@pytest.mark.parametrize(("module", "path"), MODULES.items(), ids=lambda value: str(value))
def test_each_outside_library_is_known_in_one_place(module: str, path: Path) -> None:
    for imported in _imports(path):
        allowed = OUTSIDE.get(imported.split(".")[0])
        assert allowed is None or _place(module) in allowed, f"{module} imports {imported}"
