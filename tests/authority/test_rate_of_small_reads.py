"""A network pays for what reading from it costs, however little it says."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest
from listening import Listening, listening
from msgspec import structs
from receiving_server import END, HEADER, STARTTLS, ReceivingServer, client_context

from sidecar.s2s.authority.request_rate import RequestRate

SPACES = 400


class PeerOfRecords:
    """A peer inside TLS that puts each byte into a record of its own."""

    def __init__(self, place: Listening) -> None:
        self._place = place
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = client_context(direct=True).wrap_bio(
            self._incoming, self._outgoing, server_hostname="capulet.example"
        )

    async def open(self) -> None:
        self._reader, self.writer = await asyncio.open_connection(
            self._place.address, self._place.tls_port
        )
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self.flush()
                self._incoming.write(await self._reader.read(65_536))
            else:
                break
        self._tls.write(HEADER.encode())
        self.flush()

    def say_in_records(self, text: str) -> None:
        for letter in text:
            self._tls.write(letter.encode())
        self.flush()

    def record_in_pieces(self, text: str, count: int) -> list[bytes]:
        """One record, for the caller to send."""
        self._tls.write(text.encode())
        record = self._outgoing.read()
        size = -(-len(record) // count)
        return [record[start : start + size] for start in range(0, len(record), size)]

    def flush(self) -> None:
        self.writer.write(self._outgoing.read())

    async def end(self) -> None:
        while data := await self._reader.read(65_536):
            self._incoming.write(data)


async def test_each_byte_in_a_tls_record_of_its_own_costs_what_the_records_cost(
    tmp_path: Path,
) -> None:
    async with listening(tmp_path, requests_per_second=50) as place:
        async with asyncio.timeout(60):
            peer = PeerOfRecords(place)
            await peer.open()
            loop = asyncio.get_running_loop()
            start = loop.time()
            for _ in range(12):  # 100 kB of records; one byte of each is text
                peer.say_in_records(" " * SPACES)
            peer.say_in_records(END)
            await peer.end()
            peer.writer.transport.abort()
            assert loop.time() - start > 1.0  # 4,800 bytes of text alone: 5 requests


async def test_what_tls_keeps_to_itself_costs_more_than_other_bytes(tmp_path: Path) -> None:
    """New keys take as many bytes as an empty record, and far more of our time."""
    async with listening(tmp_path, requests_per_second=1_000_000) as place:
        peer = PeerOfRecords(place)
        prices = _prices(place)
        async with asyncio.timeout(60):
            await peer.open()
            peer.say_in_records(" " * SPACES)
            peer.say_in_records(END)
            await peer.end()
            peer.writer.transport.abort()
    assert sum(prices) > SPACES / 3


async def test_unfinished_tls_record_costs_no_more_in_many_pieces(tmp_path: Path) -> None:
    async with listening(tmp_path, requests_per_second=1_000_000) as place:
        peer = PeerOfRecords(place)
        prices = _prices(place)
        async with asyncio.timeout(60):
            await peer.open()
            for _ in range(10):
                before = len(prices)
                for piece in peer.record_in_pieces(" " * 16_000, 4):
                    peer.writer.write(piece)
                    while len(prices) == before:
                        await asyncio.sleep(0.01)
                    before = len(prices)
            peer.say_in_records(END)
            await peer.end()
            peer.writer.transport.abort()
    assert sum(prices) < 16_500 / 64 + 160_000 / 1024 + 100


def _prices(place: Listening) -> list[float]:
    """What is charged from now on."""
    rate = place.listener._service.request_rate
    prices = []

    def charge(network: str, price: float, now: float) -> float:
        prices.append(price)
        return RequestRate.charge(rate, network, price, now)

    rate.charge = charge  # type: ignore[method-assign]
    return prices


async def test_read_that_brings_no_request_costs_more_than_its_bytes(tmp_path: Path) -> None:
    async with listening(tmp_path, requests_per_second=1_000_000) as place:
        async with ReceivingServer(place.address, place.port) as peer:
            await peer.open()
            prices = _prices(place)
            for _ in range(20):
                peer.send(" ")
                await asyncio.sleep(0.01)
            peer.send(END)
            await peer.end()
    assert len(prices) > 1
    assert min(prices) >= 0.25  # a thousand such reads cost about what 250 requests do


async def test_stream_of_before_a_reload_without_certificates_gets_no_tls(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with listening(tmp_path) as place:
        async with ReceivingServer(place.address, place.port) as peer:
            await peer.open()
            config = structs.replace(place.config(listen_tls=[]), certificate=())
            await place.listener.take_up(config)
            peer.send(STARTTLS)
            await peer.end()
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []
