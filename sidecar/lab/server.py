"""What every server of the lab is: a process, its output, and a with-block it does not outlive."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from sidecar.lab.dns import DnsServer
from sidecar.lab.output import Output
from sidecar.lab.process import Process


class Server(abc.ABC):
    """`async with` it: written, started and ready inside; ended after, whatever happens."""

    _process: Process
    _grace_seconds: float = 10

    @abc.abstractmethod
    async def prepare(self) -> None:
        """Write what it starts from."""

    @abc.abstractmethod
    async def start(self) -> None:
        """Start it and return when it is ready."""

    @property
    def output(self) -> Output:
        """What it logs, all levels from the `log_level` of its settings up."""
        return self._process.output

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.running

    def signal(self, number: int) -> None:
        self._process.signal(number)

    async def stop(self) -> None:
        await self._process.stop(self._grace_seconds)

    async def kill(self) -> None:
        """End it, and what it started, with SIGKILL."""
        await self._process.kill()

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    async def leave(self) -> None:
        """End it for good, when the with-block ends."""
        await self.kill()

    async def __aenter__(self) -> Self:
        await self.prepare()
        try:
            await self.start()
        except BaseException:
            await self.kill()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        await self.leave()


def announce(dns: DnsServer, domains: Sequence[str], address: str, s2s_port: int) -> None:
    """Tell `dns` where the s2s listener of `domains` is: SRV and address records."""
    for domain in domains:
        dns.add_srv(domain, f"xmpp.{domain}", s2s_port)
        dns.add_address(f"xmpp.{domain}", address)
