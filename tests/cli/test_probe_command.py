"""`probe`, `check dns` and `check tls` with real servers: report, JSON, exit status."""

from __future__ import annotations

import asyncio
import json
import os
import re

import pytest

from sidecar.lab.network import Network
from sidecar.lab.prosody_config import ExternalComponent, ProsodySettings
from sidecar.lab.sidecar import (
    ENVIRONMENT,
    PROSODY_MODULES,
    Sidecar,
    SidecarLink,
    SidecarSettings,
    command,
)

pytestmark = pytest.mark.interop

CAPULET, MONTAGUE = "capulet.example", "montague.example"


async def run(sidecar: Sidecar, *arguments: str) -> tuple[int, str]:
    """The exit status and the output of `dialback-sidecar ARGUMENTS --config FILE`."""
    process = await asyncio.create_subprocess_exec(
        *command("dialback-sidecar", *arguments, "--config", sidecar.config_path),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, **ENVIRONMENT},
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


async def bolted_on(network: Network) -> Sidecar:
    """Prosody with the sidecar for capulet.example."""
    jid = f"dialback.{CAPULET}"
    capulet = await network.prosody(
        ProsodySettings(
            [CAPULET],
            plugin_paths=[PROSODY_MODULES],
            components=[ExternalComponent(jid, "s3cr3t", modules=["dialback_sidecar"])],
        )
    )
    return await network.sidecar(SidecarSettings([SidecarLink.to(capulet, jid)]))


async def test_probe_as_a_domain_of_ours_ends_with_the_proof(network: Network) -> None:
    """The peer asks our own server about the key, and that the sidecar."""
    sidecar = await bolted_on(network)
    await network.prosody(ProsodySettings([MONTAGUE]))
    status, output = await run(sidecar, "probe", MONTAGUE, "--from", CAPULET)
    assert status == 0, output
    assert "our domain is proven to it by dialback" in " ".join(output.split())
    assert "certificate-self-signed" in output
    await sidecar.output.wait_for(f"verify {CAPULET} -> {MONTAGUE} valid", timeout_seconds=10)


async def test_pin_that_a_probe_shows_is_what_a_rule_takes(network: Network) -> None:
    sidecar = await bolted_on(network)
    await network.prosody(ProsodySettings([MONTAGUE]))
    _, output = await run(sidecar, "probe", MONTAGUE)
    (shown,) = set(re.findall(r"^ +pin ([0-9a-f]{64})$", output, re.MULTILINE))
    for pin, outcome in ((shown, "our domain is proven"), ("5e" * 32, "key-not-issued")):
        status, output = await run(sidecar, "peer", "set", MONTAGUE, "--pin", pin)
        assert status == 0, output
        _, output = await run(sidecar, "probe", MONTAGUE, "--from", CAPULET)
        assert outcome in " ".join(output.split())
    assert "policy-pin-mismatch" in output


async def test_probe_of_a_domain_that_its_server_does_not_host(network: Network) -> None:
    sidecar = await bolted_on(network)
    montague = await network.prosody(ProsodySettings([MONTAGUE]))
    network.dns.add_srv("verona.example", "xmpp.montague.example", montague.s2s_port)
    status, output = await run(sidecar, "probe", "verona.example", "--json")
    assert status == 1
    report = json.loads(output)
    assert report["failed"] is True
    assert "host-unknown" in [finding["rule"] for finding in report["findings"]]


async def test_own_domains_from_the_outside(network: Network) -> None:
    sidecar = await bolted_on(network)
    status, output = await run(sidecar, "check", "dns")
    assert status == 0, output
    assert f"xmpp.{CAPULET} port" in output
    status, output = await run(sidecar, "check", "tls", "--json")
    assert status == 0, output
    (report,) = json.loads(output)
    assert report["targets"][0]["connections"][0]["tls_version"] == "TLSv1.3"
    network.dns.remove(f"xmpp.{CAPULET}")
    status, output = await run(sidecar, "check", "dns")
    assert status == 1
    assert "dns-no-address" in output


@pytest.mark.parametrize("domain", ["not a domain", "", "192.0.2.1"])
def test_what_is_no_domain_is_said_so(domain: str) -> None:
    from click.testing import CliRunner

    from sidecar.cli import main

    result = CliRunner().invoke(main, ["probe", domain])
    assert result.exit_code == 2
    assert "expected a domain name" in result.output
