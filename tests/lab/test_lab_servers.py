from __future__ import annotations

import asyncio
import socket

import pytest

from sidecar.lab import ejabberd as ejabberd_module
from sidecar.lab import prosody as prosody_module
from sidecar.lab.addresses import free_ports, fresh_address
from sidecar.lab.ejabberd_config import EjabberdSettings, ServiceListener
from sidecar.lab.faults import LabError, Missing, PortInUse
from sidecar.lab.network import Network
from sidecar.lab.prosody import Prosody
from sidecar.lab.prosody_config import ExternalComponent, ProsodySettings

pytestmark = pytest.mark.interop

JULIET, ROMEO = "juliet@capulet.example", "romeo@montague.example"


@pytest.mark.parametrize("tls", [True, False], ids=["inside TLS", "on cleartext"])
async def test_stock_servers_federate_in_both_directions(network: Network, tls: bool) -> None:
    capulet, montague = await asyncio.gather(
        network.prosody(
            ProsodySettings(
                ["capulet.example"], {JULIET: "a"}, rooms=["rooms.capulet.example"], tls=tls
            )
        ),
        network.ejabberd(EjabberdSettings(["montague.example"], {ROMEO: "b"}, tls=tls)),
    )
    juliet = await network.client(capulet, JULIET)
    romeo = await network.client(montague, ROMEO)

    juliet.send(ROMEO, "from juliet")
    received = await romeo.receive()
    assert (received.sender.split("/")[0], received.text) == (JULIET, "from juliet")
    romeo.send(JULIET, "from romeo")
    received = await juliet.receive()
    assert (received.sender.split("/")[0], received.text) == (ROMEO, "from romeo")

    await juliet.join("garden@rooms.capulet.example", "juliet")
    await romeo.join("garden@rooms.capulet.example", "romeo")
    romeo.send("garden@rooms.capulet.example", "to all", type="groupchat")
    assert (await juliet.receive()).text == "to all"

    assert ("TLS" in await capulet.shell("s2s:show()")) is tls


async def test_two_ejabberd_hosts_with_a_room_and_a_component(network: Network) -> None:
    server = await network.ejabberd(
        EjabberdSettings(
            ["montague.example", "paris.example"],
            {ROMEO: "b"},
            rooms=["rooms.montague.example"],
            components=[ServiceListener("dialback.montague.example", "secret")],
        )
    )
    romeo = await network.client(server, ROMEO)
    await romeo.join("hall@rooms.montague.example", "romeo")
    assert await romeo.ping("paris.example") == "result"
    assert await server.ctl("registered_users", "montague.example") == "romeo\n"
    with pytest.raises(LabError, match="ended with"):
        await server.ctl("register", "romeo", "montague.example", "again")
    assert await server.evaluate("1 + 1") == "2"
    await server.restart()
    assert "is started" in await server.ctl("status")


async def test_prosody_is_reconfigured_and_restarted_live(network: Network) -> None:
    settings = ProsodySettings(["capulet.example"], {JULIET: "a"}, log_level="error")
    server = await network.prosody(settings)
    component = ExternalComponent("extra.capulet.example", "secret")
    await server.configure(
        ProsodySettings(["capulet.example"], {JULIET: "a"}, components=[component])
    )
    await server.shell('host:activate("extra.capulet.example")')
    assert "extra.capulet.example" in await server.shell("host:list()")
    await server.kill()
    await server.start()
    assert "extra.capulet.example" in await server.shell("host:list()")


async def test_wrong_password_is_reported(network: Network) -> None:
    server = await network.prosody(ProsodySettings(["capulet.example"], {JULIET: "a"}))
    (server.directory / "data/capulet%2eexample/accounts/juliet.dat").unlink()
    with pytest.raises(LabError, match="authentication failed"):
        await network.client(server, JULIET)


async def test_server_names_the_port_that_is_in_use(network: Network) -> None:
    address = fresh_address()
    ports = free_ports(address, 3)
    with socket.create_server((address, ports[1])):
        server = Prosody(
            ProsodySettings(["capulet.example"]),
            directory=network.new_directory("prosody"),
            dns=network.dns,
            address=address,
            ports=(ports[0], ports[1], ports[2]),
        )
        with pytest.raises(PortInUse, match=f"port {ports[1]} on {address}"):
            async with server:
                pass


def test_missing_servers_are_named_with_their_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name, path=None: None)
    with pytest.raises(Missing, match=r"prosody is not installed \(Debian: .* prosody\)"):
        prosody_module.require_prosody()
    with pytest.raises(Missing, match=r"ejabberd is not installed \(Debian: .* ejabberd\)"):
        ejabberd_module.require_ejabberd()
