"""Events: kept for those who come back, honest about what is gone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import msgspec

from sidecar.operations.events import Event, Events


class Told(msgspec.Struct):
    number: int


def publish(events: Events, *numbers: int) -> None:
    for number in numbers:
        events.publish("secret", Told(number), "capulet.example")


async def take(following: AsyncIterator[Sequence[Event]]) -> list[tuple[str, str]]:
    return [(event.id, event.kind) for event in await anext(following)]


async def test_nothing_of_before_is_told_without_an_id() -> None:
    events = Events(7)
    publish(events, 1)
    following = events.follow(None, pause_seconds=0.01)
    assert await take(following) == []
    publish(events, 2, 3)
    assert await take(following) == [("7-2", "secret"), ("7-3", "secret")]


async def test_with_an_id_everything_after_it_is_told_once() -> None:
    events = Events(7)
    publish(events, 1, 2, 3)
    following = events.follow("7-1", pause_seconds=0.01)
    assert await take(following) == [("7-2", "secret"), ("7-3", "secret")]
    assert await take(following) == []


async def test_what_is_no_longer_kept_is_a_gap() -> None:
    events = Events(7, kept=2)
    publish(events, 1, 2, 3, 4, 5)
    following = events.follow("7-1", pause_seconds=0.01)
    assert await take(following) == [("7-3", "gap")]
    assert await take(following) == [("7-4", "secret"), ("7-5", "secret")]


async def test_slow_listener_is_told_of_its_gap() -> None:
    events = Events(7, kept=2)
    following = events.follow(None, pause_seconds=0.01)
    assert await take(following) == []
    publish(events, 1, 2, 3)
    assert await take(following) == [("7-1", "gap")]
    assert await take(following) == [("7-2", "secret"), ("7-3", "secret")]


async def test_id_of_another_start_is_a_gap() -> None:
    events = Events(7)
    publish(events, 1)
    following = events.follow("6-1", pause_seconds=0.01)
    assert await take(following) == [("7-1", "gap")]
    publish(events, 2)
    assert await take(following) == [("7-2", "secret")]
