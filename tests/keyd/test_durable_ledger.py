"""Secrets, ledger and journal together, with disks that fail and clocks that step."""

import os
import sqlite3
import stat

import pytest
from key_house import House

from sidecar.keyd.secret_store import SecretStore
from sidecar.keys.ledger import EXPIRED, FORGOTTEN, NEVER_ISSUED, VALID, WRONG
from sidecar.keys.limits import Limits
from sidecar.keys.messages import Failed, IssueKey, KeyIssued, Refused, VerifyKey

TRIPLE = ("capulet.example", "montague.example", "S1")
OTHER = ("capulet.example", "montague.example", "S2")


class Failing:
    """Stands before a real method and fails while `failing` is set."""

    def __init__(self, owner, name, error):
        self.real = getattr(owner, name)
        self.error = error
        self.failing = True
        setattr(owner, name, self)

    def __call__(self, *arguments, **keywords):
        if self.failing:
            raise self.error
        return self.real(*arguments, **keywords)


@pytest.fixture
def house(tmp_path):
    return House(tmp_path)


@pytest.mark.parametrize(
    "error", [sqlite3.OperationalError("database or disk is full"), OSError(28, "no space left")]
)
def test_full_disk_is_an_error_for_everyone_and_uses_nothing_up(house, error):
    key = house.issue(*TRIPLE).key
    disk = Failing(house.journal, "append", error)
    assert house.ask(VerifyKey(*TRIPLE, key), IssueKey(*OTHER)) == [Failed("journal-failed")] * 2
    assert ("journal-failed", "ledger") in house.alarms()
    disk.failing = False
    house.now_ms += 100_000
    assert house.verify(key, *TRIPLE) is VALID
    assert house.verify(key, *OTHER) is WRONG


def test_secret_that_cannot_be_stored_is_an_error_for_its_domain_only(house):
    house.issue(*TRIPLE)
    disk = Failing(house.store, "add", sqlite3.OperationalError("disk I/O error"))
    batch = [IssueKey("new.example", "b.example", "S"), IssueKey(*TRIPLE)]
    first, second = house.ask(*batch)
    assert first == Failed("store-failed")
    assert isinstance(second, KeyIssued)
    disk.failing = False
    assert isinstance(house.ask(*batch)[0], KeyIssued)


def test_clean_stop_leaves_nothing_forgotten(house):
    key = house.issue(*TRIPLE).key
    house.close()
    house.now_ms += 1_000
    house.open()
    assert house.verify(key, *TRIPLE) is VALID
    assert house.verify(house.forge(*OTHER), *OTHER) is NEVER_ISSUED


def test_unclean_stop_makes_an_unknown_right_key_an_error_for_one_lifetime(house):
    key = house.issue(*TRIPLE).key
    house.lose()
    house.now_ms += 1_000
    house.open()
    assert house.verify(house.forge(*OTHER), *OTHER) is FORGOTTEN
    assert house.verify(key, *TRIPLE) is VALID
    house.now_ms += 120_000
    assert house.verify(house.forge(*OTHER), *OTHER) is NEVER_ISSUED


def segments(house):
    return sorted((house.directory / "ledger").glob("*.journal"))


@pytest.mark.parametrize(
    "damage",
    [
        lambda written: b"not a journal" * 1000,
        lambda written: b"\0" * 4096,
        lambda written: written[:-1],
        lambda written: written[:5],
        lambda written: written[:20] + bytes([written[20] ^ 1]) + written[21:],
    ],
)
def test_damaged_journal_is_an_unclean_stop(house, damage):
    key = house.issue(*TRIPLE).key
    house.close()
    (segment,) = segments(house)
    segment.write_bytes(damage(segment.read_bytes()))
    house.now_ms += 1_000
    house.open()
    assert house.verify(key, *TRIPLE) is FORGOTTEN
    assert ("journal-damaged", segment.name) in house.alarms()
    new = house.issue(*OTHER).key
    house.close()
    house.open()
    assert house.alarms() == set()
    assert house.verify(new, *OTHER) is VALID


def test_what_stands_before_the_damage_is_kept(house):
    first = house.issue(*TRIPLE).key
    second = house.issue(*OTHER).key
    house.lose()
    (segment,) = segments(house)
    with segment.open("ab") as file:
        file.write(b"\0" * 4096)
    house.open()
    assert house.verify(first, *TRIPLE) is VALID
    assert house.verify(second, *OTHER) is VALID


def test_batch_that_was_written_in_part_is_taken_back(house, monkeypatch):
    house.issue(*TRIPLE)
    real = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:-1]))
        assert house.issue(*OTHER) == Failed("journal-failed")
        assert house.issue(*OTHER) == Failed("journal-failed")
    key = house.issue(*OTHER).key
    house.lose()
    house.open()
    assert house.verify(key, *OTHER) is VALID
    assert ("journal-damaged", segments(house)[0].name) not in house.alarms()


def test_segments_that_are_needed_no_more_are_removed_whole(tmp_path):
    house = House(tmp_path, Limits(memory_ms=0))
    for _ in range(10):
        house.issue(*TRIPLE)
        house.pass_time(60_000)
    house.issue(*TRIPLE)
    house.pass_time(1_000)
    house.journal.close()
    assert len(list((tmp_path / "ledger").iterdir())) == 3


