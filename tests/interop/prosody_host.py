"""Prosody with mod_dialback_sidecar as the host server."""

from __future__ import annotations

import re
from dataclasses import replace

from host_servers import GOSSIP, HostServer, HostSettings

from sidecar.lab.network import Network
from sidecar.lab.output import Output
from sidecar.lab.prosody_config import ExternalComponent, LuaValue, ProsodySettings
from sidecar.lab.sidecar import PROSODY_MODULES, SidecarLink

_MODULE = "dialback_sidecar"
_DEFAULT_CHECK_LIMIT = 16
_CAME = r"^{jid}:component .*successfully authenticated"
_LEFT = r"component disconnected: {jid}"
_STOCK_LOGS_A_KEY = "asking .* if key .* belongs to them"
# mod_dialback 0.12 and 13 at debug level, in each of the roles.
_STOCK_ACTS = "|".join(
    (
        "sent dialback key on outgoing s2s stream",
        "Initiating dialback\\.\\.\\.",
        "verifying that dialback key is ours",
        "verified dialback key\\.\\.\\. it is",
        _STOCK_LOGS_A_KEY,
    )
)


class ProsodyHost(HostServer):
    def __init__(self, settings: HostSettings) -> None:
        self.settings = settings
        self.check_limit = settings.check_limit or _DEFAULT_CHECK_LIMIT

    async def start_into(self, network: Network) -> None:
        self._bolted_on = self._prosody_settings()
        self._prosody = await network.prosody(self._bolted_on)
        self.address = self._prosody.address
        self.c2s_port = self._prosody.c2s_port
        self.s2s_port = self._prosody.s2s_port

    def _prosody_settings(self) -> ProsodySettings:
        first, *others = self.settings.sidecars
        options: dict[str, LuaValue] = {}
        if others:
            options["dialback_sidecar_jids"] = list(self.settings.sidecars)
        if self.settings.native_fallback:
            options["dialback_sidecar_fallback"] = "native"
        if self.settings.check_limit is not None:
            options["dialback_sidecar_check_limit"] = self.settings.check_limit
        return ProsodySettings(
            hosts=self.settings.hosts,
            accounts=self.settings.accounts,
            rooms=self.settings.rooms,
            plugin_paths=[PROSODY_MODULES],
            s2s_require_encryption=self.settings.s2s_require_encryption,
            tls=self.settings.tls,
            components=[
                ExternalComponent(GOSSIP, "gossip", options={"validate_from_addresses": False}),
                ExternalComponent(first, f"secret of {first}", modules=[_MODULE], options=options),
                *(ExternalComponent(jid, f"secret of {jid}") for jid in others),
            ],
        )

    @property
    def output(self) -> Output:
        return self._prosody.output

    def link(self, jid: str) -> SidecarLink:
        return SidecarLink.to(self._prosody, jid)

    def component_place(self, jid: str) -> tuple[str, int]:
        return self._prosody.address, self._prosody.component_port

    async def sidecar_gone(self, jid: str) -> None:
        came = self._last(_CAME.format(jid=re.escape(jid)))
        await self.output.wait_for(_LEFT.format(jid=re.escape(jid)), after=came)

    async def sidecar_back(self, jid: str) -> None:
        left = self._last(_LEFT.format(jid=re.escape(jid)))
        await self.output.wait_for(_CAME.format(jid=re.escape(jid)), after=left, timeout_seconds=60)

    def _last(self, pattern: str) -> int:
        lines = enumerate(self.output.lines)
        return max((place for place, line in lines if re.search(pattern, line.text)), default=0)

    async def stop(self) -> None:
        await self._prosody.stop()

    async def start(self) -> None:
        await self._prosody.start()

    async def reload_module(self) -> None:
        await self._prosody.shell(f'module:reload("{_MODULE}", "{self.settings.sidecars[0]}")')

    async def undo(self) -> None:
        without = [c for c in self._bolted_on.components if c.jid not in self.settings.sidecars]
        await self._prosody.configure(replace(self._bolted_on, components=without))
        for jid in self.settings.sidecars:
            await self._prosody.shell(f'host:deactivate("{jid}")')

    async def redo(self) -> None:
        await self._prosody.configure(self._bolted_on)
        for jid in self.settings.sidecars:
            await self._prosody.shell(f'host:activate("{jid}")')

    def stock_acts(self, after: int) -> list[str]:
        return [line.text for line in self.output.find(_STOCK_ACTS, after)]

    def our_lines(self, after: int) -> list[str]:
        """All but what mod_dialback itself says: Prosody's core logs no keys."""
        lines = (line.text for line in self.output.lines[after:])
        return [line for line in lines if not re.search(_STOCK_LOGS_A_KEY, line)]
