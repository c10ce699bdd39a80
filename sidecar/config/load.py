"""From the text of `sidecar.toml` to a `Config`, or to every problem in it at once."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from sidecar.config.admin_rules import admin_problems
from sidecar.config.authority_rules import authority_problems
from sidecar.config.keyd import KeydConfig, keyd_problems
from sidecar.config.link_domains import LinkDomains
from sidecar.config.rules import (
    cross_problems,
    read_at_most,
    read_private,
    read_secret,
    socket_problems,
)
from sidecar.config.types import AdminConfig, CertificateConfig, CheckConfig, Config, LinkConfig
from sidecar.durations import Duration
from sidecar.errors import ConfigError, InvalidValue, Problem, shorten
from sidecar.names import Domain

T = TypeVar("T", bound=msgspec.Struct)

_CREDENTIALS = "$CREDENTIALS_DIRECTORY"
_MAX_BYTES = 1 << 20


def load(path: Path) -> Config:
    """Return the configuration in the file at `path`; relative paths in it start at its folder.

    Raises ConfigError, listing every problem with its place.
    """
    try:
        text = read_at_most(path, _MAX_BYTES).decode()
    except FileNotFoundError:
        problem = "there is no such file"
    except OSError as error:
        problem = f"cannot be read: {error.strerror or error}"
    except UnicodeDecodeError as error:
        problem = f"is not text in UTF-8, at byte {error.start + 1}"
    except InvalidValue as error:
        problem = error.problem
    else:
        return parse(text, source=str(path), folder=path.parent)
    raise ConfigError(str(path), [Problem("file", problem)])


def parse(text: str, *, source: str = "sidecar.toml", folder: Path = Path()) -> Config:
    """Return the configuration in `text`. Raises ConfigError, listing every problem."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(source, [Problem("file", f"is not TOML: {error}")]) from None
    except RecursionError:
        raise ConfigError(source, [Problem("file", "is nested too deeply")]) from None
    reader = _Reader(folder.absolute())
    config = reader.table(Config, data, "")
    problems = reader.problems + cross_problems(reader.links, reader.nameservers)
    if config is not None:
        problems += [*socket_problems(config), *authority_problems(config)]
    if config is None or problems:
        raise ConfigError(source, problems)
    return config


def keys(type_: type[msgspec.Struct]) -> dict[str, Any]:
    """The keys a table of the file may have, with their annotated types."""
    hints = get_type_hints(type_, include_extras=True)
    return {
        name: hint
        for name, hint in hints.items()
        if description(hint) is not None or struct_of(hint) is not None
    }


def description(hint: Any) -> str | None:
    """What the annotated type says of its key."""
    metas = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    return next(
        (m.description for m in metas if isinstance(m, msgspec.Meta) and m.description), None
    )


