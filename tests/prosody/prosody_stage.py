"""Prosody with mod_dialback_sidecar, a scripted sidecar, one remote server and one local user."""

from __future__ import annotations

import ssl
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from xml.etree.ElementTree import Element

sys.path.insert(0, str(Path(__file__).parents[1] / "interop"))  # raw streams and peers

from raw_client import log_in
from raw_peer import RawPeer
from raw_stream import DIALBACK, RawStream, condition, keys_on_the_wire, shown
from scripted_sidecar import ScriptedSidecar

from sidecar.lab.network import Network
from sidecar.lab.prosody import Prosody
from sidecar.lab.prosody_config import ExternalComponent, LuaValue, ProsodySettings
from sidecar.lab.sidecar import PROSODY_MODULES

CAPULET = "capulet.example"
JULIET = "juliet@capulet.example"
PEER = "peer.example"
FIRST = "dialback.capulet.example"
SECOND = "dialback2.capulet.example"
CLIENT_MESSAGE = "{jabber:client}message"
SERVER_MESSAGE = "{jabber:server}message"


def secret_of(jid: str) -> str:
    return f"secret of {jid}"


class Stage:
    """`options` go into the sidecar's Component section, `jids` has two for failover."""

    prosody: Prosody
    sidecar: ScriptedSidecar
    second: ScriptedSidecar
    peer: RawPeer
    juliet: RawStream

    def __init__(
        self,
        network: Network,
        *,
        options: Mapping[str, LuaValue] | None = None,
        jids: tuple[str, ...] = (FIRST,),
        connected: bool = True,
        **settings: Any,
    ) -> None:
        self.network = network
        self.jids = jids
        self._connected = connected
        own: dict[str, LuaValue] = dict(options or {})
        if len(jids) > 1:
            own["dialback_sidecar_jids"] = list(jids)
        self.settings = ProsodySettings(
            hosts=settings.pop("hosts", [CAPULET]),
            accounts={JULIET: "pass"},
            components=[
                ExternalComponent(FIRST, secret_of(FIRST), ["dialback_sidecar"], own),
                *(ExternalComponent(jid, secret_of(jid)) for jid in jids[1:]),
                *settings.pop("more_components", ()),
            ],
            plugin_paths=[PROSODY_MODULES],
            options=settings.pop("global_options", {}),
            **settings,
        )
        self._stack = AsyncExitStack()

    def server_context(self) -> ssl.SSLContext:
        """For streams the server opens to the peer, when a test plays the peer itself."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        directory = self.network.new_directory("certificate")
        context.load_cert_chain(*self.peer.certificate.write(directory, PEER))
        return context

    def new_sidecar(self, jid: str = FIRST) -> ScriptedSidecar:
        prosody = self.prosody
        return ScriptedSidecar(jid, secret_of(jid), prosody.address, prosody.component_port)

    async def stream(self, *, tls: bool | None = None) -> RawStream:
        """A stream from the peer, before any dialback."""
        return await self.peer.connect(
            self.prosody.address, self.prosody.s2s_port, target=CAPULET, tls=tls
        )

    async def claim(self, stream: RawStream, sender: str = PEER, target: str = CAPULET) -> None:
        await self.peer.request(stream, target=target, sender=sender)

    async def answer(self, stream: RawStream, sender: str = PEER) -> tuple[str | None, str | None]:
        """The type and condition of the next db:result about `sender`."""
        element = await stream.receive(DIALBACK + "result", where=lambda e: e.get("to") == sender)
        return element.get("type"), condition(element)

    async def settled(self, stream: RawStream) -> list[str]:
        """Let the server read all that was sent on `stream`; return what it had said by then."""
        await stream.send("<db:result from='nobody.example' to='nowhere.example'>00</db:result>")
        await stream.receive(
            DIALBACK + "result", where=lambda e: e.get("from") == "nowhere.example"
        )
        said, stream.elements[:] = [shown(element) for element in stream.elements], []
        return said

    async def write(self, text: str) -> None:
        """Juliet writes to somebody at the peer."""
        await self.juliet.send(f"<message to='a@{PEER}' type='chat'><body>{text}</body></message>")

    async def delivered(self) -> str | None:
        """The text of the next message that reached the peer."""
        return _body(await self.peer.next_stanza())

    async def bounced(self) -> str | None:
        """The error condition of the next message that came back to juliet."""
        element = await self.juliet.receive(CLIENT_MESSAGE)
        assert element.get("type") == "error", shown(element)
        return condition(element)

    async def heard(self) -> str | None:
        """The text of the next message that juliet got."""
        return _body(await self.juliet.receive(CLIENT_MESSAGE))

    async def start_over(self) -> None:
        """Drop the peer's streams and wait until the server has noticed."""
        mark = self.prosody.output.mark()
        await self.peer.hang_up()
        await self.prosody.output.wait_for(r"s2s disconnected|Destroying", after=mark)

    async def reload(self) -> None:
        await self.prosody.shell(f'module:reload("dialback_sidecar", "{FIRST}")')

    async def undo(self) -> None:
        await self.prosody.shell(f'host:deactivate("{FIRST}")')

    async def bolt_on(self) -> None:
        """As after `undo`, with the sidecar connected again."""
        await self.prosody.shell(f'host:activate("{FIRST}")')
        await self.sidecar.vanish()
        await self.sidecar.connect()

    def assert_sound(self) -> None:
        output = self.prosody.output
        assert output.find(r"Traceback\[|attempt to |bad argument") == []
        ours = [line.text for line in output.find("dialback_sidecar|dialback as|dialback key")]
        for key in keys_on_the_wire:
            assert len(key) < 16 or not any(key in line for line in ours)

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            self.prosody = await self.network.prosody(self.settings)
            self.sidecar, *others = (self.new_sidecar(jid) for jid in self.jids)
            if others:
                self.second = others[0]
            if self._connected:
                for sidecar in (self.sidecar, *others):
                    await stack.enter_async_context(sidecar)
            self.peer = await stack.enter_async_context(
                RawPeer(PEER, dns=self.network.dns, directory=self.network.new_directory("peer"))
            )
            self.juliet = await log_in(JULIET, "pass", self.prosody.address, self.prosody.c2s_port)
            stack.callback(self.juliet.abort)
            stack.push_async_callback(self._vanish)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        await self._stack.__aexit__(kind, error, tb)

    async def _vanish(self) -> None:
        await self.sidecar.vanish()


def _body(message: Element) -> str | None:
    for child in message:
        if child.tag.endswith("}body"):
            return child.text
    return None


OpenStage = Callable[..., Awaitable[Stage]]
