"""Stores as earlier releases left them, opened by the code of today."""

import hashlib
import sqlite3

import pytest
from key_house import START_MS, House

from sidecar.keyd import kek_file
from sidecar.keyd.migrations import MIGRATIONS, NewerSchema, migrate
from sidecar.keyd.sealing import Sealer
from sidecar.keyd.secret_store import SecretStore
from sidecar.keys.ledger import VALID
from sidecar.keys.lifecycle import VersionFacts
from sidecar.keys.messages import ChangePolicy, ListVersions, WhoBears
from sidecar.preconditions import NO_PRECONDITION

OURS = "capulet.example"
DAY_MS = 86_400_000
AGO_MS = START_MS - 60_000
CLEAR = b"a secret of the first schema, 32"
STORE_ID = "0123456789abcdef"

# (id, domain, number, kind, created_ms, ends_ms, revoked_ms, removed_ms), its secret
SECOND_SCHEMA_ROWS = [
    ((3, OURS, 1, "ledger", AGO_MS - 9, None, AGO_MS - 8, None), b""),
    ((4, OURS, 2, "ledger", AGO_MS - 8, None, None, None), b"retired secret of the second one"),
    ((6, OURS, 3, "stateless", AGO_MS - 7, AGO_MS + DAY_MS, None, None), b"out of prosody.cfg.lua"),
    ((7, OURS, 4, "ledger", AGO_MS, None, None, None), b"active secret of the second one."),
    ((9, "mantua.example", 1, "ledger", AGO_MS, None, None, None), b"a secret of another domain"),
]


def sealer(directory):
    """Under the KEK beside the store."""
    kek = kek_file.generate()
    kek_file.write(directory / "kek", [kek])
    return Sealer([kek], STORE_ID)


def write_first(path):
    """Schema 1 held secrets in clear and had no KEK."""
    with sqlite3.connect(path, isolation_level=None) as database:
        migrate(database, None, up_to=1)
        database.execute("INSERT INTO fact VALUES ('store-id', ?)", (STORE_ID,))
        database.execute("INSERT INTO version VALUES (7, ?, 2, ?, ?)", (OURS, AGO_MS, CLEAR))


def write_second(directory):
    seal = sealer(directory).seal
    with sqlite3.connect(directory / "secrets.sqlite3", isolation_level=None) as database:
        migrate(database, seal, up_to=2)
        database.execute("INSERT INTO fact VALUES ('store-id', ?)", (STORE_ID,))
        for row, secret in SECOND_SCHEMA_ROWS:
            database.execute(
                "INSERT INTO version VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*row, seal(VersionFacts(*row), secret)),
            )
        database.execute("INSERT INTO usage VALUES (7, 41, ?)", (AGO_MS + 1,))


def schema_of(path):
    with sqlite3.connect(path) as database:
        return database.execute("PRAGMA user_version").fetchone()[0]


def test_first_schema_becomes_the_second_with_its_secrets_sealed(tmp_path):
    path = tmp_path / "secrets.sqlite3"
    write_first(path)
    opener = sealer(tmp_path)
    with sqlite3.connect(path, isolation_level=None) as database:
        database.execute("PRAGMA secure_delete = ON")
        migrate(database, opener.seal, up_to=2)
        ((*columns, sealed),) = database.execute("SELECT * FROM version")
    assert schema_of(path) == 2
    facts = VersionFacts(*columns)
    assert facts == VersionFacts(7, OURS, 2, "ledger", AGO_MS)
    assert opener.open(facts, sealed) == CLEAR
    assert CLEAR not in path.read_bytes()


def test_store_of_the_first_schema_is_opened_sealed_and_issues(tmp_path):
    path = tmp_path / "secrets.sqlite3"
    write_first(path)
    house = House(tmp_path)
    assert house.store.store_id == STORE_ID
    assert house.secret(OURS, 2) == CLEAR
    assert house.states() == [(2, "active")]
    key = house.issue(OURS, "t.example", "S").key
    assert key == house.forge(OURS, "t.example", "S", 2)
    assert house.verify(key, OURS, "t.example", "S") is VALID
    house.close()
    assert schema_of(path) == len(MIGRATIONS)
    assert CLEAR not in path.read_bytes()


def test_store_of_the_second_schema_is_opened_with_every_row_as_it_was(tmp_path):
    path = tmp_path / "secrets.sqlite3"
    write_second(tmp_path)
    before = contents(path)
    house = House(tmp_path)
    assert schema_of(path) == len(MIGRATIONS)
    assert contents(path) == before
    loaded = {facts.id: (facts, secret) for facts, secret, *_ in house.store.load()}
    assert loaded == {row[0]: (VersionFacts(*row), secret) for row, secret in SECOND_SCHEMA_ROWS}
    assert house.states() == [
        (1, "revoked"),
        (2, "retired"),
        (3, "retired"),
        (4, "active"),
    ]
    assert house.admin(ListVersions(OURS)).versions[3].uses == 41
    key = house.issue(OURS, "t.example", "S").key
    assert key == house.forge(OURS, "t.example", "S", 4)
    imported = house.forge(OURS, "t.example", "S", 3)
    assert house.verify(imported, OURS, "t.example", "S").outcome == "valid"
    house.close()


def test_store_of_the_third_schema_keeps_its_tokens_and_takes_policies(tmp_path):
    path = tmp_path / "secrets.sqlite3"
    write_second(tmp_path)
    with sqlite3.connect(path, isolation_level=None) as database:
        migrate(database, None, up_to=3)
        digest = hashlib.sha256(b"dbs_old").digest()
        database.execute(
            "INSERT INTO token VALUES ('a1', ?, 'ci', 'status:read', NULL, 1, NULL, NULL, NULL)",
            (digest,),
        )
    house = House(tmp_path)
    assert house.admin(WhoBears("dbs_old")).name == "ci"
    changed = house.admin(ChangePolicy(OURS, {"max_entries": 7}, NO_PRECONDITION))
    assert changed.max_entries == 7
    house.close()
    assert schema_of(path) == len(MIGRATIONS)


def contents(path):
    """What the second schema has, sealed bytes included."""
    with sqlite3.connect(path) as database:
        return [
            database.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()
            for table in ("version", "usage")
        ]


@pytest.mark.parametrize("written", [1, 2])
def test_step_that_fails_leaves_the_schema_before_it(tmp_path, written):
    path = tmp_path / "secrets.sqlite3"
    if written == 1:
        write_first(path)
    else:
        write_second(tmp_path)
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE usage (x)" if written == 1 else "CREATE TABLE done (x)")
    with sqlite3.connect(path, isolation_level=None) as database:
        with pytest.raises(sqlite3.OperationalError, match="already exists"):
            migrate(database, lambda facts, secret: secret)
        database.execute(f"DROP TABLE {'usage' if written == 1 else 'done'}")
    assert schema_of(path) == written
    house = House(tmp_path)
    assert schema_of(path) == len(MIGRATIONS)
    assert house.states()[-1][1] == "active"
    house.close()


def test_store_of_a_newer_schema_is_refused_with_words_and_left_alone(tmp_path):
    path = tmp_path / "secrets.sqlite3"
    House(tmp_path).close()
    newer = len(MIGRATIONS) + 1
    with sqlite3.connect(path) as database:
        database.execute(f"PRAGMA user_version = {newer}")
    before = path.read_bytes()
    words = f"has schema {newer}, this .* up to {len(MIGRATIONS)}: start the newer one that wrote"
    with pytest.raises(NewerSchema, match=words):
        SecretStore(path)
    assert path.read_bytes() == before
