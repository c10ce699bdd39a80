"""Rotation, removal, revocation and import of secret versions."""

import sqlite3

import pytest
from key_house import DAY_MS, START_MS, House

from sidecar.keys.dialback_key import KeyMaker, key_message
from sidecar.keys.ledger import NEVER_ISSUED, REVOKED, STATELESS, VALID, WRONG
from sidecar.keys.lifecycle import MAX_RETIRED
from sidecar.keys.messages import (
    Changed,
    Failed,
    GetStatus,
    ImportSecret,
    IssueKey,
    ListVersions,
    Refused,
    RevokeSecret,
    RotateSecret,
)

TRIPLE = ("capulet.example", "montague.example", "S1")
OTHER = ("capulet.example", "montague.example", "S2")


@pytest.fixture
def house(tmp_path):
    return House(tmp_path)


def test_key_issued_before_a_rotation_verifies_after_it(house):
    old = house.issue(*TRIPLE).key
    assert house.admin(RotateSecret("capulet.example")) == Changed(1, [("capulet.example", 2)])
    assert house.states() == [(1, "retired"), (2, "active")]
    new = house.issue(*OTHER).key
    assert new == house.forge(*OTHER, number=2)
    assert house.verify(old, *TRIPLE) is VALID
    assert house.verify(new, *OTHER) is VALID


def test_issuing_again_after_a_rotation_returns_the_same_key(house):
    old = house.issue(*TRIPLE).key
    house.admin(RotateSecret("capulet.example"))
    assert house.issue(*TRIPLE).key == old


def test_retired_version_is_destroyed_when_its_last_key_has_expired(house):
    house.issue(*TRIPLE)
    sealed = sealed_of(house, 1)
    house.now_ms += 10_000
    house.admin(RotateSecret("capulet.example"))
    house.pass_time(109_999)
    assert house.states() == [(1, "retired"), (2, "active")]
    house.pass_time(250)
    assert house.states() == [(1, "removed"), (2, "active")]
    for path in house.directory.rglob("*"):
        assert path.is_dir() or sealed not in path.read_bytes()


def sealed_of(house, number):
    (sealed,) = house.store._database.execute(
        "SELECT sealed FROM version WHERE number = ?", (number,)
    ).fetchone()
    return sealed


def test_rotation_by_schedule_happens_within_ten_percent_of_the_period(house):
    house.issue(*TRIPLE)
    (version,) = house.admin(ListVersions("capulet.example")).versions
    due_ms = version.next_rotation_ms
    assert 0.9 * DAY_MS <= due_ms - START_MS <= 1.1 * DAY_MS
    assert house.admin(GetStatus()).next_rotation_ms == due_ms
    house.pass_time(due_ms - START_MS - 1)
    assert house.states() == [(1, "active")]
    house.pass_time(251)
    assert house.states() == [(1, "removed"), (2, "active")]


def test_rotation_that_was_due_while_stopped_happens_at_the_start(house):
    house.issue(*TRIPLE)
    house.close()
    house.now_ms += 2 * DAY_MS
    house.open()
    house.service.tend()
    assert house.states()[-1] == (2, "active")


def test_all_sender_domains_rotate_at_once_when_asked(house):
    for name in ("a.example", "b.example"):
        house.issue(name, "t.example", "S")
    assert house.admin(RotateSecret()) == Changed(2, [("a.example", 2), ("b.example", 2)])


def test_many_sender_domains_rotate_so_many_at_a_time(house):
    names = sorted(f"d{number}.example" for number in range(230))
    house.ask(*(IssueKey(name, "t.example", "S") for name in names))
    done, after = [], ""
    while after is not None:
        changed = house.admin(RotateSecret(None, after))
        assert changed.count <= 100
        done += changed.versions
        after = changed.after
        assert {number for _, number in done} == {2}
        assert house.states(names[-1])[-1][0] == (2 if after is None else 1)
    assert done == [(name, 2) for name in names]


