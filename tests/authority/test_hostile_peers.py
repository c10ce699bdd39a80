"""What peers of the listener cost at most, over real sockets: slow ones, greedy ones, floods."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from listening import RIGHT, Listening, listening
from receiving_server import END, HEADER, STARTTLS, ReceivingServer, answer, verify

from sidecar.s2s.authority.limits import Bounds, Patience

QUICK = Patience(negotiating=0.3, element=0.3, idle=0.3, reading=0.3, leaving=0.3)
TIMEOUT = "<connection-timeout xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"


@pytest.mark.parametrize(
    "said",
    ["", "<?xml version='1.0'?><stream:stream ", HEADER, HEADER + "<db:verify from='mont"],
    ids=["nothing", "half a header", "a header alone", "half an element"],
)
async def test_connection_that_makes_no_progress_is_ended(said: str, tmp_path: Path) -> None:
    async with listening(tmp_path, patience=QUICK) as place:
        async with ReceivingServer(place.address, place.port) as peer:
            peer.send(said)
            ended = await peer.end()
    assert TIMEOUT in ended
    assert ended.endswith(END)


async def test_element_that_comes_in_drops_is_ended_though_each_drop_is_in_time(
    tmp_path: Path,
) -> None:
    patience = Patience(negotiating=5, element=0.5, idle=5)
    async with listening(tmp_path, patience=patience) as place:
        async with ReceivingServer(place.address, place.port) as peer:
            await peer.open()

            async def drip() -> None:
                for letter in verify("a" * 10_000):
                    peer.send(letter)
                    await asyncio.sleep(0.05)

            dripping = asyncio.ensure_future(drip())
            said = await peer.end()
            dripping.cancel()
    assert TIMEOUT in said


async def test_white_space_keeps_a_connection_alive(tmp_path: Path) -> None:
    patience = Patience(negotiating=5, element=0.4, idle=1.0)
    async with listening(tmp_path, patience=patience) as place:
        async with ReceivingServer(place.address, place.port) as peer:
            await peer.open()
            for _ in range(15):
                peer.send("\n")
                await asyncio.sleep(0.1)  # longer in all than any patience
            peer.send(verify(RIGHT))
            assert answer() in await peer.until("<db:verify")


async def test_handshake_of_tls_that_never_ends_is_ended(tmp_path: Path) -> None:
    async with listening(tmp_path, patience=QUICK) as place:
        async with ReceivingServer(place.address, place.port) as peer:
            peer.send(HEADER + STARTTLS)
            assert "<proceed" in await peer.end()
        async with ReceivingServer(place.address, place.tls_port) as peer:
            assert await peer.end() == ""


async def test_handshake_of_tls_that_stops_halfway_is_ended_in_the_same_time(
    tmp_path: Path,
) -> None:
    patience = Patience(negotiating=0.5, idle=60, leaving=0.3)
    half_a_client_hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100)
    async with listening(tmp_path, patience=patience) as place:
        async with ReceivingServer(place.address, place.port) as peer:
            await peer.open()
            peer.send(STARTTLS)
            await peer.until("<proceed")
            peer.writer.write(half_a_client_hello)
            await peer.end()


async def test_garbage_for_tls_is_ended(tmp_path: Path) -> None:
    async with listening(tmp_path) as place:
        async with ReceivingServer(place.address, place.tls_port) as peer:
            peer.send(HEADER + verify(RIGHT))
            assert "stream" not in (await _raw_end(peer))
        assert place.listener.state is not None
        assert place.listener.state.counts["tls-failed"] == 1
    assert place.keys.asked == []


async def _raw_end(peer: ReceivingServer) -> str:
    try:
        return await peer.end()
    except (ConnectionResetError, UnicodeDecodeError) as error:
        return type(error).__name__


async def test_peer_that_does_not_read_is_not_read_from_and_then_cut_off(tmp_path: Path) -> None:
    bounds = Bounds(unread_bytes=4_096)
    async with listening(
        tmp_path, patience=Patience(reading=0.5), bounds=bounds, requests_per_second=1_000_000
    ) as place:
        loop = asyncio.get_running_loop()
        with socket.socket() as peer:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            peer.setblocking(False)
            await loop.sock_connect(peer, (place.address, place.port))
            batch = verify("0" * 64).encode() * 100
            sent = 0
            async with asyncio.timeout(60):
                with pytest.raises(ConnectionError):
                    await loop.sock_sendall(peer, HEADER.encode())
                    while True:
                        await loop.sock_sendall(peer, batch)
                        sent += len(batch)
    # what the kernel holds for both, and what was read before: not what a peer would like to send
    assert sent < 20_000_000


async def test_network_that_asks_much_is_answered_slowly_but_whole(tmp_path: Path) -> None:
    async with listening(tmp_path, requests_per_second=200) as place:
        async with ReceivingServer(place.address, place.port) as peer:
            await peer.open()
            loop = asyncio.get_running_loop()
            start = loop.time()
            for _ in range(10):
                peer.send(verify(RIGHT) * 60)
                await asyncio.sleep(0)
            said = await peer.until("type='valid'", 600)
            assert "type='error'" not in said
            peer.send(verify(RIGHT, stream="last"))
            await peer.until(answer(stream="last"))
            # 600 at 200 a second, two seconds' worth at once
            assert loop.time() - start > 0.9


async def test_too_many_connections_from_one_network_are_turned_away(tmp_path: Path) -> None:
    async with listening(tmp_path, connections_per_network=2) as place:
        async with ReceivingServer(place.address, place.port) as first:
            await first.open()
            async with ReceivingServer(place.address, place.port) as second:
                await second.open()
                async with ReceivingServer(place.address, place.port) as third:
                    said = await third.end()
                    assert "<resource-constraint " in said
                async with ReceivingServer(place.address, place.tls_port) as third:
                    assert await third.end() == ""
                second.send(END)
                await second.end()
            await _left(place, 1)
            async with ReceivingServer(place.address, place.port) as again:
                await again.open()
        assert place.listener.state is not None
        assert place.listener.state.counts["turned-away"] == 2


CROWD, OTHER = "127.77.1.1", "127.77.2.1"


async def test_network_with_all_places_makes_way_for_another(tmp_path: Path) -> None:
    async with listening(tmp_path, connections=4, connections_per_network=4) as place:
        async with AsyncExitStack() as stack:

            async def connect(source: str, *, direct_tls: bool = False) -> ReceivingServer:
                port = place.tls_port if direct_tls else place.port
                peer = ReceivingServer(place.address, port, direct_tls=direct_tls, source=source)
                await stack.enter_async_context(peer)
                await peer.open()
                return peer

            crowd = [await connect(CROWD, direct_tls=number % 2 == 1) for number in range(4)]
            crowd[0].send(verify(RIGHT))  # so that another one is the quietest
            await crowd[0].until(answer())
            honest = await connect(OTHER)
            assert "<resource-constraint " in await crowd[1].end()
            assert "<resource-constraint " in await (await _turned_away(place, CROWD)).end()
            second = await connect(OTHER)
            assert "<resource-constraint " in await crowd[2].end()
            # Now both have as many, and nobody makes way for anybody.
            for source in (CROWD, OTHER):
                await (await _turned_away(place, source)).end()
            for peer in (honest, second, crowd[0], crowd[3]):
                peer.send(verify(RIGHT, stream="last"))
                await peer.until(answer(stream="last"))
        state = place.listener.state
        assert state is not None
        assert (state.counts["made-way"], state.counts["turned-away"]) == (2, 3)
        await _left(place, 0)


async def _turned_away(place: Listening, source: str) -> ReceivingServer:
    peer = ReceivingServer(place.address, place.port, source=source)
    await peer.__aenter__()
    return peer


async def test_peer_that_negotiates_or_does_not_read_makes_way_too(tmp_path: Path) -> None:
    async with listening(tmp_path, connections=2, connections_per_network=2) as place:
        async with (
            ReceivingServer(place.address, place.port, source=CROWD) as shaking_hands,
            ReceivingServer(place.address, place.tls_port, source=CROWD),
            ReceivingServer(place.address, place.port, source=OTHER) as honest,
        ):
            shaking_hands.send(HEADER + STARTTLS)
            await honest.open()
            honest.send(verify(RIGHT))
            await honest.until(answer())
            state = place.listener.state
            assert state is not None
            assert (state.connections, state.counts["made-way"]) == (2, 1)


async def test_peer_that_leaves_something_unread_makes_way_at_once(tmp_path: Path) -> None:
    """Or those that made way would stay, and take more files than there are places."""
    async with listening(
        tmp_path,
        patience=Patience(leaving=3_600),
        bounds=Bounds(unread_bytes=1 << 30),
        connections=1,
        requests_per_second=1_000_000,
    ) as place:
        loop = asyncio.get_running_loop()
        with socket.socket() as peer:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            peer.setblocking(False)
            peer.bind((CROWD, 0))
            await loop.sock_connect(peer, (place.address, place.port))
            await loop.sock_sendall(peer, HEADER.encode())
            async with asyncio.timeout(60):
                while not place.listener._connections:
                    await asyncio.sleep(0.01)
                (slow,) = place.listener._connections
                while slow._wire.unsent_bytes < 100_000:
                    await loop.sock_sendall(peer, verify("0" * 64).encode() * 100)
            async with ReceivingServer(place.address, place.port, source=OTHER) as honest:
                await honest.open()
                async with asyncio.timeout(30):
                    while slow in place.listener._connections:
                        await asyncio.sleep(0.01)


async def test_requests_beyond_what_may_wait_are_answered_later(tmp_path: Path) -> None:
    async with listening(
        tmp_path, bounds=Bounds(pending_requests=4), requests_per_second=1_000_000
    ) as place:
        async with ReceivingServer(place.address, place.port) as peer:
            await peer.open()
            for number in range(100):
                peer.send(verify(RIGHT, stream=str(number)))
                await asyncio.sleep(0)
            said = await peer.until("type='valid'", 100)
    assert all(answer(stream=str(number)) in said for number in range(100))


async def test_everything_is_given_back_when_a_flood_of_connections_is_over(
    tmp_path: Path,
) -> None:
    async with listening(tmp_path, requests_per_second=1_000_000) as place:
        for _ in range(3):
            peers = [ReceivingServer(place.address, place.port) for _ in range(50)]
            for peer in peers:
                await peer.__aenter__()
                peer.send(HEADER + verify(RIGHT) * 20)
            for peer in peers:
                await peer.__aexit__(None, None, None)
        await _left(place, 0)
        async with ReceivingServer(place.address, place.port) as peer:
            await peer.open()
            peer.send(verify(RIGHT))
            await peer.until(answer())


async def _left(place: Listening, connections: int) -> None:
    """Return when no more than these connections are left."""
    async with asyncio.timeout(30):
        while (state := place.listener.state) and state.connections > connections:
            await asyncio.sleep(0.02)


async def test_connection_of_a_network_that_owes_is_not_read_before_its_time(
    tmp_path: Path,
) -> None:
    async with listening(tmp_path, requests_per_second=50) as place:
        async with ReceivingServer(place.address, place.port) as flooding:
            await flooding.open()
            flooding.send(verify("0" * 64) * 150)
            await flooding.until("<db:verify")
            start = asyncio.get_running_loop().time()
            async with ReceivingServer(place.address, place.port) as peer:
                peer.send(HEADER + verify(RIGHT))
                await peer.until("<stream:features")
                assert asyncio.get_running_loop().time() - start > 1.0
