"""`dialback-sidecar watch`: what happens, as it happens."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from sidecar.cli.api_client import EXIT_REFUSED, client
from sidecar.cli.api_commands import json_option, token_option
from sidecar.cli.config_option import config_option


@click.command()
@config_option
@token_option
@json_option
def watch(config_path: Path, token_file: Path | None, as_json: bool) -> None:
    """Show what happens, as it happens, until Ctrl-C; with --json one object on each line.

    Example: dialback-sidecar watch
    """
    try:
        for kind, content in client(config_path, token_file).events():
            if kind == "end":
                click.echo(f"error: the daemon ended this: {content}", err=True)
                sys.exit(EXIT_REFUSED)
            if as_json:
                click.echo(msgspec.json.encode({"event": kind, "data": content}))
            else:
                now = datetime.now(UTC).strftime("%H:%M:%S")
                click.echo(f"{now}  {kind:<9}  {_told(kind, content)}")
    except KeyboardInterrupt:
        sys.exit(130)
    click.echo("error: the daemon is gone", err=True)
    sys.exit(EXIT_REFUSED)


def _told(kind: str, content: Any) -> str:
    match kind:
        case "handshake":
            arrow = "<-" if content["direction"] == "incoming" else "->"
            why = f" ({content['reason']})" if content["reason"] else ""
            return f"{content['local']} {arrow} {content['peer']}  {content['outcome']}{why}"
        case "link":
            fault = f": {content['fault_text']}" if content["fault_text"] else ""
            return f"{content['link']} is {content['phase']}{fault}"
        case "secret":
            numbers = ", ".join(str(number) for number in content["versions"])
            next_ = content["successor"]
            issuing = "" if next_ is None else f", version {next_} issues now"
            return f"{content['domain']} {content['action']}: version {numbers}{issuing}"
        case "domain":
            own = f" (its own: {', '.join(content['own'])})" if content["own"] else ""
            return (
                f"{content['domain']} rotates every {content['rotate_every']}, at most "
                f"{content['max_entries']} live keys{own}"
            )
        case "policy":
            action = f" to {content['action']}" if content["action"] else ""
            return f"{content['domain']}: rule {content['change']}{action} by {content['by']}"
        case "alarm":
            return f"{content['code']} {content['subject']}: {content['text']}"
        case _:
            return "something was missed"
