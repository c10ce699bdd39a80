"""Moving a live server to the sidecar and back by the runbook: no key in flight is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio
from click.testing import CliRunner
from conftest import open_world
from ejabberd_host import EjabberdHost
from host_servers import CAPULET, SIDECAR, HostSettings
from prosody_host import ProsodyHost
from raw_peer import RawPeer
from raw_stream import DIALBACK
from test_issued_keys import Presented, issued_to
from world import Visit, World

from sidecar.cli import main
from sidecar.keys.dialback_key import KeyMaker, key_message
from sidecar.lab.ejabberd import COOKIE
from sidecar.lab.ejabberd_config import EjabberdSettings
from sidecar.lab.prosody_config import ProsodySettings

SECRET = "the secret in prosody.cfg.lua"
SECRET_OF_ANOTHER_NODE = "the secret of a node that still issues natively"


class ProsodyWithSecret(ProsodyHost):
    option, given = "--secret-file", SECRET

    def _prosody_settings(self) -> ProsodySettings:
        return replace(super()._prosody_settings(), options={"dialback_secret": SECRET})


class EjabberdWithCookie(EjabberdHost):
    """Only the secret of a distributed node, as Debian's is, comes from the cookie."""

    option, given = "--cookie-file", COOKIE

    def server_settings(self) -> EjabberdSettings:
        return replace(super().server_settings(), distributed=True)


@pytest_asyncio.fixture(
    scope="module", loop_scope="session", params=[ProsodyWithSecret, EjabberdWithCookie]
)
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    async with open_world(request.param(HostSettings())) as opened:
        yield opened


def command(visit: Visit, *arguments: str, given: str = "") -> str:
    socket = visit.world.sidecar.state_directory / "keyd" / "admin.sock"
    ran = CliRunner().invoke(main, [*arguments, "--admin-socket", str(socket)], input=given)
    assert ran.exit_code == 0, ran.output
    return ran.output


def import_own(visit: Visit, *more: str) -> None:
    """Import the secret of the host server itself, from its standard input."""
    host = visit.host
    assert isinstance(host, ProsodyWithSecret | EjabberdWithCookie)
    command(visit, "secret", "import", CAPULET, host.option, "-", *more, given=host.given)


async def verdict(visit: Visit, peer: RawPeer, asked: Presented) -> str | None:
    stream = await visit.stream(peer)
    await stream.db_verify(**dataclasses.asdict(asked))
    return (await stream.receive(DIALBACK + "verify")).get("type")


async def test_key_issued_natively_before_the_move_verifies_after_it(visit: Visit) -> None:
    await visit.host.undo()
    peer = await visit.peer()
    issued = await issued_to(peer, visit)
    assert visit.decisions() == []
    import_own(visit)
    await visit.host.redo()
    await visit.host.sidecar_back(SIDECAR)
    assert await verdict(visit, peer, issued) == "valid"


async def test_node_that_still_issues_natively_has_its_keys_verified_by_the_sidecar(
    visit: Visit,
) -> None:
    peer = await visit.peer()
    message = key_message(CAPULET, peer.domain, "stream-to-the-other-node")
    key = KeyMaker(SECRET_OF_ANOTHER_NODE.encode()).key(message)
    asked = Presented(CAPULET, peer.domain, "stream-to-the-other-node", key)
    assert await verdict(visit, peer, asked) == "invalid"
    given = SECRET_OF_ANOTHER_NODE
    command(visit, "secret", "import", CAPULET, "--secret-file", "-", given=given)
    assert await verdict(visit, peer, asked) == "valid"
    await visit.decided("verify", sender=CAPULET, target=peer.domain, outcome="valid")
    status = command(visit, "status")
    assert "trusted without the ledger" in status
    assert given not in status + command(visit, "secret", "list", "--json")


async def test_key_issued_by_the_sidecar_before_the_move_back_verifies_natively(
    visit: Visit,
) -> None:
    import_own(visit, "--issue")
    peer = await visit.peer()
    issued = await issued_to(peer, visit)
    await visit.decided("issue", sender=CAPULET, target=peer.domain, outcome="valid")
    await visit.host.undo()
    assert await verdict(visit, peer, issued) == "valid"
    await visit.stock_acted()
    await visit.host.redo()
