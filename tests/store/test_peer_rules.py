"""The rules about peers: on disk before they are answered; an outage when they cannot be read."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from sidecar.errors import PolicyUnavailable
from sidecar.jobs import Evidence
from sidecar.names import Domain
from sidecar.peer_policy import Action, PeerPattern, PeerRule, Unchanged
from sidecar.preconditions import NO_PRECONDITION, Precondition
from sidecar.store import PeerRules

PEER, BELOW = Domain.parse("example.net"), Domain.parse("xmpp.example.net")
ALL = frozenset(Evidence)
EVERYTHING: dict[str, Any] = {
    "require_encryption": True,
    "evidence": frozenset({Evidence.KEY, Evidence.CERTIFICATE}),
    "pins": frozenset({"0" * 64, "5e" * 32}),
    "reason": "'; DROP TABLE rule; -- «grün»",
    "expires_ms": 4_000_000_000_000,
}
NOW_SECONDS = 1_700_000_000.0


def rule(pattern: str, **more: Any) -> PeerRule:
    return PeerRule(
        pattern=PeerPattern.parse(pattern), changed_ms=1, changed_by="0123456789ab", **more
    )


@asynccontextmanager
async def opened(folder: Path, evidence: frozenset[Evidence] = ALL, **more: Any):
    rules = PeerRules(folder / "peer-rules.sqlite3", evidence, **more)
    await rules.open()
    try:
        yield rules
    finally:
        await rules.close()


async def put(rules: PeerRules, *wanted: PeerRule) -> None:
    for each in wanted:
        assert not isinstance(await rules.put(each, NO_PRECONDITION), Unchanged)


async def test_rule_holds_at_once_and_removed_no_more(tmp_path: Path) -> None:
    async with opened(tmp_path) as rules:
        assert not rules.terms_for(PEER).denied
        await put(rules, rule("example.net", action=Action.DENY))
        assert rules.terms_for(PEER).denied
        assert await rules.remove(PeerPattern.parse("example.net"), NO_PRECONDITION) is None
        assert not rules.terms_for(PEER).denied


async def test_rules_are_the_same_after_a_restart(tmp_path: Path) -> None:
    wanted = [rule("*", **EVERYTHING), rule("*.example.net", action=Action.DENY), rule("bücher.de")]
    async with opened(tmp_path) as rules:
        await put(rules, *wanted)
        tags = [each.tag for each in rules.book.page("", 9)]
    async with opened(tmp_path) as rules:
        assert rules.book.page("", 9) == sorted(wanted, key=lambda each: each.pattern)
        assert [each.tag for each in rules.book.page("", 9)] == tags
        assert rules.terms_for(BELOW).rule == "*.example.net"


SET_AND_DIE = """
import asyncio, os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_peer_rules import ALL, put, rule
from sidecar.peer_policy import Action
from sidecar.store import PeerRules

async def main():
    rules = PeerRules(Path(sys.argv[1]) / "peer-rules.sqlite3", ALL)
    await rules.open()
    await put(rules, rule("example.net", action=Action.DENY))
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


async def test_rule_that_was_answered_is_there_after_a_kill(tmp_path: Path) -> None:
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", SET_AND_DIE, str(tmp_path), str(Path(__file__).parent)],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    async with opened(tmp_path) as rules:
        assert rules.terms_for(PEER).denied


async def test_rule_ends_at_its_time_and_the_next_one_decides(tmp_path: Path) -> None:
    now = [NOW_SECONDS]
    async with opened(tmp_path, clock=lambda: now[0]) as rules:
        over_ms = int(NOW_SECONDS * 1000) + 60_000
        await put(rules, rule("example.net", action=Action.DENY, expires_ms=over_ms), rule("*"))
        now[0] += 59.9
        assert rules.terms_for(PEER).denied
        now[0] += 0.2
        assert not rules.terms_for(PEER).denied
        assert rules.terms_for(PEER).rule == "*"
        assert rules.book.get(PeerPattern.parse("example.net")) is not None


async def test_configuration_says_what_counts_where_no_rule_does(tmp_path: Path) -> None:
    certificate, key = frozenset({Evidence.CERTIFICATE}), frozenset({Evidence.KEY})
    async with opened(tmp_path, certificate) as rules:
        await put(rules, rule("*.example.net", evidence=key), rule("example.net"))
        assert rules.terms_for(PEER).evidence == certificate
        assert rules.terms_for(BELOW).evidence == key
        rules.take_up(ALL)
        assert rules.terms_for(PEER).evidence == ALL
        assert rules.terms_for(BELOW).evidence == key


