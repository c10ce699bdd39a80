"""An entry survives being packed into an integer, a record the journal."""

from hypothesis import given
from hypothesis import strategies as st

from sidecar.keys.entry import (
    ended,
    entry_digest,
    fresh,
    is_ended,
    issued_of,
    record,
    used,
    used_of,
    version_of,
    zone_tag,
)

version_ids = st.integers(0, 2**32 - 1)
issue_times = st.integers(0, 59_999)
use_times = st.integers(0, 2**24 - 2)


@given(version_ids, issue_times, use_times, st.booleans())
def test_entry_keeps_version_and_times_apart(version_id, issued_ms, used_ms, end_first):
    entry = fresh(version_id, issued_ms)
    assert (used_of(entry), is_ended(entry)) == (None, False)
    entry = used(ended(entry), used_ms) if end_first else ended(used(entry, used_ms))
    assert version_of(entry) == version_id
    assert issued_of(entry) == issued_ms
    assert used_of(entry) == used_ms
    assert is_ended(entry)


def test_record_is_36_bytes():
    assert record.size == 36


def test_digest_tells_triples_apart():
    assert entry_digest(b"b a 1") != entry_digest(b"a b 1")


def test_zone_is_the_last_two_labels():
    assert zone_tag("a.b.example.org") == zone_tag("example.org")
    assert zone_tag("example.org") != zone_tag("example.net")
    assert zone_tag("org") != zone_tag("example.org")
