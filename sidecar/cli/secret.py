"""`dialback-sidecar secret ...`: the secret versions of the sender domains."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import click

from sidecar.cli.keyd_option import admin_socket_option, ask_or_exit, json_option, refuse
from sidecar.cli.secret_table import show_versions
from sidecar.cli.tables import show_json
from sidecar.errors import InvalidValue
from sidecar.keys.messages import (
    Changed,
    DryRun,
    ImportSecret,
    ListedVersion,
    ListVersions,
    RevokeSecret,
    RotateSecret,
    SecretAction,
    VersionList,
)
from sidecar.names import Domain
from sidecar.operations.secrets import changed_versions

_SECONDS_PER_DAY = 86400
_SHOWN = 100
_SECRET_BYTES = 1024
_READ_BYTES = 64 * 1024
"""Of a file; what is longer is no secret, and some files do not end."""


def _domain(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    try:
        return None if value is None else str(Domain.parse(value))
    except InvalidValue as error:
        raise click.BadParameter(error.problem) from None


dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Say what would be done, and do nothing."
)


@click.group()
def secret() -> None:
    """List, rotate, revoke and import the secrets of keys."""


@secret.command("list")
@click.argument("domain", callback=_domain, required=False)
@admin_socket_option
@json_option
def list_secrets(domain: str | None, admin_socket: Path, as_json: bool) -> None:
    """List the versions of DOMAIN, or of every domain. No secret is ever shown.

    Example: dialback-sidecar secret list example.org
    """
    listed = list(_versions(admin_socket, domain))
    if domain is not None and not listed:
        refuse("no-such-domain")
    show_versions(listed, as_json=as_json)


def _versions(admin_socket: Path, domain: str | None) -> Iterator[ListedVersion]:
    after: str | None = ""
    while after is not None:
        page = ask_or_exit(admin_socket, ListVersions(domain, after), VersionList)
        yield from page.versions
        after = page.after


@secret.command("rotate")
@click.argument("domain", callback=_domain, required=False)
@click.option("--all", "every", is_flag=True, help="Rotate every domain.")
@click.option("--after", default="", help="With --all: go on after this domain.")
@dry_run_option
@admin_socket_option
@json_option
def rotate(
    domain: str | None,
    every: bool,
    after: str,
    dry_run: bool,
    admin_socket: Path,
    as_json: bool,
) -> None:
    """Make a new secret for DOMAIN. Keys issued before still verify until they expire.

    Example: dialback-sidecar secret rotate example.org
    """
    if (domain is None) != every:
        raise click.UsageError("expected either a DOMAIN or --all")
    if after and not every:
        raise click.UsageError("--after goes with --all")
    if domain is None:
        changed = _rotate_all(after, admin_socket, dry_run=dry_run)
    else:
        changed = _ask(RotateSecret(domain), admin_socket, dry_run=dry_run)
    if as_json:
        return show_json(changed_versions(changed, dry_run=dry_run))
    issues = "would issue" if dry_run else "issues now"
    for name, number in changed.versions[:_SHOWN]:
        click.echo(f"{name}: version {number} {issues}")
    if changed.count > _SHOWN:
        click.echo(f"... {changed.count} domains in all")
    _say_if(dry_run)


def _ask(action: SecretAction, admin_socket: Path, *, dry_run: bool) -> Changed:
    return ask_or_exit(admin_socket, DryRun(action) if dry_run else action, Changed)


def _say_if(dry_run: bool) -> None:
    if dry_run:
        click.echo("(a dry run: nothing was done)")


def _rotate_all(after: str, admin_socket: Path, *, dry_run: bool) -> Changed:
    """Rotate so many at a time: keys are answered in between, and whoever is stopped can go on."""
    versions: list[tuple[str, int]] = []
    next_: str | None = after
    while next_ is not None:
        try:
            changed = _ask(RotateSecret(None, next_), admin_socket, dry_run=dry_run)
        except SystemExit:
            if versions and not dry_run:
                go_on = shlex.join(["--all", "--after", next_])
                click.echo(f"{len(versions)} domains are done; go on with {go_on}", err=True)
            raise
        versions += changed.versions
        next_ = changed.after
    return Changed(len(versions), versions)


@secret.command("revoke")
@click.argument("domain", callback=_domain)
@click.option(
    "--version",
    "number",
    type=click.IntRange(1, 2**31),
    help="Which one; without it the active one.",
)
@dry_run_option
@admin_socket_option
@json_option
def revoke(
    domain: str, number: int | None, dry_run: bool, admin_socket: Path, as_json: bool
) -> None:
    """Destroy a secret of DOMAIN now. Keys issued under it verify no more.

    If it was the active one, the next is active with the same answer.

    Example: dialback-sidecar secret revoke example.org --version 3
    """
    changed = _ask(RevokeSecret(domain, number), admin_socket, dry_run=dry_run)
    if as_json:
        return show_json(changed_versions(changed, dry_run=dry_run))
    gone = _named([version for _, version in changed.versions])
    revoked, issues = ("would be revoked", "would issue") if dry_run else ("revoked", "issues now")
    issuing = "" if changed.successor is None else f", version {changed.successor} {issues}"
    click.echo(f"{domain}: {gone} {revoked}{issuing}")
    _say_if(dry_run)


@secret.command("import")
@click.argument("domain", callback=_domain)
@click.option(
    "--secret-file",
    type=click.File("rb"),
    help="Prosody's dialback_secret, or any other; - is standard input.",
)
@click.option("--cookie-file", type=click.File("rb"), help="ejabberd's Erlang cookie.")
@click.option(
    "--days", type=click.IntRange(1, 30), default=7, show_default=True, help="Trust it so long."
)
@click.option("--issue", is_flag=True, help="Issue under it too, before you move back.")
@dry_run_option
@admin_socket_option
@json_option
def import_secret(
    domain: str,
    secret_file: IO[bytes] | None,
    cookie_file: IO[bytes] | None,
    days: int,
    issue: bool,
    dry_run: bool,
    admin_socket: Path,
    as_json: bool,
) -> None:
    """Trust keys of DOMAIN made with your server's own secret, for a migration.

    Such keys are verified by computing them again, without the ledger: while this lasts, whoever
    knows that secret can forge keys of DOMAIN.

    Example: dialback-sidecar secret import example.org --secret-file prosody-secret --days 3
    """
    material = _material(secret_file, cookie_file)
    request = ImportSecret(domain, material, days * _SECONDS_PER_DAY, issue)
    changed = _ask(request, admin_socket, dry_run=dry_run)
    if as_json:
        return show_json(changed_versions(changed, dry_run=dry_run))
    imported, issues = (
        ("would be imported", "would issue under it")
        if dry_run
        else ("imported", "issues under it now")
    )
    trusted, *issuing = (number for _, number in changed.versions)
    also = "".join(f", version {number} {issues}" for number in issuing)
    how_long = f"{days} day{'s' * (days > 1)}"
    click.echo(f"{domain}: version {trusted} {imported}, trusted for {how_long}{also}")
    _say_if(dry_run)


def _material(secret_file: IO[bytes] | None, cookie_file: IO[bytes] | None) -> bytes:
    """ejabberd's secret is the lower-case hex SHA-1 of its cookie."""
    if (secret_file is None) == (cookie_file is None):
        raise click.UsageError("expected either --secret-file or --cookie-file")
    file = secret_file if secret_file is not None else cookie_file
    assert file is not None
    material = file.read(_READ_BYTES).rstrip(b"\r\n")
    if cookie_file is not None:
        material = hashlib.sha1(material, usedforsecurity=False).hexdigest().encode()
    if not 1 <= len(material) <= _SECRET_BYTES:
        raise click.UsageError(f"expected a secret of 1 to {_SECRET_BYTES} bytes")
    return material


def _named(numbers: list[int]) -> str:
    return f"version{'s' * (len(numbers) > 1)} {' and '.join(map(str, numbers))}"
