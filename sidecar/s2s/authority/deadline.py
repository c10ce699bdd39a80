"""When a connection is ended unless it makes progress."""

from __future__ import annotations

from collections.abc import Callable

from sidecar.s2s.authority.limits import Patience

_WHITE_SPACE = b" \t\r\n"


class Deadline:
    """One deadline at a time, put off by what the peer does. `clock` tells seconds."""

    def __init__(self, patience: Patience, clock: Callable[[], float]) -> None:
        self._patience = patience
        self._clock = clock
        self._at = 0.0
        self._parts = 0
        self._halfway = False  # in an element

    def is_over(self, now: float) -> bool:
        return now >= self._at

    def negotiate(self) -> None:
        """A stream begins, or a TLS handshake."""
        self._parts = 0
        self._halfway = False
        self._put_off(self._patience.negotiating)

    def note(self, data: bytes, parts: int) -> bool:
        """`data` came; the stream has `parts` now, and whether these are more is returned. Put off
        to the next header, the end of this element, or the next one."""
        if parts != self._parts:
            self._parts = parts
            self._halfway = False
            self._put_off(self._patience.idle)
            return True
        if parts and data and not self._halfway:
            self._halfway = bool(data.strip(_WHITE_SPACE))
            self._put_off(self._patience.element if self._halfway else self._patience.idle)
        return False

    def idle(self) -> None:
        """The next move is the peer's, or ours."""
        self._put_off(self._patience.idle)

    def write(self) -> None:
        """The peer has to read what we wrote."""
        self._put_off(self._patience.reading)

    def leave(self) -> None:
        """The peer has to end the connection."""
        self._put_off(self._patience.leaving)

    def _put_off(self, seconds: float) -> None:
        self._at = self._clock() + seconds
