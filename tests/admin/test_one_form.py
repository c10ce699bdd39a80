"""One name and one form for one thing: over HTTP, in what commands print, with no daemon too."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from daemon_process import Daemon
from operation_samples import BODIES, OURS
from test_api_commands import run_json

from sidecar.admin.openapi import document

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z\Z")
OTHER_UNITS = ("_us", "_seconds", "_at", "_time", "_timestamp")
PRINTED = (
    *("status", "domain list", "secret list", "handshake list", "handshake show 1"),
    *("peer list", "peer rules", "token list", f"domain show {OURS}"),
)


def _values(content: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every value with the name of the field it is in."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield from _values(value, key)
    elif isinstance(content, list):
        for value in content:
            yield from _values(value, name)
    else:
        yield name, content


def _properties(schema: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(schema, dict):
        yield from schema.get("properties", {}).items()
        schema = list(schema.values())
    if isinstance(schema, list):
        for each in schema:
            yield from _properties(each)


def _types(schema: dict[str, Any]) -> set[str]:
    return {str(each.get("type")) for each in schema.get("anyOf", [schema])} - {"null"}


def test_contract_has_durations_in_milliseconds_and_no_other_unit() -> None:
    durations = {
        name: each for name, each in _properties(document()) if re.search("(^|_)ms$", name)
    }
    assert set(durations) == {"ms", "after_ms", "issue_ms", "verify_ms", "check_ms"}
    for name, schema in durations.items():
        assert _types(schema) == {"number"}, name
    others = [name for name, _ in _properties(document()) if name.endswith(OTHER_UNITS)]
    assert others == []


@pytest.mark.parametrize("words", PRINTED)
async def test_what_is_printed_has_times_and_durations_in_one_form(
    shared_daemon: Daemon, words: str
) -> None:
    await shared_daemon.make_secret(OURS)
    await shared_daemon.ask("POST", "/v1/checks", json=BODIES["checks-run"])
    await shared_daemon.ask("GET", "/v1/handshakes")  # it is written
    seen = list(_values(await run_json(shared_daemon, *words.split())))
    schemas = list(_properties(document()["components"]["schemas"]))
    times = {n for n, s in schemas if "date-time" in str(s)}
    durations = {n for n, s in schemas if re.search("(^|_)ms$", n)}
    assert seen
    for name, value in seen:
        if name in times and value is not None:
            assert TIME.match(value), (name, value)
        elif isinstance(value, str):
            assert not re.match(r"\d{4}-\d\d-\d\d", value), (name, value)
        assert not name.endswith(("_ms", *OTHER_UNITS)) or name in durations, name


async def test_key_service_is_told_alike_by_the_daemon_and_by_itself(
    shared_daemon: Daemon,
) -> None:
    socket = str(shared_daemon.state / "keyd" / "admin.sock")
    told = (await run_json(shared_daemon, "status"))["key_service"]
    alone = (await run_json(shared_daemon, "status", "--admin-socket", socket))["key_service"]
    assert set(alone) == set(told) - {"isolated"}
    assert alone["next_rotation"] == told["next_rotation"]
    assert alone["store_id"] == told["store_id"]


async def test_versions_are_listed_alike_by_command_and_over_http(shared_daemon: Daemon) -> None:
    await shared_daemon.make_secret(OURS)
    answer = await shared_daemon.ask("GET", f"/v1/domains/{OURS}/secrets")
    socket = str(shared_daemon.state / "keyd" / "admin.sock")
    listed = await run_json(shared_daemon, "secret", "list", OURS, "--admin-socket", socket)
    assert listed == {"items": [answer.content]}
