"""What a Prosody of the lab hosts, and its configuration file made from that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sidecar.lab.certificates import Certificate

LuaValue = str | int | float | bool | Sequence["LuaValue"] | Mapping[str, "LuaValue"]

_MODULES = ("roster", "saslauth", "tls", "dialback", "disco", "ping", "admin_shell")


@dataclass(frozen=True)
class ExternalComponent:
    """A Component section for a component that connects over XEP-0114."""

    jid: str
    secret: str = field(repr=False)
    modules: Sequence[str] = ()
    options: Mapping[str, LuaValue] = field(default_factory=dict)


@dataclass(frozen=True)
class ProsodySettings:
    """Everything a test may want to differ; `lua` and `host_lua` for what has no field here."""

    hosts: Sequence[str]
    accounts: Mapping[str, str] = field(default_factory=dict)
    """Bare JID to password."""
    rooms: Sequence[str] = ()
    """Domains of multi-user chat components."""
    components: Sequence[ExternalComponent] = ()
    plugin_paths: Sequence[Path] = ()
    modules: Sequence[str] = ()
    """More modules for every host, beside the few of a small server."""
    modules_disabled: Sequence[str] = ()
    certificates: Mapping[str, Certificate] = field(default_factory=dict)
    """Per domain; a domain without gets a self-signed one."""
    trusted_pem: bytes = b""
    """Authorities whose certificates the server trusts; none but these."""
    tls: bool = True
    """False: no certificates, no TLS at all."""
    s2s_require_encryption: bool = False
    s2s_secure_auth: bool = False
    nagle: bool = True
    """Prosody's default; False takes 40 ms off a fresh one-way connection."""
    log_level: str = "debug"
    options: Mapping[str, LuaValue] = field(default_factory=dict)
    """More global options."""
    host_options: Mapping[str, Mapping[str, LuaValue]] = field(default_factory=dict)
    """More options by host or component."""
    lua: str = ""
    """Appended as it is."""


@dataclass(frozen=True)
class ProsodyPlace:
    """Where one Prosody of the lab listens and keeps its files."""

    directory: Path
    address: str
    c2s_port: int
    s2s_port: int
    component_port: int
    nameserver: tuple[str, int]


def render(settings: ProsodySettings, place: ProsodyPlace, *, as_root: bool) -> str:
    """Return the text of `prosody.cfg.lua`."""
    address, port = place.nameserver
    main: dict[str, LuaValue] = {
        "run_as_root": as_root,
        "interfaces": [place.address],
        "c2s_ports": [place.c2s_port],
        "s2s_ports": [place.s2s_port],
        "component_ports": [place.component_port],
        "component_interfaces": [place.address],
        "legacy_ssl_ports": [],
        "c2s_direct_tls_ports": [],
        "s2s_direct_tls_ports": [],
        "http_ports": [],
        "https_ports": [],
        "data_path": str(place.directory / "data"),
        "certificates": str(place.directory / "certs"),
        "pidfile": str(place.directory / "prosody.pid"),
        "admin_socket": str(place.directory / "admin.sock"),
        "plugin_paths": [str(path) for path in settings.plugin_paths],
        "modules_enabled": [*_MODULES, *settings.modules],
        "modules_disabled": [
            *settings.modules_disabled,
            *([] if settings.tls else ["tls"]),
        ],
        "authentication": "internal_plain",
        "storage": "internal",
        "c2s_require_encryption": settings.tls,
        "allow_unencrypted_plain_auth": not settings.tls,
        "s2s_require_encryption": settings.s2s_require_encryption,
        "s2s_secure_auth": settings.s2s_secure_auth,
        "network_settings": {"nagle": settings.nagle},
        "unbound": {
            "resolvconf": False,
            "hoststxt": False,
            "forward": [f"{address}@{port}"],
            "options": {
                "do-not-query-localhost:": "no",
                "qname-minimisation:": "no",
                "cache-max-negative-ttl:": "0",
            },
        },
        "log": [{"levels": {"min": settings.log_level}, "to": "stdout"}],
    }
    if settings.trusted_pem:
        main["ssl"] = {"cafile": str(place.directory / "trusted.pem")}
    main.update(settings.options)
    parts = [_assignments(main)]
    for host in settings.hosts:
        parts.append(_section(f"VirtualHost {_lua(host)}", settings.host_options.get(host, {})))
    for room in settings.rooms:
        options = {"muc_room_locking": False, **settings.host_options.get(room, {})}
        parts.append(_section(f'Component {_lua(room)} "muc"', options))
    for component in settings.components:
        options = {
            "component_secret": component.secret,
            "modules_enabled": list(component.modules),
            **component.options,
            **settings.host_options.get(component.jid, {}),
        }
        parts.append(_section(f"Component {_lua(component.jid)}", options))
    return "\n".join([*parts, settings.lua, ""])


def _section(head: str, options: Mapping[str, LuaValue]) -> str:
    return f"{head}\n{_assignments(options, indent='  ')}"


def _assignments(options: Mapping[str, LuaValue], indent: str = "") -> str:
    return "".join(f"{indent}{name} = {_lua(value)}\n" for name, value in options.items())


def _lua(value: LuaValue) -> str:
    """Return a value as a Lua expression."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'"{escaped}"'
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"[{_lua(k)}] = {_lua(v)}" for k, v in value.items()) + " }"
    return "{ " + ", ".join(_lua(item) for item in value) + " }"
