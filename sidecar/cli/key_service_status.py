"""How the key service is: a part of what the daemon says, or asked over its own admin socket."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from msgspec import to_builtins

from sidecar.cli.keyd_option import ask_or_exit
from sidecar.cli.tables import show_fields, show_json, show_text
from sidecar.keys.messages import GetStatus, Status
from sidecar.operations.status import key_service_status, key_service_warnings


def show_key_service(admin_socket: Path, as_json: bool) -> None:
    """Ask it, and print what `status` prints of it, but for what only the daemon knows."""
    found = ask_or_exit(admin_socket, GetStatus(), Status)
    key_service = to_builtins(key_service_status(found, isolated=False))
    del key_service["isolated"]
    warnings = key_service_warnings(found)
    if as_json:
        show_json({"key_service": key_service, "warnings": warnings})
        return
    show_key_service_fields(key_service)
    show_warnings(warnings, key_service["alarms"])


def show_key_service_fields(key_service: Mapping[str, Any], **more: str) -> None:
    """Print the key service's part of a status, and `more` below it."""
    fields = {name: value for name, value in key_service.items() if name != "alarms"}
    judged = fields.pop("judged")
    fields["keys_judged"] = [f"{count} {reason}" for reason, count in judged.items()]
    show_fields({**fields, **more})


def show_warnings(warnings: Sequence[str], alarms: Sequence[Mapping[str, Any]]) -> None:
    """Print what needs an operator, after an empty line; nothing where nothing does."""
    if warnings or alarms:
        click.echo()
    for warning in warnings:
        show_text("WARNING", warning)
    for alarm in alarms:
        told = f"{alarm['code']} {alarm['subject']}: {alarm['text']}"
        last = alarm["last"][:16].replace("T", " ")
        times = "once" if alarm["count"] == 1 else f"{alarm['count']} times"
        show_text("ALARM  ", f"{told} ({times}, last {last} UTC)")