def test_domain_with_too_many_retired_versions_is_passed_over_when_all_rotate(house):
    for name in ("a.example", "b.example"):
        house.issue(name, "t.example", "S")
    for number in range(MAX_RETIRED):
        house.issue("a.example", "t.example", f"T{number}")
        house.admin(RotateSecret("a.example"))
    assert house.admin(RotateSecret()) == Changed(1, [("b.example", 2)])


def test_revoked_version_verifies_nothing_and_the_next_is_active_at_once(house):
    old = house.issue(*TRIPLE).key
    revoked = RevokeSecret("capulet.example")
    assert house.admin(revoked) == Changed(1, [("capulet.example", 1)], successor=2)
    assert house.states() == [(1, "revoked"), (2, "active")]
    assert house.verify(old, *TRIPLE) is REVOKED
    new = house.issue(*TRIPLE).key
    assert new != old
    assert house.verify(new, *TRIPLE) is VALID
    house.lose()
    house.open()
    assert house.verify(old, *TRIPLE) is WRONG
    assert house.states() == [(1, "revoked"), (2, "active")]


def test_retired_version_can_be_revoked_by_its_number(house):
    old = house.issue(*TRIPLE).key
    house.admin(RotateSecret("capulet.example"))
    new = house.issue(*OTHER).key
    assert house.admin(RevokeSecret("capulet.example", 1)) == Changed(1, [("capulet.example", 1)])
    assert house.verify(old, *TRIPLE) is REVOKED
    assert house.verify(new, *OTHER) is VALID
    assert house.states() == [(1, "revoked"), (2, "active")]


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (RotateSecret("stranger.example"), "no-such-domain"),
        (RevokeSecret("stranger.example"), "no-such-version"),
        (RevokeSecret("capulet.example", 9), "no-such-version"),
        (ImportSecret("capulet.example", b"s", 0), "end-too-far"),
        (ImportSecret("capulet.example", b"s", 30 * 86400 + 1), "end-too-far"),
    ],
)
def test_change_that_makes_no_sense_is_refused_with_its_reason(house, request_, reason):
    house.issue(*TRIPLE)
    assert house.admin(request_) == Refused(reason)
    assert house.states() == [(1, "active")]


def test_seventeenth_retired_version_is_refused_and_revoking_is_not(house):
    house.issue(*TRIPLE)
    for number in range(MAX_RETIRED):
        house.issue("capulet.example", "montague.example", f"T{number}")
        house.admin(RotateSecret("capulet.example"))
    assert house.admin(RotateSecret("capulet.example")) == Refused("too-many-retired")
    revoked = house.admin(RevokeSecret("capulet.example"))
    assert (revoked.count, revoked.successor) == (1, MAX_RETIRED + 2)


def test_revoking_works_on_a_full_disk(house, monkeypatch):
    old = house.issue(*TRIPLE).key
    real = house.store.destroy

    def destroy(*arguments, **keywords):
        if (house.directory / "ballast").exists():
            raise sqlite3.OperationalError("database or disk is full")
        return real(*arguments, **keywords)

    monkeypatch.setattr(house.store, "destroy", destroy)
    assert house.admin(RevokeSecret("capulet.example")).successor == 2
    assert house.verify(old, *TRIPLE) is REVOKED
    assert house.states() == [(1, "revoked"), (2, "active")]
    assert (house.directory / "ballast").exists()


@pytest.fixture
def broken_disk(house, monkeypatch):
    """Nothing can be destroyed on it; calling it mends it."""

    def destroy(*_, **__):
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(house.store, "destroy", destroy)
        yield patch.undo


def test_revoking_on_a_broken_disk_holds_in_memory_and_is_reported(house, broken_disk):
    old = house.issue(*TRIPLE).key
    house.admin(RotateSecret("capulet.example"))
    other = house.issue(*OTHER).key
    assert house.admin(RevokeSecret("capulet.example")) == Failed("store-failed")
    assert house.verify(other, *OTHER) is REVOKED
    assert house.verify(old, *TRIPLE) is VALID
    assert [state for _, state in house.states()].count("active") == 0


