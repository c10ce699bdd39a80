"""What no honest client sends is answered in words, costs no traceback, and changes nothing."""

from __future__ import annotations

import asyncio
import gzip
import json

import pytest
from daemon_process import Daemon
from operation_samples import OURS
from raw_http import read_answer, request, send

TOKENS = "POST /v1/tokens HTTP/1.1"
ROTATE = f"POST /v1/domains/{OURS}/secrets/rotate HTTP/1.1"
REVOKE = f"POST /v1/domains/{OURS}/secrets/revoke HTTP/1.1"
IMPORT = f"POST /v1/domains/{OURS}/secrets/import HTTP/1.1"
JSON = "Content-Type: application/json"
TEN_MEGABYTES = b" " * 10_000_000


def _secrets(domain: str) -> str:
    return f"GET /v1/domains/{domain}/secrets HTTP/1.1"


@pytest.mark.parametrize(
    ("line", "headers", "body", "status", "code"),
    [
        ("GET /healthz HTTP/1.1", ["Origin: http://[evil"], b"", 403, "origin-not-allowed"),
        ("GET /healthz HTTP/1.1", ["Origin: null"], b"", 403, "origin-not-allowed"),
        ("GET /healthz HTTP/1.1", ["Origin: "], b"", 403, "origin-not-allowed"),
        ("GET /healthz HTTP/1.1", ["Expect: a miracle"], b"", 400, "malformed-request"),
        ("GET /nothing HTTP/1.1", ["Expect: a miracle"], b"", 400, "malformed-request"),
        (TOKENS, [JSON], TEN_MEGABYTES, 413, "body-too-large"),
        (TOKENS, [JSON], b'"' + b"a" * 65534 + b'"', 400, "invalid-input"),
        (TOKENS, [JSON, "Content-Encoding: gzip"], gzip.compress(TEN_MEGABYTES), 415,
         "unsupported-media-type"),
        (TOKENS, [JSON, "Content-Encoding: gzip"], b"{}", 415, "unsupported-media-type"),
        (TOKENS, [JSON, "Content-Encoding: br"], b"{}", 415, "unsupported-media-type"),
        (TOKENS, ["Content-Type: ;;;"], b"{}", 415, "unsupported-media-type"),
        (TOKENS, ["Content-Type: application/json-patch+json"], b"{}", 415,
         "unsupported-media-type"),
        (TOKENS, [JSON], "{}".encode("utf-16"), 400, "malformed-json"),
        (TOKENS, [JSON], b"\xef\xbb\xbf{}", 400, "malformed-json"),
        (TOKENS, [JSON], b"null", 400, "invalid-input"),
        (IMPORT, [JSON], b'{"secret": "\\ud800"}', 400, "malformed-json"),
        (IMPORT, [JSON], b'{"secret": "x", "days": NaN}', 400, "malformed-json"),
        (IMPORT, [JSON], b'{"secret": "x", "days": 1e300}', 400, "invalid-input"),
        (REVOKE, [JSON], b'{"version": ' + b"9" * 5000 + b"}", 400, "malformed-json"),
        (REVOKE, [JSON], b'{"version": 9999999999}', 400, "invalid-input"),
        (ROTATE, ["Idempotency-Key: " + "a" * 5000], b"", 400, "invalid-input"),
        (ROTATE, [b"Idempotency-Key: \xff"], b"", 400, "invalid-input"),
        (ROTATE, ["Idempotency-Key:"], b"", 400, "invalid-input"),
        ("GET /v1/status HTTP/1.1", [JSON], b"{}", 400, "invalid-input"),
        (_secrets("%ff%fe"), [], b"", 400, "invalid-input"),
        (_secrets("%00"), [], b"", 400, "invalid-input"),
        (_secrets("..%2f..%2fetc%2fpasswd"), [], b"", 400, "invalid-input"),
        (_secrets("a" * 5000), [], b"", 400, "invalid-input"),
        (_secrets("%F0%9F%92%A9.example"), [], b"", 400, "invalid-input"),
        (_secrets("%E2%80%AE.example"), [], b"", 400, "invalid-input"),
        ("GET /v1/domains/../../etc/passwd HTTP/1.1", [], b"", 404, "not-found"),
        ("GET //evil.example/healthz HTTP/1.1", [], b"", 404, "not-found"),
        ("GET /V1/status HTTP/1.1", [], b"", 404, "not-found"),
        ("GET /v1/status/ HTTP/1.1", [], b"", 404, "not-found"),
        ("OPTIONS * HTTP/1.1", [], b"", 404, "not-found"),
        ("CONNECT evil.example:443 HTTP/1.1", [], b"", 404, "not-found"),
        ("TRACE /v1/status HTTP/1.1", [], b"", 405, "method-not-allowed"),
        ("OPTIONS /v1/status HTTP/1.1", [], b"", 405, "method-not-allowed"),
        ("GET /v1/handshakes?%ff=%fe&&= HTTP/1.1", [], b"", 400, "invalid-input"),
        ("GET /v1/handshakes?since=2016-12-31T23:59:60Z HTTP/1.1", [], b"", 400, "invalid-input"),
        ("GET /v1/handshakes?cursor=-1 HTTP/1.1", [], b"", 400, "invalid-input"),
        ("GET /v1/handshakes?cursor=9999999999999999999 HTTP/1.1", [], b"", 400, "invalid-input"),
        ("GET /v1/handshakes/9223372036854775808 HTTP/1.1", [], b"", 400, "invalid-input"),
    ],
)  # fmt: skip
async def test_it_is_a_problem_document(
    shared_daemon: Daemon,
    line: str,
    headers: list[str | bytes],
    body: bytes,
    status: int,
    code: str,
) -> None:
    token = shared_daemon.admin_token
    answer = await send(shared_daemon.socket, request(line, *headers, token=token, body=body))
    assert (answer.status, answer.problem["code"]) == (status, code), answer
    assert token not in answer.body.decode()
    log = "\n".join(each.text for each in shared_daemon.process.output.lines)
    assert "Traceback" not in log


