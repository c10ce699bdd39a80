"""No dialback key and no secret in any log, with every logger at DEBUG."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from running_link import QUICK, running, until
from scripted_server import (
    CHECK,
    HEADER,
    ISSUE,
    JID,
    KEY_TEXT,
    REPORT,
    SECRET,
    VERIFY,
    Answers,
    ScriptedServer,
    link_config,
    request,
)

from sidecar.component import Link
from sidecar.jobs import Issue, Job, Verdict
from sidecar.names import DialbackKey


class _Everything(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []
        self.setFormatter(logging.Formatter("%(name)s %(message)s %(args)r"))

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture
def everything() -> Iterator[_Everything]:
    """All lines of all loggers, each set to DEBUG by itself."""
    loggers = [logging.getLogger(), *map(logging.getLogger, logging.root.manager.loggerDict)]
    levels = [logger.level for logger in loggers]
    handler = _Everything()
    logging.getLogger().addHandler(handler)
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    yield handler
    logging.getLogger().removeHandler(handler)
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


def _say(job: Job) -> DialbackKey | Verdict:
    return DialbackKey.parse(KEY_TEXT) if isinstance(job, Issue) else Verdict.valid()


async def test_no_key_and_no_secret_in_any_log(
    server: ScriptedServer, everything: _Everything
) -> None:
    # A parse error, an early stanza and a late end are where libraries log what they got.
    async with running(Link(link_config(server.port), Answers(_say), timing=QUICK)) as link:
        connection = await server.accept()
        await connection.open()
        for payload, kind in ((ISSUE, "set"), (VERIFY, "get"), (CHECK, "get"), (REPORT, "set")):
            for secret in (SECRET, b"guessed"):
                await connection.ask(request(payload, kind=kind, secret=secret))
            await connection.ask(request(payload.replace("sender", "semder"), kind=kind))
        connection.write(f"<message><body>{KEY_TEXT}</body></message>")
        connection.write(request(VERIFY)[:-3] + "</wrong>")
        await until(link, lambda state: state.last_fault is not None)
        second = await server.accept()
        second.write(
            HEADER.format(jid=JID, id="x") + request(ISSUE, kind="set") + KEY_TEXT + "</x>"
        )
        third = await server.accept()
        await third.open()
        await until(link, lambda state: state.counts["connects"] == 2)
        third.write(request(ISSUE, kind="set") + "</stream:stream>" + VERIFY)
        await (await server.accept()).refuse("not-authorized")
        await server.accept()
        shown = repr(link.state)
    assert any(line.startswith("sidecar.component") for line in everything.lines)
    for line in [*everything.lines, shown, repr(link_config(1))]:
        assert KEY_TEXT not in line
        assert SECRET.decode() not in line
