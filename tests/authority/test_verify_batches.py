"""Who is asked about first: networks take turns, and little is asked at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from sidecar.jobs import Outcome, Verdict
from sidecar.s2s.authority.verify_batches import VerifyBatches


class Peer:
    """Asks in reads of so many requests; `answered` counts what came back."""

    def __init__(self, network: str) -> None:
        self.network = network
        self.answered = 0
        self.refused = 0

    def answer(self, asked: Sequence[object], verdicts: Sequence[Verdict]) -> None:
        assert len(asked) == len(verdicts)
        self.answered += verdicts.count(Verdict.valid())
        self.refused += sum(verdict.outcome is Outcome.ERROR for verdict in verdicts)


class Engine:
    """Answers each question once it is let go."""

    def __init__(self) -> None:
        self.asked: list[tuple[Sequence[object], asyncio.Event]] = []

    async def verify_all(
        self, asked: Sequence[object], *, timeout_seconds: float
    ) -> Sequence[Verdict]:
        done = asyncio.Event()
        self.asked.append((asked, done))
        await done.wait()
        return [Verdict.valid()] * len(asked)

    def answer_oldest(self) -> None:
        _, done = self.asked.pop(0)
        done.set()


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def answer_all(engine: Engine) -> None:
    while engine.asked:
        engine.answer_oldest()
        await turns()


async def test_network_that_asks_little_does_not_wait_behind_one_that_asks_much() -> None:
    engine = Engine()
    batches = VerifyBatches(engine)
    flood, honest = Peer("192.0.2.0/24"), Peer("198.51.100.0/24")
    for _ in range(50):
        batches.ask(flood, [object()] * 100)
    await turns()
    batches.ask(honest, [object()])
    await turns()
    under_way = len(engine.asked)
    assert sum(len(asked) for asked, _ in engine.asked) < 1_000
    for _ in range(under_way + 1):
        engine.answer_oldest()
        await turns()
    assert honest.answered == 1
    assert flood.answered < 2_000
    await answer_all(engine)
    assert flood.answered == 5_000


async def test_every_question_is_answered_in_the_end() -> None:
    engine = Engine()
    batches = VerifyBatches(engine)
    peers = [Peer(f"192.0.{number}.0/24") for number in range(5)]
    for number in range(150):
        batches.ask(peers[number % 5], [object()] * (1 + number % 90))
    await turns()
    await answer_all(engine)
    assert sum(peer.answered for peer in peers) == sum(1 + number % 90 for number in range(150))


async def test_what_waits_while_the_key_service_is_slow_is_bounded() -> None:
    engine = Engine()
    batches = VerifyBatches(engine)
    floods = [Peer(f"192.0.{number}.0/24") for number in range(200)]
    asked = 0
    for _ in range(20):
        for flood in floods:
            batches.ask(flood, [object()] * 100)
            asked += 100
        await turns()
    honest = Peer("198.51.100.0/24")
    batches.ask(honest, [object()])
    refused = sum(flood.refused for flood in floods)
    assert asked - refused < 80_000
    await answer_all(engine)
    assert (honest.answered, honest.refused) == (1, 0)
    assert sum(flood.answered for flood in floods) == asked - refused
