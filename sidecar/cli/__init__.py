"""The command line: one file for each command, put together here."""

from __future__ import annotations

import click

from sidecar import __version__
from sidecar.cli.api_commands import add_commands
from sidecar.cli.backup import backup
from sidecar.cli.check import check
from sidecar.cli.check_link import check_link
from sidecar.cli.demo import demo
from sidecar.cli.kek import kek
from sidecar.cli.peer_list import peer_list
from sidecar.cli.probe import probe
from sidecar.cli.program import Program
from sidecar.cli.secret import secret
from sidecar.cli.serve import serve
from sidecar.cli.status import status
from sidecar.cli.watch import watch


@click.group(
    cls=Program,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
)
@click.version_option(__version__, prog_name="dialback-sidecar")
def main() -> None:
    """Server Dialback (XEP-0220) beside Prosody and ejabberd."""


main.add_command(serve)
main.add_command(check)
check.add_command(check_link)
main.add_command(demo)
main.add_command(probe)
main.add_command(status)
main.add_command(secret)
main.add_command(kek)
main.add_command(backup)
main.add_command(watch)
add_commands(main)
peer = main.commands["peer"]
assert isinstance(peer, click.Group)
peer.add_command(peer_list)


def _say_all_of_it(group: click.Group) -> None:
    """click would cut the first sentence of a command where its list gets too wide; folded, it is
    whole."""
    for each in group.commands.values():
        each.short_help = (each.help or "").partition("\n\n")[0].partition(". ")[0].rstrip(".")
        if isinstance(each, click.Group):
            _say_all_of_it(each)


_say_all_of_it(main)
