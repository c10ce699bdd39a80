"""How the key service is, asked over its own admin socket."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from sidecar.cli.keyd_option import ask_or_exit, when
from sidecar.keys.messages import GetStatus, Status


def show_key_service(admin_socket: Path, as_json: bool) -> None:
    """Print its store, versions, next rotation and alarms."""
    found = ask_or_exit(admin_socket, GetStatus(), Status)
    if as_json:
        fields = msgspec.structs.asdict(found)
        fields["alarms"] = [msgspec.structs.asdict(alarm) for alarm in found.alarms]
        click.echo(msgspec.json.format(msgspec.json.encode(fields), indent=2))
        return
    click.echo(f"store           {found.store_id}")
    click.echo(f"sender domains  {found.domains} with {found.versions} versions")
    click.echo(f"live keys       {found.live_keys}")
    judged = ", ".join(f"{count} {reason}" for reason, count in sorted(found.judged.items()))
    click.echo(f"keys judged     {judged or 'none yet'}")
    click.echo(f"next rotation   {when(found.next_rotation_ms)}")
    click.echo(f"sealed under    {found.kek_id}{' (rewrapping)' if found.rewrapping else ''}")
    click.echo(
        f"memory          {'locked' if found.memory_locked else 'not locked, may be swapped'}"
    )
    if found.stateless_versions:
        click.echo(
            f"ALARM           {found.stateless_versions} imported versions are trusted without the"
            " ledger: whoever knows such a secret can forge keys"
        )
    for alarm in found.alarms:
        click.echo(
            f"ALARM           {alarm.code} {alarm.subject}: {alarm.text}"
            f" ({alarm.count} times, last {when(alarm.last_ms)})"
        )