def test_revocation_that_the_disk_did_not_take_is_finished_when_it_does(house, broken_disk):
    old = house.issue(*TRIPLE).key
    assert house.admin(RevokeSecret("capulet.example")) == Failed("store-failed")
    house.pass_time(1_000)
    assert ("store-failed", "versions") in house.alarms()
    broken_disk()
    house.pass_time(1_000)
    assert house.states() == [(1, "revoked"), (2, "active")]
    house.lose()
    house.open()
    assert house.verify(old, *TRIPLE).outcome == "invalid"


def test_revocation_that_the_disk_did_not_take_can_be_asked_again(house, broken_disk):
    house.issue(*TRIPLE)
    house.admin(RotateSecret("capulet.example"))
    assert house.admin(RevokeSecret("capulet.example")) == Failed("store-failed")
    broken_disk()
    revoked = Changed(1, [("capulet.example", 2)], successor=3)
    assert house.admin(RevokeSecret("capulet.example")) == revoked
    assert house.states() == [(1, "retired"), (2, "revoked"), (3, "active")]


def test_secret_whose_revocation_is_not_stored_yet_is_replaced_by_the_next_key(house, broken_disk):
    house.issue(*TRIPLE)
    house.admin(RotateSecret("capulet.example"))
    house.admin(RevokeSecret("capulet.example"))
    house.issue(*OTHER)
    broken_disk()
    house.pass_time(1_000)
    assert house.states() == [(1, "retired"), (2, "revoked"), (3, "active")]


def test_rotation_that_cannot_be_stored_changes_nothing_and_is_tried_again(house, monkeypatch):
    key = house.issue(*TRIPLE).key
    real = house.store.add

    def add(*_, **__):
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(house.store, "add", add)
    house.pass_time(2 * DAY_MS)
    assert house.states() == [(1, "active")]
    assert ("store-failed", "versions") in house.alarms()
    assert house.issue(*TRIPLE).key == key
    monkeypatch.setattr(house.store, "add", real)
    house.pass_time(1_000)
    assert house.states() == [(1, "retired"), (2, "active")]


def test_imported_secret_verifies_keys_of_other_nodes_until_its_end(house):
    native = KeyMaker(b"prosody's own")
    house.issue(*TRIPLE)
    assert house.admin(ImportSecret("capulet.example", b"prosody's own", 3600)).count == 1
    key = native.key(b"montague.example capulet.example native")
    triple = ("capulet.example", "montague.example", "native")
    assert house.verify(key, *triple) is STATELESS
    assert house.verify(key, *triple) is STATELESS
    assert house.verify(key, *OTHER) is WRONG
    imported = house.admin(ListVersions("capulet.example")).versions[1]
    assert (imported.kind, imported.state, imported.uses) == ("stateless", "retired", 2)
    assert house.admin(GetStatus()).stateless_versions == 1
    house.now_ms += 3_600_000
    assert house.verify(key, *triple) is WRONG
    house.pass_time(1_000)
    assert house.states() == [(1, "active"), (2, "removed")]


def test_imported_secret_never_issues(house):
    house.admin(ImportSecret("capulet.example", b"prosody's own", 3600))
    key = house.issue(*TRIPLE).key
    assert key != KeyMaker(b"prosody's own").key(b"montague.example capulet.example S1")
    assert house.states() == [(1, "retired"), (2, "active")]


@pytest.mark.parametrize(
    ("sender", "target"),
    [
        ("bücher.example", "köln.example"),
        ("xn--bcher-kva.example", "köln.example"),
        ("bücher.example", "xn--kln-sna.example"),
        ("xn--bcher-kva.example", "xn--kln-sna.example"),
    ],
)
def test_imported_secret_verifies_keys_over_either_spelling_of_a_domain(house, sender, target):
    house.admin(ImportSecret("bücher.example", b"prosody's own", 3600))
    key = KeyMaker(b"prosody's own").key(f"{target} {sender} S".encode())
    assert house.verify(key, "bücher.example", "köln.example", "S") is STATELESS


