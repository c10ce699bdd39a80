"""An entry survives being packed into an integer, a record the journal."""

from hypothesis import given
from hypothesis import strategies as st

from sidecar.keys.entry import Entry, entry_digest, pack, record, unpack, zone_tag

entries = st.builds(
    Entry,
    version_id=st.integers(0, 2**32 - 1),
    issued_ms=st.integers(0, 59_999),
    used_ms=st.integers(0, 2**24 - 1),
    ended=st.booleans(),
)


@given(entries)
def test_packed_entry_unpacks_to_itself(entry):
    assert unpack(pack(entry)) == entry


def test_record_is_36_bytes():
    assert record.size == 36


def test_digest_tells_triples_apart():
    assert entry_digest(b"b a 1") != entry_digest(b"a b 1")


def test_zone_is_the_last_two_labels():
    assert zone_tag("a.b.example.org") == zone_tag("example.org")
    assert zone_tag("example.org") != zone_tag("example.net")
    assert zone_tag("org") != zone_tag("example.org")
