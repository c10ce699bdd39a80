"""What holds for every command: arguments that are text, output that can be written or is not."""

from __future__ import annotations

import errno
import io
import logging
import sys
from typing import Any

import click

_CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EIO)


class Program(click.Group):
    """The group of all commands."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        for each in args:
            try:
                each.encode()
            except UnicodeEncodeError:
                raise click.UsageError(f"expected text in UTF-8, got {each!a}", ctx) from None
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """A terminal that knows fewer characters than domain names have gets what it can show.

        What happens commands tell themselves, on no log but that of `serve`.
        """
        logging.getLogger("sidecar").addHandler(logging.NullHandler())
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        try:
            return super().invoke(ctx)
        except OSError as error:
            if error.errno not in _CANNOT_WRITE:
                raise
            click.echo(f"error: cannot write: {error.strerror}", err=True)
            sys.exit(1)
