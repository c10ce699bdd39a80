"""Any bytes, cut anywhere, end in parts or in a stream violation, never in another exception.

What comes out does not depend on the cuts. The first byte says where they are.

    python tests/fuzz/fuzz_stream_parser.py [CORPUS]
"""

from __future__ import annotations

import sys

from sidecar.errors import StreamViolation
from sidecar.protocol.xml import XmlStream


def parse(data: bytes, step: int) -> tuple[list[str], str]:
    """The parts as text, and the condition of the violation that ended it."""
    stream, parts, condition = XmlStream(), [], ""
    for place in range(0, len(data), step):
        try:
            stream.feed(data[place : place + step])
        except StreamViolation as violation:
            condition = violation.condition
        parts += [repr(part) for part in stream.parts()]
        if condition:
            break
    return parts, condition


def one_input(data: bytes) -> None:
    """Raises AssertionError, or whatever escaped, when the invariant is broken."""
    step, text = (data[0] % 32 + 1 if data else 1), data[1:]
    assert parse(text, step) == parse(text, len(text) or 1)


if __name__ == "__main__":
    import atheris

    atheris.instrument_all()
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
