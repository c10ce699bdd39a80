"""Servers that answer for a domain, honestly or not, as scripts of a ScriptedAuthority."""

from __future__ import annotations

import asyncio

from checks import KEY
from scripted_authority import DIALBACK, HEADER, STARTTLS, Peer, Script, answer, attribute, features


def asked_first(*replies: str, header: str = HEADER, offers: str | None = None) -> Script:
    """A server on cleartext that says `replies` when it is asked."""

    async def script(peer: Peer) -> None:
        await peer.header()
        peer.send(header, features(DIALBACK) if offers is None else offers)
        await peer.verify()
        peer.send(*replies)
        await peer.reader.read()

    return script


def at_once(*replies: str, close: bool = False) -> Script:
    """A server that says `replies` to our stream header, and does no more."""

    async def script(peer: Peer) -> None:
        await peer.header()
        peer.send(*replies)
        if not close:
            await peer.reader.read()

    return script


async def honest(peer: Peer) -> None:
    """A server that knows one key for one stream ID, and says so of any pair."""
    await peer.header()
    peer.send(HEADER, features(DIALBACK))
    request = await peer.verify()
    right = f">{KEY}<" in request and attribute(request, "id") == "D60000229F"
    peer.send(
        answer(
            "valid" if right else "invalid",
            sender=attribute(request, "to"),
            target=attribute(request, "from"),
            stream=attribute(request, "id"),
        )
    )
    await peer.reader.read()


async def starttls_then_honest(peer: Peer) -> None:
    await peer.header()
    peer.send(HEADER, features(STARTTLS, DIALBACK))
    await peer.start_tls()
    await honest(peer)


async def silent(peer: Peer) -> None:
    await peer.reader.read()


async def reset_at_once(peer: Peer) -> None:
    peer.reset()


async def reset_when_asked(peer: Peer) -> None:
    await peer.header()
    peer.send(HEADER, features(DIALBACK))
    await peer.verify()
    peer.reset()


async def close_when_asked(peer: Peer) -> None:
    await peer.header()
    peer.send(HEADER, features(DIALBACK))
    await peer.verify()


async def dripping(peer: Peer) -> None:
    """Everything in single bytes, each in a segment of its own."""
    await peer.header()
    for text in (HEADER, features(DIALBACK)):
        for character in text:
            peer.send(character)
            await peer.writer.drain()
            await asyncio.sleep(0)
    await peer.verify()
    for character in answer("valid"):
        peer.send(character)
        await peer.writer.drain()
        await asyncio.sleep(0)
    await peer.reader.read()
