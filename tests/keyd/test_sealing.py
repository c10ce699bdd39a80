"""Secrets at rest: sealed, bound to their row, and sealed again under a new key."""

import errno
import os
import sqlite3
from contextlib import suppress

import pytest
from key_house import House

from sidecar.keyd import kek_file
from sidecar.keyd.kek_file import KekError
from sidecar.keyd.sealing import DamagedRow
from sidecar.keys.ledger import VALID
from sidecar.keys.messages import (
    Backup,
    Done,
    Failed,
    GetStatus,
    KeyIssued,
    Refused,
    RotateKek,
    RotateSecret,
)

TRIPLE = ("capulet.example", "montague.example", "S1")


@pytest.fixture
def house(tmp_path):
    house = House(tmp_path)
    house.issue(*TRIPLE)
    return house


def edit(house, statement, *values):
    house.close()
    with sqlite3.connect(house.directory / "secrets.sqlite3") as database:
        assert database.execute(statement, values).rowcount == 1


def test_secret_is_in_no_file_in_clear(house):
    secret = house.secret("capulet.example")
    house.close()
    for path in house.directory.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert secret not in data
            assert secret.hex().encode() not in data


def test_store_without_its_kek_reveals_nothing_and_makes_no_new_one(house):
    house.close()
    house.kek_path.unlink()
    with pytest.raises(KekError, match="put it back"):
        house.open()
    assert not house.kek_path.exists()


def test_another_kek_opens_nothing(house):
    house.close()
    house.kek_path.write_text("00" * 32)
    with pytest.raises(DamagedRow, match=r"version 1 of capulet\.example: sealed under"):
        house.open()


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("id", 77),
        ("domain", "mallory.example"),
        ("number", 5),
        ("kind", "stateless"),
        ("created_ms", 1),
        ("ends_ms", 1),
        ("revoked_ms", 1),
        ("removed_ms", 1),
    ],
)
def test_edited_row_is_an_error_that_names_it(house, column, value):
    edit(house, f"UPDATE version SET {column} = ?", value)
    with pytest.raises(DamagedRow, match=r"version \d of \w+.example: the row .* was changed"):
        house.open()


def test_flipped_bit_in_a_sealed_secret_is_an_error_that_names_the_row(house):
    (sealed,) = house.store._database.execute("SELECT sealed FROM version").fetchone()
    for place in range(8, len(sealed)):
        flipped = bytearray(sealed)
        flipped[place] ^= 1
        house.store._database.execute("UPDATE version SET sealed = ?", (bytes(flipped),))
        with pytest.raises(DamagedRow, match="version 1 of capulet"):
            house.store.load()


@pytest.mark.parametrize("length", [0, 7, 8, 19, 20, 35])
def test_truncated_sealed_secret_is_an_error_that_names_the_row(house, length):
    house.store._database.execute("UPDATE version SET sealed = substr(sealed, 1, ?)", (length,))
    with pytest.raises(DamagedRow, match="version 1 of capulet"):
        house.store.load()


def test_row_of_another_store_is_not_taken(house, tmp_path):
    edit(house, "UPDATE fact SET value = 'other' WHERE name = 'store-id'")
    with pytest.raises(DamagedRow):
        house.open()


def test_kek_rotation_seals_everything_again_while_serving(house):
    for number in range(450):
        house.issue(f"d{number}.example", "t.example", "S")
    key = house.issue(*TRIPLE).key
    old = kek_file.read(house.kek_path)
    assert house.admin(RotateKek()) == Done()
    assert len(kek_file.read(house.kek_path)) == 2
    assert house.admin(RotateKek()) == Refused("kek-rotation-under-way")
    turns = 0
    while house.admin(GetStatus()).rewrapping:
        house.pass_time(250)
        assert house.verify(key, *TRIPLE) is VALID
        turns += 1
    assert turns == 3
    (new,) = kek_file.read(house.kek_path)
    assert new not in old
    house.close()
    house.open()
    assert len(house.store.load()) == 451


def test_kek_rotation_goes_on_after_being_killed_at_any_point(house):
    for number in range(450):
        house.issue(f"d{number}.example", "t.example", "S")
    house.admin(RotateKek())
    while len(kek_file.read(house.kek_path)) == 2:
        house.lose()
        house.now_ms += 250
        house.open()
        assert house.admin(GetStatus()).rewrapping
        assert len(house.store.load()) == 451
        house.pass_time(250)
    house.lose()
    house.open()
    assert not house.admin(GetStatus()).rewrapping


