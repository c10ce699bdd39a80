from __future__ import annotations

import pytest

from sidecar.s2s.address_policy import is_literal, is_public

PUBLIC = ["192.0.1.1", "8.8.8.8", "2606:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8"]
NOT_PUBLIC = [
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "127.0.0.1",
    "127.1.2.3",
    "169.254.169.254",
    "172.16.0.1",
    "192.168.1.1",
    "198.18.0.1",
    "192.0.2.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:192.168.1.1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::1",
    "2002:7f00:1::1",
    "2002:c0a8:101::1",
    "2001::1",
    "2001:db8::1",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "capulet.example",
    "",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_address_is_dialled(address):
    assert is_public(address)


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_address_that_is_not_public_is_not_dialled(address):
    assert not is_public(address)


@pytest.mark.parametrize(
    "name", ["127.0.0.1", "127.1", "1", "a.0x7f", "a.0x", "example.1.", "::1", "2001:db8::1", ""]
)
def test_name_that_could_be_read_as_an_address_is_a_literal(name):
    assert is_literal(name)


@pytest.mark.parametrize("name", ["capulet.example", "1.2.3.example", "xn--bcher-kva.1a", "a.b2"])
def test_name_is_no_literal(name):
    assert not is_literal(name)
