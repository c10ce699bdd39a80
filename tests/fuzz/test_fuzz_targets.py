"""The fuzz targets on inputs made of what streams are made of; long runs are for atheris."""

from __future__ import annotations

import fuzz_authority
import fuzz_certificates
import fuzz_connection
import fuzz_probe
import fuzz_stream_parser
import fuzz_verify_stream
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.lab.certificates import self_signed

HEADER = (
    b"<stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' "
    b"xmlns:stream='http://etherx.jabber.org/streams' id='peer1' version='1.0'>"
)
TOKENS = [
    b"<?xml version='1.0'?>",
    HEADER,
    HEADER.replace(b" version='1.0'", b""),
    b"<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features>",
    b"<stream:features><dialback xmlns='urn:xmpp:features:dialback'/></stream:features>",
    b"<stream:features>",
    b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
    b"<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
    b"<db:verify from='capulet.example' to='montague.example' id='x' type='valid'/>",
    b"<db:verify from='montague.example' to='capulet.example' id='x'>b4835385</db:verify>",
    b"<db:result from='montague.example' to='capulet.example'>b4835385</db:result>",
    b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
    b"<message/>",
    b"<db:verify from='capulet.example' to='montague.example' type='error'><error>",
    b"<db:result from='capulet.example' to='montague.example' type='valid'/>",
    b"<stream:error><host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>",
    b"</stream:stream>",
    b"</stream:features>",
    b"<a>" * 20,
    b"<!DOCTYPE x [<!ENTITY y 'z'>]>",
    b"<!-- x -->",
    b"<?x y?>",
    b"&y;",
    b"&lt;",
    b"<![CDATA[x]]>",
    b"\xff\xfe",
    b"\xc3",
    b"\x00",
    b" \r\n\t",
    b"\x16\x03\x03\x00\x02\x02\x28",
    b"\x15\x03\x03\x00\x02\x02\x28",
    b"x" * 20_000,
]
DER = self_signed("capulet.example").der

INPUTS = st.builds(
    lambda first, parts: bytes([first]) + b"".join(parts),
    st.integers(0, 255),
    st.lists(st.one_of(st.sampled_from(TOKENS), st.binary(max_size=40)), max_size=12),
)


@pytest.mark.parametrize(
    "target",
    [fuzz_stream_parser, fuzz_verify_stream, fuzz_connection, fuzz_probe, fuzz_authority],
)
@given(data=INPUTS)
def test_invariant_of_a_stream_target_holds(target, data: bytes) -> None:
    target.one_input(data)


@pytest.mark.parametrize(
    "target",
    [fuzz_stream_parser, fuzz_verify_stream, fuzz_connection, fuzz_probe, fuzz_authority],
)
@pytest.mark.parametrize("data", [b"", b"\x00", b"\x03" + HEADER])
def test_invariant_of_a_stream_target_holds_for_almost_nothing(target, data: bytes) -> None:
    target.one_input(data)


@given(
    cuts=st.lists(st.tuples(st.integers(0, len(DER)), st.binary(max_size=6)), max_size=4),
    times=st.integers(0, 3),
)
def test_invariant_of_the_certificate_target_holds(cuts, times) -> None:
    data = DER * times
    for place, inserted in cuts:
        data = data[:place] + inserted + data[place + len(inserted) :]
    fuzz_certificates.one_input(data)
