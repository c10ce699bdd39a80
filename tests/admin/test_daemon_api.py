"""The API of a real daemon with a real key service."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from daemon_process import LINK_JID, Daemon
from operation_samples import BODIES, OTHER, OURS
from prometheus_client.parser import text_string_to_metric_families

from sidecar.admin.routes import EVENTS_PATH, EXCEPTIONS, ROUTES
from sidecar.operations import REGISTRY


def test_every_operation_has_its_route_or_a_reason() -> None:
    assert set(ROUTES) | set(EXCEPTIONS) == set(REGISTRY)
    assert not set(ROUTES) & set(EXCEPTIONS)


async def test_daemon_is_alive_but_not_ready_without_its_server(tmp_path: Path) -> None:
    async with Daemon(tmp_path) as daemon:
        status, _ = await daemon.get("/healthz")
        assert status == 200
        status, text = await daemon.get("/readyz")
        parts = json.loads(text)["parts"]
        there = {"key service": True, "peer rules": True}
        assert (status, parts) == (503, there | {f"link {LINK_JID}": False})
        status, text = await daemon.get("/metrics")
        up = {
            sample.name: sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name.startswith("dialback_") and sample.name.endswith("_up")
        }
        ours = {"dialback_key_service_up": 1, "dialback_peer_rules_up": 1}
        assert up == ours | {"dialback_link_up": 0}
    assert not daemon.socket.exists()


async def test_rotation_revocation_and_import_over_http(tmp_path: Path) -> None:
    async with Daemon(tmp_path) as daemon:
        await daemon.make_secret(OURS)
        base = f"/v1/domains/{OURS}/secrets"

        async def states() -> list[tuple[int, str]]:
            listed = await daemon.ask("GET", base)
            return [(each["number"], each["state"]) for each in listed.content["versions"]]

        told = await daemon.ask("POST", f"{base}/rotate", json={"dry_run": True})
        assert await states() == [(1, "active")]
        done = await daemon.ask("POST", f"{base}/rotate")
        assert done.content == told.content | {"dry_run": False}
        assert done.content["versions"] == [{"domain": OURS, "number": 2}]
        assert await states() == [(1, "retired"), (2, "active")]
        told = await daemon.ask("POST", f"{base}/revoke", json={"version": 2, "dry_run": True})
        done = await daemon.ask("POST", f"{base}/revoke", json={"version": 2})
        assert done.content == told.content | {"dry_run": False}
        assert done.content["versions"] == [{"domain": OURS, "number": 2}]
        assert done.content["successor"] == {"domain": OURS, "number": 3}
        assert await states() == [(1, "retired"), (2, "revoked"), (3, "active")]
        imported = await daemon.ask("POST", f"{base}/import", json={"secret": "x", "days": 1})
        assert imported.content["count"] == 1
        status = await daemon.ask("GET", "/v1/status")
        assert status.content["key_service"]["stateless_versions"] == 1
        assert any("imported" in warning for warning in status.content["warnings"])


async def test_idempotency_key_rotates_once_also_with_keyd_killed_between(tmp_path: Path) -> None:
    async with Daemon(tmp_path) as daemon:
        await daemon.make_secret(OURS)
        path = f"/v1/domains/{OURS}/secrets/rotate"
        headers = {"Idempotency-Key": "once-1"}
        first = await daemon.ask("POST", path, headers=headers)
        assert first.content["versions"] == [{"domain": OURS, "number": 2}]
        daemon.kill_keyd()
        while True:
            again = await daemon.ask("POST", path, headers=headers)
            if again.status != 503:
                break
            assert again.content["code"] == "key-service-unavailable"
        assert again.content == first.content
        other = await daemon.ask("POST", path, headers=headers, json={"dry_run": False})
        assert other.content == first.content
        elsewhere = await daemon.ask("POST", f"/v1/domains/{OURS}/secrets/revoke", headers=headers)
        assert (elsewhere.status, elsewhere.content["code"]) == (422, "repeat-key-reused")


@pytest.mark.parametrize(
    ("method", "path", "options", "status", "code", "field"),
    [
        ("POST", "/v1/reload", {"json": {"x": 1}}, 400, "invalid-input", "x"),
        ("POST", "/v1/tokens", {"json": {"name": "x"}}, 400, "invalid-input", "scopes"),
        ("POST", "/v1/tokens", {"json": [1]}, 400, "invalid-input", ""),
        ("POST", "/v1/tokens", {}, 400, "invalid-input", "name"),
        ("POST", "/v1/tokens?name=x", {}, 400, "invalid-input", "name"),
        ("POST", "/v1/tokens", {"data": "{"}, 400, "malformed-json", None),
        ("POST", "/v1/tokens", {"data": b"\xff\xfe"}, 400, "malformed-json", None),
        ("POST", "/v1/tokens", {"data": "[" * 60000}, 400, "malformed-json", None),
        ("POST", "/v1/tokens", {"data": b" " * 70000}, 413, "body-too-large", None),
        ("POST", "/v1/domains/a..b/secrets/rotate", {}, 400, "invalid-input", "domain"),
        ("POST", "/v1/domains/none.example/secrets/rotate", {}, 404, "no-such-domain", None),
        ("GET", "/v1/domains/none.example/secrets", {}, 404, "no-such-domain", None),
        ("GET", "/v1/handshakes?nonsense=1", {}, 400, "invalid-input", "nonsense"),
        ("GET", "/v1/handshakes?limit=501", {}, 400, "invalid-input", "limit"),
        ("GET", "/v1/handshakes?peer=null", {}, 400, "invalid-input", "peer"),
        ("GET", "/v1/handshakes?limit=1&limit=2", {}, 400, "invalid-input", "limit"),
        ("GET", "/v1/handshakes?since=yesterday", {}, 400, "invalid-input", "since"),
        ("GET", "/v1/handshakes/99", {}, 404, "no-such-handshake", None),
        ("GET", "/v1/handshakes/x", {}, 400, "invalid-input", "id"),
        ("DELETE", "/v1/tokens/00", {}, 404, "no-such-token", None),
        ("PUT", "/v1/tokens", {}, 405, "method-not-allowed", None),
        ("GET", "/v2/status", {}, 404, "not-found", None),
    ],
)  # fmt: skip
async def test_what_is_wrong_is_named(
    shared_daemon: Daemon,
    method: str,
    path: str,
    options: dict[str, object],
    status: int,
    code: str,
    field: str | None,
) -> None:
    headers = {"Content-Type": "application/json"} if "data" in options else {}
    answer = await shared_daemon.ask(method, path, headers=headers, **options)
    assert (answer.status, answer.content["code"]) == (status, code), answer
    assert answer.content.get("field") == field


async def test_body_of_another_type_is_refused(shared_daemon: Daemon) -> None:
    answer = await shared_daemon.ask("POST", "/v1/tokens", data={"name": "x"})
    assert (answer.status, answer.content["code"]) == (415, "unsupported-media-type")


async def test_metrics_with_a_token_show_what_it_is_for(shared_daemon: Daemon) -> None:
    token = await shared_daemon.make_token("metrics:read", domains=[OTHER])
    answer = await shared_daemon.ask("GET", "/metrics", token)
    assert answer.status == 200
    assert "dialback_link_up{" not in answer.content
    answer = await shared_daemon.ask("GET", "/metrics", await shared_daemon.make_token("admin"))
    assert "dialback_link_up{" in answer.content
    answer = await shared_daemon.ask("GET", "/metrics", "dbs_unknown")
    assert answer.status == 401


async def test_check_over_http_is_a_handshake_of_the_history(shared_daemon: Daemon) -> None:
    answer = await shared_daemon.ask("POST", "/v1/checks", json=BODIES["checks-run"])
    assert answer.status == 200
    assert answer.content["outcome"] == "error"
    listed = await shared_daemon.ask("GET", "/v1/handshakes?peer=montague.invalid")
    (handshake,) = listed.content["items"]
    assert (handshake["direction"], handshake["outcome"]) == ("incoming", "error")
    assert handshake["condition"] == answer.content["condition"]
    shown = await shared_daemon.ask("GET", f"/v1/handshakes/{handshake['id']}")
    steps = shown.content.pop("steps")
    assert shown.content == handshake
    assert steps and {"name", "after_ms", "ms"} <= set(steps[0])
    assert steps[-1]["reason"]
    peers = await shared_daemon.ask("GET", "/v1/peers")
    assert [peer["peer"] for peer in peers.content["items"]] == ["montague.invalid"]
    foreign = await shared_daemon.make_token("handshakes:read", domains=[OTHER])
    hidden = await shared_daemon.ask("GET", f"/v1/handshakes/{handshake['id']}", foreign)
    assert hidden.status == 404


def test_events_have_a_path_of_their_own() -> None:
    assert EVENTS_PATH not in {route.path for route in ROUTES.values()}


async def test_check_for_a_domain_that_is_not_ours_is_refused(shared_daemon: Daemon) -> None:
    """It would be a label of the metrics, and a check that no server of ours asked for."""
    body = BODIES["checks-run"] | {"target": "stranger.example"}
    answer = await shared_daemon.ask("POST", "/v1/checks", json=body)
    assert (answer.status, answer.content["code"]) == (422, "not-our-domain")
    _, exposition = await shared_daemon.get("/metrics")
    assert "stranger.example" not in exposition
