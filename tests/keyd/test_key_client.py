"""KeyClient against a real dialback-keyd, and against servers that misbehave."""

import asyncio
import contextlib

import pytest

from sidecar.errors import KeyRefused, KeyServiceUnavailable
from sidecar.jobs import Outcome
from sidecar.key_client import KeyClient
from sidecar.keys.framing import FrameReader, decode_requests, encode_frame
from sidecar.keys.messages import Done, Failed, KeyIssued
from sidecar.names import DialbackKey, Domain, DomainPair, StreamId

PAIR = DomainPair(sender=Domain.parse("capulet.example"), target=Domain.parse("montague.example"))
STREAM = StreamId("S1")


@contextlib.asynccontextmanager
async def connected(path):
    client = KeyClient(path)
    await client.start(timeout_seconds=30)
    try:
        yield client
    finally:
        await client.close()


@contextlib.asynccontextmanager
async def played_keyd(path, answer):
    """A server on `path`; `answer(batch, writer)` gets what arrives."""
    batches = []

    async def serve(reader, writer):
        frames = FrameReader()
        while data := await reader.read(65536):
            for payload in frames.feed(data):
                batch = decode_requests(payload)
                batches.append(batch)
                answer(batch, writer)
        writer.close()

    server = await asyncio.start_unix_server(serve, path)
    try:
        yield batches
    finally:
        server.close()


async def test_issued_key_verifies(running_keyd):
    async with connected(running_keyd.socket) as client:
        key = await client.issue(PAIR, STREAM, timeout_seconds=30)
        verdict = await client.verify(PAIR, STREAM, key, timeout_seconds=30)
        assert verdict.outcome is Outcome.VALID
        wrong = await client.verify(PAIR, STREAM, DialbackKey("0" * 64), timeout_seconds=30)
        assert (wrong.outcome, wrong.reason) == (Outcome.INVALID, "key-wrong")


async def test_ended_stream_makes_its_key_invalid(running_keyd):
    async with connected(running_keyd.socket) as client:
        key = await client.issue(PAIR, STREAM, timeout_seconds=30)
        await client.end([(PAIR, STREAM), (PAIR, StreamId("unknown"))])
        verdict = await client.verify(PAIR, STREAM, key, timeout_seconds=30)
        assert (verdict.outcome, verdict.reason) == (Outcome.INVALID, "key-ended")


async def test_cap_is_a_refusal_with_its_reason(keyd):
    keyd.start("--max-entries", "1")
    async with connected(keyd.socket) as client:
        await client.issue(PAIR, STREAM, timeout_seconds=30)
        with pytest.raises(KeyRefused) as refused:
            await client.issue(PAIR, StreamId("S2"), timeout_seconds=30)
        assert refused.value.reason == "cap-ledger"


async def test_requests_of_one_call_share_a_frame(tmp_path):
    def answer(batch, writer):
        writer.write(encode_frame([(n, Done()) for n, _ in batch]))

    async with played_keyd(tmp_path / "s", answer) as batches, connected(tmp_path / "s") as client:
        await client.end([(PAIR, StreamId(f"S{n}")) for n in range(50)])
        assert [len(batch) for batch in batches] == [50]


async def test_requests_of_one_turn_are_all_answered(tmp_path):
    def answer(batch, writer):
        writer.write(encode_frame([(n, KeyIssued(request.stream)) for n, request in batch]))

    async with played_keyd(tmp_path / "s", answer), connected(tmp_path / "s") as client:
        asked = [client.issue(PAIR, StreamId(f"S{n}"), timeout_seconds=30) for n in range(50)]
        keys = await asyncio.gather(*asked)
        assert [key.reveal() for key in keys] == [f"S{n}" for n in range(50)]


async def test_replies_out_of_order_find_their_askers(tmp_path):
    def answer(batch, writer):
        replies = [(n, KeyIssued(request.stream)) for n, request in batch]
        writer.write(encode_frame(replies[::-1]))

    async with played_keyd(tmp_path / "s", answer), connected(tmp_path / "s") as client:
        asked = [client.issue(PAIR, StreamId(f"S{n}"), timeout_seconds=30) for n in range(9)]
        assert [key.reveal() for key in await asyncio.gather(*asked)] == [f"S{n}" for n in range(9)]


async def test_everything_under_way_fails_at_once_when_the_connection_drops(tmp_path):
    async with (
        played_keyd(tmp_path / "s", lambda _, writer: writer.close()),
        connected(tmp_path / "s") as client,
    ):
        asked = [client.issue(PAIR, StreamId(f"S{n}"), timeout_seconds=3600) for n in range(5)]
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [KeyServiceUnavailable] * 5


async def test_silence_is_an_outage_after_the_timeout_and_the_next_request_goes_on(tmp_path):
    def answer(batch, writer):
        replies = [(n, KeyIssued("k")) for n, r in batch if r.stream != "mute"]
        writer.write(encode_frame(replies))

    async with played_keyd(tmp_path / "s", answer), connected(tmp_path / "s") as client:
        with pytest.raises(KeyServiceUnavailable, match="did not answer in time"):
            await client.issue(PAIR, StreamId("mute"), timeout_seconds=0.01)
        assert (await client.issue(PAIR, STREAM, timeout_seconds=30)).reveal() == "k"