@pytest.mark.parametrize("step_ms", [-3_600_000, 3_600_000])
def test_step_of_the_system_clock_kills_and_revives_nothing(house, step_ms):
    key = house.issue(*TRIPLE).key
    house.now_ms += 100_000
    house.wrong_ms = step_ms
    house.pass_time(1_000)
    assert house.verify(key, *TRIPLE) is VALID
    assert ("clock", "step") in house.alarms()
    house.lose()
    house.open()
    house.now_ms += 19_000
    assert house.verify(key, *TRIPLE) is EXPIRED


def test_time_that_ran_backwards_over_a_reboot_is_an_alarm_and_an_error_for_one_lifetime(house):
    key = house.issue(*TRIPLE).key
    expired = house.issue(*OTHER).key
    house.close()
    house.boot_id = "second-boot"
    house.wrong_ms = -3_600_000
    house.open()
    assert ("clock", "start") in house.alarms()
    assert house.verify(key, *TRIPLE) is FORGOTTEN
    assert house.verify(expired, *OTHER) is FORGOTTEN
    new = house.issue(*TRIPLE).key
    assert house.verify(new, *TRIPLE) is VALID
    house.now_ms += 120_000
    assert house.verify(expired, *OTHER) is NEVER_ISSUED


def test_segments_beside_a_damaged_one_are_still_read(house):
    key = house.issue(*TRIPLE).key
    house.now_ms += 60_000
    lost = house.issue(*OTHER).key
    house.close()
    os.truncate(segments(house)[1], 35)
    house.open()
    assert house.verify(key, *TRIPLE) is VALID
    assert house.verify(lost, *OTHER) is FORGOTTEN


@pytest.mark.parametrize("killed", [False, True])
def test_clock_that_is_a_little_behind_after_a_reboot_goes_on_from_the_last_record(house, killed):
    house.now_ms += 58_000
    house.issue(*TRIPLE)
    house.now_ms += 5_000
    key = house.issue(*OTHER).key
    if killed:
        house.lose()
    else:
        house.close()
    house.boot_id = "second-boot"
    house.wrong_ms = -9_000
    house.open()
    assert ("clock", "start") not in house.alarms()
    renewed = house.issue(*TRIPLE).key
    assert house.verify(renewed, *TRIPLE) is VALID
    assert house.verify(key, *OTHER) is VALID
    house.now_ms += 119_999
    assert house.verify(renewed, *TRIPLE).reason == "key-replayed"
    house.now_ms += 1
    assert house.verify(renewed, *TRIPLE) is EXPIRED


def test_killed_and_far_behind_after_a_reboot_is_time_that_ran_backwards(house):
    house.now_ms += 58_000
    key = house.issue(*TRIPLE).key
    house.lose()
    house.boot_id = "second-boot"
    house.wrong_ms = -30_000
    house.open()
    assert ("clock", "start") in house.alarms()
    assert house.verify(key, *TRIPLE) is FORGOTTEN


def test_reboot_within_a_lifetime_loses_no_key(house):
    key = house.issue(*TRIPLE).key
    house.close()
    house.boot_id = "second-boot"
    house.now_ms += 60_000
    house.open()
    assert house.verify(key, *TRIPLE) is VALID


def test_cap_on_sender_domains_refuses_new_ones_only(tmp_path):
    house = House(tmp_path, Limits(domains=2))
    names = ("a.example", "b.example", "c.example")
    replies = house.ask(*(IssueKey(name, "t.example", "S") for name in names))
    assert [type(reply) for reply in replies] == [KeyIssued, KeyIssued, Refused]
    assert replies[2].reason == "cap-domains"
    assert isinstance(house.issue("a.example", "t.example", "S2"), KeyIssued)


def test_generated_secrets_have_256_bits_and_differ(house):
    house.issue("a.example", "t.example", "S")
    house.issue("b.example", "t.example", "S")
    first, second = house.secret("a.example"), house.secret("b.example")
    assert (len(first), len(second)) == (32, 32)
    assert first != second


def test_leaked_secret_forges_nothing_and_raises_an_alarm_without_the_key(house, caplog):
    house.issue(*TRIPLE)
    forged = house.forge(*OTHER)
    assert house.verify(forged, *OTHER) is NEVER_ISSUED
    assert ("key-never-issued", "capulet.example") in house.alarms()
    (alarm,) = [each for each in caplog.records if each.levelname == "CRITICAL"]
    assert "capulet.example" in alarm.getMessage()
    assert forged not in alarm.getMessage()


def test_alarm_that_a_peer_repeats_is_one_line_a_minute_with_a_count(house, caplog):
    house.issue(*TRIPLE)
    for _ in range(100):
        house.verify(house.forge(*OTHER), *OTHER)
        house.now_ms += 1_000
    lines = [each for each in caplog.records if each.levelname == "CRITICAL"]
    assert len(lines) == 2
    assert "(61 times)" in lines[1].getMessage()


def test_store_that_others_could_read_is_closed_to_them(tmp_path):
    path = tmp_path / "secrets.sqlite3"
    path.touch()
    path.chmod(0o644)
    SecretStore(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
