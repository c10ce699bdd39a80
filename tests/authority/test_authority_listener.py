"""The listener over real sockets and TLS: outages, peers to be let in, new configurations."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest
from listening import RIGHT, Listening, listening
from msgspec.structs import replace
from receiving_server import (
    END,
    HEADER,
    ReceivingServer,
    answer,
    client_context,
    verify,
)

from sidecar.config.link_domains import LinkDomains
from sidecar.jobs import Check, Condition, Verdict
from sidecar.lab.addresses import free_ports
from sidecar.lab.certificates import self_signed

RESULT = "<db:result from='montague.example' to='capulet.example'>b483</db:result>"


async def test_outage_of_the_key_service_is_an_error_and_the_stream_stays(tmp_path: Path) -> None:
    async with listening(tmp_path) as place:
        async with ReceivingServer(place.address, place.port) as peer:
            await peer.open()
            place.keys.out = True
            peer.send(verify(RIGHT) + verify(RIGHT, stream="2"))
            said = await peer.until("</db:verify>", 2)
            assert said.count("<internal-server-error ") == 2
            assert "invalid" not in said
            place.keys.out = False
            peer.send(verify(RIGHT, stream="3"))
            await peer.until(answer(stream="3"))


async def test_what_comes_together_is_asked_together(tmp_path: Path) -> None:
    async with listening(tmp_path) as place:
        async with ReceivingServer(place.address, place.port) as peer:
            await peer.open()
            peer.send(verify(RIGHT) * 50)
            await peer.until("type='valid'", 50)
    assert place.keys.asked == [50]


async def test_cleartext_gets_a_policy_violation_where_it_is_not_allowed(tmp_path: Path) -> None:
    async with listening(tmp_path, allow_cleartext=False) as place:
        async with ReceivingServer(place.address, place.port) as peer:
            assert "<required/>" in await peer.open()
            peer.send(verify(RIGHT))
            assert "<policy-violation " in await peer.until("</db:verify>")
            await peer.starttls()
            await peer.open()
            peer.send(verify(RIGHT))
            assert answer() in await peer.until("<db:verify")


async def test_peer_that_wants_to_be_let_in_is_checked(tmp_path: Path) -> None:
    async with listening(tmp_path) as place:
        async with ReceivingServer(place.address, place.port) as peer:
            await peer.open()
            peer.send(RESULT + "<message/>" + verify(RIGHT))
            said = await peer.end()  # the message came before its stream was authorised
            assert "<not-authorized " in said
        async with ReceivingServer(place.address, place.port) as peer:
            await peer.open()
            peer.send(RESULT)
            await peer.until("<db:result from='capulet.example' to='montague.example' type='valid'")
            peer.send("<message/>" + verify(RIGHT))
            await peer.until(answer())
    check = place.checks.asked[-1]
    assert (check.pair.sender, check.pair.target) == ("montague.example", "capulet.example")
    assert f" id='{check.stream}'" in peer.said
    assert check.ip is not None


@pytest.mark.parametrize(
    ("verdict", "said"),
    [
        (Verdict.invalid("answer-invalid"), "type='invalid'"),
        (
            Verdict.error(Condition.REMOTE_SERVER_NOT_FOUND, "dns-no-service"),
            "<remote-server-not-found ",
        ),
    ],
)
async def test_peer_that_fails_its_check_is_told_so(
    verdict: Verdict, said: str, tmp_path: Path
) -> None:
    async def decide(_: Check) -> Verdict:
        return verdict

    async with listening(tmp_path, decide=decide) as place:
        async with ReceivingServer(place.address, place.port) as peer:
            await peer.open()
            peer.send(RESULT)
            await peer.until(said)


async def test_nobody_is_let_in_where_peers_are_not_checked(tmp_path: Path) -> None:
    async with listening(tmp_path, check_peers=False) as place:
        async with ReceivingServer(place.address, place.port) as peer:
            await peer.open()
            peer.send(RESULT)
            assert "<not-acceptable " in await peer.until("</db:result>")
            peer.send(verify(RIGHT))
            await peer.until(answer())
    assert place.checks.asked == []


async def test_domain_of_ours_is_not_let_in(tmp_path: Path) -> None:
    async with listening(tmp_path) as place:
        async with ReceivingServer(place.address, place.port) as peer:
            await peer.open()
            peer.send(RESULT.replace("montague.", "rooms.capulet."))
            assert "<not-acceptable " in await peer.until("</db:result>")
    assert place.checks.asked == []


async def test_checks_of_one_connection_are_bounded_and_end_with_it(tmp_path: Path) -> None:
    waiting = asyncio.Event()
    ended: list[str] = []

    async def decide(check: Check) -> Verdict:
        try:
            await waiting.wait()
        finally:
            ended.append(check.pair.sender)
        return Verdict.valid()

    async with listening(tmp_path, decide=decide) as place:
        async with ReceivingServer(place.address, place.port) as peer:
            await peer.open()
            for number in range(10):
                peer.send(RESULT.replace("montague.", f"m{number}."))
            said = await peer.until("</db:result>", 2)
            assert said.count("<resource-constraint ") == 2
            assert len(place.checks.asked) == 8
            peer.reset_at_the_end()
        async with asyncio.timeout(30):
            while len(ended) < 8:
                await asyncio.sleep(0.01)


async def _subject(place: Listening, name: str) -> bytes:
    _, writer = await asyncio.open_connection(
        place.address, place.tls_port, ssl=client_context(direct=True), server_hostname=name
    )
    session = writer.get_extra_info("ssl_object")
    assert isinstance(session, ssl.SSLObject)
    assert session.selected_alpn_protocol() == "xmpp-server"
    shown = session.getpeercert(binary_form=True)
    writer.transport.abort()
    assert shown is not None
    return shown


async def test_renewed_certificate_is_shown_from_the_next_connection_on(tmp_path: Path) -> None:
    async with listening(tmp_path) as place:
        before = await _subject(place, "capulet.example")
        renewed = self_signed("capulet.example")
        renewed.write(tmp_path, "authority")
        assert await _subject(place, "capulet.example") == renewed.der != before


async def test_certificate_is_that_of_the_domain_the_peer_names(tmp_path: Path) -> None:
    rooms = self_signed("rooms.capulet.example")
    crt, key = rooms.write(tmp_path, "rooms")
    async with listening(tmp_path) as place:
        other = place.config()
        (first,) = other.certificate
        mine = replace(
            first, domains=LinkDomains(["rooms.capulet.example"]), certificate=crt, key=key
        )
        await place.listener.take_up(replace(other, certificate=(first, mine)))
        assert await _subject(place, "rooms.capulet.example") != rooms.der  # the first one fits all
        await place.listener.take_up(replace(other, certificate=(mine, first)))
        assert await _subject(place, "rooms.capulet.example") == rooms.der
        assert await _subject(place, "capulet.example") != rooms.der


async def test_new_configuration_holds_for_streams_that_are_open(tmp_path: Path) -> None:
    async with listening(tmp_path) as place:
        async with ReceivingServer(place.address, place.port) as peer:
            await peer.open()
            peer.send(verify(RIGHT, sender="verona.example"))
            assert "<item-not-found " in await peer.until("</db:verify>")
            (port,) = free_ports(place.address)
            await place.listener.take_up(
                place.config(domains=["verona.example"], listen=[f"{place.address}:{port}"])
            )
            peer.send(verify(RIGHT, sender="verona.example"))
            await peer.until(answer(sender="verona.example"))
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(place.address, place.port)
        async with ReceivingServer(place.address, port) as peer:
            await peer.open(HEADER.replace("capulet", "verona"))


async def test_configuration_with_an_address_in_use_changes_nothing(tmp_path: Path) -> None:
    async with listening(tmp_path) as place, listening(tmp_path) as other:
        taken = f"{other.address}:{other.port}"
        with pytest.raises(OSError, match=f"authority {taken}: "):
            await place.listener.take_up(place.config(listen=[taken], domains=["verona.example"]))
        async with ReceivingServer(place.address, place.port) as peer:
            await peer.open()


async def test_end_of_the_listener_is_told_to_every_peer(tmp_path: Path) -> None:
    async with listening(tmp_path) as place:
        async with ReceivingServer(place.address, place.port) as peer:
            await peer.open()
            await place.listener.close()
            said = await peer.end()
            assert said.endswith("</stream:error>" + END)
            assert "<system-shutdown " in said
        assert place.listener.state is None


async def test_peer_that_has_said_all_and_closed_its_side_is_answered(tmp_path: Path) -> None:
    async with listening(tmp_path) as place:
        async with ReceivingServer(place.address, place.port) as peer:
            peer.send(HEADER + verify(RIGHT))
            peer.writer.write_eof()
            said = await peer.end()
    assert answer() in said
    assert said.endswith(END)
