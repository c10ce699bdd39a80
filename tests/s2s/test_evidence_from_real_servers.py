"""What stock servers show, through the module, is what the checker judges."""

from __future__ import annotations

import pytest

from sidecar.lab.certificates import SERVER_AUTH, Authority, Certificate
from sidecar.lab.ejabberd_config import EjabberdSettings, ServiceListener
from sidecar.lab.network import Network
from sidecar.lab.prosody_config import ExternalComponent, ProsodySettings
from sidecar.lab.sidecar import EJABBERD_MODULE, PROSODY_MODULES, SidecarLink, SidecarSettings

pytestmark = pytest.mark.interop

CAPULET, MONTAGUE = "capulet.example", "montague.example"
LINK = f"dialback.{CAPULET}"
AUTHORITY = Authority()
ROMEO, JULIET = f"romeo@{MONTAGUE}", f"juliet@{CAPULET}"


async def start_peer(kind: str, network: Network, certificate: Certificate | None):
    known = {} if certificate is None else {MONTAGUE: certificate}
    if kind == "prosody":
        return await network.prosody(
            ProsodySettings([MONTAGUE], {ROMEO: "rose"}, certificates=known)
        )
    return await network.ejabberd(EjabberdSettings([MONTAGUE], {ROMEO: "rose"}, certificates=known))


async def start_host(kind: str, network: Network):
    """The server with the module, which knows no authority."""
    if kind == "prosody":
        return await network.prosody(
            ProsodySettings(
                [CAPULET],
                {JULIET: "rose"},
                plugin_paths=[PROSODY_MODULES],
                components=[ExternalComponent(LINK, "s3cr3t", modules=["dialback_sidecar"])],
            )
        )
    module = {"modules": {"mod_dialback_sidecar": {"component": LINK}}}
    return await network.ejabberd(
        EjabberdSettings(
            [CAPULET],
            {JULIET: "rose"},
            components=[ServiceListener(LINK, "s3cr3t")],
            contrib_modules=[EJABBERD_MODULE],
            modules_d={"dialback_sidecar.yml": module},
        )
    )


@pytest.mark.parametrize("host", ["prosody", "ejabberd"])
@pytest.mark.parametrize("kind", ["prosody", "ejabberd"])
@pytest.mark.parametrize(
    ("certificate", "evidence"),
    [
        (AUTHORITY.issue(MONTAGUE, purposes=[SERVER_AUTH]), "certificate"),
        (None, "same-certificate"),
        (AUTHORITY.issue("verona.example", purposes=[SERVER_AUTH]), "key"),
    ],
    ids=["for servers alone", "self-signed", "of another"],
)
async def test_peer_is_let_in_by_its_best_evidence(
    host, kind, certificate, evidence, network: Network
) -> None:
    """The authority is known to the sidecar alone: else there would be SASL EXTERNAL."""
    capulet = await start_host(host, network)
    trusted = network.directory / "trusted.pem"
    trusted.write_bytes(AUTHORITY.pem)
    sidecar = await network.sidecar(
        SidecarSettings(
            [SidecarLink.to(capulet, LINK)], check={"trusted_certificates": str(trusted)}
        )
    )
    peer = await start_peer(kind, network, certificate)
    juliet = await network.client(capulet, JULIET)
    romeo = await network.client(peer, ROMEO)
    romeo.send(JULIET, "It is my lady")
    await juliet.receive(timeout_seconds=30)
    decided = await sidecar.output.wait_for(f"check {MONTAGUE} -> {CAPULET} ", timeout_seconds=10)
    assert f"valid ({evidence})" in decided.text
