"""An ejabberd of our own: Debian's programs, our configuration, a directory that goes away.

The Erlang machine is started as `ejabberdctl` does it, with every path in our directory. Admin
commands go over its standard input, so no command port is open, and its end is our end.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sidecar.lab.addresses import free_ports, fresh_address, require_free
from sidecar.lab.certificates import self_signed
from sidecar.lab.dns import DnsServer
from sidecar.lab.ejabberd_config import (
    EjabberdPlace,
    EjabberdSettings,
    render,
    render_inetrc,
)
from sidecar.lab.faults import LabError, Missing
from sidecar.lab.process import Process
from sidecar.lab.server import Server, announce

COOKIE = "lab"
"""Erlang's, of every node of the lab."""

_READY = "lab control ready"

# Reads "MARK BASE64" lines, evaluates the expressions in them, prints "MARK BASE64" of what came
# out. Standard input at its end means that the lab is gone.
_CONTROL = """
Loop = fun Loop() ->
    case io:get_line("") of
        Line when is_list(Line) ->
            [Mark, Coded] = string:lexemes(string:trim(Line), " "),
            Answer = try
                Text = unicode:characters_to_list(base64:decode(Coded)),
                {ok, Tokens, _} = erl_scan:string(Text),
                {ok, Expressions} = erl_parse:parse_exprs(Tokens),
                {value, Value, _} = erl_eval:exprs(Expressions, []),
                {ok, Value}
            catch Class:Reason -> {Class, Reason} end,
            Shown = unicode:characters_to_binary(io_lib:format("~0tp", [Answer])),
            io:format("~n~s ~s~n", [Mark, base64:encode(Shown)]),
            Loop();
        _ -> erlang:halt(0)
    end
end,
io:format("~n%READY%~n"),
spawn(Loop).
""".replace("%READY%", _READY)

# Runs a command as ejabberdctl does, inside the node, and returns {Status, Output}.
_CTL = """
Me = self(),
Collector = spawn(fun Collect() ->
    Loop = fun Loop(Text) -> receive
        {io_request, From, Ref, {put_chars, _, Chars}} ->
            From ! {io_reply, Ref, ok}, Loop([Text, Chars]);
        {io_request, From, Ref, {put_chars, _, M, F, A}} ->
            From ! {io_reply, Ref, ok}, Loop([Text, apply(M, F, A)]);
        {io_request, From, Ref, _} -> From ! {io_reply, Ref, {error, enotsup}}, Loop(Text);
        {done, Status} -> Me ! {collected, Status, unicode:characters_to_binary(Text)}
    end end,
    Loop([])
end),
Command = spawn(fun() ->
    receive go -> ok end,
    Collector ! {done, try ejabberd_ctl:process(%ARGS%) catch C:R -> {C, R} end}
end),
group_leader(Collector, Command),
Command ! go,
receive {collected, Status, Text} -> {Status, base64:encode(Text)} end.
"""


def require_ejabberd() -> None:
    """Raise Missing unless ejabberd is installed."""
    if shutil.which("ejabberdctl", path="/usr/sbin:/usr/bin:/usr/local/sbin") is None:
        raise Missing("ejabberd", "ejabberd")
    if shutil.which("erl") is None:
        raise Missing("erlang", "erlang-base")


