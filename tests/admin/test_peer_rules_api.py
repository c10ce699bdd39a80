"""Rules about peers over the API of a real daemon: set, shown, changed by several, refused."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from daemon_process import Answer, Daemon
from operation_samples import CHECK, OTHER, OURS

PEER = "montague.invalid"
RULE = f"/v1/peers/{PEER}"
PIN = "5e" * 32


async def put(daemon: Daemon, path: str = RULE, **content: Any) -> Answer:
    return await daemon.ask("PUT", path, json=content)


async def check(daemon: Daemon, sender: str = PEER, **facts: Any) -> dict[str, Any]:
    """A check over the API; the daemon has no DNS, so that it is an error in any case."""
    answer = await daemon.ask("POST", "/v1/checks", json=CHECK | {"sender": sender} | facts)
    assert answer.status == 200, answer
    verdict: dict[str, Any] = answer.content
    return verdict


async def test_rule_is_asked_at_the_next_check_without_a_restart(ruled_daemon: Daemon) -> None:
    before = await check(ruled_daemon)
    assert before["reason"].startswith("dns-")
    answer = await put(ruled_daemon, action="deny", reason="spam")
    assert (answer.status, answer.content["created"]) == (201, True), answer
    denied = await check(ruled_daemon)
    assert denied == {
        "outcome": "error",
        "condition": "policy-violation",
        "evidence": None,
        "reason": "policy-denied",
    }
    again = await put(ruled_daemon, require_encryption=True)
    assert (again.status, again.content["created"]) == (200, False), again
    assert (await check(ruled_daemon))["reason"] == "policy-encryption-required"
    assert (await check(ruled_daemon, encrypted=True))["reason"] == before["reason"]
    removed = await ruled_daemon.ask("DELETE", RULE)
    assert (removed.status, removed.content) == (200, {"domain": PEER})
    assert await check(ruled_daemon) == before


async def test_refused_handshake_and_its_rule_are_in_the_history(ruled_daemon: Daemon) -> None:
    await put(ruled_daemon, "/v1/peers/*.denied.invalid", action="deny")
    await check(ruled_daemon, "xmpp.denied.invalid")
    listed = await ruled_daemon.ask("GET", "/v1/handshakes?peer=xmpp.denied.invalid")
    (handshake,) = listed.content["items"]
    assert (handshake["outcome"], handshake["reason"]) == ("error", "policy-denied")
    shown = await ruled_daemon.ask("GET", f"/v1/handshakes/{handshake['id']}")
    (step,) = shown.content["steps"]
    assert (step["name"], step["reason"]) == ("policy", "policy-denied")
    assert step["detail"] == "rule *.denied.invalid"


async def test_rule_is_shown_as_it_was_set_with_what_it_does_not_cover(
    ruled_daemon: Daemon,
) -> None:
    expires = datetime.now(UTC).replace(microsecond=0) + timedelta(days=30)
    answer = await put(
        ruled_daemon,
        "/v1/peers/*.XN--BCHER-KVA.example",
        require_encryption=True,
        evidence=["key", "certificate"],
        pins=[PIN.upper()],
        reason="agreed with Grün",
        expires=expires.isoformat(),
    )
    assert answer.status == 201, answer
    shown = await ruled_daemon.ask("GET", "/v1/peers/*.bücher.example")
    assert {**shown.content, "created": True} == answer.content
    assert shown.headers["ETag"] == f'"{shown.content["etag"]}"'
    rule = shown.content
    assert rule["domain"] == "*.bücher.example"
    assert (rule["action"], rule["require_encryption"]) == ("allow", True)
    assert (rule["evidence"], rule["pins"]) == (["certificate", "key"], [PIN])
    assert datetime.fromisoformat(rule["expires"]) == expires
    assert not rule["expired"]
    assert any("SASL EXTERNAL" in each for each in rule["not_covered"])
    tokens = await ruled_daemon.ask("GET", "/v1/tokens")
    assert rule["changed_by"] in [token["id"] for token in tokens.content["items"]]


async def test_what_holds_for_a_peer_names_the_rule_that_decides(ruled_daemon: Daemon) -> None:
    async def holds() -> Any:
        answer = await ruled_daemon.ask("GET", "/v1/peers/a.b.example/policy")
        return answer.content

    assert (await holds())["rule"] is None
    assert (await holds())["evidence"] == ["certificate", "same-certificate", "key"]
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    for path, content in (
        ("*", {"evidence": ["certificate"]}),
        ("*.b.example", {"action": "deny", "reason": "spam", "expires": soon}),
        ("b.example", {}),
        ("a.b.example", {"pins": [PIN]}),
    ):
        assert (await put(ruled_daemon, f"/v1/peers/{path}", **content)).status == 201
    own = await holds()
    assert (own["rule"], own["pins"], own["action"]) == ("a.b.example", [PIN], "allow")
    assert own["require_encryption"] is True  # a pin means nothing on cleartext
    await ruled_daemon.ask("DELETE", "/v1/peers/a.b.example")
    parent = await holds()
    assert (parent["rule"], parent["action"]) == ("*.b.example", "deny")
    assert (parent["reason"], bool(parent["expires"])) == ("spam", True)
    assert any("SASL EXTERNAL" in each for each in parent["not_covered"])
    await ruled_daemon.ask("DELETE", "/v1/peers/*.b.example")
    assert (await holds())["rule"] == "*"


async def test_rule_expires_by_itself_and_is_still_listed(ruled_daemon: Daemon) -> None:
    expires = datetime.now(UTC) + timedelta(seconds=1)
    await put(ruled_daemon, action="deny", expires=expires.isoformat())
    assert (await check(ruled_daemon))["reason"] == "policy-denied"
    async with asyncio.timeout(20):
        while (await check(ruled_daemon))["reason"] == "policy-denied":
            await asyncio.sleep(0.05)
    assert datetime.now(UTC) >= expires
    listed = await ruled_daemon.ask("GET", "/v1/peer-rules")
    assert [(each["domain"], each["expired"]) for each in listed.content["items"]] == [(PEER, True)]


async def test_rules_are_listed_in_pages(ruled_daemon: Daemon) -> None:
    names = sorted(["*", "*.p.example", "a.p.example", "b.p.example", "p.example"])
    for name in names:
        await put(ruled_daemon, f"/v1/peers/{name}")
    found: list[str] = []
    after = ""
    while True:
        page = await ruled_daemon.ask("GET", f"/v1/peer-rules?limit=2{after}")
        found += [each["domain"] for each in page.content["items"]]
        assert page.content["not_covered"]
        if page.content["next"] is None:
            break
        after = f"&after={page.content['next']}"
    assert found == names


async def test_of_two_writers_with_one_tag_one_wins(ruled_daemon: Daemon) -> None:
    absent = {"If-None-Match": "*"}
    made = await asyncio.gather(
        *(
            ruled_daemon.ask("PUT", RULE, json={"reason": str(number)}, headers=absent)
            for number in range(2)
        )
    )
    assert sorted(answer.status for answer in made) == [201, 412]
    tag = {"If-Match": f'"{(await ruled_daemon.ask("GET", RULE)).content["etag"]}"'}
    set_and_removed = await asyncio.gather(
        ruled_daemon.ask("PUT", RULE, json={"reason": "x"}, headers=tag),
        ruled_daemon.ask("DELETE", RULE, headers=tag),
    )
    assert sorted(answer.status for answer in set_and_removed) == [200, 412]
    (stale,) = [answer for answer in set_and_removed if answer.status == 412]
    assert stale.content["code"] == "precondition-failed"


@pytest.mark.parametrize(
    ("path", "content", "field"),
    [
        ("/v1/peers/a..b", {}, "domain"),
        ("/v1/peers/a.*.example", {}, "domain"),
        (RULE, {"action": "maybe"}, "action"),
        (RULE, {"action": "deny", "require_encryption": True}, "action"),
        (RULE, {"evidence": []}, "evidence"),
        (RULE, {"evidence": ["oath"]}, "evidence[0]"),
        (RULE, {"pins": ["5e"]}, "pins[0]"),
        (RULE, {"reason": "two\nlines"}, "reason"),
        (RULE, {"reason": "x" * 201}, "reason"),
        (RULE, {"expires": "2001-01-01T00:00:00Z"}, "expires"),
        (RULE, {"expires": "soon"}, "expires"),
        (RULE, {"expires": "9999-12-31T23:59:59-12:00"}, "expires"),
        (RULE, {"until": "2101-01-01T00:00:00Z"}, "until"),
        (RULE, {"domain": PEER}, "domain"),
    ],
)
async def test_rule_that_cannot_be_meant_is_refused_by_field(
    ruled_daemon: Daemon, path: str, content: dict[str, Any], field: str
) -> None:
    answer = await ruled_daemon.ask("PUT", path, json=content)
    assert (answer.status, answer.content["code"]) == (400, "invalid-input"), answer
    assert answer.content["field"] == field
    assert (await ruled_daemon.ask("GET", RULE)).status == 404


async def test_token_for_some_domains_neither_sees_nor_sets_rules(ruled_daemon: Daemon) -> None:
    token = await ruled_daemon.make_token("peers:read", "peers:write", domains=[OURS, OTHER])
    for method, path in (
        ("PUT", f"/v1/peers/{OURS}"),
        ("GET", RULE),
        ("GET", f"{RULE}/policy"),
        ("DELETE", RULE),
        ("GET", "/v1/peer-rules"),
    ):
        body = {} if method == "PUT" else None
        answer = await ruled_daemon.ask(method, path, token, json=body)
        assert (answer.status, answer.content["code"]) == (403, "domain-not-permitted"), path


async def test_reading_scope_sets_nothing(ruled_daemon: Daemon) -> None:
    token = await ruled_daemon.make_token("peers:read")
    answer = await ruled_daemon.ask("PUT", RULE, token, json={"action": "deny"})
    assert (answer.status, answer.content["code"]) == (403, "scope-missing")
    assert (await ruled_daemon.ask("GET", f"{RULE}/policy", token)).status == 200


async def test_change_is_logged_and_told_with_the_token_that_made_it(tmp_path: Path) -> None:
    async with Daemon(tmp_path) as daemon:
        headers = {"Authorization": f"Bearer {daemon.admin_token}"}
        seen: list[str] = []
        async with (
            daemon.session() as session,
            session.get("/v1/events", headers=headers) as events,
            asyncio.timeout(20),
        ):
            await put(daemon, action="deny", reason="spam")
            await daemon.ask("DELETE", RULE)
            while not any('"removed"' in line for line in seen):
                seen.append((await events.content.readline()).decode())
        told = [line for line in seen if PEER in line]
        assert "event: policy\n" in seen
        assert '"set"' in told[0] and '"deny"' in told[0]
        output = daemon.process.output
        line = await output.wait_for(f"set the rule for {PEER}: deny, reason 'spam'")
        token = line.text.split("token ")[1].split()[0]
        assert f'"by":"{token}"' in told[0]
        await output.wait_for(f"token {token} removed the rule for {PEER}")


async def test_rules_outlive_a_killed_daemon(tmp_path: Path) -> None:
    async with Daemon(tmp_path) as daemon:
        await put(daemon, action="deny")
        await daemon.process.kill()
    daemon.socket.unlink()
    async with Daemon(tmp_path) as daemon:
        assert (await check(daemon))["reason"] == "policy-denied"


async def test_damaged_rules_are_an_error_until_they_are_put_back(tmp_path: Path) -> None:
    path = tmp_path / "state" / "peer-rules.sqlite3"
    async with Daemon(tmp_path) as daemon:
        await put(daemon, "/v1/peers/*", action="deny")
    good = path.read_bytes()
    path.write_bytes(b"nonsense" * 1000)
    async with Daemon(tmp_path) as daemon:
        await daemon.make_secret(OURS)
        verdict = await check(daemon)
        assert (verdict["outcome"], verdict["condition"]) == ("error", "internal-server-error")
        assert verdict["reason"] == "outage"
        for method, where in (("GET", "/v1/peer-rules"), ("GET", RULE), ("PUT", RULE)):
            body = {} if method == "PUT" else None
            answer = await daemon.ask(method, where, json=body)
            assert (answer.status, answer.content["code"]) == (503, "policy-unavailable")
        status = (await daemon.ask("GET", "/v1/status")).content
        assert not status["ready"]
        assert any("rules about peers cannot be read" in each for each in status["warnings"])
        _, ready = await daemon.get("/readyz")
        assert '"peer rules":false' in ready
        path.write_bytes(good)
        assert (await daemon.ask("POST", "/v1/reload")).status == 200
        assert (await check(daemon))["reason"] == "policy-denied"
