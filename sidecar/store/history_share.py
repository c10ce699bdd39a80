"""How much of the history strangers may fill who ask or authenticate in vain.

Whoever asks about keys that were never issued, or claims domains that prove nothing, makes records
at will, with any names. They get a part of the room and of the history, so that no flood of them
pushes out what handshakes with others have left.
"""

from __future__ import annotations

from sidecar.handshakes import HandshakeRecord, OutcomeName

_PER_SECOND = 2_000
_BURST = 5_000
"""More new handshakes than these cost more than a look at them is worth."""
_KEPT_FOR_OTHERS = 2_500

IN_VAIN = "role != 'initiating' AND outcome IN ('invalid', 'error')"
"""The condition of a query that says of a stored record what `in_vain` says of one."""


def in_vain(record: HandshakeRecord) -> bool:
    """Whether a stranger alone may have caused the record."""
    return record.role != "initiating" and failed(record.outcome)


def failed(outcome: OutcomeName | None) -> bool:
    return outcome in ("invalid", "error")


def share_in_vain(records: int) -> int:
    """How many of `records` are kept for such records; more only where there is room."""
    return records // 4


class RecordRate:
    """Room for new records, refilled with time; its last half is not for those in vain."""

    def __init__(self) -> None:
        self._room = _BURST

    def refill(self, seconds: float) -> None:
        self._room = min(_BURST, self._room + round(_PER_SECOND * seconds))

    def take(self, *, in_vain: bool) -> bool:
        """Take room for one record, if there is some."""
        if not self.has_room(in_vain=in_vain):
            return False
        self._room -= 1
        return True

    def has_room(self, *, in_vain: bool) -> bool:
        return self._room > (_KEPT_FOR_OTHERS if in_vain else 0)
