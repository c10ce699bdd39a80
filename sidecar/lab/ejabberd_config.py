"""What an ejabberd of the lab hosts, and its configuration files made from that."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sidecar.lab.certificates import Certificate


@dataclass(frozen=True)
class ServiceListener:
    """An `ejabberd_service` listener of its own for a component that connects over XEP-0114.

    Only the bare domains in `senders` may send stanzas to it (none given: all hosts).
    """

    jid: str
    secret: str = field(repr=False)
    senders: Sequence[str] = ()


@dataclass(frozen=True)
class EjabberdSettings:
    """Everything a test may want to differ; `options` for what has no field here."""

    hosts: Sequence[str]
    accounts: Mapping[str, str] = field(default_factory=dict)
    """Bare JID to password."""
    rooms: Sequence[str] = ()
    """Domains of multi-user chat, served by the first host."""
    components: Sequence[ServiceListener] = ()
    contrib_modules: Sequence[Path] = ()
    """Source folders (`src/`, `NAME.spec`) installed with `module_install` after the start."""
    modules_d: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Files of `modules.d` by name, put there once `contrib_modules` are installed."""
    modules: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """More modules with their options, beside the few of a small server."""
    certificates: Mapping[str, Certificate] = field(default_factory=dict)
    """Per domain; a domain without gets a self-signed one."""
    trusted_pem: bytes = b""
    """Authorities whose certificates the server trusts; none but these."""
    tls: bool = True
    """False: no certificates, no TLS at all."""
    s2s_use_starttls: str = "optional"
    log_level: str = "debug"
    options: Mapping[str, Any] = field(default_factory=dict)
    """More top-level options of ejabberd.yml."""
    distributed: bool = False
    """An Erlang node others can reach, as a cluster needs it. All share one cookie."""
    distribution_port: int | None = None
    """Must be the same for all nodes of a cluster, each on an address of its own."""


@dataclass(frozen=True)
class EjabberdPlace:
    """Where one ejabberd of the lab listens and keeps its files."""

    directory: Path
    address: str
    c2s_port: int
    s2s_port: int
    component_ports: Mapping[str, int]
    nameserver: tuple[str, int]


def render(settings: EjabberdSettings, place: EjabberdPlace) -> str:
    """Return the text of `ejabberd.yml`. It is JSON, of which YAML is a superset."""
    listen: list[dict[str, Any]] = [
        _listener(place, place.c2s_port, "ejabberd_c2s", starttls=settings.tls),
        # Its default of 5 drops connections that come at once, and a lost SYN costs a second.
        _listener(place, place.s2s_port, "ejabberd_s2s_in", backlog=128),
    ]
    acl: dict[str, Any] = {}
    access: dict[str, Any] = {}
    for number, component in enumerate(settings.components):
        rule = f"component_{number}"
        senders = component.senders or settings.hosts
        acl[f"{rule}_senders"] = {"node_regexp": [{"^$": _exactly(name)} for name in senders]}
        access[rule] = [{"allow": f"{rule}_senders"}]
        listen.append(
            _listener(
                place,
                place.component_ports[component.jid],
                "ejabberd_service",
                access=rule,
                global_routes=False,
                hosts={component.jid: {"password": component.secret}},
            )
        )
    modules: dict[str, Any] = {
        "mod_s2s_dialback": {},
        "mod_disco": {},
        "mod_ping": {},
        "mod_roster": {},
    }
    host_config: dict[str, Any] = {}
    if settings.rooms:
        first, *others = settings.hosts
        muc = {
            "hosts": list(settings.rooms),
            "default_room_options": {"persistent": False, "allow_subscription": False},
        }
        if others:
            host_config[first] = {"modules": {"mod_muc": muc}}
        else:
            modules["mod_muc"] = muc
    config: dict[str, Any] = {
        "loglevel": settings.log_level,
        "log_burst_limit_count": 1_000_000,  # or it leaves out lines that somebody waits for
        "hosts": list(settings.hosts),
        "listen": listen,
        "acl": acl,
        "access_rules": access,
        "modules": {**modules, **settings.modules},
        "auth_method": ["mnesia"],
        "auth_password_format": "plain",
        "disable_sasl_mechanisms": ["digest-md5", "X-OAUTH2"],
        "s2s_use_starttls": settings.s2s_use_starttls if settings.tls else False,
        "s2s_dns_timeout": 5,
        "s2s_dns_retries": 1,
    }
    if host_config:
        config["append_host_config"] = host_config
    if settings.tls:
        config["certfiles"] = [str(place.directory / "certs" / "*.pem")]
        config["ca_file"] = str(place.directory / "trusted.pem")
    return json.dumps({**config, **settings.options}, indent=2, ensure_ascii=False)


def render_inetrc(place: EjabberdPlace) -> str:
    """Return Erlang's own resolver configuration: our DNS server and nothing of the machine's."""
    address, port = place.nameserver
    octets = ",".join(address.split("."))
    return (
        "{lookup, [file, dns]}.\n"
        '{resolv_conf, ""}.\n'
        '{hosts_file, ""}.\n'
        '{host, {127,0,0,1}, ["localhost"]}.\n'
        f"{{nameserver, {{{octets}}}, {port}}}.\n"
        "{cache_size, 0}.\n"
    )


def _listener(place: EjabberdPlace, port: int, module: str, **options: Any) -> dict[str, Any]:
    return {"port": port, "ip": place.address, "module": module, **options}


def _exactly(name: str) -> str:
    return "^" + name.replace(".", "\\.") + "$"