def test_forging_with_a_generated_secret_is_not_helped_by_an_imported_one(house):
    house.issue(*TRIPLE)
    house.admin(ImportSecret("capulet.example", b"prosody's own", 3600))
    assert house.verify(house.forge(*OTHER), *OTHER) is NEVER_ISSUED


def test_list_shows_number_state_times_and_use_and_nothing_secret(house):
    house.issue(*TRIPLE)
    house.now_ms += 1_000
    house.issue(*OTHER)
    house.admin(RotateSecret("capulet.example"))
    reply = house.admin(ListVersions("capulet.example"))
    first, second = reply.versions
    assert (first.number, first.state, first.uses) == (1, "retired", 2)
    assert (first.created_ms, first.last_use_ms) == (START_MS, START_MS + 1_000)
    assert (second.state, second.uses, second.last_use_ms) == ("active", 0, None)
    fields = {name for version in reply.versions for name in version.__struct_fields__}
    assert not fields & {"secret", "sealed", "key"}


def test_list_of_all_domains_goes_on_where_it_stopped(house):
    names = [f"d{number:02}.example" for number in range(40)]
    for name in names:
        house.issue(name, "t.example", "S")
    listed, after = [], ""
    while after is not None:
        page = house.admin(ListVersions(after=after))
        listed += [version.domain for version in page.versions]
        after = page.after
    assert listed == names


def test_use_is_remembered_over_a_restart(house):
    house.issue(*TRIPLE)
    house.close()
    house.open()
    (version,) = house.admin(ListVersions("capulet.example")).versions
    assert (version.uses, version.last_use_ms) == (1, START_MS)


def test_of_versions_that_are_gone_the_last_few_are_remembered(house):
    for _ in range(40):
        house.issue(*TRIPLE)
        house.admin(RevokeSecret("capulet.example"))
    states = house.states()
    assert len(states) == 17
    assert states[-1] == (41, "active")


def test_secret_imported_to_issue_verifies_on_both_sides(house):
    """Moving back: keys of the server itself and ours are the same, and both verify here."""
    old = house.issue(*TRIPLE).key
    shared = ImportSecret("capulet.example", b"prosody's own", 3600, issue=True)
    assert house.admin(shared).count == 2
    key = house.issue(*OTHER).key
    assert key == KeyMaker(b"prosody's own").key(b"montague.example capulet.example S2")
    assert house.verify(key, *OTHER) is VALID
    assert house.verify(old, *TRIPLE) is VALID
    native = KeyMaker(b"prosody's own").key(b"montague.example capulet.example native")
    triple = ("capulet.example", "montague.example", "native")
    assert house.verify(native, *triple) is STATELESS
    assert ("key-never-issued", "capulet.example") not in house.alarms()


def test_verdicts_are_counted_by_reason(house):
    key = house.issue(*TRIPLE).key
    for presented in (key, "0" * 64, key, house.forge(*OTHER)):
        house.verify(presented, *TRIPLE)
    house.verify(house.forge(*OTHER), *OTHER)
    judged = house.admin(GetStatus()).judged
    assert judged == {"valid": 2, "key-wrong": 2, "key-never-issued": 1}


@pytest.mark.parametrize("number", [None, 3])
def test_revoking_a_secret_that_was_imported_to_issue_ends_its_import_too(house, number):
    house.issue(*TRIPLE)
    house.admin(ImportSecret("capulet.example", b"leaked", 86_400, issue=True))
    native = KeyMaker(b"leaked").key(key_message(*OTHER))
    assert house.verify(native, *OTHER) is STATELESS
    house.admin(RevokeSecret("capulet.example", number))
    assert house.verify(native, *OTHER).outcome == "invalid"
    assert house.states() == [(1, "retired"), (2, "revoked"), (3, "revoked"), (4, "active")]


def test_ending_an_import_fails_no_key_that_was_issued_under_it(house):
    house.admin(ImportSecret("capulet.example", b"prosody's own", 86_400, issue=True))
    key = house.issue(*TRIPLE).key
    house.admin(RevokeSecret("capulet.example", 1))
    assert house.verify(key, *TRIPLE) is VALID
    assert house.states() == [(1, "revoked"), (2, "active")]