async def test_key_service_that_does_not_read_is_asked_no_more_until_it_does(tmp_path):
    reads = asyncio.Event()

    async def serve(reader, writer):
        frames = FrameReader()
        await reads.wait()
        while data := await reader.read(65536):
            for payload in frames.feed(data):
                replies = [(n, KeyIssued("k")) for n, _ in decode_requests(payload)]
                writer.write(encode_frame(replies))
        writer.close()

    server = await asyncio.start_unix_server(serve, tmp_path / "s")
    streams = [(PAIR, StreamId(f"{n:0>200}")) for n in range(5_000)]
    async with connected(tmp_path / "s") as client:
        asked = 0
        while not client._channel._stuck:
            ended = asyncio.create_task(client.end(streams))
            await asyncio.sleep(0)
            ended.cancel()  # as a timeout would
            await asyncio.sleep(0)
            asked += len(streams)
            assert asked < 500_000
        with pytest.raises(KeyServiceUnavailable, match="overloaded"):
            await client.issue(PAIR, STREAM, timeout_seconds=3600)
        reads.set()
        async with asyncio.timeout(60):
            while client._channel._stuck:
                await asyncio.sleep(0.01)
        assert (await client.issue(PAIR, STREAM, timeout_seconds=30)).reveal() == "k"
    server.close()


async def test_failure_inside_keyd_is_an_outage_with_its_reason(tmp_path):
    def answer(batch, writer):
        writer.write(encode_frame([(n, Failed("journal-failed")) for n, _ in batch]))

    async with played_keyd(tmp_path / "s", answer), connected(tmp_path / "s") as client:
        with pytest.raises(KeyServiceUnavailable, match="journal-failed"):
            await client.verify(PAIR, STREAM, DialbackKey("k"), timeout_seconds=30)
        await client.end([(PAIR, STREAM)])


async def test_nonsense_from_the_other_end_is_an_outage(tmp_path):
    async with (
        played_keyd(tmp_path / "s", lambda _, writer: writer.write(b"HTTP/1.1 200 OK\r\n\r\n")),
        connected(tmp_path / "s") as client,
    ):
        with pytest.raises(KeyServiceUnavailable):
            await client.issue(PAIR, STREAM, timeout_seconds=3600)


async def test_without_a_key_service_every_request_fails_at_once(tmp_path):
    client = KeyClient(tmp_path / "nobody")
    with pytest.raises(KeyServiceUnavailable, match="no key service answers"):
        await client.start(timeout_seconds=0.01)
    with pytest.raises(KeyServiceUnavailable):
        await client.issue(PAIR, STREAM, timeout_seconds=3600)
    await client.end([(PAIR, STREAM)])
    await client.close()


async def test_client_finds_a_restarted_keyd_again(running_keyd):
    async with connected(running_keyd.socket) as client:
        key = await client.issue(PAIR, STREAM, timeout_seconds=30)
        running_keyd.kill()
        with pytest.raises(KeyServiceUnavailable):
            await client.verify(PAIR, STREAM, key, timeout_seconds=30)
        running_keyd.start()
        await client.start(timeout_seconds=30)
        verdict = await client.verify(PAIR, STREAM, key, timeout_seconds=30)
        assert verdict.outcome is Outcome.VALID


async def test_cancelled_request_leaves_nothing_behind(tmp_path):
    async with (
        played_keyd(tmp_path / "s", lambda *_: None),
        connected(tmp_path / "s") as client,
    ):
        asked = asyncio.create_task(client.issue(PAIR, STREAM, timeout_seconds=3600))
        await asyncio.sleep(0)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        assert client.under_way == 0


@pytest.mark.parametrize(
    ("occupant", "reason"),
    [
        (lambda path: None, "no such file or directory"),
        (lambda path: path.touch(), "connection refused"),
    ],
)
async def test_timeout_says_why_nobody_answers(occupant, reason, tmp_path):
    occupant(tmp_path / "s")
    client = KeyClient(tmp_path / "s")
    try:
        with pytest.raises(KeyServiceUnavailable, match=f"no key service answers at .*: {reason}"):
            await client.start(timeout_seconds=1)
    finally:
        await client.close()


async def test_connections_that_are_closed_at_once_are_one_line_in_the_log(tmp_path, caplog):
    """So a key service of another user does, which does not know ours."""
    caplog.set_level("INFO", "sidecar.key_client")
    dropped = asyncio.Event()
    count = 0

    async def drop(_, writer):
        nonlocal count
        count += 1
        if count == 4:
            dropped.set()
        writer.close()

    server = await asyncio.start_unix_server(drop, tmp_path / "s")
    client = KeyClient(tmp_path / "s")
    try:
        with contextlib.suppress(KeyServiceUnavailable):
            await client.start(timeout_seconds=30)
        await asyncio.wait_for(dropped.wait(), 30)
    finally:
        await client.close()
        server.close()
    assert [record.message.split(";")[0] for record in caplog.records] == [
        "connected to the key service",
        f"the key service at {tmp_path / 's'} closes the connection at once",
    ]