def test_row_damaged_while_serving_is_an_alarm_that_names_it_and_keys_go_on(house):
    with sqlite3.connect(house.store.path) as database:
        database.execute("UPDATE version SET created_ms = created_ms + 1")
    house.admin(RotateKek())
    house.pass_time(250)
    (alarm,) = house.admin(GetStatus()).alarms
    assert "version 1 of capulet.example" in alarm.text
    assert isinstance(house.issue("mantua.example", "t.example", "S"), KeyIssued)


def test_kek_that_others_can_read_is_refused(house):
    house.close()
    house.kek_path.chmod(0o640)
    with pytest.raises(KekError, match="others can read it; expected mode 0600 or 0400, got 0640"):
        house.open()


@pytest.mark.parametrize("text", ["", "abc", "00" * 31, "zz" * 32, "00" * 32 + "\n00"])
def test_kek_file_that_is_none_is_refused_without_showing_it(house, text):
    house.close()
    house.kek_path.write_text(text)
    with pytest.raises(KekError) as caught:
        house.open()
    assert "0000" not in str(caught.value)


def test_backup_is_a_sealed_copy_that_opens_with_the_kek(house, tmp_path):
    secret = house.secret("capulet.example")
    copy = tmp_path / "copy"
    copy.mkdir()
    backup = copy / "secrets.sqlite3"
    assert house.admin(Backup(str(backup))) == Done()
    assert house.admin(Backup(str(backup))) == Refused("file-exists")
    assert backup.stat().st_mode & 0o777 == 0o600
    assert secret not in backup.read_bytes()
    house.admin(RotateSecret("capulet.example"))
    house.kek_path.rename(copy / "kek")
    restored = House(copy)
    assert restored.secret("capulet.example") == secret
    assert restored.states() == [(1, "active")]


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.EACCES, "path-not-writable"),
        (errno.EROFS, "path-not-writable"),
        (errno.ENOENT, "no-such-directory"),
        (errno.ENOSPC, "no-room-there"),
    ],
)
def test_backup_that_cannot_be_begun_is_refused_without_alarm(house, monkeypatch, number, reason):
    def fail(*_):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", fail)
        assert house.admin(Backup("/srv/backup")) == Refused(reason)
    assert house.alarms() == set()


def test_backup_that_fills_its_disk_is_refused_and_leaves_nothing_there(house, small_disk):
    with (small_disk / "fill").open("wb", buffering=0) as fill, suppress(OSError):
        while True:
            fill.write(b"x" * 4096)
    assert house.admin(Backup(str(small_disk / "backup"))) == Refused("no-room-there")
    assert [each.name for each in small_disk.iterdir()] == ["fill"]
    assert house.alarms() == set()


def test_backup_of_a_store_that_cannot_be_read_is_an_alarm(house, tmp_path):
    house.store.path.write_bytes(b"no database at all" * 1000)
    assert house.admin(Backup(str(tmp_path / "backup"))) == Failed("store-failed")
    assert ("store-failed", "Backup") in house.alarms()
    assert not (tmp_path / "backup").exists()


def test_systemd_credential_is_found_and_its_acl_is_no_offence(tmp_path, monkeypatch):
    credential = tmp_path / "dialback-kek"
    credential.write_text("ab" * 32)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert kek_file.find(None, tmp_path / "state") == (credential, False)
    assert kek_file.find(tmp_path / "own", tmp_path / "state")[0] == tmp_path / "own"
    monkeypatch.setattr(kek_file.os, "geteuid", lambda: 1000)
    if credential.stat().st_uid == 0:
        credential.chmod(0o440)
        assert kek_file.read(credential) == (b"\xab" * 32,)
    credential.chmod(0o444)
    with pytest.raises(KekError, match="others can read it"):
        kek_file.read(credential)


def test_issued_key_is_in_no_file(house):
    key = house.issue(*TRIPLE).key
    house.verify(key, *TRIPLE)
    house.close()
    for path in house.directory.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert key.encode() not in data
            assert bytes.fromhex(key) not in data
