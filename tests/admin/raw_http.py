"""Requests byte by byte, as no HTTP library would send them."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class RawAnswer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def problem(self) -> Any:
        assert self.headers["content-type"] == "application/problem+json", self
        return json.loads(self.body)


def request(
    line: str, *headers: str | bytes, token: str = "", body: bytes = b"", host: str = "localhost"
) -> bytes:
    """A request with `Host`, its token and the length of its body, and whatever else."""
    written = [line.encode("latin-1"), f"Host: {host}".encode()]
    written += [each.encode("latin-1") if isinstance(each, str) else each for each in headers]
    if token:
        written.append(f"Authorization: Bearer {token}".encode())
    if body:
        written.append(f"Content-Length: {len(body)}".encode())
    return b"\r\n".join(written) + b"\r\n\r\n" + body


async def send(path: Path, content: bytes) -> RawAnswer:
    """Send it over the socket at `path`, and read one whole answer."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    try:
        writer.write(content)
        async with asyncio.timeout(30):
            return await read_answer(reader)
    finally:
        writer.close()


async def read_answer(reader: asyncio.StreamReader) -> RawAnswer:
    """Read an answer that says its length."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return RawAnswer(int(first.split()[1]), headers, body)
