"""`peer list`: a table of at most 80 columns, and the sentence that says what would break."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from sidecar.cli import main
from sidecar.cli.api_client import Client

LONG = "conference.a-rather-long-name.of-an-organization.example"


PAIR = {"domain": "rooms.capulet.example", "because": "external-not-offered"}


def item(peer: str, direction: str, **more: Any) -> dict[str, Any]:
    return {
        **{"peer": peer, "direction": direction, "needs_dialback": True, "mechanism": "dialback"},
        **{"evidence": "same-certificate", "pairs": [PAIR]},
        **{"by_dialback": 12_345, "by_external": 0, "invalid": 2, "error": 9_999},
        **{"last": "2026-11-20T16:40:05Z", "last_success": "2026-11-20T16:40:05Z"},
        **{"last_failure": None, "failure": None},
        **more,
    }


ITEMS = [
    item(LONG, "incoming", pairs=[{"because": "certificate-intermediate-missing"}]),
    item(LONG, "outgoing", last_failure="2026-11-20T17:00:00Z", failure="connect-refused"),
    item("b.example", "incoming", needs_dialback=False, mechanism="external", evidence=None),
    item("b.example", "outgoing", mechanism="external", evidence=None),
    item("c.example", "outgoing", needs_dialback=None, mechanism=None, evidence=None),
    item("d.example", "outgoing", pairs=[{"because": None}], evidence="key-not-asked"),
]
SENTENCE = "12 of 40 peers need dialback: without it incoming from 9 and outgoing to 7 break"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    asked: list[Any] = []

    def do(_: Client, operation: str, fields: dict[str, Any], *__: object) -> dict[str, Any]:
        asked.append((operation, fields))
        return {"items": ITEMS, "next": "d.example", "totals": {}, "summary": SENTENCE}

    monkeypatch.setattr(Client, "do", do)
    module = sys.modules["sidecar.cli.peer_list"]  # the package has a command of that name
    monkeypatch.setattr(module, "client", lambda *_: Client(Path(), None))
    return asked


def test_table_has_eighty_columns_and_ends_with_the_sentence(asked: list[Any]) -> None:
    result = CliRunner().invoke(main, ["peer", "list"], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert max(len(line) for line in lines) <= 80
    assert lines.count(LONG) == 1
    for word in ("intermediate-missing", "external-not-offered", "key-not-asked", "2026-11-20"):
        assert word in result.output
    assert "       by dialback with rooms.capulet.example" in lines
    assert "       failed last at 2026-11-20 17:00: connect-refused" in lines
    assert SENTENCE in lines
    assert lines[-1] == "more: --after d.example"
    assert asked == [("peers-list", {"limit": 50})]


def test_options_are_fields_of_the_operation(asked: list[Any]) -> None:
    arguments = ["peer", "list", "--needing-dialback", "--after", "a.example", "--limit", "7"]
    assert CliRunner().invoke(main, [*arguments, "--json"]).exit_code == 0
    assert asked == [("peers-list", {"limit": 7, "needing_dialback": "true", "after": "a.example"})]
