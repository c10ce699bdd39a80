"""`peer list` over real servers: certificates that are trusted, and others, in every direction.

capulet.example is Prosody, montague.example ejabberd, both bolted on; the others are stock. Who is
named "trusted" has a certificate of an authority that all of them trust.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from contextlib import closing
from typing import Any

import pytest

from sidecar.lab.certificates import Authority
from sidecar.lab.client import Client
from sidecar.lab.ejabberd_config import EjabberdSettings, ServiceListener
from sidecar.lab.network import Network
from sidecar.lab.prosody_config import ExternalComponent, ProsodySettings
from sidecar.lab.sidecar import (
    EJABBERD_MODULE,
    ENVIRONMENT,
    PROSODY_MODULES,
    Sidecar,
    SidecarLink,
    SidecarSettings,
    command,
)

pytestmark = pytest.mark.interop

AUTHORITY = Authority()
TRUSTED, BARE, MONTAGUE = "trusted.capulet.example", "capulet.example", "montague.example"
STOCK_TRUSTED, STOCK_BARE = "trusted.verona.example", "verona.example"
CAPULET_LINK, MONTAGUE_LINK = f"dialback.{BARE}", f"dialback.{MONTAGUE}"


def certificates(*domains: str) -> dict[str, Any]:
    issued = {domain: AUTHORITY.issue(domain) for domain in domains}
    return {"certificates": issued, "trusted_pem": AUTHORITY.pem}


async def start(network: Network) -> tuple[Sidecar, list[Client]]:
    capulet = await network.prosody(
        ProsodySettings(
            [TRUSTED, BARE],
            {f"juliet@{TRUSTED}": "rose", f"juliet@{BARE}": "rose"},
            plugin_paths=[PROSODY_MODULES],
            components=[
                ExternalComponent(CAPULET_LINK, "s3cr3t", modules=["dialback_sidecar"]),
            ],
            **certificates(TRUSTED),
        )
    )
    module = {"modules": {"mod_dialback_sidecar": {"component": MONTAGUE_LINK}}}
    montague = await network.ejabberd(
        EjabberdSettings(
            [MONTAGUE],
            {f"romeo@{MONTAGUE}": "rose"},
            components=[ServiceListener(MONTAGUE_LINK, "s3cr3t")],
            contrib_modules=[EJABBERD_MODULE],
            modules_d={"dialback_sidecar.yml": module},
            **certificates(MONTAGUE),
        )
    )
    await network.prosody(ProsodySettings([STOCK_TRUSTED], **certificates(STOCK_TRUSTED)))
    await network.ejabberd(EjabberdSettings([STOCK_BARE], **certificates()))
    links = [SidecarLink.to(capulet, CAPULET_LINK), SidecarLink.to(montague, MONTAGUE_LINK)]
    sidecar = await network.sidecar(SidecarSettings(links))
    jids = (f"juliet@{TRUSTED}", f"juliet@{BARE}", f"romeo@{MONTAGUE}")
    servers = (capulet, capulet, montague)
    return sidecar, [
        await network.client(server, jid) for server, jid in zip(servers, jids, strict=True)
    ]


async def peer_list(sidecar: Sidecar, *options: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command("dialback-sidecar", "peer", "list", *options, "--config", sidecar.config_path),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, **ENVIRONMENT},
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output
    return output.decode()


EXPECTED = {
    # by (peer, direction, our domain): the evidence, and why SASL EXTERNAL did not do
    (STOCK_TRUSTED, "outgoing", BARE): ("key", "external-not-offered"),
    (STOCK_BARE, "outgoing", BARE): ("key", "external-refused"),
    (STOCK_BARE, "incoming", BARE): ("same-certificate", "certificate-self-signed"),
    (STOCK_BARE, "incoming", TRUSTED): ("same-certificate", "certificate-self-signed"),
    (STOCK_BARE, "incoming", MONTAGUE): ("same-certificate", "certificate-self-signed"),
}


async def test_peers_that_need_dialback_are_told_with_the_reason(network: Network) -> None:
    sidecar, clients = await start(network)
    for client in clients:
        for peer in (STOCK_TRUSTED, STOCK_BARE):
            await client.ping(peer)  # which the peer answers over a stream of its own
    async with asyncio.timeout(30):
        through = 0
        while through < 12:  # the servers report in batches
            page = json.loads(await peer_list(sidecar, "--json"))
            through = sum(item["by_dialback"] + item["by_external"] for item in page["items"])
    found = {
        (item["peer"], item["direction"], pair["domain"]): (pair["evidence"], pair["because"])
        for item in page["items"]
        for pair in item["pairs"]
    }
    assert found == EXPECTED
    by_external = {(item["peer"], item["direction"]): item["by_external"] for item in page["items"]}
    assert by_external == {
        (STOCK_TRUSTED, "incoming"): 3,
        (STOCK_TRUSTED, "outgoing"): 2,
        (STOCK_BARE, "incoming"): 0,
        (STOCK_BARE, "outgoing"): 2,
    }
    text = await peer_list(sidecar)
    assert max(len(line) for line in text.splitlines()) <= 80
    sentence = "2 of 2 peers need dialback: without it incoming from 1 and outgoing to 2 break"
    assert sentence in text.splitlines()


async def test_ejabberd_tells_that_it_has_refused_external(network: Network) -> None:
    """It offers EXTERNAL to everybody; who is refused goes on with dialback on the same stream."""
    sidecar, (_, bare, _) = await start(network)
    await bare.ping(MONTAGUE)
    await sidecar.output.wait_for(rf"check {BARE} -> {MONTAGUE} valid")
    await peer_list(sidecar)  # which writes what is not written yet
    with closing(sqlite3.connect(sidecar.state_directory / "history.sqlite3")) as database:
        rows = database.execute(
            "SELECT role, external, certificate FROM handshake WHERE sender = ? AND target = ?",
            (BARE, MONTAGUE),
        ).fetchall()
    assert sorted(rows) == [
        ("initiating", "refused", None),
        ("receiving", "refused", "certificate-self-signed"),
    ]
