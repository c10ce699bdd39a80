"""Who may do what: every operation with every scope, and with every token that is not good."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from daemon_process import Daemon
from operation_samples import BODIES, OTHER, OURS, good_request

from sidecar.admin.routes import ROUTES
from sidecar.keys.scopes import Scope
from sidecar.operations import REGISTRY

FILTERED = ("handshakes-list", "peers-list", "domains-list")
"""Lists of what a token is for: with one for other domains they are empty, not refused."""

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def daemon(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Daemon]:
    async with Daemon(tmp_path_factory.mktemp("daemon")) as daemon:
        await daemon.make_secret(OURS)
        yield daemon


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def tokens(daemon: Daemon) -> dict[Scope, str]:
    return {scope: await daemon.make_token(scope.value) for scope in Scope}


@pytest.mark.parametrize("name", ROUTES)
async def test_it_is_done_with_its_scope_and_refused_with_any_other(
    daemon: Daemon, tokens: dict[Scope, str], name: str
) -> None:
    for scope, token in tokens.items():
        answer = await (await good_request(daemon, name)).ask(daemon, token)
        what = f"{name} with {scope.value}: {answer.status} {answer.content}"
        if scope in (REGISTRY[name].scope, Scope.ADMIN):
            assert 200 <= answer.status < 300, what
        else:
            assert (answer.status, answer.content["code"]) == (403, "scope-missing"), what
            assert answer.content["scope"] == REGISTRY[name].scope.value


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def bad_tokens(daemon: Daemon) -> dict[str, str]:
    """Tokens that open nothing, by the code that says why; they had every scope once."""
    revoked = await daemon.make_token(Scope.ADMIN.value)
    id_ = (await daemon.ask("GET", "/v1/tokens")).content["items"][-1]["id"]
    assert (await daemon.ask("DELETE", f"/v1/tokens/{id_}")).status == 200
    brief = await daemon.make_token(Scope.ADMIN.value, seconds=1)
    while (await daemon.ask("GET", "/v1/status", brief)).status == 200:
        pass
    return {
        "token-missing": "",
        "token-unknown": "dbs_unknown",
        "token-revoked": revoked,
        "token-expired": brief,
    }


@pytest.mark.parametrize("name", ROUTES)
async def test_it_is_refused_with_a_token_that_is_not_good(
    daemon: Daemon, bad_tokens: dict[str, str], name: str
) -> None:
    sample = await good_request(daemon, name)
    for code, token in bad_tokens.items():
        answer = await sample.ask(daemon, token)
        assert (answer.status, answer.content["code"]) == (401, code), answer
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("name", ROUTES)
async def test_token_for_other_domains_opens_nothing_of_ours(daemon: Daemon, name: str) -> None:
    sample = await good_request(daemon, name)
    token = await daemon.make_token(REGISTRY[name].scope.value, domains=[OTHER])
    answer = await sample.ask(daemon, token)
    if name in FILTERED:
        assert (answer.status, answer.content["items"]) == (200, [])
    elif name == "handshakes-show":  # not even that there is one
        assert (answer.status, answer.content["code"]) == (404, "no-such-handshake")
    else:
        assert answer.status == 403, answer
        assert answer.content["code"] in ("domain-not-permitted", "scope-not-yours")


@pytest.mark.parametrize("name", ROUTES)
async def test_its_answer_holds_no_secret_and_a_token_in_one_place(
    daemon: Daemon, name: str
) -> None:
    answer = await (await good_request(daemon, name)).ask(daemon)
    text = json.dumps(answer.content)
    assert BODIES["secrets-import"]["secret"] not in text
    assert ("dbs_" in text) == (name == "tokens-create")
    assert answer.headers["Cache-Control"] == "no-store"


async def test_log_of_all_that_holds_neither(daemon: Daemon) -> None:
    log = "\n".join(line.text for line in daemon.process.output.lines)
    assert "dbs_" not in log
    assert BODIES["secrets-import"]["secret"] not in log


async def test_first_token_is_in_a_file_of_its_user_alone(daemon: Daemon) -> None:
    path: Path = daemon.state / "keyd" / "admin-token"
    assert path.stat().st_mode & 0o777 == 0o600
    assert daemon.admin_token.startswith("dbs_")
    listed = await daemon.ask("GET", "/v1/tokens")
    assert listed.content["items"][0]["name"] == "first administrator"
    assert listed.content["items"][0]["scopes"] == ["admin"]
