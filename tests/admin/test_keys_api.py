"""Keys over HTTP: issued for named domains only, looked at without using them up, kept nowhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from daemon_process import Answer, Daemon
from operation_samples import OTHER, OURS, PEER

from sidecar.keys.messages import VerifyKey

STREAM = "S-over-http"


def about(stream: str = STREAM, sender: str = OURS, **more: Any) -> dict[str, Any]:
    return {"sender": sender, "target": PEER, "stream": stream, **more}


async def issue(daemon: Daemon, body: dict[str, Any], token: str | None = None) -> Answer:
    headers = {"Idempotency-Key": "k1"}
    return await daemon.ask("POST", "/v1/keys/issue", token, json=body, headers=headers)


async def verify(daemon: Daemon, body: dict[str, Any], token: str | None = None) -> Answer:
    return await daemon.ask("POST", "/v1/keys/verify", token, json=body)


async def test_issued_key_is_the_ledgers_and_looking_at_it_uses_nothing_up(
    shared_daemon: Daemon,
) -> None:
    issued = await issue(shared_daemon, about())
    assert issued.status == 200
    assert issued.headers["Cache-Control"] == "no-store"
    key = issued.content["key"]
    assert (await issue(shared_daemon, about())).content["key"] == key
    for _ in range(3):
        judged = await verify(shared_daemon, about(key=key))
        assert judged.content == {"outcome": "valid", "reason": None}
    asked = VerifyKey(OURS, PEER, STREAM, key)
    assert (await shared_daemon.ask_keyd(asked)).outcome == "valid"  # type: ignore[union-attr]
    wrong = await verify(shared_daemon, about(key="0" * 64))
    assert wrong.content == {"outcome": "invalid", "reason": "key-wrong"}
    elsewhere = await verify(shared_daemon, about("S-elsewhere", key=key))
    assert elsewhere.content["outcome"] == "invalid"


async def test_issued_key_is_a_handshake_of_the_history(shared_daemon: Daemon) -> None:
    await issue(shared_daemon, about("S-told"))
    listed = await shared_daemon.ask("GET", f"/v1/handshakes?peer={PEER}")
    assert "S-told" in [each["stream"] for each in listed.content["items"]]


async def test_domain_that_is_not_named_gets_no_key(shared_daemon: Daemon) -> None:
    for sender in (OTHER, f"sub.{OURS}"):
        refused = await issue(shared_daemon, about(sender=sender))
        assert (refused.status, refused.content["code"]) == (403, "keys-not-issued")


async def test_without_a_named_domain_nobody_gets_a_key(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path)
    text = daemon.config_path.read_text()
    daemon.config_path.write_text(text.replace(f'issue_keys_for = ["{OURS}"]', ""))
    async with daemon:
        refused = await issue(daemon, about())
        assert (refused.status, refused.content["code"]) == (403, "keys-not-issued")
        assert (await verify(daemon, about(key="b483"))).status == 200


@pytest.mark.parametrize("scope", ["keys:verify", "secrets:write", "checks:run"])
async def test_issuing_has_a_scope_of_its_own(shared_daemon: Daemon, scope: str) -> None:
    token = await shared_daemon.make_token(scope)
    refused = await issue(shared_daemon, about(), token)
    assert (refused.status, refused.content["code"]) == (403, "scope-missing")


async def test_token_gets_and_sees_keys_of_its_own_domains_only(shared_daemon: Daemon) -> None:
    token = await shared_daemon.make_token("keys:issue", "keys:verify", domains=[OTHER])
    for answer in (
        await issue(shared_daemon, about(), token),
        await verify(shared_daemon, about(key="b483"), token),
    ):
        assert (answer.status, answer.content["code"]) == (403, "domain-not-permitted")


async def test_rule_about_the_peer_holds_here_too(shared_daemon: Daemon) -> None:
    rule = f"/v1/peers/{PEER}"
    assert (await shared_daemon.ask("PUT", rule, json={"action": "deny"})).status < 300
    try:
        refused = await issue(shared_daemon, about())
        assert (refused.status, refused.content["code"]) == (403, "peer-refused")
    finally:
        await shared_daemon.ask("DELETE", rule)
    assert (await issue(shared_daemon, about())).status == 200


async def test_full_ledger_is_told_as_one(shared_daemon: Daemon) -> None:
    await issue(shared_daemon, about())
    policy = f"/v1/domains/{OURS}"
    await shared_daemon.ask("PATCH", policy, json={"max_entries": 1})
    try:
        refused = await issue(shared_daemon, about("S-too-many"))
        assert (refused.status, refused.content["code"]) == (429, "too-many-keys")
        assert refused.content["detail"] == "cap-sender-domain"
    finally:
        await shared_daemon.ask("PATCH", policy, json={"max_entries": None})


async def test_key_is_in_no_file_and_no_log(tmp_path: Path) -> None:
    """Not in the ledger, not in what is kept for Idempotency-Key, not in the history."""
    async with Daemon(tmp_path) as daemon:
        key = (await issue(daemon, about())).content["key"]
        await issue(daemon, about())
        await verify(daemon, about(key=key))
        log = "\n".join(line.text for line in daemon.process.output.lines)
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert len(files) > 4
        for path in files:
            assert key.encode() not in path.read_bytes(), path
            assert bytes.fromhex(key) not in path.read_bytes(), path
        assert key not in log
