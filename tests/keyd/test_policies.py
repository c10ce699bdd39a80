"""A sender domain's own key policy: kept, enforced, changed by one writer at a time."""

import pytest
from key_house import DAY_MS, House

from sidecar.keys.limits import Limits
from sidecar.keys.messages import (
    ChangePolicy,
    Failed,
    GetPolicies,
    GetStatus,
    IssueKey,
    KeyIssued,
    ListVersions,
    Refused,
)
from sidecar.preconditions import NO_PRECONDITION, Precondition

OURS, OTHER = "capulet.example", "verona.example"
HOUR_MS = 3_600_000


@pytest.fixture
def house(tmp_path):
    house = House(tmp_path)
    for domain in (OURS, OTHER):
        house.issue(domain, "montague.example", "S1")
    yield house
    house.close()


def change(house, precondition=NO_PRECONDITION, **changes):
    return house.admin(ChangePolicy(OURS, changes, precondition))


def policy(house, domain=OURS):
    (found,) = house.admin(GetPolicies([domain])).policies
    return found


def plain(policy):
    return policy.rotate_ms, policy.max_entries, policy.own_rotate, policy.own_max_entries


def test_domain_without_a_policy_of_its_own_has_the_defaults(house):
    assert plain(policy(house)) == (DAY_MS, Limits().entries_per_sender, False, False)


def test_what_is_not_named_stays_and_none_is_the_default_again(house):
    change(house, rotate_ms=HOUR_MS)
    change(house, max_entries=5)
    assert plain(policy(house)) == (HOUR_MS, 5, True, True)
    change(house, rotate_ms=None)
    assert plain(policy(house)) == (DAY_MS, 5, False, True)
    change(house, max_entries=None)
    assert plain(policy(house)) == (DAY_MS, Limits().entries_per_sender, False, False)
    assert house.store.database.execute("SELECT * FROM policy").fetchall() == []


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_policy_survives_the_end_of_the_process(house, how):
    changed = change(house, rotate_ms=HOUR_MS, max_entries=5)
    house.close() if how == "stopped" else house.lose()
    house.open()
    assert plain(policy(house)) == plain(changed)
    assert policy(house).etag == changed.etag


def test_own_age_rotates_this_domain_and_no_other(house):
    change(house, rotate_ms=HOUR_MS)
    (active,) = house.admin(ListVersions(OURS)).versions
    assert 0.9 * HOUR_MS <= active.next_rotation_ms - active.created_ms <= 1.1 * HOUR_MS
    assert house.admin(GetStatus()).next_rotation_ms == active.next_rotation_ms
    house.pass_time(active.next_rotation_ms - house.now_ms - 1)
    assert house.states()[-1] == (1, "active")
    house.pass_time(251)
    assert house.states()[-1] == (2, "active")
    assert house.states(OTHER) == [(1, "active")]


def test_longer_age_holds_for_the_version_that_is_active_already(house):
    change(house, rotate_ms=10 * DAY_MS)
    house.pass_time(2 * DAY_MS)
    assert house.states()[-1] == (1, "active")
    assert house.states(OTHER)[-1] == (2, "active")
    change(house, rotate_ms=None)
    house.pass_time(250)
    assert house.states()[-1] == (2, "active")


def test_own_age_counts_after_a_restart_too(house):
    change(house, rotate_ms=10 * DAY_MS)
    house.close()
    house.open()
    house.pass_time(2 * DAY_MS)
    assert house.states()[-1] == (1, "active")


def test_own_cap_refuses_this_domain_and_no_other(house):
    change(house, max_entries=2)
    assert isinstance(house.issue(OURS, "montague.example", "S2"), KeyIssued)
    assert house.issue(OURS, "montague.example", "S3") == Refused("cap-sender-domain")
    assert isinstance(house.issue(OTHER, "montague.example", "S3"), KeyIssued)
    assert isinstance(house.issue(OURS, "montague.example", "S1"), KeyIssued)
    change(house, max_entries=3)
    assert isinstance(house.issue(OURS, "montague.example", "S3"), KeyIssued)


def test_of_two_writers_that_saw_the_same_one_wins(house):
    seen = Precondition(match=(policy(house).etag,))
    won = change(house, seen, rotate_ms=HOUR_MS)
    assert change(house, seen, rotate_ms=2 * HOUR_MS) == Refused("precondition-failed")
    assert policy(house).etag == won.etag
    assert plain(policy(house))[0] == HOUR_MS
    change(house, Precondition(match=(won.etag,)), rotate_ms=2 * HOUR_MS)
    assert plain(policy(house))[0] == 2 * HOUR_MS


def test_policy_is_there_always_so_none_match_never_holds(house):
    refused = change(house, Precondition(none_match=("*",)), rotate_ms=HOUR_MS)
    assert refused == Refused("precondition-failed")


def test_tags_differ_between_domains_and_follow_the_defaults(house, tmp_path):
    before = policy(house).etag
    assert before != policy(house, OTHER).etag
    house.close()
    house.rotation_ms = 2 * DAY_MS
    house.open()
    assert policy(house).etag != before


def test_domain_without_a_secret_has_no_policy_to_change(house):
    nobody = ChangePolicy("nobody.example", {"max_entries": 5}, NO_PRECONDITION)
    assert house.admin(nobody) == Refused("no-such-domain")


def test_store_that_fails_changes_nothing(house):
    house.store.database.execute(
        "CREATE TRIGGER full BEFORE INSERT ON policy BEGIN SELECT RAISE(ABORT, 'disk'); END"
    )
    before = policy(house)
    assert change(house, max_entries=5) == Failed("store-failed")
    assert policy(house).etag == before.etag
    assert isinstance(house.ask(IssueKey(OURS, "montague.example", "S9"))[0], KeyIssued)


def test_change_is_a_line_in_the_log(house, caplog):
    caplog.set_level("INFO")
    change(house, rotate_ms=HOUR_MS)
    assert f"policy of {OURS}: secret rotates every 1h (its own)" in caplog.text
