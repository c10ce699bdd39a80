"""schemathesis tries the whole OpenAPI document on a real daemon, as an administrator.

Each operation gets the request of `operation_samples` as its example, and so reaches a 2xx; then
whatever schemathesis makes of its schema. An operation without a sample that works fails here.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import re
import socket
import sqlite3
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from daemon_process import Daemon
from operation_samples import BODIES, OURS, PEER, good_request

from bench.link_server import LinkServer
from sidecar.admin.openapi import document
from sidecar.admin.routes import EVENTS_PATH, ROUTES
from sidecar.keyd import kek_file
from sidecar.keyd.sealing import Sealer
from sidecar.keyd.secret_store import SecretStore
from sidecar.lab.dns import DnsServer
from sidecar.operations import REGISTRY

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_schema_conformance,response_headers_conformance,unsupported_method,"
    "negative_data_rejection,missing_required_header,ignored_auth"
)
TOKEN = re.compile(r"dbs_[A-Za-z0-9_-]{20,}")
KEY = re.compile(r"\b[0-9a-f]{64}\b")


@dataclass(frozen=True)
class Seen:
    """An answer during the run."""

    operation: str
    status: int
    text: str


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def _examples(daemon: Daemon) -> dict[str, Any]:
    """A good request for each operation, by where its parts go."""
    await daemon.make_secret(OURS)
    examples: dict[str, Any] = {}
    for name in ROUTES:
        sample = await good_request(daemon, name)
        examples[name] = {"path": sample.fields, "header": sample.headers}
        if sample.body is not None:
            examples[name]["body"] = sample.body
    return examples


async def _first_token(daemon: Daemon) -> str:
    """The id of the administrator's."""
    return str((await daemon.ask("GET", "/v1/tokens")).content["items"][0]["id"])


def _seen(report: Path) -> list[Seen]:
    """Every answer that schemathesis got, with the operation that its URL and method name."""
    patterns = {
        (method.upper(), re.compile(re.sub(r"{\w+}", "[^/]+", path) + r"\Z")): each["operationId"]
        for path, methods in document()["paths"].items()
        for method, each in methods.items()
    }
    seen = []
    for entry in json.loads(report.read_text())["log"]["entries"]:
        path, method = urlsplit(entry["request"]["url"]).path, entry["request"]["method"]
        named = [name for (m, p), name in patterns.items() if m == method and p.match(path)]
        content = entry["response"]["content"]
        text = content.get("text", "")
        if content.get("encoding") == "base64":
            text = base64.b64decode(text).decode(errors="replace")
        seen.append(Seen(named[-1] if named else "", entry["response"]["status"], text))
    return seen


def _material(state: Path) -> list[str]:
    """Every secret of the key service, and every digest of a token, as text may show them."""
    store = SecretStore(state / "keyd" / "secrets.sqlite3")
    keks = kek_file.read(state / "keyd" / "kek")
    store.unseal(lambda store_id: Sealer(keks, store_id))
    found = []
    for _, secret, *_ in store.load():
        derived = hashlib.sha256(secret).digest()
        for raw in (secret, derived) if len(secret) >= 16 else ():  # not what the fuzzer imported
            found += [raw.hex(), base64.b64encode(raw).decode().rstrip("=")]
    store.close()
    with sqlite3.connect(state / "keyd" / "secrets.sqlite3") as database:
        found += [digest.hex() for (digest,) in database.execute("SELECT digest FROM token")]
    database.close()
    assert found
    return found


async def _ask_by_hand(base: str, token: str) -> None:
    """The two that schemathesis leaves alone: an answer that does not end, and the document."""
    described = document()["paths"][EVENTS_PATH]["get"]["responses"]
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(base, headers=headers) as session:
        async with session.get("/openapi.json") as answer:
            assert (answer.status, await answer.json()) == (200, document())
        async with session.get(EVENTS_PATH) as answer:
            assert answer.status == 200
            assert answer.content_type in described["200"]["content"]
            assert (await answer.content.readline()).startswith(b"retry: ")
        headers = {"Authorization": "Bearer nothing"}
        async with session.get(EVENTS_PATH, headers=headers) as answer:
            assert str(answer.status) in described


async def test_whole_document_does_what_it_says(tmp_path: Path) -> None:
    """Every operation reaches a 2xx, nothing is a fault or undocumented, and whatever was answered
    holds no secret, and a token or a key in the two places that are for them."""
    address = f"127.0.0.1:{_free_port()}"
    report, examples = tmp_path / "report.har", tmp_path / "examples.json"
    async with DnsServer() as dns, LinkServer() as link:
        dns.add_srv(PEER, f"xmpp.{PEER}", 1)
        dns.add_address(f"xmpp.{PEER}", "127.0.0.1")
        async with Daemon(tmp_path, listen=address, link=link, dns=dns) as daemon:
            await link.linked()
            examples.write_text(json.dumps(await _examples(daemon)))
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "schemathesis.cli", "run"),
                f"http://{address}/openapi.json",
                *("--header", f"Authorization: Bearer {daemon.admin_token}"),
                *("--checks", CHECKS, "--max-examples", "10", "--exclude-path", EVENTS_PATH),
                *("--phases", "examples,coverage,fuzzing", "--seed", "1", "--workers", "1"),
                *("--report", "har", "--report-har-path", str(report)),
                *("--output-sanitize", "false", "--generation-database", "none", "--no-color"),
                cwd=tmp_path,
                env={
                    **os.environ,
                    "PYTHONPATH": str(Path(__file__).parent),
                    "SCHEMATHESIS_HOOKS": "contract_hooks",
                    "CONTRACT_EXAMPLES": str(examples),
                    "CONTRACT_SPARED": await _first_token(daemon),
                },
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            output, _ = await process.communicate()
            assert process.returncode == 0, output.decode()[-6000:]
            await _ask_by_hand(f"http://{address}", daemon.admin_token)
            admin_token = daemon.admin_token
            log = "\n".join(line.text for line in daemon.process.output.lines)
    assert "Traceback" not in log and not TOKEN.search(log)
    seen = _seen(report)
    reached = {each.operation for each in seen if 200 <= each.status < 300}
    described = {e["operationId"] for each in document()["paths"].values() for e in each.values()}
    by_hand = {"events", "contract"}
    assert described - reached == by_hand, "add a request that works to operation_samples"
    assert not [each for each in seen if each.status >= 500]

    material = _material(tmp_path / "state")
    telling = {name for name, operation in REGISTRY.items() if operation.secret}
    for each in seen:
        assert admin_token not in each.text, each
        assert BODIES["secrets-import"]["secret"] not in each.text, each
        assert not [text for text in material if text in each.text], each
        if each.operation not in telling or each.status >= 300:
            assert not TOKEN.search(each.text), each
            assert not KEY.search(each.text), each