async def test_of_two_writers_at_once_one_wins(tmp_path: Path) -> None:
    async with opened(tmp_path) as rules:
        await put(rules, rule("example.net"))
        known = rules.book.get(PeerPattern.parse("example.net"))
        assert known is not None
        seen = Precondition(match=(known.tag,))
        answers = await asyncio.gather(
            *(rules.put(rule("example.net", reason=f"writer {n}"), seen) for n in range(8))
        )
        assert answers.count(False) == 1
        assert answers.count(Unchanged.STALE) == 7
        won = rules.book.get(PeerPattern.parse("example.net"))
        assert won is not None and won.reason == f"writer {answers.index(False)}"


async def test_writer_that_goes_away_leaves_disk_and_memory_alike(tmp_path: Path) -> None:
    async with opened(tmp_path) as rules:
        writing = asyncio.create_task(rules.put(rule("example.net"), NO_PRECONDITION))
        await asyncio.sleep(0)
        writing.cancel()
        await asyncio.wait([writing])
        await rules.remove(PeerPattern.parse("other.example"), NO_PRECONDITION)  # its turn is later
        in_memory = rules.book.page("", 9)
    async with opened(tmp_path) as rules:
        assert rules.book.page("", 9) == in_memory == [rule("example.net")]


async def test_file_is_its_owners_alone(tmp_path: Path) -> None:
    async with opened(tmp_path):
        mode = (tmp_path / "peer-rules.sqlite3").stat().st_mode
        assert stat.S_IMODE(mode) == 0o600


def _garbage(path: Path) -> None:
    path.write_bytes(b"x" * 8192)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _overwrite_page(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096 : 4096 + 100] = b"\xff" * 100
    path.write_bytes(content)


def _lose_a_rule(path: Path) -> None:
    """A plain reading does not miss it."""
    _do(
        "INSERT INTO rule SELECT 'd' || value || '.example', action, require_encryption, evidence,"
        " pins, reason, expires_ms, changed_ms, changed_by FROM rule,"
        f" json_each('{list(range(100))}')"
    )(path)
    content = bytearray(path.read_bytes())
    index_leaf = 0x0A
    pages = [start for start in range(4096, len(content), 4096) if content[start] == index_leaf]
    content[pages[-1] + 4] -= 1  # how many rows it holds
    path.write_bytes(content)
    with sqlite3.connect(path) as database:
        (count,) = database.execute("SELECT COUNT(*) FROM rule").fetchone()
    database.close()
    assert count == 100


def _do(statement: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        with sqlite3.connect(path) as database:
            database.execute(statement)
        database.close()

    return change


def _a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES = {
    "no database": _garbage,
    "cut in half": _truncate,
    "a page overwritten": _overwrite_page,
    "a rule lost": _lose_a_rule,
    "no table": _do("DROP TABLE rule"),
    "of a newer daemon": _do("PRAGMA user_version = 99"),
    "an unknown action": _do("UPDATE rule SET action = 'maybe'"),
    "an unknown evidence": _do("UPDATE rule SET evidence = '[\"oath\"]'"),
    "evidence that is no list": _do("UPDATE rule SET evidence = '{'"),
    "no evidence": _do("UPDATE rule SET evidence = '[]'"),
    "a pin that is none": _do("UPDATE rule SET pins = '[\"5e\"]'"),
    "a pattern that is none": _do("UPDATE rule SET pattern = 'a..b'"),
    "a directory in its place": _a_directory,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=list(DAMAGES))
async def test_rules_that_cannot_be_read_are_an_outage_until_they_can(
    tmp_path: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "peer-rules.sqlite3"
    async with opened(tmp_path) as rules:
        await put(rules, rule("example.net", **EVERYTHING))
    good = path.read_bytes()
    damage(path)
    async with opened(tmp_path) as rules:
        assert str(path) in rules.fault
        assert "no peer is let in and no key is issued" in caplog.text
        with pytest.raises(PolicyUnavailable):
            rules.terms_for(PEER)
        with pytest.raises(PolicyUnavailable):
            await rules.put(rule("example.net"), NO_PRECONDITION)
        with pytest.raises(PolicyUnavailable):
            await rules.remove(PeerPattern.parse("example.net"), NO_PRECONDITION)
        if path.is_dir():
            path.rmdir()
        path.write_bytes(good)
        await rules.open()
        assert rules.fault == ""
        assert rules.terms_for(PEER).rule == "example.net"


async def test_rule_that_cannot_be_stored_does_not_hold(tmp_path: Path) -> None:
    path = tmp_path / "peer-rules.sqlite3"
    async with opened(tmp_path) as rules:
        await put(rules, rule("example.net"))
        with sqlite3.connect(path) as database:
            database.execute("DROP TABLE rule")
        database.close()
        with pytest.raises(PolicyUnavailable, match="cannot be stored"):
            await rules.put(rule("example.net", action=Action.DENY), NO_PRECONDITION)
        assert not rules.terms_for(PEER).denied
        assert rules.fault == ""