@pytest.mark.parametrize(
    "content",
    [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
     b"<?xml version='1.0'?><stream:stream>\r\n\r\n", b"GET\r\n\r\n", b"\0" * 100 + b"\r\n\r\n",
     b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n", b"GET / HTTP/1.1\r\nHost localhost\r\n\r\n",
     b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 20_000 + b"\r\n\r\n",
     b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
     b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
     b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"],
)  # fmt: skip
async def test_what_is_no_http_is_told_so_in_a_problem_document(
    shared_daemon: Daemon, content: bytes
) -> None:
    answer = await send(shared_daemon.socket, content)
    assert (answer.status, answer.problem["code"]) == (400, "malformed-request")
    assert answer.problem["request_id"] == answer.headers["x-request-id"]
    assert answer.headers["cache-control"] == "no-store"
    log = "\n".join(each.text for each in shared_daemon.process.output.lines)
    assert "Traceback" not in log
    assert (await shared_daemon.get("/healthz"))[0] == 200


@pytest.mark.parametrize(
    "header",
    [b"Authorization: Bearer \xff\xfe", b"Authorization: Bearer \xed\xa0\x80",
     b"Authorization: Bearer " + b"x" * 8000, b"Authorization: Basic dXNlcjpwYXNz",
     b"Authorization: dbs_x", b"Authorization:"],
)  # fmt: skip
async def test_nonsense_is_no_token(shared_daemon: Daemon, header: bytes) -> None:
    answer = await send(shared_daemon.socket, request("GET /v1/status HTTP/1.1", header))
    assert answer.status == 401
    assert answer.problem["code"] in ("token-missing", "token-unknown")


@pytest.mark.parametrize(
    "query",
    ["since=0001-01-01T00:00:00%2B14:00", "until=9999-12-31T23:59:59-14:00",
     "peer=b%C3%BCcher.example", "peer=xn--bcher-kva.example", "cursor=0", "limit=500"],
)  # fmt: skip
async def test_the_ends_of_what_is_allowed_are_taken(shared_daemon: Daemon, query: str) -> None:
    answer = await shared_daemon.ask("GET", f"/v1/handshakes?{query}")
    assert answer.status == 200, answer


async def test_client_that_goes_in_the_middle_of_its_body_costs_no_fault(
    shared_daemon: Daemon,
) -> None:
    head = request(TOKENS, JSON, "Content-Length: 100", token=shared_daemon.admin_token)
    for rest in (b"", b"{"):
        _, writer = await asyncio.open_unix_connection(str(shared_daemon.socket))
        writer.write(head + rest)
        await writer.drain()
        writer.close()
        await writer.wait_closed()
    assert (await shared_daemon.ask("GET", "/v1/status")).status == 200
    log = "\n".join(each.text for each in shared_daemon.process.output.lines)
    assert "Traceback" not in log and "internal-error" not in log


async def test_requests_in_one_packet_are_answered_in_order(shared_daemon: Daemon) -> None:
    """Pipelining, with an action in the middle: each is done once."""
    await shared_daemon.make_secret(OURS)
    token = shared_daemon.admin_token
    reader, writer = await asyncio.open_unix_connection(str(shared_daemon.socket))
    rotate = request(ROTATE, token=token)
    writer.write(request("GET /healthz HTTP/1.1") + rotate + rotate)
    alive = await read_answer(reader)
    first, second = [json.loads((await read_answer(reader)).body) for _ in range(2)]
    writer.close()
    assert json.loads(alive.body) == {"status": "alive"}
    assert second["versions"][0]["number"] == first["versions"][0]["number"] + 1
