"""The servers of the demo: Prosody with our module and the daemon, and an ejabberd."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sidecar.lab.client import Client
from sidecar.lab.ejabberd import Ejabberd, require_ejabberd
from sidecar.lab.ejabberd_config import EjabberdSettings, ServiceListener
from sidecar.lab.faults import LabError, Missing
from sidecar.lab.network import Network
from sidecar.lab.prosody import Prosody, require_prosody
from sidecar.lab.prosody_config import ExternalComponent, ProsodySettings
from sidecar.lab.sidecar import (
    EJABBERD_MODULE,
    PROSODY_MODULES,
    Sidecar,
    SidecarLink,
    SidecarSettings,
)

CAPULET, MONTAGUE = "capulet.example", "montague.example"
JULIET, ROMEO = f"juliet@{CAPULET}", f"romeo@{MONTAGUE}"
_CAPULET_LINK, _MONTAGUE_LINK = f"dialback.{CAPULET}", f"dialback.{MONTAGUE}"


@dataclass(frozen=True)
class Stage:
    """Everything that runs. `password` is that of both accounts."""

    capulet: Prosody
    montague: Ejabberd
    sidecar: Sidecar
    juliet: Client
    romeo: Client
    password: str


@asynccontextmanager
async def set_up(*, ejabberd_too: bool, listen: Sequence[str] = ()) -> AsyncIterator[Stage]:
    """Start everything; with `ejabberd_too` the sidecar decides for ejabberd as well. `listen`:
    TCP addresses of the admin API.

    Raises LabError when something is missing or does not start; an ExceptionGroup of them when
    there is more than one.
    """
    _require_everything()
    if not (PROSODY_MODULES / "mod_dialback_sidecar").is_dir():
        raise LabError(f"the demo runs from a clone of the repository: no {PROSODY_MODULES}")
    password = secrets.token_hex(8)
    async with Network() as network:
        async with asyncio.TaskGroup() as starting:
            capulet = starting.create_task(network.prosody(_capulet(password)))
            montague = starting.create_task(network.ejabberd(_montague(password, ejabberd_too)))
        links = [SidecarLink.to(capulet.result(), _CAPULET_LINK)]
        if ejabberd_too:
            links.append(SidecarLink.to(montague.result(), _MONTAGUE_LINK))
        check, admin = {"evidence": ["key"]}, {"listen": list(listen)}
        sidecar = await network.sidecar(SidecarSettings(links, check=check, admin=admin))
        juliet = await network.client(capulet.result(), JULIET)
        romeo = await network.client(montague.result(), ROMEO)
        yield Stage(capulet.result(), montague.result(), sidecar, juliet, romeo, password)


def _require_everything() -> None:
    missing = []
    for require in (require_prosody, require_ejabberd):
        try:
            require()
        except Missing as error:
            missing.append(error)
    if missing:
        raise ExceptionGroup("not installed", missing)


def _capulet(password: str) -> ProsodySettings:
    link = ExternalComponent(_CAPULET_LINK, secrets.token_hex(16), ["dialback_sidecar"])
    return ProsodySettings(
        [CAPULET], {JULIET: password}, components=[link], plugin_paths=[PROSODY_MODULES]
    )


def _montague(password: str, bolted_on: bool) -> EjabberdSettings:
    if not bolted_on:
        return EjabberdSettings([MONTAGUE], {ROMEO: password})
    return EjabberdSettings(
        [MONTAGUE],
        {ROMEO: password},
        components=[ServiceListener(_MONTAGUE_LINK, secrets.token_hex(16))],
        contrib_modules=[EJABBERD_MODULE],
        modules_d={
            "dialback_sidecar.yml": {
                "modules": {"mod_dialback_sidecar": {"component": _MONTAGUE_LINK}}
            }
        },
    )
