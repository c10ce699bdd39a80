"""Commands made from the registry of operations: options from input types, tables from answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import click
from msgspec import UNSET, Meta, UnsetType, structs

from sidecar.admin.routes import ROUTES
from sidecar.cli.api_client import client
from sidecar.cli.config_option import config_option
from sidecar.cli.tables import show_fields, show_json, show_table
from sidecar.cli.words import COMMANDS, GROUPS, Words
from sidecar.operations import REGISTRY
from sidecar.operations.operation import AnyOperation
from sidecar.preconditions import ANY_TAG, Precondition

token_option = click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    envvar="DIALBACK_SIDECAR_TOKEN_FILE",
    help="File with the token; without it the administrator's of this machine.",
)
if_match_option = click.option(
    "--if-match", "_if_match", metavar="ETAG", help="Only if this is still its etag (see --json)."
)
if_absent_option = click.option(
    "--if-absent", "_if_absent", is_flag=True, help="Only if there is none yet."
)
_DAY = re.compile(r"\d{4}-\d\d-\d\d\Z")
_LONG_CHOICE = 60
"""Characters of a choice that are too many for the left column of the help."""

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


DEFAULT = object()
"""What is typed as `default`: null in JSON, which takes back what was set."""


def _or_default(kind: Any) -> Callable[[Any], Any]:
    typed = click.types.convert_type(kind)
    return lambda value: DEFAULT if value == "default" else typed(value)


def add_commands(main: click.Group) -> None:
    """Add a command for each operation that has words."""
    groups = {name: click.Group(name, help=text) for name, text in GROUPS.items()}
    for group in groups.values():
        main.add_command(group)
    for name, words in COMMANDS.items():
        parent = groups[words.words[0]] if len(words.words) > 1 else main
        parent.add_command(_command(REGISTRY[name], words))


def _command(operation: AnyOperation, words: Words) -> click.Command:
    def run(config_path: Path, token_file: Path | None, as_json: bool, **given: Any) -> None:
        condition = _take_precondition(given)
        fields = {name: value for name, value in given.items() if _is_given(value)}
        fields = {name: None if value is DEFAULT else value for name, value in fields.items()}
        for name in ROUTES[operation.name].path_fields:
            if fields[name] == "":
                raise click.UsageError(f"expected {name.upper()}, got nothing")
        _expect_a_change(operation, fields)
        content = client(config_path, token_file).do(operation.name, fields, condition)
        if as_json:
            show_json(content)
        elif words.columns:
            show_table(words.columns, content["items"])
            if content.get("next"):
                option = "cursor" if "cursor" in given else "after"
                click.echo(f"more: --{option} {content['next']}")
            rest = {name: each for name, each in content.items() if name not in ("items", "next")}
            if rest:
                click.echo()
                show_fields(rest)
        elif words.done:
            click.echo(words.done.format_map(content))
        else:
            show_fields(content)

    decorated: Callable[..., Any] = run
    for name, hint in reversed(list(get_type_hints(operation.input, include_extras=True).items())):
        decorated = _parameter(operation, name, hint, name in words.arguments)(decorated)
    conditions = [if_match_option] if operation.conditional else []
    if operation.conditional and ROUTES[operation.name].method == "PUT":
        conditions.append(if_absent_option)
    for option in (json_option, token_option, config_option, *conditions):
        decorated = option(decorated)
    text = f"{operation.summary}.\n\n{operation.description}\n\nExample: {words.example}"
    return click.command(words.words[-1], help=text)(decorated)


def _expect_a_change(operation: AnyOperation, fields: Mapping[str, Any]) -> None:
    """Raises UsageError when a command that changes what it is told is told nothing."""
    route = ROUTES[operation.name]
    if route.method == "PATCH" and set(fields) <= set(route.path_fields):
        names = [each.name for each in structs.fields(operation.input)]
        options = [f"--{n.replace('_', '-')}" for n in names if n not in route.path_fields]
        raise click.UsageError(f"expected something to set: {' or '.join(options)}")


def _is_given(value: Any) -> bool:
    """What was typed, a zero included: `--days 0` is no token without an end."""
    return value is not None and value is not False and value != ()


def _take_precondition(given: dict[str, Any]) -> Precondition:
    """Take the condition out of what was typed."""
    tag, absent = given.pop("_if_match", None), given.pop("_if_absent", False)
    return Precondition(None if tag is None else (tag,), (ANY_TAG,) if absent else None)


def _parameter(
    operation: AnyOperation, name: str, hint: Any, is_argument: bool
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    field = next(each for each in structs.fields(operation.input) if each.name == name)
    plain, description = _plain(hint)
    many = get_origin(plain) is list
    if many:
        plain, _ = _plain(get_args(plain)[0])
    kind: Any = str
    metavar: str | None = None
    if get_origin(plain) is Literal:
        kind = click.Choice(get_args(plain))
        if len("|".join(get_args(plain))) > _LONG_CHOICE:
            metavar = "NAME"
            description = f"{description}one of {', '.join(get_args(plain))}"
    elif plain is int:
        kind = int
    elif plain is datetime:
        kind = _moment
    if field.default is UNSET:
        metavar = f"{click.types.convert_type(kind).name.upper()}|default"
        kind = _or_default(kind)
    if is_argument:
        return click.argument(name, type=kind)
    if plain is bool:
        return click.option(f"--{name.replace('_', '-')}", name, is_flag=True, help=description)
    return click.option(
        f"--{name.removesuffix('s') if many else name.replace('_', '-')}",
        name,
        type=kind,
        required=field.required,
        multiple=many,
        metavar=metavar,
        help=description + (" (can be repeated)" if many else ""),
    )


def _moment(value: str) -> str:
    """A time; a day alone begins at midnight UTC. What is none, the daemon refuses in words."""
    return f"{value}T00:00:00Z" if _DAY.match(value) else value


def _plain(hint: Any) -> tuple[Any, str]:
    """The type under annotations and `| None`, and what the annotation says."""
    description = ""
    while True:
        arguments = get_args(hint)
        if hasattr(hint, "__metadata__"):
            metas = [each for each in hint.__metadata__ if isinstance(each, Meta)]
            description = description or next((m.description or "" for m in metas), "")
            hint = arguments[0]
        elif type(None) in arguments:
            (hint,) = [each for each in arguments if each not in (type(None), UnsetType)]
        else:
            return hint, description
