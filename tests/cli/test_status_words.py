"""What `status` says first: whether handshakes are answered, and if not, where to look."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.cli.status import _show

LINK = {"jid": "dialback.capulet.example", "since": "2026-11-20T17:00:00Z", "in_work": 0}
CONNECTED = {**LINK, "phase": "connected", "fault_text": None}
WAITING = {**LINK, "phase": "waiting", "fault_text": "nothing listens"}


@pytest.mark.parametrize(
    ("link", "ready", "words"),
    [
        (CONNECTED, True, "1.0: ready\n"),
        (WAITING, False, "1.0: NOT READY: a link is down\n"),
        (CONNECTED, False, "1.0: NOT READY: see the warnings\n"),
    ],
)
def test_why_it_is_not_ready(
    capsys: pytest.CaptureFixture[str], link: dict[str, Any], ready: bool, words: str
) -> None:
    found = {
        "version": "1.0",
        "ready": ready,
        "links": [link],
        "authority": None,
        "key_service": {"store_id": "x", "judged": {}, "alarms": []},
        "history": {"enabled": False},
        "warnings": ["the rules about peers cannot be read"],
    }
    _show(found)
    shown = capsys.readouterr().out
    assert shown.startswith(f"dialback-sidecar {words}")
    assert "WARNING  the rules about peers cannot be read" in shown
