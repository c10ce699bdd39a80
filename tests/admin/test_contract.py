"""The OpenAPI document is valid, and the daemon does what it says (schemathesis)."""

from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path

from daemon_process import Daemon
from openapi_spec_validator import validate
from operation_samples import OURS

from sidecar.admin.openapi import document
from sidecar.admin.routes import ROUTES

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_schema_conformance,response_headers_conformance,unsupported_method,"
    "negative_data_rejection,missing_required_header,ignored_auth"
)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_document_is_valid_openapi() -> None:
    validate(document())


def test_document_has_every_route_with_its_problems() -> None:
    paths = document()["paths"]
    for route in ROUTES.values():
        described = paths[route.path][route.method.lower()]
        assert {str(route.status), "400", "401", "403", "503"} <= set(described["responses"])
        assert described["summary"]


def test_path_fields_are_not_in_the_body() -> None:
    rotate = document()["paths"]["/v1/domains/{domain}/secrets/rotate"]["post"]
    body = rotate["requestBody"]["content"]["application/json"]["schema"]
    assert set(body["properties"]) == {"dry_run"}
    assert not rotate["requestBody"]["required"]


async def test_daemon_answers_as_documented(tmp_path: Path) -> None:
    """No 5xx and nothing undocumented, for whatever schemathesis makes of the document."""
    address = f"127.0.0.1:{_free_port()}"
    async with Daemon(tmp_path, listen=address) as daemon:
        await daemon.make_secret(OURS)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "schemathesis.cli", "run", f"http://{address}/openapi.json"),
            *("--header", f"Authorization: Bearer {daemon.admin_token}"),
            *("--checks", CHECKS, "--max-examples", "20"),
            # An event stream does not end, and this daemon is not ready: 503 is right.
            *("--exclude-path", "/v1/events", "--exclude-path", "/readyz"),
            *("--phases", "examples,coverage,fuzzing", "--seed", "1", "--workers", "1"),
            *("--generation-database", "none", "--no-color"),
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        assert process.returncode == 0, output.decode()[-6000:]
        log = "\n".join(line.text for line in daemon.process.output.lines)
        assert "Traceback" not in log