class _Reader:
    """Turns tables into structs and collects what does not fit on the way.

    `links` and `nameservers` keep the single values that were right (None for the others), so
    that the rules between values can be asked even of a file that has problems.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.problems: list[Problem] = []
        self.links: list[dict[str, Any]] = []
        self.nameservers: tuple[str, ...] = ()

    def table(self, type_: type[T], data: object, place: str) -> T | None:
        """The struct for one table; None when something in it is wrong (and collected)."""
        if not isinstance(data, Mapping):
            self._add(place, f"expected a table, got {_toml_name(data)}")
            return None
        before = len(self.problems)
        known = keys(type_)
        for name in data:
            if name not in known:
                self._add(_join(place, name), f"unknown key; known here: {', '.join(known)}")
        values = {
            name: self._value(known[name], data[name], _join(place, name))
            for name in known
            if name in data
        }
        for field in msgspec.structs.fields(type_):
            if field.required and field.name in known and field.name not in data:
                self._add(_join(place, field.name), "is missing")
        if type_ is LinkConfig and isinstance(values.get("secret_file"), Path):
            try:
                values["secret"] = read_secret(values["secret_file"])
            except InvalidValue as error:
                self._add(_join(place, "secret_file"), error.problem)
        if type_ is CertificateConfig and isinstance(values.get("key"), Path):
            try:
                read_private(values["key"])
            except InvalidValue as error:
                self._add(_join(place, "key"), error.problem)
        if type_ is LinkConfig:
            self.links.append(values)
        elif type_ is CheckConfig:
            self.nameservers = values.get("nameservers") or ()
        elif type_ is KeydConfig:
            self.problems += keyd_problems(values)
        elif type_ is AdminConfig:
            self.problems += admin_problems(values)
        return type_(**values) if len(self.problems) == before else None

    def _value(self, hint: Any, given: object, place: str) -> Any:
        struct = struct_of(hint)
        if struct is not None and given is not None:
            if not _is_array(hint):
                return self.table(struct, given, place)
            if not isinstance(given, list):
                self._add(place, f"expected an array of tables ([[{place}]])")
                return None
            if not given:
                self._add(place, f"expected at least one [[{place}]]")
            return tuple(
                self.table(struct, item, f"{place}[{i}]") for i, item in enumerate(given, 1)
            )
        try:
            return msgspec.convert(given, hint, dec_hook=self._convert_own)
        except InvalidValue as error:
            self._add(place, error.problem)
        except msgspec.ValidationError as error:
            self._add(place, _plain(str(error), hint))
        return None

    def _convert_own(self, type_: type, given: Any) -> Any:
        if type_ is Path and isinstance(given, str):
            return self._path(given)
        if type_ in (Domain, Duration) and isinstance(given, str):
            return type_.parse(given)
        if (
            type_ is LinkDomains
            and isinstance(given, list)
            and all(isinstance(item, str) for item in given)
        ):
            return LinkDomains(given)
        wanted = "a list of texts" if type_ is LinkDomains else "a text"
        raise InvalidValue("value", f"expected {wanted}, got {_toml_name(given)}")

    def _path(self, given: str) -> Path:
        """A path; relative ones start at the file's folder, `$CREDENTIALS_DIRECTORY` at systemd's
        credentials (systemd.exec(5))."""
        if not given or "\0" in given:
            raise InvalidValue("value", f"expected a path, got {shorten(given)}")
        if not given.startswith(_CREDENTIALS):
            return self._folder / given
        credentials = os.environ.get("CREDENTIALS_DIRECTORY")
        if not credentials:
            raise InvalidValue("value", "systemd has set no CREDENTIALS_DIRECTORY")
        return Path(credentials + given.removeprefix(_CREDENTIALS))

    def _add(self, place: str, text: str) -> None:
        self.problems.append(Problem(place, text))


def struct_of(hint: Any) -> type[msgspec.Struct] | None:
    """The struct a key's table (or array of tables) becomes, if it is one."""
    plain = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    if get_origin(plain) is tuple:
        plain = get_args(plain)[0]
    return plain if isinstance(plain, type) and issubclass(plain, msgspec.Struct) else None


def _is_array(hint: Any) -> bool:
    plain = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    return get_origin(plain) is tuple


def _join(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def _plain(text: str, hint: Any) -> str:
    """A validation message in the words of TOML."""
    choices = get_args(get_args(hint)[0])
    if Ellipsis in choices:
        choices = get_args(choices[0])
    if text.startswith("Invalid enum value"):
        return f"expected one of {', '.join(choices)}, got{text.removeprefix('Invalid enum value')}"
    text = text.replace("`", "").replace(" - at $", " at place ")
    for python, toml in (("str", "text"), ("int", "a whole number"), ("float", "a number")):
        text = re.sub(rf"\b{python}\b", toml, text)
    return text[:1].lower() + text[1:]


def _toml_name(value: object) -> str:
    names = {str: "a text", bool: "true or false", int: "a number", float: "a number"}
    names |= {list: "a list", dict: "a table"}
    return names.get(type(value), "something else")
