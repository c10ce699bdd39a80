"""What a key is worth, told without using it up."""

import pytest

from sidecar.keys.ledger import (
    ALREADY_ENDED,
    EXPIRED,
    FORGOTTEN,
    NEVER_ISSUED,
    REPLAYED,
    VALID,
    WRONG,
)
from sidecar.keys.messages import JudgeKey

TRIPLE = ("capulet.example", "montague.example", "S1")


def judge(desk, key):
    judged = desk.ledger.judge(JudgeKey(*TRIPLE, key), desk.now_ms)
    desk.ledger.undo()
    return judged


def test_looking_at_a_key_uses_nothing_up(desk):
    key = desk.issue().key
    journal = desk.journal
    for _ in range(3):
        assert judge(desk, key) is VALID
    desk.now_ms += 100_000  # longer than a repeat is answered after a first use
    assert judge(desk, key) is VALID
    assert desk.verify(key) is VALID
    assert len(desk.journal) > len(journal)
    desk.now_ms += 1_000
    assert judge(desk, key) is VALID  # a repeat would be answered so


@pytest.mark.parametrize("later_ms", [0, 61_000, 125_000, 300_000])
@pytest.mark.parametrize("before", ["issued", "used", "ended", "forged", "forgotten", "wrong"])
def test_it_is_what_a_verify_at_that_moment_says(make_desk, before, later_ms):
    desk = make_desk()
    key = desk.forge() if before in ("forged", "forgotten") else desk.issue().key
    if before == "used":
        desk.verify(key)
    elif before == "ended":
        desk.end()
    elif before == "forgotten":
        desk.ledger.forgetful_until_ms = desk.now_ms + 120_000
    elif before == "wrong":
        key = "0" * 64
    desk.now_ms += later_ms
    judged = judge(desk, key)
    assert judged is desk.verify(key)
    expected = {VALID, EXPIRED, REPLAYED, ALREADY_ENDED, NEVER_ISSUED, FORGOTTEN, WRONG}
    assert judged in expected
