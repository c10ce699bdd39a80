"""ejabberd with mod_dialback_sidecar as the host server, bolted on as its README says."""

from __future__ import annotations

import json
import re
from typing import Any

from host_servers import GOSSIP, HostServer, HostSettings

from sidecar.lab.addresses import free_ports
from sidecar.lab.ejabberd import Ejabberd
from sidecar.lab.ejabberd_config import EjabberdSettings
from sidecar.lab.network import Network
from sidecar.lab.output import Output
from sidecar.lab.sidecar import EJABBERD_MODULE, SidecarLink

_MODULE = "mod_dialback_sidecar"
_DEFAULT_CHECK_LIMIT = 16
_STOCK = "stock acts: "
# What mod_s2s_dialback does itself in each role, seen by the Erlang machine.
_WATCH = f"""
Tracer = spawn(fun Watch() ->
    receive
        {{trace, _, call, {{_, Function, _}}}} -> io:format("~n{_STOCK}~s~n", [Function]);
        _ -> ok
    end,
    Watch()
end),
erlang:trace(all, true, [call, {{tracer, Tracer}}]),
erlang:trace_pattern({{mod_s2s_dialback, make_key, 3}}, true, [local]),
erlang:trace_pattern({{mod_s2s_dialback, send_verify_request, 1}}, true, [local])
"""


class EjabberdHost(HostServer):
    ends_cleartext = True

    def __init__(self, settings: HostSettings) -> None:
        self.settings = settings
        self.check_limit = settings.check_limit or _DEFAULT_CHECK_LIMIT

    def server_settings(self) -> EjabberdSettings:
        """The server before anything is bolted on."""
        starttls = "required" if self.settings.s2s_require_encryption else "optional"
        return EjabberdSettings(
            self.settings.hosts,
            self.settings.accounts,
            rooms=self.settings.rooms,
            tls=self.settings.tls,
            s2s_use_starttls=starttls,
            # As in newer versions; 30 s are less than a sidecar may take to link again.
            options={"negotiation_timeout": 120},
        )

    async def start_into(self, network: Network) -> None:
        self._ejabberd = await network.ejabberd(self.server_settings())
        self.address = self._ejabberd.address
        self.c2s_port = self._ejabberd.c2s_port
        self.s2s_port = self._ejabberd.s2s_port
        jids = (GOSSIP, *self.settings.sidecars)
        self._component_ports = dict(zip(jids, free_ports(self.address, len(jids)), strict=True))
        gossip = {"listen": [self._listener(GOSSIP, check_from=False)]}
        self._write("gossip.yml", json.dumps(gossip))
        await self.redo()
        await self._watch_stock()

    def _listener(self, jid: str, **options: Any) -> dict[str, Any]:
        return {
            "port": self._component_ports[jid],
            "ip": self.address,
            "module": "ejabberd_service",
            "hosts": {jid: {"password": self._secret(jid)}},
            "global_routes": False,
            **options,
        }

    def _secret(self, jid: str) -> str:
        return "gossip" if jid == GOSSIP else f"secret of {jid}"

    def bolt(self) -> str:
        """The one extra file, as the README has it. It is JSON, of which YAML is a superset."""
        jids = self.settings.sidecars
        options: dict[str, Any] = {"component": jids[0] if len(jids) == 1 else list(jids)}
        if self.settings.native_fallback:
            options["fallback"] = "native"
        if self.settings.check_limit is not None:
            options["check_limit"] = self.settings.check_limit
        hosts = [{"^$": f"^{re.escape(host)}$"} for host in self.settings.hosts]
        content = {
            "listen": [self._listener(jid, access="dialback_sidecar") for jid in jids],
            "acl": {"dialback_hosts": {"node_regexp": hosts}},
            "access_rules": {"dialback_sidecar": [{"allow": "dialback_hosts"}]},
            "modules": {_MODULE: options},
        }
        return json.dumps(content)

    def _write(self, name: str, text: str) -> None:
        path = self._ejabberd.directory / "contrib" / "conf" / name
        path.touch(mode=0o600)
        path.write_text(text)

    @property
    def server(self) -> Ejabberd:
        return self._ejabberd

    @property
    def output(self) -> Output:
        return self._ejabberd.output

    def link(self, jid: str) -> SidecarLink:
        return SidecarLink(
            jid,
            self.address,
            self._component_ports[jid],
            self._secret(jid),
            self._ejabberd.domains,
        )

    def component_place(self, jid: str) -> tuple[str, int]:
        return self.address, self._component_ports[jid]

    async def sidecar_gone(self, jid: str) -> None:
        await self._routed(jid, "false")

    async def sidecar_back(self, jid: str) -> None:
        await self._routed(jid, "true")

    async def _routed(self, jid: str, wanted: str) -> None:
        await self._ejabberd.evaluate(
            f"""Wait = fun Wait() ->
                case ejabberd_router:is_my_route(<<"{jid}">>) of
                    {wanted} -> ok;
                    _ -> timer:sleep(10), Wait()
                end
            end, Wait()"""
        )

    async def stop(self) -> None:
        await self._ejabberd.stop()

    async def start(self) -> None:
        await self._ejabberd.start()
        await self._watch_stock()

    async def reload_module(self) -> None:
        await self._ejabberd.ctl("module_upgrade", _MODULE)

    async def undo(self) -> None:
        (self._ejabberd.directory / "contrib" / "conf" / f"{_MODULE}.yml").unlink()
        await self._ejabberd.ctl("reload_config")
        await self._ejabberd.ctl("module_uninstall", _MODULE)

    async def redo(self) -> None:
        await self._ejabberd.install_module(EJABBERD_MODULE)
        self._write(f"{_MODULE}.yml", self.bolt())
        await self._ejabberd.ctl("reload_config")

    async def timers(self) -> set[str]:
        """What the node's timer server is to do later, by reference."""
        rows = await self._ejabberd.evaluate(
            """[element(1, Row) || Table <- ets:all(),
                ets:info(Table, owner) == whereis(timer_server), Row <- ets:tab2list(Table)]"""
        )
        return set(re.findall(r"#Ref<[\d.]+>", rows))

    async def _watch_stock(self) -> None:
        await self._ejabberd.evaluate(_WATCH)

    def stock_acts(self, after: int) -> list[str]:
        return [line.text for line in self.output.find(f"^{_STOCK}", after)]

    def our_lines(self, after: int) -> list[str]:
        return [line.text for line in self.output.find(f"@{_MODULE}", after)]