class Ejabberd(Server):
    """`async with Ejabberd(settings, directory=..., dns=...) as ejabberd`, ready to be used.

    Publishes `_xmpp-server` SRV and address records for its domains in `dns`.
    """

    _grace_seconds = 20

    def __init__(
        self,
        settings: EjabberdSettings,
        *,
        directory: Path,
        dns: DnsServer,
        address: str | None = None,
        ports: tuple[int, int] | None = None,
        publish: bool = True,
    ) -> None:
        """`ports`: c2s, s2s; free ones when not given, as for the components."""
        require_ejabberd()
        self.settings = settings
        self.directory = directory
        self.address = address or fresh_address()
        wanted = 3 + len(settings.components)
        free_c2s, free_s2s, distribution, *components = free_ports(self.address, wanted)
        self.c2s_port, self.s2s_port = ports or (free_c2s, free_s2s)
        self.component_ports = {
            component.jid: port
            for component, port in zip(settings.components, components, strict=True)
        }
        self.node = f"lab@{self.address}" if settings.distributed else "nonode@nohost"
        self._distribution_port = settings.distribution_port or distribution
        self._dns = dns
        self._publish = publish
        self._process = Process(
            "ejabberd", self._command(), directory=directory, environment=self._environment()
        )

    @property
    def config_path(self) -> Path:
        return self.directory / "ejabberd.yml"

    @property
    def domains(self) -> tuple[str, ...]:
        """The domains other servers may reach: hosts and rooms."""
        return (*self.settings.hosts, *self.settings.rooms)

    async def start(self) -> None:
        """Start it and return when it listens, contributed modules installed, accounts made."""
        ports = (self.c2s_port, self.s2s_port, *self.component_ports.values())
        require_free(self.address, *ports)
        before = self.output.mark()
        await self._process.start()
        await self.output.wait_for(re.escape(_READY), after=before, timeout_seconds=90)
        await self._process.wait_listening(self.address, *ports)
        for source in self.settings.contrib_modules:
            await self.install_module(source)
        await self.put_modules_d(self.settings.modules_d)
        for jid, password in self.settings.accounts.items():
            user, _, host = jid.partition("@")
            await self.evaluate(
                f"ejabberd_auth:try_register({_binary(user)}, {_binary(host)}, {_binary(password)})"
            )

    async def evaluate(self, expressions: str, *, timeout_seconds: float = 60) -> str:
        """Evaluate Erlang expressions in the node and return the last value's text.

        Raises LabError when they raised.
        """
        mark = f"lab-{secrets.token_hex(8)}"
        coded = base64.b64encode(expressions.rstrip(". \n").encode() + b".").decode()
        before = self.output.mark()
        self._process.write(f"{mark} {coded}\n".encode())
        line = await self.output.wait_for(
            rf"^{mark} ", after=before, timeout_seconds=timeout_seconds
        )
        answer = base64.b64decode(line.text.split(" ", 1)[1]).decode()
        if not answer.startswith("{ok,"):
            raise LabError(f"ejabberd: {expressions!r} raised {answer}")
        return answer.removeprefix("{ok,").removesuffix("}")

    async def ctl(self, *arguments: str, timeout_seconds: float = 60) -> str:
        """Run a command of `ejabberdctl` and return its output; LabError unless its status is 0."""
        listed = "[" + ", ".join(_string(argument) for argument in arguments) + "]"
        answer = await self.evaluate(
            _CTL.replace("%ARGS%", listed), timeout_seconds=timeout_seconds
        )
        parsed = re.match(r'\{(.*),<<(?:"([A-Za-z0-9+/=]*)")?>>\}\Z', answer, re.DOTALL)
        if parsed is None:
            raise LabError(f"ejabberdctl {' '.join(arguments)}: {answer}")
        text = base64.b64decode(parsed[2] or "").decode()
        if parsed[1] != "0":
            raise LabError(f"ejabberdctl {' '.join(arguments)} ended with {parsed[1]}: {text}")
        return text

    async def install_module(self, source: Path) -> str:
        """Install a module from its source folder, offline, as `module_install` does."""
        sources = self.directory / "contrib" / "sources"
        shutil.copytree(source, sources / source.name, dirs_exist_ok=True)
        return await self.ctl("module_install", source.name)

    async def put_modules_d(self, files: Mapping[str, Mapping[str, Any]]) -> None:
        """Put files into the private `modules.d` and load them live."""
        for name, content in files.items():
            path = self.directory / "contrib" / "conf" / name
            path.touch(mode=0o600)
            path.write_text(json.dumps(content))
        if files:
            await self.ctl("reload_config")

    async def configure(self, settings: EjabberdSettings) -> None:
        """Write a new configuration and load it live."""
        self.settings = settings
        await self._write()
        await self.ctl("reload_config")

    def _command(self) -> list[str | Path]:
        name = ["-name", self.node, "-setcookie", COOKIE]
        name += ["-erl_epmd_port", str(self._distribution_port), "-start_epmd", "false"]
        interface = self.address.replace(".", ",")
        name += ["-kernel", "inet_dist_use_interface", f"{{{interface}}}"]
        return [
            "erl",
            *(name if self.settings.distributed else []),
            *("+sbwt", "none", "+sbwtdcpu", "none", "+sbwtdio", "none"),
            "-noshell",
            *("-mnesia", "dir", f'"{self.directory / "spool"}"'),
            *("-s", "ejabberd"),
            *("-eval", _CONTROL),
        ]

    def _environment(self) -> dict[str, str]:
        contrib = self.directory / "contrib"
        return {
            "HOME": str(self.directory),
            "ERL_LIBS": _erlang_libraries(),
            "ERL_INETRC": str(self.directory / "inetrc"),
            "ERL_CRASH_DUMP_BYTES": "0",
            "EJABBERD_CONFIG_PATH": str(self.config_path),
            "EJABBERD_LOG_PATH": str(self.directory / "logs" / "ejabberd.log"),
            "CONTRIB_MODULES_PATH": str(contrib),
            "CONTRIB_MODULES_CONF_DIR": str(contrib / "conf"),
        }

    async def _write(self) -> None:
        view = await self._dns.literal_view()
        place = EjabberdPlace(
            directory=self.directory,
            address=self.address,
            c2s_port=self.c2s_port,
            s2s_port=self.s2s_port,
            component_ports=self.component_ports,
            nameserver=(view.address, view.port),
        )
        for folder in ("spool", "logs", "certs", "contrib/conf", "contrib/sources"):
            (self.directory / folder).mkdir(parents=True, exist_ok=True)
        self.config_path.touch(mode=0o600)
        self.config_path.write_text(render(self.settings, place))
        (self.directory / "inetrc").write_text(render_inetrc(place))
        (self.directory / "trusted.pem").write_bytes(
            self.settings.trusted_pem or self_signed("nobody.invalid").pem
        )
        for domain in self.domains if self.settings.tls else ():
            known = self.settings.certificates.get(domain)
            path = self.directory / "certs" / f"{domain}.pem"
            if known is not None or not path.exists():
                certificate = known or self_signed(domain)
                path.touch(mode=0o600)
                path.write_bytes(certificate.pem + certificate.key_pem)

    async def prepare(self) -> None:
        await self._write()
        if self._publish:
            announce(self._dns, self.domains, self.address, self.s2s_port)


def _erlang_libraries() -> str:
    """Return the folder Debian keeps ejabberd's Erlang applications in."""
    for folder in sorted(Path("/usr/lib").glob("*-linux-gnu*")):
        if any(folder.glob("ejabberd-*/ebin/ejabberd.app")):
            return str(folder)
    raise Missing("ejabberd", "ejabberd")


def _string(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _binary(text: str) -> str:
    return f"<<{_string(text)}/utf8>>"
