"""A sidecar that logs warnings only, like the servers beside it."""

from __future__ import annotations

import asyncio
import socket
import struct
from pathlib import Path

from sidecar.lab.faults import LabError
from sidecar.lab.sidecar import Sidecar

_ESTABLISHED = "01"
_HANDSHAKE_SECONDS = 0.5


class QuietSidecar(Sidecar):
    """Does not say when it is linked: that is seen in the kernel's table of connections."""

    async def wait_linked(self, jid: str, *, after: int = 0, timeout_seconds: float = 30) -> None:
        (link,) = (link for link in self.settings.links if link.jid == jid)
        try:
            async with asyncio.timeout(timeout_seconds):
                while not is_connected(link.host, link.port):
                    await asyncio.sleep(0.05)
        except TimeoutError as error:
            problem = f"no connection to {link.host} port {link.port} within {timeout_seconds:g} s"
            raise LabError(f"{problem}:\n{self.output.text(after)}") from error
        await asyncio.sleep(_HANDSHAKE_SECONDS)


def is_connected(address: str, port: int) -> bool:
    """Say whether somebody on this machine has a TCP connection to `address`:`port` (IPv4)."""
    (number,) = struct.unpack("=I", socket.inet_aton(address))
    remote = f"{number:08X}:{port:04X}"
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, _, found, state, *_ = line.split()
        if (found, state) == (remote, _ESTABLISHED):
            return True
    return False
