"""Asks the running daemon: HTTP over its Unix socket, with the token of this machine."""

from __future__ import annotations

import http.client
import os
import re
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote, urlencode

import click
import msgspec

from sidecar.admin.routes import EVENTS_PATH, ROUTES
from sidecar.cli.config_option import places_or_exit
from sidecar.cli.progress import patience
from sidecar.preconditions import ANY_TAG, NO_PRECONDITION, Precondition

EXIT_REFUSED = 1
EXIT_USAGE = 2
SEPARATE_TOKEN = Path("/var/lib/dialback-keyd/admin-token")
_TIMEOUT_SECONDS = 30.0
_SEE_LOG = "is the daemon running? see its log"
_HINTS = {
    "invalid-input": "see --help for what it takes",
    "not-our-domain": "see `domains` of each [[link]] in the configuration",
    "token-missing": "type this as root, or name a file that holds a token with --token-file",
    "token-unknown": "the key service does not know this token; make one with `token create`",
    "token-expired": "make another one with `token create`",
    "token-revoked": "make another one with `token create`",
    "scope-missing": "use a token with that scope; see `token list`",
    "domain-not-permitted": "use a token without a restriction to other domains",
    "key-service-unavailable": "see the log of dialback-keyd",
    "no-such-domain": "a domain's first issued key makes its first secret; see `secret list`",
    "no-such-token": "see `token list`; the id is what counts, not the name",
    "no-such-handshake": "see `handshake list`; old ones are forgotten ([history])",
    "precondition-failed": "somebody else has changed it: look at it again",
    "no-such-rule": "see `peer rules`; `peer show DOMAIN` tells which of them decides",
    "too-many-rules": "remove those that are over; see `peer rules`",
    "policy-unavailable": "see the log of the daemon, which says what to do",
    "config-invalid": "the daemon goes on with the configuration it has",
}


@dataclass(frozen=True)
class Client:
    """Where the API is, and with which token; where it was looked for when none was named."""

    path: Path
    token_file: Path | None
    looked_in: Sequence[Path] = ()

    def do(
        self,
        operation: str,
        fields: Mapping[str, Any],
        precondition: Precondition = NO_PRECONDITION,
    ) -> Any:
        """Do one operation; say in words why not and exit with status 1 otherwise."""
        route = ROUTES[operation]
        rest = {name: value for name, value in fields.items() if name not in route.path_fields}
        named = {name: quote(str(fields[name]), safe="") for name in route.path_fields}
        url, body = route.path.format(**named), None
        if route.has_body:
            body = msgspec.json.encode(rest)
        elif rest:
            url += "?" + urlencode(rest)
        headers = _conditions(precondition)
        with (
            patience("asking the daemon ..."),
            self._answer(route.method, url, body, headers) as response,
        ):
            content = response.read()
        return msgspec.json.decode(content)

    def events(self) -> Iterator[tuple[str, Any]]:
        """Yield (kind, content) as it happens; ends when the daemon ends the stream. Where nothing
        happens the daemon says so every two seconds: one that is silent has died."""
        with self._answer("GET", EVENTS_PATH, None, {}) as response:
            kind = ""
            for line in response:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name == "event":
                    kind = value
                elif name == "data":
                    yield kind, msgspec.json.decode(value) if value.startswith("{") else value

    @contextmanager
    def _answer(
        self,
        method: str,
        url: str,
        body: bytes | None,
        more_headers: Mapping[str, str],
    ) -> Iterator[http.client.HTTPResponse]:
        connection = _UnixConnection(self.path, _TIMEOUT_SECONDS)
        token = None if self.token_file is None else _read(self.token_file)
        headers = {"Host": "localhost", "Authorization": f"Bearer {token}", **more_headers}
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            connection.connect()
            if token is None:  # that the daemon is down explains more
                self._fail_without_token()
            connection.request(method, url, body, headers)
            response = connection.getresponse()
            if response.status >= 400:
                _give_up(response.read())
            yield response
        except PermissionError:
            _fail(f"{self.path}: permission denied", "type this as root, or as the daemon's user")
        except TimeoutError:
            _fail(f"{self.path}: no answer within {_TIMEOUT_SECONDS:.0f} s", _SEE_LOG)
        except OSError as error:
            _fail(f"{self.path}: {(error.strerror or str(error)).lower()}", _SEE_LOG)
        except http.client.HTTPException as error:
            _fail(f"{self.path}: {error}", _SEE_LOG)
        finally:
            connection.close()

    def _fail_without_token(self) -> NoReturn:
        for place in self.looked_in:
            try:
                place.stat()
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                _fail(f"{place}: {(error.strerror or '').lower()}", _HINTS["token-missing"])
        places = " or ".join(map(str, self.looked_in))
        _fail(
            f"there is no token in {places}",
            "the key service writes one on its first start; name another with --token-file",
        )


def _read(token_file: Path) -> str:
    """Return the token in a file; say why there is none and exit with status 1 otherwise."""
    try:
        token = token_file.read_text().strip()
    except OSError as error:
        why = error.strerror or str(error)
        _fail(f"cannot read the token in {token_file}: {why}", _HINTS["token-missing"])
    except UnicodeDecodeError:
        token = ""
    if not re.fullmatch("[!-~]{1,100}", token):
        _fail(f"{token_file} holds no token", _HINTS["token-missing"])
    return token


def _conditions(precondition: Precondition) -> dict[str, str]:
    conditions = {"If-Match": precondition.match, "If-None-Match": precondition.none_match}
    return {
        name: ", ".join(tag if tag == ANY_TAG else f'"{tag}"' for tag in tags)
        for name, tags in conditions.items()
        if tags is not None
    }


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_seconds: float) -> None:
        super().__init__("localhost", timeout=timeout_seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def client(config_path: Path, token_file: Path | None) -> Client:
    """The client for the daemon of a configuration; it finds the token of this machine."""
    daemon = places_or_exit(config_path)
    places = (daemon.state_directory / "keyd" / "admin-token", SEPARATE_TOKEN)
    if token_file is None:
        token_file = next((place for place in places if os.access(place, os.F_OK)), None)
    return Client(daemon.api_socket, token_file, places)


def _give_up(content: bytes) -> NoReturn:
    """Print a problem document, and end."""
    try:
        problem = msgspec.json.decode(content)
    except msgspec.DecodeError:
        _fail("the daemon answered nonsense", "")
    is_usage = problem["code"] in ("invalid-input", "config-invalid")
    text, detail = problem["title"], problem.get("detail")
    if detail:
        text = detail if problem["code"] == "invalid-input" else f"{text}: {detail}"
    if problem.get("field"):
        text += f" ({problem['field']})"
    for each in problem.get("problems", []):
        text += f"\n  {each['place']}: {each['text']}"
    hint = _HINTS.get(problem["code"], "")
    if "a time such as 2026-" in text:
        hint = "a day alone will do too, as 2026-11-20"
    _fail(text, hint, EXIT_USAGE if is_usage else EXIT_REFUSED)


def _fail(text: str, hint: str, status: int = EXIT_REFUSED) -> NoReturn:
    click.echo(f"error: {text}", err=True)
    if hint:
        click.echo(f"hint: {hint}", err=True)
    sys.exit(status)
