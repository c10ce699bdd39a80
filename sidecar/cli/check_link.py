"""`dialback-sidecar check link`: does each server take us as its component?"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from sidecar.cli.api_client import client
from sidecar.cli.api_commands import json_option, token_option
from sidecar.cli.config_option import config_option, load_or_exit
from sidecar.cli.progress import patience
from sidecar.cli.tables import show_json
from sidecar.component import Link, Phase
from sidecar.component.link import Timing
from sidecar.config import LinkConfig
from sidecar.jobs import Condition, Job, Verdict, Verify

_TRY_SECONDS = 10.0
_TIMING = Timing(connect_seconds=5.0, handshake_seconds=5.0)


@click.command("link")
@config_option
@token_option
@json_option
def check_link(config_path: Path, token_file: Path | None, as_json: bool) -> None:
    """See whether each server takes the daemon as its component; exit status 1 if one does not.

    While the daemon runs, it is asked; otherwise the links are tried from here, for a moment.

    Example: dialback-sidecar check link
    """
    config = load_or_exit(config_path)
    path = config.admin.socket or config.state_directory / "api.sock"
    if _is_answered(path):
        links = client(config_path, token_file).do("status", {})["links"]
        found = {
            link["jid"]: "" if link["phase"] == "connected" else link["fault_text"] or link["phase"]
            for link in links
        }
        by = "the daemon"
    else:
        with patience("trying the links ..."):
            found = asyncio.run(_try_all(config.link))
        by = "a try from here; the daemon does not run"
    if as_json:
        links = [
            {"jid": jid, "up": not fault, "fault": fault or None} for jid, fault in found.items()
        ]
        show_json({"links": links})
    else:
        for jid, fault in found.items():
            click.echo(f"link {jid}: {fault or 'up'}")
        if not found:
            click.echo("there is no [[link]] in the configuration")
        click.echo(f"(says {by})")
    sys.exit(any(found.values()))


def _is_answered(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


async def _try_all(links: tuple[LinkConfig, ...]) -> dict[str, str]:
    """Return why each link is not up, empty where it is."""
    faults = await asyncio.gather(*(_try(link) for link in links))
    return {link.name: fault for link, fault in zip(links, faults, strict=True)}


async def _try(config: LinkConfig) -> str:
    link = Link(config, _Nobody(), timing=_TIMING)
    running = asyncio.ensure_future(link.run())
    try:
        async with asyncio.timeout(_TRY_SECONDS):
            while link.state.phase is not Phase.CONNECTED:
                if link.state.last_fault is not None:
                    return str(link.state.last_fault)
                await asyncio.sleep(0.02)
        return ""
    except TimeoutError:
        return f"no connection within {_TRY_SECONDS:.0f} s"
    finally:
        await link.stop(grace_seconds=0)
        await running


class _Nobody:
    """What the server asks in this moment gets an error, as while the daemon is down."""

    async def answer(self, job: Job, *, timeout_seconds: float) -> Verdict:
        return Verdict.error(Condition.INTERNAL_SERVER_ERROR, "only-checking")

    async def verify_all(
        self, asked: Sequence[Verify], *, timeout_seconds: float
    ) -> Sequence[Verdict]:
        return [await self.answer(job, timeout_seconds=timeout_seconds) for job in asked]
