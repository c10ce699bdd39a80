"""Secrets, ledger and journal together, with disks that fail."""

import sqlite3
import stat

import pytest

from sidecar.keyd.durable_ledger import DurableLedger
from sidecar.keyd.journal import Journal
from sidecar.keyd.migrations import MIGRATIONS, NewerSchema
from sidecar.keyd.secret_store import SecretStore
from sidecar.keys.ledger import VALID
from sidecar.keys.limits import Limits
from sidecar.keys.messages import Failed, IssueKey, Judged, KeyIssued, Refused, VerifyKey

START_MS = 1_700_000_000_000
TRIPLE = ("capulet.example", "montague.example", "S1")


class FailingOnce:
    """Stands before a real method and fails while `failing` is set."""

    def __init__(self, owner, name, error):
        self.real = getattr(owner, name)
        self.error = error
        self.failing = True
        setattr(owner, name, self)

    def __call__(self, *arguments):
        if self.failing:
            raise self.error
        return self.real(*arguments)


class House:
    def __init__(self, directory, limits=None):
        self.directory = directory
        self.limits = limits or Limits()
        self.open(START_MS)

    def open(self, now_ms):
        self.now_ms = now_ms
        self.store = SecretStore(self.directory / "secrets.sqlite3")
        self.journal = Journal(self.directory / "ledger")
        self.ledger = DurableLedger(self.store, self.journal, self.limits, now_ms=now_ms)

    def lose(self):
        """End without a clean stop."""
        self.journal.close()
        self.store.close()

    def ask(self, *batch):
        return self.ledger.apply(batch, self.now_ms)

    def issue(self, *triple):
        return self.ask(IssueKey(*triple))[0]

    def verify(self, key, *triple):
        return self.ask(VerifyKey(*triple, key))[0]


@pytest.fixture
def house(tmp_path):
    return House(tmp_path)


@pytest.mark.parametrize(
    "error", [sqlite3.OperationalError("database or disk is full"), OSError(28, "no space left")]
)
def test_full_disk_is_an_error_for_everyone_and_uses_nothing_up(house, error):
    key = house.issue(*TRIPLE).key
    disk = FailingOnce(house.journal, "append", error)
    other = ("capulet.example", "montague.example", "S2")
    assert house.ask(VerifyKey(*TRIPLE, key), IssueKey(*other)) == [Failed("journal-failed")] * 2
    disk.failing = False
    house.now_ms += 100_000
    assert house.verify(key, *TRIPLE) is VALID
    assert house.verify(key, *other) == Judged("invalid", "key-wrong")


def test_secret_that_cannot_be_stored_is_an_error_for_its_domain_only(house):
    house.issue(*TRIPLE)
    disk = FailingOnce(house.store, "create", sqlite3.OperationalError("disk I/O error"))
    batch = [IssueKey("new.example", "b.example", "S"), IssueKey(*TRIPLE)]
    first, second = house.ask(*batch)
    assert first == Failed("store-failed")
    assert isinstance(second, KeyIssued)
    disk.failing = False
    assert isinstance(house.ask(*batch)[0], KeyIssued)


def test_clean_stop_leaves_nothing_forgotten(house):
    key = house.issue(*TRIPLE).key
    forged = ("capulet.example", "montague.example", "forged")
    maker = house.store.load()[0].maker
    house.ledger.close()
    house.open(START_MS + 1_000)
    assert house.verify(key, *TRIPLE) is VALID
    right = maker.key(b"montague.example capulet.example forged")
    assert house.verify(right, *forged) == Judged("invalid", "key-never-issued")


def test_unclean_stop_makes_an_unknown_right_key_an_error_for_one_lifetime(house):
    key = house.issue(*TRIPLE).key
    maker = house.store.load()[0].maker
    house.lose()
    house.open(START_MS + 1_000)
    forged = ("capulet.example", "montague.example", "forged")
    right = maker.key(b"montague.example capulet.example forged")
    assert house.verify(right, *forged) == Judged("error", "key-forgotten")
    assert house.verify(key, *TRIPLE) is VALID
    house.now_ms += 120_000
    assert house.verify(right, *forged) == Judged("invalid", "key-never-issued")


def test_damaged_journal_is_an_unclean_stop(house):
    key = house.issue(*TRIPLE).key
    house.ledger.close()
    (segment,) = (house.directory / "ledger").glob("*.sqlite3")
    segment.write_bytes(b"not a database" * 1000)
    house.open(START_MS + 1_000)
    assert house.verify(key, *TRIPLE) == Judged("error", "key-forgotten")


def test_segments_that_are_needed_no_more_are_removed_whole(tmp_path):
    house = House(tmp_path, Limits(memory_ms=0))
    for _ in range(10):
        house.issue(*TRIPLE)
        house.now_ms += 60_000
    house.ledger.tidy()
    house.journal.close()
    assert len(list((tmp_path / "ledger").iterdir())) == 3


def test_clock_that_steps_back_kills_and_revives_nothing(house):
    key = house.issue(*TRIPLE).key
    house.now_ms -= 3_600_000
    assert house.verify(key, *TRIPLE) is VALID
    house.now_ms = START_MS + 120_000
    assert house.verify(key, *TRIPLE) == Judged("invalid", "key-expired")
    house.now_ms = START_MS
    assert house.verify(key, *TRIPLE) == Judged("invalid", "key-expired")


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
    rows = sqlite3.connect(house.directory / "secrets.sqlite3").execute(
        "SELECT secret FROM version"
    )
    found = [secret for (secret,) in rows]
    assert [len(secret) for secret in found] == [32, 32]
    assert found[0] != found[1]


def test_leaked_secret_raises_an_alarm_without_the_key(house, caplog):
    house.issue(*TRIPLE)
    forged = house.store.load()[0].maker.key(b"montague.example capulet.example X")
    house.verify(forged, "capulet.example", "montague.example", "X")
    (alarm,) = [each for each in caplog.records if each.levelname == "CRITICAL"]
    assert "capulet.example" in alarm.getMessage()
    assert forged not in alarm.getMessage()


def test_store_of_a_newer_schema_is_refused_with_words(tmp_path):
    path = tmp_path / "secrets.sqlite3"
    SecretStore(path).close()
    with sqlite3.connect(path) as database:
        database.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    with pytest.raises(NewerSchema, match="start the newer one that wrote it"):
        SecretStore(path)


def test_store_that_others_could_read_is_closed_to_them(tmp_path):
    path = tmp_path / "secrets.sqlite3"
    path.touch()
    path.chmod(0o644)
    SecretStore(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
