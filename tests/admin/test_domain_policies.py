"""A sender domain's key policy over HTTP and on the command line; of two writers one wins."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from click.testing import CliRunner
from daemon_process import Answer, Daemon
from operation_samples import OTHER, OURS

from sidecar.cli import main

PATH = f"/v1/domains/{OURS}"
DEFAULTS = {"rotate_every": "1d", "max_entries": 500_000, "own": []}


async def patch(daemon: Daemon, tag: str | None = None, **changes: Any) -> Answer:
    headers = {} if tag is None else {"If-Match": tag}
    return await daemon.ask("PATCH", PATH, headers=headers, json=changes)


@pytest.fixture
async def daemon(shared_daemon: Daemon) -> Daemon:
    await shared_daemon.make_secret(OURS, OTHER)
    answer = await patch(shared_daemon, rotate_every=None, max_entries=None)
    assert answer.content == {"domain": OURS, "etag": answer.content["etag"], **DEFAULTS}
    return shared_daemon


async def test_get_and_patch_answer_the_policy_with_its_tag(daemon: Daemon) -> None:
    before = await daemon.ask("GET", PATH)
    assert before.headers["ETag"] == f'"{before.content["etag"]}"'
    changed = await patch(daemon, rotate_every="12h", max_entries=5)
    assert changed.status == 200
    assert changed.headers["ETag"] != before.headers["ETag"]
    assert changed.content["own"] == ["rotate_every", "max_entries"]
    assert (changed.content["rotate_every"], changed.content["max_entries"]) == ("12h", 5)
    assert (await daemon.ask("GET", PATH)).content == changed.content
    part = await patch(daemon, rotate_every=None)
    assert (part.content["rotate_every"], part.content["max_entries"]) == ("1d", 5)
    nothing = await patch(daemon)
    assert nothing.content == part.content
    listed = await daemon.ask("GET", "/v1/domains")
    (item,) = [each for each in listed.content["items"] if each["domain"] == OURS]
    assert item["etag"] == part.content["etag"]
    assert (item["max_entries"], item["own"]) == (5, ["max_entries"])
    assert item["active_version"] == item["versions"][-1]["number"]


async def test_change_of_what_was_changed_meanwhile_is_refused(daemon: Daemon) -> None:
    seen = (await daemon.ask("GET", PATH)).headers["ETag"]
    won = await patch(daemon, seen, max_entries=7)
    assert won.status == 200
    late = await patch(daemon, seen, max_entries=8)
    assert (late.status, late.content["code"]) == (412, "precondition-failed")
    assert late.content["type"] == "urn:dialback-sidecar:problem:precondition-failed"
    assert (await daemon.ask("GET", PATH)).content == won.content
    again = await patch(daemon, won.headers["ETag"], max_entries=8)
    assert again.content["max_entries"] == 8


@pytest.mark.parametrize("condition", ["*", '"0", "{tag}"', '"", "{tag}"'])
async def test_any_tag_and_a_list_of_tags_are_conditions_too(
    daemon: Daemon, condition: str
) -> None:
    tag = (await daemon.ask("GET", PATH)).content["etag"]
    assert (await patch(daemon, condition.replace("{tag}", tag), max_entries=9)).status == 200


async def test_weak_tag_never_matches_and_nonsense_is_no_condition(daemon: Daemon) -> None:
    tag = (await daemon.ask("GET", PATH)).headers["ETag"]
    assert (await patch(daemon, f"W/{tag}", max_entries=9)).status == 412
    nonsense = await patch(daemon, tag.strip('"'), max_entries=9)
    assert (nonsense.status, nonsense.content["field"]) == (400, "If-Match")


async def test_what_the_client_has_is_not_sent_again(daemon: Daemon) -> None:
    tag = (await daemon.ask("GET", PATH)).headers["ETag"]
    same = await daemon.ask("GET", PATH, headers={"If-None-Match": tag})
    assert (same.status, same.content, same.headers["ETag"]) == (304, "", tag)
    assert (await daemon.ask("GET", PATH, headers={"If-None-Match": '"0"'})).status == 200
    assert (await daemon.ask("GET", PATH, headers={"If-Match": '"0"'})).status == 412


async def test_of_writers_with_one_tag_one_wins_however_they_race(daemon: Daemon) -> None:
    """Over connections of their own, all at once, round after round."""
    for round_ in range(10):
        seen = (await daemon.ask("GET", PATH)).headers["ETag"]
        wished = [100 * (round_ + 1) + writer for writer in range(8)]
        answers = await asyncio.gather(*(patch(daemon, seen, max_entries=each) for each in wished))
        assert sorted(answer.status for answer in answers) == [200] + [412] * 7
        (won,) = [answer.content for answer in answers if answer.status == 200]
        assert (await daemon.ask("GET", PATH)).content == won
        assert won["max_entries"] in wished


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"rotate_every": "59s"}, "rotate_every"),
        ({"rotate_every": "3651d"}, "rotate_every"),
        ({"rotate_every": "soon"}, "rotate_every"),
        ({"rotate_every": 5}, "rotate_every"),
        ({"max_entries": 0}, "max_entries"),
        ({"max_entries": True}, "max_entries"),
        ({"key_lifetime": "5s"}, "key_lifetime"),
        ({"domain": OTHER}, "domain"),
    ],
)
async def test_what_cannot_be_set_is_refused_by_name(
    daemon: Daemon, changes: dict[str, Any], field: str
) -> None:
    answer = await patch(daemon, **changes)
    assert (answer.status, answer.content["field"]) == (400, field)


async def test_domain_without_a_secret_has_no_policy(daemon: Daemon) -> None:
    for method, body in (("GET", None), ("PATCH", {"max_entries": 5})):
        answer = await daemon.ask(method, "/v1/domains/nobody.example", json=body)
        assert (answer.status, answer.content["code"]) == (404, "no-such-domain")


async def test_token_changes_the_policy_of_its_own_domains_only(daemon: Daemon) -> None:
    token = await daemon.make_token("domains:write", "secrets:read", domains=[OTHER])
    body = {"max_entries": 5}
    for method in ("GET", "PATCH"):
        answer = await daemon.ask(method, PATH, token, json=body if method == "PATCH" else None)
        assert (answer.status, answer.content["code"]) == (403, "domain-not-permitted")
    listed = await daemon.ask("GET", "/v1/domains", token)
    assert [each["domain"] for each in listed.content["items"]] == [OTHER]
    changed = await daemon.ask("PATCH", f"/v1/domains/{OTHER}", token, json=body)
    assert changed.content["max_entries"] == 5


async def run(daemon: Daemon, *words: str) -> tuple[int, str]:
    arguments = ["domain", *words, "--config", str(daemon.config_path)]
    result = await asyncio.to_thread(CliRunner().invoke, main, arguments)
    return result.exit_code, result.output


async def test_command_line_lists_shows_and_sets(daemon: Daemon) -> None:
    status, text = await run(daemon, "set", OURS)
    assert status == 2
    assert "expected something to set: --rotate-every or --max-entries" in text
    status, text = await run(daemon, "set", OURS, "--rotate-every", "12h", "--max-entries", "5")
    assert status == 0, text
    assert "rotate every  12h" in text
    status, text = await run(daemon, "set", OURS, "--max-entries", "default")
    assert "max entries   500000" in text
    status, text = await run(daemon, "list")
    assert max(map(len, text.splitlines())) <= 80
    (row,) = [line for line in text.splitlines() if line.startswith(OURS)]
    assert "12h" in row and "rotate_every" in row
    status, text = await run(daemon, "show", OURS, "--json")
    shown = json.loads(text)
    assert shown["own"] == ["rotate_every"]
    status, text = await run(daemon, "set", OURS, "--rotate-every", "6h", "--if-match", "0")
    assert status == 1
    assert "hint: somebody else has changed it: look at it again" in text
    with_tag = ("--rotate-every", "6h", "--if-match", shown["etag"])
    status, text = await run(daemon, "set", OURS, *with_tag)
    assert status == 0, text
    status, text = await run(daemon, "set", OURS, "--max-entries", "many")
    assert status == 2
    assert "'many' is not a valid integer" in text
