"""What servers were seen to do, in the words of docs/conformance.md."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from raw_stream import PATIENCE_SECONDS, RawStream, StreamEnded, condition

YES = "yes"


def yes_if(it_does: bool, otherwise: str) -> str:
    return YES if it_does else f"no, {otherwise}"


def kind(element: Element) -> str:
    """The type of a dialback element or stanza, with the condition where it is an error."""
    type = element.get("type") or "without type"
    return f"{type} {condition(element)}" if condition(element) else type


async def answer_or_end(
    stream: RawStream, *names: str, timeout_seconds: float = PATIENCE_SECONDS
) -> str:
    """The kind of the next of these elements, how the stream ended, or that neither happened."""
    try:
        return kind(await stream.receive(*names, timeout_seconds=timeout_seconds))
    except StreamEnded:
        return how_it_ended(stream)
    except TimeoutError:
        return "nothing is said"


def how_it_ended(stream: RawStream) -> str:
    error = stream.stream_error
    return f"stream closed, {error}" if error else "stream closed"
