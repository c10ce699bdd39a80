"""The ledger's rules, one by one."""

import pytest

from sidecar.keys.ledger import (
    ALREADY_ENDED,
    EXPIRED,
    FORGOTTEN,
    NEVER_ISSUED,
    NO_SECRET,
    REPLAYED,
    VALID,
    WRONG,
)
from sidecar.keys.limits import Limits
from sidecar.keys.messages import IssueKey, KeyIssued, Refused, VerifyKey


def test_issued_key_is_the_one_of_xep_0185_and_valid(desk):
    issued = desk.issue()
    assert issued == KeyIssued(desk.forge())
    assert desk.verify(issued.key) is VALID


@pytest.mark.parametrize(
    "other",
    [
        {"sender": "mantua.example"},
        {"target": "mantua.example"},
        {"stream": "s1"},
        {"stream": "S1x"},
    ],
)
def test_key_is_bound_to_sender_target_and_stream(desk, other):
    key = desk.issue().key
    desk.issue(**other)
    assert desk.verify(key, **other) is WRONG
    assert desk.verify(key) is VALID


def test_key_altered_in_any_character_is_wrong_and_uses_nothing_up(desk):
    key = desk.issue().key
    for place in range(len(key)):
        altered = "0" if key[place] != "0" else "1"
        assert desk.verify(key[:place] + altered + key[place + 1 :]) is WRONG
    for altered in ("", key[:-1], key + "0", key.upper()):
        assert desk.verify(altered) is WRONG
    assert desk.verify(key) is VALID


def test_key_is_valid_to_the_end_of_its_lifetime_and_not_at_it(desk):
    key = desk.issue().key
    other = desk.issue(stream="S2").key
    desk.now_ms += 119_999
    assert desk.verify(key) is VALID
    desk.now_ms += 1
    assert desk.verify(other, stream="S2") is EXPIRED


def test_issuing_again_returns_the_same_key_and_renews_it(desk):
    key = desk.issue().key
    desk.now_ms += 100_000
    assert desk.issue().key == key
    desk.now_ms += 100_000
    assert desk.verify(key) is VALID


def test_issuing_again_makes_a_used_key_new(desk):
    key = desk.issue().key
    desk.verify(key)
    desk.now_ms += 70_000
    desk.issue()
    assert desk.verify(key) is VALID


def test_repeat_within_60_seconds_gets_the_same_answer_and_a_later_one_is_a_replay(desk):
    key = desk.issue().key
    desk.now_ms += 10_000
    assert desk.verify(key) is VALID
    desk.now_ms += 60_000
    assert desk.verify(key) is VALID
    desk.now_ms += 1
    assert desk.verify(key) is REPLAYED


def test_repeats_do_not_stretch_the_time_for_repeats(desk):
    key = desk.issue().key
    for _ in range(4):
        desk.verify(key)
        desk.now_ms += 20_000
    assert desk.verify(key) is REPLAYED


def test_ended_key_is_invalid_without_an_alarm(desk):
    key = desk.issue().key
    desk.end()
    assert desk.verify(key) is ALREADY_ENDED


def test_ending_what_is_unknown_changes_nothing(desk):
    desk.end(stream="unknown")
    assert desk.journal == b""


def test_secret_alone_forges_nothing(desk):
    assert desk.verify(desk.forge()) is NEVER_ISSUED


def test_expired_key_is_told_apart_from_a_forged_one_for_an_hour(desk):
    key = desk.issue().key
    for _ in range(59):
        desk.now_ms += 60_000
        desk.issue(stream=f"T{desk.now_ms}")
    assert desk.verify(key) is EXPIRED
    desk.now_ms += 180_000
    assert desk.verify(key) is NEVER_ISSUED


def test_forgotten_key_is_an_error_within_one_lifetime_after_an_unclean_start(make_desk):
    desk = make_desk()
    desk.forgetful_until_ms = desk.now_ms + 120_000
    desk.restart()
    assert desk.verify(desk.forge()) is FORGOTTEN
    assert desk.verify("0" * 64) is WRONG
    desk.now_ms += 120_000
    assert desk.verify(desk.forge()) is NEVER_ISSUED


def test_sender_domain_without_a_secret_gets_no_key_and_no_verdict_but_invalid(desk):
    assert desk.issue(sender="stranger.example") is NO_SECRET
    forged = desk.forge(sender="stranger.example")
    assert desk.verify(forged, sender="stranger.example") is WRONG


@pytest.mark.parametrize(
    ("limits", "reason", "still_served"),
    [
        (Limits(entries_per_sender=3), "cap-sender-domain", {"sender": "mantua.example"}),
        (Limits(entries_per_zone=3), "cap-target-zone", {"target": "verona.test"}),
        (Limits(entries=3), "cap-ledger", None),
    ],
)
def test_cap_refuses_one_asker_more_and_no_other(make_desk, limits, reason, still_served):
    desk = make_desk(limits)
    issued = [desk.issue(target=f"t{n}.rome.example", stream=f"S{n}") for n in range(3)]
    assert desk.issue(target="t3.rome.example", stream="S3") == Refused(reason)
    if still_served is not None:
        assert isinstance(desk.issue(**{"target": "t4.rome.example"} | still_served), KeyIssued)
    assert desk.issue(target="t0.rome.example", stream="S0") == issued[0]
    assert desk.verify(issued[0].key, target="t0.rome.example", stream="S0") is VALID
    desk.now_ms += 181_000
    assert isinstance(desk.issue(target="t3.rome.example", stream="S3"), KeyIssued)


def test_undone_batch_leaves_nothing_behind(desk):
    key = desk.issue().key
    desk.now_ms += 60_000
    batch = [
        VerifyKey("capulet.example", "montague.example", "S1", key),
        IssueKey("capulet.example", "montague.example", "S1"),
        IssueKey("capulet.example", "montague.example", "S2"),
    ]
    desk.ledger.apply(batch, desk.now_ms)
    desk.ledger.undo()
    assert desk.ledger.live_count == 1
    desk.now_ms += 59_000
    assert desk.verify(key) is VALID
    desk.now_ms += 1_000
    assert desk.verify(key) is EXPIRED
    assert desk.verify(desk.forge(stream="S2"), stream="S2") is NEVER_ISSUED


def test_replayed_journal_gives_the_same_ledger(desk):
    keys = {stream: desk.issue(stream=stream).key for stream in ("S1", "S2", "S3", "S4")}
    desk.verify(keys["S2"], stream="S2")
    desk.end(stream="S3")
    desk.now_ms += 61_000
    desk.issue(stream="S4")
    desk.restart()
    assert desk.ledger.live_count == 4
    assert desk.verify(keys["S1"], stream="S1") is VALID
    assert desk.verify(keys["S2"], stream="S2") is REPLAYED
    assert desk.verify(keys["S3"], stream="S3") is ALREADY_ENDED
    desk.now_ms += 100_000
    assert desk.verify(keys["S4"], stream="S4") is VALID


def test_reply_and_request_show_no_key(desk):
    key = desk.issue().key
    assert key not in repr(KeyIssued(key))
    assert key not in repr(VerifyKey("a.example", "b.example", "S", key))
