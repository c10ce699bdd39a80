"""The one file of the README that bolts a Prosody on, pasted as it stands, on a running server."""

from __future__ import annotations

from pathlib import Path

from sidecar.lab.network import Network
from sidecar.lab.prosody_config import ProsodySettings
from sidecar.lab.sidecar import PROSODY_MODULES, SidecarLink, SidecarSettings

README = Path(__file__).parents[2] / "README.md"
SECRET = "a secret of the readme's reader"
JID = "dialback.example.org"
DECIDED = "issue example.org -> montague.example valid"


def pasted_file() -> str:
    """The file as the shell of the README writes it."""
    here_document = README.read_text().split("<<LUA\n")[1].split("\nLUA\n")[0]
    return here_document.replace("$(cat /etc/dialback-sidecar/secret)", SECRET) + "\n"


async def test_pasted_file_bolts_a_running_prosody_on_and_deleting_it_undoes_it(
    network: Network, tmp_path: Path
) -> None:
    example = await network.prosody(
        ProsodySettings(
            ["example.org"],
            plugin_paths=[PROSODY_MODULES],
            lua=f'Include "{tmp_path}/*.cfg.lua"',
        )
    )
    await network.prosody(ProsodySettings(["montague.example"]))
    file = tmp_path / "dialback-sidecar.cfg.lua"
    file.write_text(pasted_file())
    await example.shell("config:reload()")
    await example.shell(f'host:activate("{JID}")')

    link = SidecarLink(JID, example.address, example.component_port, SECRET, ["example.org"])
    sidecar = await network.sidecar(SidecarSettings([link]))
    await example.shell('xmpp:ping("example.org", "montague.example")')
    await sidecar.output.wait_for(DECIDED, timeout_seconds=20)

    await example.shell(f'host:deactivate("{JID}")')
    file.unlink()
    await example.shell("s2s:closeall()")
    before = sidecar.output.mark()
    await example.shell('xmpp:ping("example.org", "montague.example")')
    await example.output.wait_for("sent dialback key on outgoing s2s stream", timeout_seconds=20)
    assert not sidecar.output.find(DECIDED, after=before)
