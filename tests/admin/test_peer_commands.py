"""`dialback-sidecar peer ...`: deciding about peers as it is typed."""

from __future__ import annotations

import json
from typing import Any

from daemon_process import Daemon
from test_api_commands import run, run_json

PIN = "5e" * 32


async def typed(daemon: Daemon, *words: str) -> str:
    """What a command that works prints."""
    result = await run(daemon, "peer", *words)
    assert result.exit_code == 0, result.output
    assert max(map(len, result.output.splitlines())) <= 80, result.output
    return result.output


def fields(output: str) -> dict[str, str]:
    """Name to value of what was shown field by field."""
    lines = [line.split("  ", 1) for line in output.splitlines() if not line.startswith(" ")]
    return {line[0].strip(): line[1].strip() for line in lines if len(line) > 1}


async def test_peer_is_denied_shown_listed_and_allowed_again(ruled_daemon: Daemon) -> None:
    shown = fields(await typed(ruled_daemon, "show", "example.net"))
    assert (shown["domain"], shown["action"]) == ("example.net", "allow")
    assert "rule" not in shown
    done = await typed(
        ruled_daemon, "set", "*.net", "--action", "deny", "--reason", "spam since Monday"
    )
    assert fields(done)["action"] == "deny"
    shown = fields(await typed(ruled_daemon, "show", "example.net"))
    assert (shown["rule"], shown["action"]) == ("*.net", "deny")
    assert shown["reason"] == "spam since Monday"
    rules = await typed(ruled_daemon, "rules")
    assert "*.net" in rules and "spam since" in rules
    await typed(ruled_daemon, "remove", "*.net")
    assert fields(await typed(ruled_daemon, "show", "example.net"))["action"] == "allow"
    assert "nothing yet" in await typed(ruled_daemon, "rules")


async def test_every_showing_says_what_rules_do_not_cover(ruled_daemon: Daemon) -> None:
    for words in (("set", "example.net"), ("show", "example.net"), ("rules",)):
        output = " ".join((await typed(ruled_daemon, *words)).split())
        assert "SASL EXTERNAL: your server itself lets a peer in by its certificate" in output
        assert "streams that are verified already" in output


async def test_demands_are_typed_as_options(ruled_daemon: Daemon) -> None:
    await typed(
        ruled_daemon,
        *("set", "example.net", "--require-encryption", "--evidence", "key"),
        *("--evidence", "certificate", "--pin", PIN, "--expires", "2101-12-31"),
    )
    (rule,) = (await run_json(ruled_daemon, "peer", "rules"))["items"]
    assert rule["require_encryption"] is True
    assert (rule["evidence"], rule["pins"]) == (["certificate", "key"], [PIN])
    assert rule["expires"] == "2101-12-31T00:00:00Z"
    table = await typed(ruled_daemon, "rules")
    assert "certificate" in table and "2101-12-31" in table and PIN not in table


async def test_rule_that_somebody_else_has_changed_is_not_overwritten(
    ruled_daemon: Daemon,
) -> None:
    made: Any = await run_json(ruled_daemon, "peer", "set", "example.net", "--if-absent")
    await typed(ruled_daemon, "set", "example.net", "--reason", "theirs")
    for words in (
        ("set", "example.net", "--if-match", made["etag"]),
        ("set", "example.net", "--if-absent"),
        ("remove", "example.net", "--if-match", made["etag"]),
    ):
        result = await run(ruled_daemon, "peer", *words)
        assert result.exit_code == 1, result.output
        assert "hint: somebody else has changed it" in result.output


async def test_what_cannot_be_done_comes_with_a_hint(ruled_daemon: Daemon) -> None:
    missing = await run(ruled_daemon, "peer", "remove", "example.net")
    assert missing.exit_code == 1
    assert "error: There is no rule for just that" in missing.output
    assert "hint: see `peer rules`" in missing.output
    wrong = await run(ruled_daemon, "peer", "set", "example..net")
    assert wrong.exit_code == 2
    assert "error: expected a domain, *.DOMAIN or *, got 'example..net' (domain)" in wrong.output
    both = await run(
        ruled_daemon, *("peer", "set", "a.example", "--action", "deny", "--evidence", "key")
    )
    assert "a peer that is denied is asked for no encryption, evidence or pin" in both.output
    over = await run(ruled_daemon, "peer", "set", "a.example", "--expires", "2001-01-01")
    assert "expected a time to come (expires)" in over.output
    usage = await run(ruled_daemon, "peer", "set", "a.example", "--evidence", "oath")
    assert usage.exit_code == 2
    assert json.loads((await run(ruled_daemon, "peer", "rules", "--json")).stdout)["items"] == []
