"""The file that the README of the ejabberd module has to paste, on a running server."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest_asyncio
from conftest import open_world
from ejabberd_host import EjabberdHost
from host_servers import CAPULET, PASSWORD, SIDECAR, HostSettings
from world import Visit, World

from sidecar.lab.sidecar import EJABBERD_MODULE


class ReadmeHost(EjabberdHost):
    """ejabberd with the README's own text, where only names, address and port are ours."""

    def bolt(self) -> str:
        readme = (EJABBERD_MODULE / "README.md").read_text()
        blocks = re.findall(r"```yaml\n(.*?)```", readme, re.DOTALL)
        (text,) = [re.sub(r"^   ", "", block, flags=re.MULTILINE) for block in blocks]
        address, port = self.component_place(SIDECAR)
        for theirs, ours in (
            ("5347", str(port)),
            ("127.0.0.1", address),
            ("dialback.example.org", SIDECAR),
            (r"example\\.org", CAPULET.replace(".", r"\\.")),
            ("PASSWORD", self.link(SIDECAR).secret),
        ):
            assert theirs in text
            text = text.replace(theirs, ours)
        assert "example.org" not in text
        return text


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world() -> AsyncIterator[World]:
    host = ReadmeHost(
        HostSettings(hosts=(CAPULET,), rooms=(), accounts={f"juliet@{CAPULET}": PASSWORD})
    )
    async with open_world(host) as opened:
        yield opened


async def test_file_of_the_readme_bolts_the_sidecar_on(visit: Visit) -> None:
    await visit.federate_by_sidecar()


async def test_its_access_rule_alone_keeps_users_away(visit: Visit) -> None:
    """With the module gone and the listener still there."""
    host = visit.host
    assert isinstance(host, ReadmeHost)
    await host.server.evaluate(f'gen_mod:stop_module(<<"{CAPULET}">>, mod_dialback_sidecar)')
    juliet = await visit.log_in("juliet")
    await juliet.send(f"<iq type='get' id='1' to='{SIDECAR}'><ping xmlns='urn:xmpp:ping'/></iq>")
    answer = await juliet.receive("{jabber:client}iq")
    assert answer.get("type") == "error"
    assert answer.find(".//{urn:ietf:params:xml:ns:xmpp-stanzas}not-allowed") is not None
    await host.server.evaluate(f'gen_mod:start_module(<<"{CAPULET}">>, mod_dialback_sidecar)')
