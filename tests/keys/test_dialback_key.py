"""XEP-0185: the printed keys, and what a key is bound to."""

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.keys.dialback_key import KeyMaker, key_message

PRINTED = {
    "XEP-0185 §3": (
        b"s3cr3tf0rd14lb4ck",
        ("example.org", "xmpp.example.com", "D60000229F"),
        "37c69b1cf07a3f67c04a5ef5902fa5114f2c76fe4a2686482ba5b89323075643",
    ),
    "XEP-0220 §2.1.1": (
        b"s3cr3tf0rd14lb4ck",
        ("capulet.example", "montague.example", "D60000229F"),
        "b4835385f37fe2895af6c196b59097b16862406db80559900d96bf6fa7d23df3",
    ),
    "XEP-0220 §2.2.2": (
        b"d14lb4ck43v3r",
        ("montague.example", "capulet.example", "417GAF25"),
        "225cc5aa6a071133249d25fef42ae516fc7a86c523aa1c6980a7f73e784c972d",
    ),
}


@pytest.mark.parametrize("place", PRINTED)
def test_printed_key_comes_out(place):
    secret, (sender, target, stream), key = PRINTED[place]
    assert KeyMaker(secret).key(key_message(sender, target, stream)) == key


@given(st.binary(max_size=200), st.text(max_size=300).map(str.encode))
def test_prepared_pads_make_the_same_key_as_plain_hmac(secret, message):
    hashed = hashlib.sha256(secret).hexdigest().encode()
    expected = hmac.new(hashed, message, hashlib.sha256).hexdigest()
    assert KeyMaker(secret).key(message) == expected


def test_making_one_key_leaves_no_trace_in_the_next():
    maker = KeyMaker(b"secret")
    first = maker.key(b"a b c")
    maker.key(b"something else")
    assert maker.key(b"a b c") == first


@pytest.mark.parametrize(
    "other",
    [
        ("mantua.example", "montague.example", "D60000229F"),
        ("capulet.example", "mantua.example", "D60000229F"),
        ("capulet.example", "montague.example", "D60000229f"),
        ("montague.example", "capulet.example", "D60000229F"),
    ],
)
def test_key_differs_for_any_other_sender_target_or_stream(other):
    maker = KeyMaker(b"secret")
    own = maker.key(key_message("capulet.example", "montague.example", "D60000229F"))
    assert maker.key(key_message(*other)) != own


def test_key_maker_shows_nothing_of_its_secret():
    assert repr(KeyMaker(b"secret")) == "<key maker>"
